//! Reads each section of the configuration, and works out what follows from something else.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use lettre::message::Mailbox;
use secrecy::SecretString;
use url::{Host, Url};

use super::{
    AppsScript, Billing, Config, Environment, Http, Identity, Log, OauthProvider, Password, Provision, RateLimit,
    SigningKeys, Signup, Smtp, Stripe, Traces, Worker, dev_secret,
    reader::Reader,
    values::{
        BIND, COUNT, DATABASE_URL, DAYS, DOMAIN, DURATION, ENVIRONMENT, FLAG, FOLDER, HOST_PATTERN, LINE, LOG_FORMAT,
        MAILBOX, NETWORK, ORIGIN, PUBLIC_URL, SCORE, SECRET, SIZE, SMTP_URL, TEXT, TIME_SPAN, URL,
    },
};

impl Environment {
    /// Every environment.
    pub const ALL: [Self; 3] = [Self::Development, Self::Preview, Self::Production];

    /// As it is written in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Preview => "preview",
            Self::Production => "production",
        }
    }

    /// Whether this is one person's machine.
    pub const fn is_development(self) -> bool {
        matches!(self, Self::Development)
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Config {
    /// Reads all sections. Problems are left in `reader`, with something harmless in the value's place.
    pub(super) fn read(reader: &mut Reader, cwd: &Path) -> Self {
        let http = Http::read(reader);
        let public_url = public_url(reader, http.bind);
        let base_domain = base_domain(reader, &public_url);
        let data_dir = cwd.join(reader.required("data_dir", &FOLDER)).components().collect::<PathBuf>();
        let stripe = Stripe::read(reader);
        Self {
            environment: reader.required("environment", &ENVIRONMENT),
            database_url: reader.optional("database_url", &DATABASE_URL),
            database_connections: reader.required("database_connections", &COUNT),
            secret_key: secret_key(reader, &data_dir),
            secret_key_previous: reader.optional("secret_key_previous", &SECRET),
            admin_token: reader.optional("admin_token", &SECRET),
            signup: Signup::read(reader),
            provision: Provision::read(reader),
            rate_limit: RateLimit::read(reader),
            keys: SigningKeys { rotate_after: reader.required("keys.rotate_after", &DURATION) },
            billing: Billing::read(reader, &stripe),
            apps_script: AppsScript::read(reader),
            log: Log { format: reader.required("log.format", &LOG_FORMAT) },
            traces: Traces { endpoint: reader.optional("traces.endpoint", &URL) },
            smtp: Smtp::read(reader, &base_domain),
            oauth: oauth(reader),
            identity: Identity {
                names_providers: reader.required("identity.names_providers", &FLAG),
                verification_grace: reader.required("identity.verification_grace", &DURATION),
            },
            password: Password::read(reader),
            worker: Worker::read(reader),
            http,
            public_url,
            data_dir,
            base_domain,
            stripe,
            rows: Vec::new(),
        }
    }
}

fn public_url(reader: &mut Reader, bind: SocketAddr) -> Url {
    let local = Url::parse(&format!("http://localhost:{}", bind.port())).expect("a port makes a URL");
    reader.optional("public_url", &PUBLIC_URL).unwrap_or_else(|| {
        reader.derived("public_url", local.as_str(), "http.bind");
        local
    })
}

fn base_domain(reader: &mut Reader, public_url: &Url) -> String {
    reader.optional("base_domain", &DOMAIN).unwrap_or_else(|| {
        // An IP address has no names below it; localhost has, on every machine (RFC 6761, 6.3).
        let host = match public_url.host() {
            Some(Host::Domain(domain)) => domain.to_owned(),
            _ => "localhost".to_owned(),
        };
        reader.derived("base_domain", &host, "public_url");
        host
    })
}

fn secret_key(reader: &mut Reader, data_dir: &Path) -> SecretString {
    let given = reader.optional("secret_key", &SECRET);
    if given.is_some() || !reader.environment().is_development() {
        return given.unwrap_or_default();
    }
    let path = data_dir.join(dev_secret::FILE);
    reader.derived("secret_key", "********", &path.display().to_string());
    dev_secret::read_or_create(&path).unwrap_or_else(|problem| {
        reader.problem(problem);
        SecretString::default()
    })
}

fn oauth(reader: &mut Reader) -> BTreeMap<String, OauthProvider> {
    let mut providers = BTreeMap::new();
    for name in reader.tables("oauth") {
        let key = |field: &str| format!("oauth.{name}.{field}");
        let id = reader.optional(&key("client_id"), &TEXT);
        let secret = reader.optional(&key("client_secret"), &SECRET);
        let issuer = reader.optional(&key("issuer"), &URL);
        match (id, secret, issuer) {
            (Some(client_id), Some(client_secret), Some(issuer)) => {
                drop(providers.insert(name, OauthProvider { client_id, client_secret, issuer }));
            }
            (None, None, _) if ["google", "microsoft"].contains(&name.as_str()) => {}
            (id, secret, issuer) => {
                let given =
                    [("client_id", id.is_some()), ("client_secret", secret.is_some()), ("issuer", issuer.is_some())];
                for (field, _) in given.into_iter().filter(|(_, given)| !given) {
                    let missing = reader.name(&key(field));
                    reader.problem(format!("{missing} must be set as well, for sign-in through {name} needs it"));
                }
            }
        }
    }
    providers
}

impl Http {
    fn read(reader: &mut Reader) -> Self {
        Self {
            bind: reader.required("http.bind", &BIND),
            cors_origins: reader.list("http.cors_origins", &ORIGIN),
            trusted_proxies: reader.list("http.trusted_proxies", &NETWORK),
            body_limit: reader.required("http.body_limit", &SIZE),
            header_timeout: reader.required("http.header_timeout", &TIME_SPAN),
            keep_alive: reader.required("http.keep_alive", &TIME_SPAN),
            request_timeout: reader.required("http.request_timeout", &TIME_SPAN),
        }
    }
}

impl Signup {
    fn read(reader: &mut Reader) -> Self {
        Self {
            self_serve_enabled: reader.required("signup.self_serve_enabled", &FLAG),
            token_ttl: reader.required("signup.token_ttl", &TIME_SPAN),
            abandoned_after: reader.required("signup.abandoned_after", &TIME_SPAN),
            fail_open: reader.required("signup.fail_open", &FLAG),
        }
    }
}

impl Provision {
    fn read(reader: &mut Reader) -> Self {
        Self {
            dry_run: reader.required("provision.dry_run", &FLAG),
            strict_webhooks: reader.required("provision.strict_webhooks", &FLAG),
            webhook_hosts: reader.list("provision.webhook_hosts", &HOST_PATTERN),
            allow_private_addresses: reader.required("provision.allow_private_addresses", &FLAG),
            app_url: reader.optional("provision.app_url", &URL),
            app_secret: reader.optional("provision.app_secret", &SECRET),
            lease: reader.required("provision.lease", &TIME_SPAN),
            step_timeout: reader.required("provision.step_timeout", &TIME_SPAN),
            callback_timeout: reader.required("provision.callback_timeout", &TIME_SPAN),
            max_attempts: reader.required("provision.max_attempts", &COUNT),
            backoff_base: reader.required("provision.backoff_base", &TIME_SPAN),
            backoff_cap: reader.required("provision.backoff_cap", &TIME_SPAN),
        }
    }
}

impl RateLimit {
    fn read(reader: &mut Reader) -> Self {
        Self {
            enabled: reader.required("rate_limit.enabled", &FLAG),
            log_in: reader.required("rate_limit.log_in", &COUNT),
            sign_up: reader.required("rate_limit.sign_up", &COUNT),
            mail: reader.required("rate_limit.mail", &COUNT),
            tokens: reader.required("rate_limit.tokens", &COUNT),
            admin: reader.required("rate_limit.admin", &COUNT),
        }
    }
}

impl Billing {
    fn read(reader: &mut Reader, stripe: &Stripe) -> Self {
        let sandbox = reader.optional("billing.sandbox", &FLAG).unwrap_or_else(|| {
            let sandbox = reader.environment().is_development() && stripe.secret_key.is_none();
            reader.derived("billing.sandbox", &sandbox.to_string(), "environment and stripe.secret_key");
            sandbox
        });
        Self {
            trial_days: reader.optional("billing.trial_days", &DAYS),
            sandbox,
            past_due_grace: reader.required("billing.past_due_grace", &DURATION),
            reconcile_every: reader.required("billing.reconcile_every", &TIME_SPAN),
            issuer: reader.lines("billing.issuer", &LINE),
            bank_details: reader.lines("billing.bank_details", &LINE),
        }
    }
}

impl Stripe {
    fn read(reader: &mut Reader) -> Self {
        Self {
            secret_key: reader.optional("stripe.secret_key", &SECRET),
            webhook_secret: reader.optional("stripe.webhook_secret", &SECRET),
            api_base: reader.required("stripe.api_base", &URL),
        }
    }
}

impl AppsScript {
    fn read(reader: &mut Reader) -> Self {
        Self {
            enabled: reader.required("apps_script.enabled", &FLAG),
            api_base: reader.required("apps_script.api_base", &URL),
            token: reader.optional("apps_script.token", &SECRET),
        }
    }
}

impl Smtp {
    fn read(reader: &mut Reader, base_domain: &str) -> Self {
        let from = reader.optional("smtp.from", &MAILBOX).unwrap_or_else(|| {
            // A host such as `my_app` can have a URL, but no mail.
            let domain = (DOMAIN.parse)(base_domain).unwrap_or_else(|| "localhost".to_owned());
            let address = lettre::Address::new("no-reply", domain).expect("a domain makes an address");
            let from = Mailbox::new(Some("Tenantry".to_owned()), address);
            reader.derived("smtp.from", &from.to_string(), "base_domain");
            from
        });
        Self { url: reader.optional("smtp.url", &SMTP_URL), from }
    }
}

impl Password {
    fn read(reader: &mut Reader) -> Self {
        let read = Self {
            min_length: reader.required("password.min_length", &SIZE),
            min_score: reader.required("password.min_score", &SCORE),
            refuse_common: reader.required("password.refuse_common", &FLAG),
            memory_kib: reader.required("password.memory_kib", &COUNT),
            iterations: reader.required("password.iterations", &COUNT),
            parallelism: reader.required("password.parallelism", &COUNT),
        };
        if !reader.required("bench_cheap_hash", &FLAG) {
            return read;
        }
        if !cfg!(feature = "bench") {
            let name = reader.name("bench_cheap_hash");
            reader.problem(format!("{name} works in builds with the feature \"bench\" only; unset it"));
        }
        // The least that Argon2 takes (RFC 9106, 3.1).
        let cheapest = Self { memory_kib: 8, iterations: 1, parallelism: 1, ..read };
        for (key, value) in [("memory_kib", 8), ("iterations", 1), ("parallelism", 1)] {
            reader.derived(&format!("password.{key}"), &value.to_string(), "bench_cheap_hash");
        }
        cheapest
    }
}

impl Worker {
    fn read(reader: &mut Reader) -> Self {
        Self {
            concurrency: reader.required("worker.concurrency", &SIZE),
            poll: reader.required("worker.poll", &TIME_SPAN),
        }
    }
}
