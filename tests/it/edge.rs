//! What every answer carries and every request passes: headers, ids, limits, CORS, the description of the API, metrics.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Database, Product, Settings, answer, names, signup_body};

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers.get(name).map_or("", |value| value.to_str().expect("text"))
}

/// A product that is called by its public URL.
async fn called_by_name(database: Database, settings: Settings) -> Product {
    Product::start_with(database, settings.with("TENANTRY_PUBLIC_URL", "http://127.0.0.1:8080")).await
}

const HSTS_OPERATOR: &str = "max-age=31536000; includeSubDomains; preload";

#[track_caller]
fn is_secure(answer: &Answer, hsts: &str) {
    for (name, value) in [
        ("strict-transport-security", hsts),
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "strict-origin-when-cross-origin"),
    ] {
        assert_eq!(header(answer, name), value, "{name} of {}", answer.status);
        assert_eq!(answer.headers.get_all(name).iter().count(), 1, "{name} once");
    }
    let policy = header(answer, "content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(!header(answer, "x-request-id").is_empty());
}

on_both! {
    async fn every_answer_is_secured(database: Database) {
        let product = called_by_name(database, Settings::default()).await;
        for (path, status) in [
            ("/", 200),
            ("/healthz", 200),
            ("/public/plans", 200),
            ("/openapi.json", 200),
            ("/docs", 200),
            ("/docs/swagger-ui.css", 200),
            ("/docs/swagger-ui-bundle.js", 200),
            ("/docs/start.js", 200),
            ("/assets/tenantry.css", 200),
            ("/assets/icon.svg", 200),
            ("/dev/mailbox", 200),
            ("/metrics", 200),
            ("/.well-known/jwks.json", 200),
            ("/nope", 404),
            ("/assets/nope", 404),
            ("/public/storefronts/nope", 404),
            ("/public/signup", 401),
            ("/api/v1/admin/tenants", 401),
            ("/public/signup/start", 405),
            ("/magic-link", 400),
        ] {
            let answer = product.get(path).await;
            assert_eq!(answer.status, status, "{path}: {}", answer.text);
            is_secure(&answer, HSTS_OPERATOR);
        }
        let refused = product.post("/public/signup/start", &json!({})).await;
        assert_eq!(refused.status, 422);
        is_secure(&refused, HSTS_OPERATOR);
        let malformed = answer(product.request(Method::POST, "/public/signup/start").body("{")).await;
        is_secure(&malformed, HSTS_OPERATOR);
        let preflight = product.call(Method::OPTIONS, "/public/plans", None, None, &[("origin", "http://localhost:3000"), ("access-control-request-method", "GET")]).await;
        is_secure(&preflight, HSTS_OPERATOR);
    }
}

on_both! {
    async fn hsts_speaks_for_the_operators_domain_or_for_one_hostname(database: Database) {
        let product = Product::start_with(database, Settings::default().with("TENANTRY_BASE_DOMAIN", "tenants.example")).await;
        product.settle("Acme", "free").await;
        for (host, path, status, hsts) in [
            ("localhost:8080", "/", 200, HSTS_OPERATOR),
            ("LOCALHOST", "/", 200, HSTS_OPERATOR),
            ("tenants.example", "/", 200, HSTS_OPERATOR),
            ("acme.tenants.example", "/", 200, "max-age=31536000"),
            ("acme.tenants.example:443", "/nope", 404, "max-age=31536000"),
            ("none.tenants.example", "/", 404, "max-age=31536000"),
            ("www.customer.example", "/nope", 404, "max-age=31536000"),
        ] {
            let answer = product.call(Method::GET, path, None, None, &[("host", host)]).await;
            assert_eq!(answer.status, status, "{host}");
            is_secure(&answer, hsts);
        }
    }
}

on_both! {
    async fn failures_of_the_database_tell_nothing(database: Database) {
        let product = called_by_name(database, Settings::default()).await;
        product.database.execute("alter table plan_limits rename to plan_limits_gone").await;
        let failed = product.get("/public/plans").await;
        is_secure(&failed, HSTS_OPERATOR);
        let problem = failed.expect_problem(500, "INTERNAL");
        let told = problem.to_string().to_lowercase();
        for inside in ["plan_limits", "sql", "relation", "table", "select"] {
            assert!(!told.contains(inside), "{problem}");
        }
        product.get("/healthz").await.expect(200);
    }
}

on_both! {
    async fn request_ids_come_back_where_they_are_plain(database: Database) {
        let product = Product::start(database).await;
        let send = async |id: &str| product.call(Method::GET, "/nope", None, None, &[("x-request-id", id)]).await;
        for id in ["a", "trace-1.2:3_4", &"r".repeat(128)] {
            let answer = send(id).await;
            assert_eq!(header(&answer, "x-request-id"), id);
            assert_eq!(answer.body["request_id"], id);
        }
        let mut made = BTreeSet::new();
        for id in ["", "with space", "<script>", "a\"b", &"r".repeat(129)] {
            let answer = send(id).await;
            let own = header(&answer, "x-request-id").to_owned();
            assert!(own != id && own.parse::<uuid::Uuid>().is_ok(), "{own}");
            assert_eq!(answer.body["request_id"], own);
            made.insert(own);
        }
        assert_eq!(made.len(), 5, "each its own");
    }
}

on_both! {
    async fn browsers_of_listed_origins_may_call(database: Database) {
        let product = Product::start_with(database, Settings::default().with("TENANTRY_HTTP__CORS_ORIGINS", "https://app.example.com,https://two.example.com")).await;
        let ask = async |origin: &str| {
            let asked = [("origin", origin), ("access-control-request-method", "POST"), ("access-control-request-headers", "authorization,idempotency-key,content-type")];
            product.call(Method::OPTIONS, "/public/signup/start", None, None, &asked).await
        };
        for origin in ["https://app.example.com", "https://two.example.com"] {
            let allowed = ask(origin).await;
            assert_eq!(header(&allowed, "access-control-allow-origin"), origin);
            assert!(header(&allowed, "access-control-allow-methods").contains("POST"));
            assert!(header(&allowed, "access-control-allow-headers").contains("idempotency-key"));
            let answer = product.call(Method::GET, "/public/plans", None, None, &[("origin", origin)]).await;
            assert_eq!(header(&answer, "access-control-allow-origin"), origin);
            assert!(header(&answer, "access-control-expose-headers").contains("x-request-id"));
            assert!(header(&answer, "vary").to_lowercase().contains("origin"));
            let refused = product.call(Method::POST, "/public/signup/start", None, Some(&json!({})), &[("origin", origin)]).await;
            assert_eq!(header(&refused, "access-control-allow-origin"), origin, "problems too");
        }
        for origin in ["https://evil.example", "http://app.example.com", "https://app.example.com.evil.example", "null", "http://localhost:3000"] {
            for answer in [ask(origin).await, product.call(Method::GET, "/public/plans", None, None, &[("origin", origin)]).await] {
                assert_eq!(header(&answer, "access-control-allow-origin"), "", "{origin}");
                assert_eq!(header(&answer, "access-control-allow-credentials"), "");
            }
        }
    }
}

on_both! {
    async fn a_trailing_slash_changes_nothing(database: Database) {
        let product = Product::start(database).await;
        for path in ["/public/plans", "/healthz", "/readyz", "/health", "/metrics", "/docs", "/openapi.json", "/dev/mailbox.json", "/.well-known/jwks.json"] {
            let (plain, slash) = (product.get(path).await, product.get(&format!("{path}/")).await);
            assert_eq!((plain.status.as_u16(), slash.status.as_u16()), (200, 200), "{path}");
        }
        product.post("/public/signup/start/", &signup_body("Acme", "starter")).await.expect(201);
        product.get("/public/plans/?x=1").await.expect(200);
    }
}

on_both! {
    async fn the_body_limit_is_the_operators(database: Database) {
        let product = called_by_name(database, Settings::default().with("TENANTRY_HTTP__BODY_LIMIT", "2000")).await;
        let body = |length: usize| json!({"email": "a".repeat(length)});
        product.post("/public/signup/start", &body(1900)).await.expect_problem(422, "VALIDATION_FAILED");
        let too_large = product.post("/public/signup/start", &body(2000)).await;
        is_secure(&too_large, HSTS_OPERATOR);
        too_large.expect_problem(413, "PAYLOAD_TOO_LARGE");
    }
}

on_both! {
    async fn the_plans_are_as_the_contract_lists_them(database: Database) {
        let product = Product::start(database).await;
        let plans = product.get("/public/plans").await.expect(200);
        let plans = plans["data"].as_array().unwrap();
        let expected = [
            ("free", 0, 1_000, 0, [1, 1, 1]),
            ("starter", 2_900, 5_000, 14, [3, 3, 5]),
            ("growth", 7_900, 20_000, 14, [10, 10, 10]),
            ("pro", 14_900, 50_000, 14, [25, 25, 0]),
            ("scale", 39_900, 200_000, 14, [100, 100, 0]),
            ("enterprise", 0, 0, 0, [0, 0, 0]),
        ];
        assert_eq!(plans.len(), expected.len());
        for (plan, (slug, price, credits, trial, [users, sites, sectors])) in plans.iter().zip(expected) {
            assert_eq!(plan["slug"], slug);
            assert_eq!(plan["price"], json!({"amount": price, "currency": "USD"}));
            assert_eq!(plan["interval"], "month");
            assert_eq!((&plan["included_credits"], &plan["trial_days"]), (&json!(credits), &json!(trial)));
            assert_eq!(plan["limits"], json!({"max_users": users, "max_sites": sites, "max_sectors_per_site": sectors}));
            assert_eq!(plan["contact_sales"], slug == "enterprise");
            assert!(plan["features"].is_object() && plan["name"].is_string());
        }
    }
}

/// Every call of the contract that belongs to this part.
const CALLS: [(&str, &str); 40] = [
    ("get", "/public/plans"),
    ("post", "/public/signup/start"),
    ("post", "/public/signup/brand"),
    ("post", "/public/signup/starter/make"),
    ("post", "/public/signup/pro/confirm"),
    ("post", "/public/signup/finish"),
    ("get", "/public/signup"),
    ("post", "/public/contact-sales"),
    ("get", "/public/storefronts/{slug}"),
    ("get", "/api/v1/tenants/{id}/provision-status"),
    ("get", "/api/v1/tenants/{id}/provision-events"),
    ("post", "/api/v1/tenants/{id}/provision-retry"),
    ("post", "/api/v1/provision-callbacks/{step_token}"),
    ("post", "/api/v1/auth/refresh"),
    ("post", "/api/v1/auth/logout"),
    ("get", "/api/v1/auth/me"),
    ("patch", "/api/v1/auth/me"),
    ("get", "/api/v1/auth/sessions"),
    ("delete", "/api/v1/auth/sessions/{id}"),
    ("post", "/api/v1/auth/email/verify"),
    ("post", "/api/v1/auth/email/resend"),
    ("post", "/api/v1/auth/magic-link"),
    ("post", "/api/v1/auth/magic-link/verify"),
    ("get", "/.well-known/jwks.json"),
    ("get", "/.well-known/openid-configuration"),
    ("get", "/api/v1/admin/tenants"),
    ("get", "/api/v1/admin/tenants/{id}"),
    ("post", "/api/v1/admin/onboard"),
    ("post", "/api/v1/admin/tenants/{id}/provision-retry"),
    ("get", "/api/v1/admin/plans"),
    ("get", "/api/v1/admin/feature-flags"),
    ("put", "/api/v1/admin/feature-flags/{name}"),
    ("get", "/api/v1/admin/audit-events"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/health"),
    ("get", "/metrics"),
    ("get", "/dev/mailbox.json"),
    ("delete", "/dev/mailbox.json"),
    ("post", "/dev/clock/advance"),
];

on_both! {
    async fn the_description_lists_every_call(database: Database) {
        let product = Product::start(database).await;
        let document = product.get("/openapi.json").await.expect(200);
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        for (method, path) in CALLS {
            let operation = &document["paths"][path][method];
            assert!(operation.is_object(), "{method} {path} is described");
            assert!(operation["operationId"].is_string() && operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}");
            let responses = operation["responses"].as_object().unwrap();
            for (status, response) in responses.iter().filter(|(status, _)| status.starts_with(['4', '5'])) {
                // `/health` answers 503 with what it knows.
                let is_problem = response["content"]["application/problem+json"].is_object();
                assert!(is_problem || path == "/health", "{method} {path} {status}");
            }
        }
        let operations = document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values());
        let ids: Vec<_> = operations.filter_map(|operation| operation["operationId"].as_str()).collect();
        let mut seen = BTreeSet::new();
        let twice: Vec<_> = ids.iter().filter(|id| !seen.insert(**id)).collect();
        assert!(twice.is_empty(), "operationId names one operation (OpenAPI 3.1, 4.8.10): {twice:?}");
    }
}

on_both! {
    async fn the_documentation_comes_from_the_binary(database: Database) {
        let product = Product::start(database).await;
        let page = product.get("/docs").await;
        assert!(header(&page, "content-type").starts_with("text/html"));
        assert!(!page.text.contains("://") && !page.text.contains("<script>") && !page.text.contains("style="), "{}", page.text);
        let links = page.text.split(['"', '\'']).filter(|part| part.starts_with("/docs/")).collect::<Vec<_>>();
        assert!(links.len() >= 3, "{}", page.text);
        for link in links {
            let file = product.get(link).await;
            assert_eq!(file.status, 200, "{link}");
            assert_ne!(header(&file, "content-type"), "application/octet-stream", "{link}");
        }
        let front = product.get("/").await;
        for link in ["/docs", "/dev/mailbox", "/public/plans"] {
            assert!(front.text.contains(&format!("href=\"{link}\"")), "{link}");
        }
        assert!(front.text.contains("curl ") && !front.text.contains("<script"));
    }
}

/// The value of a metric's line.
fn value(text: &str, line: &str) -> Option<f64> {
    text.lines().find_map(|l| l.strip_prefix(line)?.trim().parse().ok())
}

on_both! {
    async fn metrics_count_what_was_done(database: Database) {
        let product = Product::start(database).await;
        product.settle("Acme", "starter").await;
        let mut bad = signup_body("Other", "starter");
        bad["slug"] = json!("www");
        product.post("/public/signup/start", &bad).await.expect_problem(422, "VALIDATION_FAILED");
        let text = product.get("/metrics").await.text;
        assert!(text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).all(|line| line.starts_with("tenantry_")), "{text}");
        assert_eq!(value(&text, r#"tenantry_signups_total{door="wizard",outcome="created"}"#), Some(1.0), "{text}");
        assert_eq!(value(&text, r#"tenantry_signups_total{door="wizard",outcome="refused"}"#), Some(1.0), "{text}");
        assert!(text.contains("# TYPE tenantry_provision_run_seconds histogram"), "{text}");
        assert!(text.contains("tenantry_provision_run_seconds_count"), "{text}");
        assert!(text.contains("tenantry_http_request_seconds_bucket"), "{text}");
        for queue in ["provisioning", "outbox"] {
            assert!(text.contains(&format!("tenantry_queue_depth{{queue=\"{queue}\"}}")), "{text}");
        }
        for invariant in ["tenants_without_one_owner", "users_without_membership", "tenants_without_subscription", "balances_off_ledger", "runs_stuck", "subscriptions_without_plan"] {
            let line = format!("tenantry_invariant_violations{{name=\"{invariant}\"}}");
            assert_eq!(value(&text, &line), Some(0.0), "{line}");
        }
    }
}

on_both! {
    async fn health_tells_how_it_is(database: Database) {
        let product = Product::start(database).await;
        assert_eq!(product.get("/healthz").await.text, "ok");
        assert_eq!(product.get("/readyz").await.text, "ready");
        let health = product.get("/health").await.expect(200);
        assert_eq!(names(&health), ["database", "queue", "status", "version"]);
        assert_eq!((&health["status"], &health["version"]), (&json!("ok"), &json!(env!("CARGO_PKG_VERSION"))));
        assert_eq!(health["queue"], json!({"provisioning": 0, "outbox": 0}));
        product.database.execute("delete from seaql_migrations where version = '0002_default_plans'").await;
        let unready = product.get("/readyz").await;
        assert!(unready.headers.contains_key("retry-after"));
        unready.expect_problem(503, "SERVICE_UNAVAILABLE");
    }
}

on_both! {
    async fn queries_are_checked(database: Database) {
        let product = Product::start(database).await;
        for query in ["limit=0", "limit=201", "limit=x", "cursor=!!", "x=1", "limit=-1"] {
            for list in ["tenants", "audit-events"] {
                let refused = product.admin_get(&format!("/{list}?{query}")).await;
                let problem = refused.expect_problem(422, "VALIDATION_FAILED");
                assert_ne!(problem["errors"], Value::Null, "{query}");
            }
        }
    }
}
