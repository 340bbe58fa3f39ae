use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt, path::PathBuf, thread};

use secrecy::ExposeSecret;

use super::*;

/// A working directory of one test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("tenantry-config-{}", crate::clock::Clock::system().now().id()));
        fs::create_dir(&path).expect("a temporary folder");
        Self(path)
    }

    fn with_file(text: &str) -> Self {
        let folder = Self::new();
        fs::write(folder.0.join("tenantry.toml"), text).expect("the file is written");
        folder
    }

    fn load(&self, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load_from(variables, &self.0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("the folder is removed");
    }
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

const PRODUCTION: [(&str, &str); 3] = [
    ("TENANTRY_ENVIRONMENT", "production"),
    ("TENANTRY_PUBLIC_URL", "https://app.example.com"),
    ("TENANTRY_SECRET_KEY", SECRET),
];

fn load(variables: &[(&str, &str)]) -> Config {
    Folder::new().load(variables).unwrap_or_else(|error| panic!("{error}"))
}

fn problems(variables: &[(&str, &str)]) -> Vec<String> {
    Folder::new().load(variables).expect_err("something is wrong").problems
}

fn problem(variables: &[(&str, &str)]) -> String {
    let problems = problems(variables);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.concat()
}

#[test]
fn development_needs_nothing() {
    let folder = Folder::new();
    let config = folder.load(&[]).expect("the defaults are valid");
    assert_eq!(config.environment, Environment::Development);
    assert_eq!(config.http.bind.to_string(), "127.0.0.1:8080");
    assert_eq!(config.public_url.as_str(), "http://localhost:8080/");
    assert_eq!(config.base_domain, "localhost");
    assert_eq!(config.data_dir, folder.0.join("data"));
    assert!(config.database_url.is_none() && config.admin_token.is_none() && config.oauth.is_empty());
    assert!(config.provision.dry_run && !config.provision.strict_webhooks && config.signup.self_serve_enabled);
    assert!(config.billing.sandbox && config.rate_limit.enabled && config.signup.fail_open);
    assert_eq!(config.log.format, LogFormat::Pretty);
    assert_eq!((config.password.min_length, config.password.min_score), (8, 0));
    assert!(!config.password.refuse_common);
    assert_eq!(config.signup.token_ttl, Duration::from_hours(365 * 24));
    assert_eq!(config.signup.abandoned_after, Duration::from_hours(7 * 24));
    assert_eq!(config.smtp.from.to_string(), "Tenantry <no-reply@localhost>");
    assert!(!config.provision.allow_private_addresses && !config.apps_script.enabled);
}

#[test]
fn production_is_strict_and_shows_itself_by_json() {
    let config = load(&PRODUCTION);
    assert!(!config.provision.dry_run && config.provision.strict_webhooks);
    assert!(!config.signup.self_serve_enabled && !config.billing.sandbox);
    assert_eq!((config.log.format, config.password.min_length), (LogFormat::Json, 12));
    assert!(config.password.refuse_common && config.rate_limit.enabled);
    assert_eq!(config.base_domain, "app.example.com");
    assert_eq!(config.smtp.from.to_string(), "Tenantry <no-reply@app.example.com>");
    assert!(config.http.cors_origins.is_empty());

    let preview = load(&[("TENANTRY_ENVIRONMENT", "preview"), ("TENANTRY_SECRET_KEY", SECRET)]);
    assert!(!preview.provision.dry_run && !preview.provision.strict_webhooks && !preview.signup.self_serve_enabled);
    assert!(!preview.billing.sandbox);
    assert_eq!(preview.log.format, LogFormat::Json);
}

#[test]
fn variables_win_over_the_file_and_the_file_over_the_defaults() {
    let folder = Folder::with_file(
        "public_url = \"http://file.example:1\"\n[http]\nbind = \"0.0.0.0:1\"\ncors_origins = [\"https://a.example/\"]\n\
         [signup]\nself_serve_enabled = false\ntoken_ttl = 90\n[oauth.acme]\nclient_id = \"c\"\nclient_secret = \"s\"\n\
         issuer = \"https://id.example\"\n",
    );
    let config = folder
        .load(&[("TENANTRY_HTTP__BIND", "127.0.0.1:2"), ("TENANTRY_SIGNUP__SELF_SERVE_ENABLED", "1"), ("HOME", "/x")])
        .expect("valid");
    assert_eq!(config.http.bind.port(), 2);
    assert_eq!(config.public_url.as_str(), "http://file.example:1/");
    assert_eq!(config.base_domain, "file.example");
    assert_eq!(config.http.cors_origins, ["https://a.example"]);
    assert!(config.signup.self_serve_enabled);
    assert_eq!(config.signup.token_ttl, Duration::from_secs(90));
    assert_eq!(config.oauth["acme"].client_id, "c");

    let elsewhere = Folder::with_file("");
    fs::write(elsewhere.0.join("other.toml"), "admin_token = 12345").expect("written");
    let config = elsewhere.load(&[("TENANTRY_CONFIG", "other.toml")]).expect("valid");
    assert_eq!(config.admin_token.expect("set").expose_secret(), "12345");
}

#[test]
fn values_read_as_operators_write_them() {
    let config = load(&[
        ("TENANTRY_SIGNUP__TOKEN_TTL", "90s"),
        ("TENANTRY_SIGNUP__ABANDONED_AFTER", "30"),
        ("TENANTRY_BILLING__PAST_DUE_GRACE", "1h 30m"),
        ("TENANTRY_HTTP__CORS_ORIGINS", " https://a.example, http://localhost:3000 ,"),
        ("TENANTRY_HTTP__TRUSTED_PROXIES", "10.0.0.0/8,::1"),
        ("TENANTRY_PROVISION__WEBHOOK_HOSTS", "Hook.example.com, *.make.com, *, 127.0.0.1"),
        ("TENANTRY_PROVISION__DRY_RUN", "0"),
        ("TENANTRY_ADMIN_TOKEN", "007"),
        ("TENANTRY_BILLING__TRIAL_DAYS", "0"),
        ("TENANTRY_BASE_DOMAIN", "Example.com"),
        ("TENANTRY_PUBLIC_URL", "  "),
        ("TENANTRY_NOT_A_KEY", ""),
        ("DATABASE_URL", "postgres://me:hidden@db/x"),
        ("STRIPE_SECRET_KEY", "sk_test_1"),
        ("STRIPE_WEBHOOK_SECRET", "whsec_1"),
        ("TENANTRY_OAUTH__GOOGLE__CLIENT_ID", "id"),
        ("TENANTRY_OAUTH__GOOGLE__CLIENT_SECRET", "secret"),
    ]);
    assert_eq!(config.signup.token_ttl.as_secs(), 90);
    assert_eq!(config.signup.abandoned_after.as_secs(), 30);
    assert_eq!(config.billing.past_due_grace.as_secs(), 5400);
    assert_eq!(config.http.cors_origins, ["https://a.example", "http://localhost:3000"]);
    assert_eq!(config.http.trusted_proxies.len(), 2);
    assert_eq!(config.provision.webhook_hosts, ["hook.example.com", "*.make.com", "*", "127.0.0.1"]);
    assert!(!config.provision.dry_run);
    assert_eq!((config.billing.trial_days, load(&[]).billing.trial_days), (Some(0), None));
    assert_eq!(config.admin_token.as_ref().expect("set").expose_secret(), "007");
    assert_eq!(config.base_domain, "example.com");
    assert_eq!(config.public_url.as_str(), "http://localhost:8080/");
    assert!(!config.billing.sandbox, "there is a Stripe key");
    assert_eq!(config.oauth["google"].issuer.as_str(), "https://accounts.google.com/");
    assert!(!format!("{config:?}").contains("hidden"));

    for (url, base, sender) in [
        ("http://my_app:8080", "my_app", "no-reply@localhost"),
        ("http://a~b:8080", "a~b", "no-reply@localhost"),
        ("http://127.0.0.1:8080", "localhost", "no-reply@localhost"),
        ("http://[::1]:8080", "localhost", "no-reply@localhost"),
        ("https://Example.com", "example.com", "no-reply@example.com"),
    ] {
        let config = load(&[("TENANTRY_PUBLIC_URL", url)]);
        assert_eq!((config.base_domain.as_str(), config.smtp.from.email.as_ref()), (base, sender));
    }
}

#[test]
fn lines_are_an_array_or_a_text_of_several_lines() {
    let config = load(&[
        ("TENANTRY_BILLING__ISSUER", "Acme, Inc.\\n 1 Main Street, London\\n"),
        ("TENANTRY_BILLING__BANK_DETAILS", "IBAN 1\nBIC 2"),
    ]);
    assert_eq!(config.billing.issuer, ["Acme, Inc.", "1 Main Street, London"]);
    assert_eq!(config.billing.bank_details, ["IBAN 1", "BIC 2"]);
    let folder = Folder::with_file(
        "[billing]\nissuer = [\"Acme, Inc.\", \"London\"]\nbank_details = \"\"\"\nIBAN 1\nBIC 2\n\"\"\"",
    );
    let config = folder.load(&[]).expect("valid");
    assert_eq!((config.billing.issuer.len(), config.billing.bank_details.len()), (2, 2));
    assert!(load(&[]).billing.bank_details[0].contains("an example: do not pay"));
    let production = load(&PRODUCTION);
    assert!(production.billing.issuer.is_empty() && production.billing.bank_details.is_empty());
    let long = "x".repeat(101);
    assert!(problem(&[("TENANTRY_BILLING__ISSUER", &long)]).contains("at most 100 characters"));
    assert!(problem(&[("TENANTRY_BILLING__ISSUER", &"x\n".repeat(9))]).contains("8 at most"));
}

#[test]
fn everything_wrong_is_told_at_once_without_secrets() {
    let all = problems(&[
        ("TENANTRY_HTTP__BIND", "here"),
        ("TENANTRY_HTTP__BINDD", "1"),
        ("TENANTRY_PROVISION__DRY_RUN", "maybe"),
        ("TENANTRY_PROVISION__LEASE", "0s"),
        ("TENANTRY_SIGNUP__TOKEN_TTL", "200y"),
        ("TENANTRY_HTTP__CORS_ORIGINS", "https://a.example,*"),
        ("TENANTRY_SMTP__URL", "http://me:hidden@x"),
        ("DATABASE_URL", "mysql://me:hidden@x"),
        ("TENANTRY_PASSWORD__MIN_SCORE", "5"),
    ]);
    assert_eq!(
        all,
        [
            "unknown key `TENANTRY_HTTP__BINDD`; did you mean `TENANTRY_HTTP__BIND`?",
            "`TENANTRY_HTTP__BIND` must be an IP address and a port, such as 127.0.0.1:8080, not `here`",
            "`TENANTRY_HTTP__CORS_ORIGINS` must be origins such as https://app.example.com, with commas, without a path; \
             `*` is not possible, for calls carry credentials, not `*`",
            "`DATABASE_URL` must be postgres://user:password@host/database (or sqlite:path)",
            "`TENANTRY_SIGNUP__TOKEN_TTL` must be a duration such as 90s, 15m or 7d, longer than 0 and at most 100 years, \
             not `200y`",
            "`TENANTRY_PROVISION__DRY_RUN` must be true or false (or 1 or 0), not `maybe`",
            "`TENANTRY_PROVISION__LEASE` must be a duration such as 90s, 15m or 7d, longer than 0 and at most 100 years, \
             not `0s`",
            "`TENANTRY_SMTP__URL` must be smtp://user:password@host:port or smtps://…",
            "`TENANTRY_PASSWORD__MIN_SCORE` must be a whole number from 0 to 4, not `5`",
        ]
    );
}

#[test]
fn unknown_keys_lead_to_the_nearest_known_one() {
    let folder = Folder::with_file("pubic_url = \"x\"\n[http]\nbidn = 1\n[http.body_limit]\nx = 1");
    assert_eq!(
        folder.load(&[]).expect_err("unknown").problems,
        [
            "unknown key `http.bidn` in tenantry.toml; did you mean `http.bind`?",
            "unknown key `http.body_limit.x` in tenantry.toml; did you mean `http.body_limit`?",
            "unknown key `pubic_url` in tenantry.toml; did you mean `public_url`?",
        ]
    );
    for (name, nearest) in [
        ("TENANTRY_DATABASEURL", "TENANTRY_DATABASE_URL"),
        ("TENANTRY_CONFG", "TENANTRY_CONFIG"),
        ("TENANTRY_BENCH_CHEAPHASH", "TENANTRY_BENCH_CHEAP_HASH"),
        ("TENANTRY_OAUTH__GOOGLE__CLIENTID", "TENANTRY_OAUTH__GOOGLE__CLIENT_ID"),
        ("TENANTRY_HTTP_BIND", "TENANTRY_HTTP__BIND"),
        ("TENANTRY_http__bind", "TENANTRY_HTTP__BIND"),
    ] {
        assert_eq!(problem(&[(name, "x")]), format!("unknown key `{name}`; did you mean `{nearest}`?"));
    }
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let error = Folder::with_file("http = [").load(&[]).expect_err("not TOML").to_string();
    assert!(error.contains("tenantry.toml is not TOML"), "{error}");
    assert!(problem(&[("TENANTRY_CONFIG", "missing.toml")]).starts_with("TENANTRY_CONFIG: cannot read "));
    let error = problem(&[("TENANTRY_ENVIRONMENT", "staging")]);
    assert_eq!(error, "`TENANTRY_ENVIRONMENT` (environment) must be development, preview or production");
    let error = Folder::with_file("[http]\nbind = [1]\n[provision]\nlease = 1.5").load(&[]).expect_err("mistyped");
    assert_eq!(error.problems.len(), 2);
    assert!(error.problems[0].starts_with("`http.bind` in tenantry.toml must be"), "{error}");
}

#[test]
fn production_refuses_what_is_unsafe() {
    let with = |name: &'static str, value: &'static str| {
        let others = PRODUCTION.into_iter().filter(move |(other, _)| *other != name);
        problem(&others.chain([(name, value)]).collect::<Vec<_>>())
    };
    assert!(with("TENANTRY_SECRET_KEY", "").contains("is missing"));
    assert!(with("TENANTRY_SECRET_KEY", "short").contains("is shorter than 32 bytes"));
    let development = "development-only-0123456789abcdef0123456789abcdef";
    assert!(with("TENANTRY_SECRET_KEY", development).contains("is a development secret"));
    assert!(with("TENANTRY_PUBLIC_URL", "").contains("is missing"));
    assert!(with("TENANTRY_PUBLIC_URL", "http://app.example.com").contains("must begin with https://"));
    assert!(with("TENANTRY_PROVISION__ALLOW_PRIVATE_ADDRESSES", "true").contains("development only"));
    assert!(with("TENANTRY_BILLING__SANDBOX", "true").contains("play money"));
    assert!(with("TENANTRY_PASSWORD__MEMORY_KIB", "1024").contains("too cheap"));
    assert!(with("TENANTRY_APPS_SCRIPT__ENABLED", "1").contains("must be set"));
    let cheap = problems(&[&PRODUCTION[..], &[("TENANTRY_BENCH_CHEAP_HASH", "1")]].concat());
    assert!(cheap.iter().any(|problem| problem.contains("too cheap for production")), "{cheap:?}");
    assert_eq!(problems(&[("TENANTRY_ENVIRONMENT", "production")]).len(), 2);
    assert!(problem(&[("TENANTRY_ENVIRONMENT", "preview")]).starts_with("`TENANTRY_SECRET_KEY`"));
}

#[test]
fn settings_that_belong_together_are_demanded_together() {
    assert!(
        problem(&[("TENANTRY_PROVISION__APP_URL", "http://127.0.0.1:1/")]).contains("TENANTRY_PROVISION__APP_SECRET")
    );
    assert!(problem(&[("TENANTRY_PROVISION__BACKOFF_CAP", "1ms")]).contains("backoff_base"));
    assert!(problem(&[("TENANTRY_PASSWORD__PARALLELISM", "4000")]).contains("RFC 9106"));
    assert!(problem(&[("TENANTRY_OAUTH__GOOGLE__CLIENT_ID", "id")]).contains("TENANTRY_OAUTH__GOOGLE__CLIENT_SECRET"));
    let custom = problems(&[("TENANTRY_OAUTH__MY_IDP__ISSUER", "https://id.example")]);
    assert_eq!(custom.len(), 2, "{custom:?}");
    assert!(custom[0].contains("TENANTRY_OAUTH__MY_IDP__CLIENT_ID"));
}

#[test]
fn the_cheap_hash_needs_its_build() {
    let loaded = Folder::new().load(&[("TENANTRY_BENCH_CHEAP_HASH", "1")]);
    match loaded {
        Ok(config) => assert!(cfg!(feature = "bench") && config.password.memory_kib == 8),
        Err(error) => assert!(!cfg!(feature = "bench") && error.to_string().contains("feature \"bench\""), "{error}"),
    }
}

#[test]
fn rows_show_every_key_once_with_its_source_and_no_secret() {
    let config = load(&[
        ("TENANTRY_SECRET_KEY", SECRET),
        ("TENANTRY_HTTP__BIND", "127.0.0.1:9"),
        ("DATABASE_URL", "postgres://me:hidden@db/x?password=hidden"),
    ]);
    let row = |key: &str| {
        let row = config.rows().iter().find(|row| row.key == key).expect(key);
        (row.value.as_str(), row.source.as_str())
    };
    assert_eq!(row("secret_key"), ("********", "environment"));
    assert_eq!(row("http.bind"), ("127.0.0.1:9", "environment"));
    assert_eq!(row("database_url"), ("postgres://me:********@db/x", "environment (DATABASE_URL)"));
    assert_eq!(row("public_url"), ("http://localhost:9/", "http.bind"));
    assert_eq!(row("provision.dry_run"), ("true", "default in development"));
    assert_eq!(row("signup.token_ttl"), ("365d", "default"));
    assert_eq!(row("admin_token"), ("", "default"));
    assert!(!format!("{:?}", config.rows()).contains("hidden"));

    let shown: Vec<&str> = config.rows().iter().map(|row| row.key.as_str()).collect();
    let documented = layers::documented_keys();
    assert_eq!(shown.len(), documented.len());
    assert_eq!(shown.into_iter().collect::<BTreeSet<_>>(), documented.iter().map(String::as_str).collect());
}

#[test]
fn processes_that_start_at_once_share_one_development_secret() {
    let folder = Folder::new();
    let secrets: BTreeSet<String> = thread::scope(|scope| {
        let starts: Vec<_> = (0..16).map(|_| scope.spawn(|| folder.load(&[]).expect("valid").secret_key)).collect();
        starts.into_iter().map(|start| start.join().expect("no panic").expose_secret().to_owned()).collect()
    });
    assert_eq!(secrets.len(), 1);
    let kept: Vec<_> =
        fs::read_dir(folder.0.join("data")).expect("a folder").map(|entry| entry.expect("an entry")).collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].file_name(), "dev-secret.key");
    assert_eq!(kept[0].metadata().expect("metadata").permissions().mode() & 0o777, 0o600);
    assert!(secrets.first().is_some_and(|secret| secret.starts_with("development-only-") && secret.len() > 32));

    fs::write(kept[0].path(), "x").expect("written");
    assert!(folder.load(&[]).expect_err("damaged").to_string().contains("delete it to get a new one"));
    let given = folder.load(&[("TENANTRY_SECRET_KEY", SECRET)]).expect("the file is not read");
    assert_eq!(given.secret_key.expose_secret(), SECRET);
}
