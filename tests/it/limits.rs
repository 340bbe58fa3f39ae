//! How often one network may call: which routes are limited, and that nothing leads past it.

use std::{fs, path::Path};

use reqwest::Method;
use serde_json::json;

use crate::support::{ADMIN_TOKEN, Answer, Browser, Database, Kind, Product, Settings, answer, signup_body, text};

const LOGIN: &str = "/api/v1/auth/login";

/// Limits are on, and a request's network is what `X-Forwarded-For` says.
fn limited(sizes: &[(&str, u32)]) -> Settings {
    let settings = Settings::default()
        .with("TENANTRY_RATE_LIMIT__ENABLED", "true")
        .with("TENANTRY_HTTP__TRUSTED_PROXIES", "127.0.0.1");
    sizes.iter().fold(settings, |settings, (kind, size)| {
        settings.with(&format!("TENANTRY_RATE_LIMIT__{}", kind.to_uppercase()), &size.to_string())
    })
}

const ONE_OF_EACH: [(&str, u32); 5] = [("log_in", 1), ("sign_up", 1), ("mail", 1), ("tokens", 1), ("admin", 1)];

/// Sends nothing of use from a network.
async fn knock(product: &Product, method: &Method, path: &str, network: &str) -> Answer {
    let mut request = product.request(method.clone(), path).header("x-forwarded-for", network);
    if *method != Method::GET {
        request = request.json(&json!({}));
    }
    answer(request).await
}

fn network(n: usize) -> String {
    format!("198.51.{}.{}", n / 250, n % 250 + 1)
}

fn retry_after(answer: &Answer) -> i64 {
    answer.headers["retry-after"].to_str().unwrap().parse().unwrap()
}

/// A route with something in the place of its parameters.
fn filled(route: &str) -> String {
    let parts = route.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// Holds a route to having a limiter, however its address is spelled.
async fn assert_limited(product: &Product, method: &Method, route: &str, n: usize) {
    let (path, from) = (filled(route), network(n));
    assert_ne!(knock(product, method, &path, &from).await.status, 429, "{method} {route}: the first");
    let second = knock(product, method, &path, &from).await;
    assert!((1..=60).contains(&retry_after(&second)), "{method} {route}");
    second.expect_problem(429, "RATE_LIMITED");
    for same in [format!("{path}/"), format!("{path}?x=1")] {
        knock(product, method, &same, &from).await.expect_problem(429, "RATE_LIMITED");
    }
    // What the client says of itself counts for nothing before what the proxy says.
    knock(product, method, &path, &format!("203.0.113.{}, {from}", n % 250)).await.expect_problem(429, "RATE_LIMITED");
    let (start, last) = path.rsplit_once('/').unwrap();
    for other in
        [path.to_uppercase(), format!("{start}/%{:02x}{}", last.as_bytes()[0], &last[1..]), format!("{start}//{last}")]
    {
        let status = knock(product, method, &other, &from).await.status;
        assert!([404, 405, 429].contains(&status.as_u16()), "{method} {other} is answered {status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_that_takes_a_secret_or_sends_a_mail_has_a_limiter() {
    let product = Product::start_with(Database::create(Kind::Sqlite).await, limited(&ONE_OF_EACH)).await;
    let document = product.get("/openapi.json").await.expect(200);
    let guarded = |path: &str| {
        ["/api/v1/auth/", "/public/", "/api/v1/invites/", "/api/v1/tenants/me/invites", "/api/v1/billing/"]
            .iter()
            .any(|start| path.starts_with(start))
            // Machines charge credits, as often as they like.
            && path != "/api/v1/billing/credits/consume"
    };
    let mut n = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in ["post", "put", "patch", "delete"]
            .iter()
            .filter(|method| guarded(path) && operations.get(**method).is_some())
        {
            n += 1;
            assert!(operations[*method]["responses"]["429"].is_object(), "{path} tells nothing of its limit");
            assert_limited(&product, &method.to_uppercase().parse().unwrap(), path, n).await;
        }
    }
    for path in ["/api/v1/auth/oauth/{provider}/start", "/api/v1/auth/oauth/{provider}/callback"] {
        if document["paths"].get(path).is_some() {
            n += 1;
            assert_limited(&product, &Method::GET, path, n).await;
        }
    }
    assert!(n >= 15, "only {n} routes");
}

/// Forms that take no secret and send no mail, or that only operators and developers see.
const UNLIMITED_FORMS: [&str; 10] = [
    "/signout",
    "/admin/signups",
    "/admin/signout",
    "/admin/onboard",
    "/admin/invoices/{id}/mark-paid",
    "/admin/stripe-events/{id}/replay",
    "/admin/sales-leads/{id}",
    "/admin/tenants/{slug}/retry",
    "/dashboard/retry",
    "/dev/mailbox/empty",
];

/// The routes of the source whose forms are taken.
fn forms(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("the source is there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            forms(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("readable");
            let routes =
                text.split(".route(").skip(1).filter(|route| route.split(';').next().unwrap().contains("post("));
            found.extend(routes.filter_map(|route| route.split('"').nth(1)).map(str::to_owned));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_that_takes_a_secret_or_sends_a_mail_has_a_limiter() {
    let product = Product::start_with(Database::create(Kind::Sqlite).await, limited(&ONE_OF_EACH)).await;
    let mut found = Vec::new();
    forms(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    // The sandbox takes play money, on one person's machine.
    found.retain(|route| !UNLIMITED_FORMS.contains(&route.as_str()) && !route.starts_with("/sandbox/"));
    assert!(found.iter().any(|route| route == "/signin") && found.len() >= 10, "{found:?}");
    for (n, route) in found.iter().enumerate() {
        assert_limited(&product, &Method::POST, route, n).await;
    }
}

on_both! {
    async fn a_page_and_its_call_share_a_bucket_and_a_refusal_costs_no_query(database: Database) {
        let product = Product::start_with(database, limited(&[("log_in", 2)])).await;
        let wrong = json!({"email": "ada@example.com", "password": "wrong-horse-battery"});
        let mut browser = Browser::new(&product);
        browser.go("/signin").await;
        let form = browser.form("/signin").fill("email", "ada@example.com").fill("password", "wrong-horse-battery");
        browser.send(&form).await;
        assert_eq!(browser.status, 401);
        product.post(LOGIN, &wrong).await.expect_problem(401, "INVALID_CREDENTIALS");
        product.post(LOGIN, &wrong).await.expect_problem(429, "RATE_LIMITED");
        browser.send(&form).await;
        assert_eq!((browser.status.as_u16(), browser.headers["retry-after"].to_str().unwrap().len()), (429, 2));
        assert!(browser.html.contains("That was a little too fast"), "{}", browser.html);
        assert_eq!(product.database.count("select cast(sum(failures) as bigint) as n from attempts where failures > 1").await, 4, "two tries, of two counters");
        product.advance(60).await;
        product.post(LOGIN, &wrong).await.expect_problem(401, "INVALID_CREDENTIALS");
    }
}

on_both! {
    async fn a_mail_asked_for_on_the_sign_in_page_counts_as_one(database: Database) {
        let product = Product::start_with(database, limited(&[("mail", 1)])).await;
        let mut browser = Browser::new(&product);
        browser.go("/signin").await;
        let form = browser.form("/signin").fill("email", "ada@example.com").fill("link", "1");
        browser.send(&form).await;
        assert_eq!(browser.status, 200);
        browser.send(&form).await;
        assert_eq!(browser.status, 429);
        product.post("/api/v1/auth/password/forgot", &json!({"email": "ada@example.com"})).await.expect_problem(429, "RATE_LIMITED");
    }
}

on_both! {
    async fn wrong_admin_tokens_shut_their_network_out_for_a_while(database: Database) {
        let product = Product::start_with(database, limited(&[("admin", 3)])).await;
        let list = |token: &str, from: &str| {
            let request = product.request(Method::GET, "/api/v1/admin/tenants").bearer_auth(token).header("x-forwarded-for", from);
            answer(request)
        };
        for n in 0..9 {
            list(ADMIN_TOKEN, "203.0.113.1").await.expect(200);
            if n < 4 {
                list("a-guess", "203.0.113.2").await.expect_problem(401, "UNAUTHENTICATED");
            }
        }
        // From there not even the right one is listened to, or guessing would go on.
        let refused = list(ADMIN_TOKEN, "203.0.113.2").await;
        let wait = retry_after(&refused);
        assert!((1..=20).contains(&wait), "{wait}");
        refused.expect_problem(429, "RATE_LIMITED");
        knock(&product, &Method::POST, "/admin/signin", "203.0.113.2").await.expect_problem(429, "RATE_LIMITED");
        list(ADMIN_TOKEN, "203.0.113.1").await.expect(200);
        product.advance(wait).await;
        list(ADMIN_TOKEN, "203.0.113.2").await.expect(200);
    }
}

on_both! {
    async fn a_forged_forwarded_for_and_other_addresses_of_one_network_are_one(database: Database) {
        let untrusting = limited(&[("sign_up", 2)]).with("TENANTRY_HTTP__TRUSTED_PROXIES", "");
        let direct = Product::start_with(database.shared(), untrusting).await;
        for (n, status) in [201, 201, 429].into_iter().enumerate() {
            let request = direct.request(Method::POST, "/public/signup/start").header("x-forwarded-for", network(n));
            let answered = answer(request.json(&signup_body(&format!("Acme {n}"), "free"))).await;
            assert_eq!(answered.status, status, "{}", answered.text);
        }
        let product = Product::start_with(database, limited(&[("log_in", 2)])).await;
        for (from, status) in [
            ("2001:db8:1:2::1", 422),
            ("2001:db8:1:2:ffff:ffff:ffff:ffff", 422),
            ("2001:db8:1:2:3::", 429),
            ("2001:db8:1:3::1", 422),
            ("::ffff:203.0.113.7", 422),
            ("203.0.113.7", 422),
            ("203.0.113.7", 429),
        ] {
            assert_eq!(knock(&product, &Method::POST, LOGIN, from).await.status, status, "{from}");
        }
    }
}

on_both! {
    async fn what_is_not_limited_goes_on(database: Database) {
        let product = Product::start_with(database, limited(&ONE_OF_EACH)).await;
        let started = product.sign_up("Acme", "free").await;
        let token = text(&started["token"]);
        for _ in 0..5 {
            product.get_as(&token, "/public/signup").await.expect(200);
            product.get("/public/plans").await.expect(200);
            assert_eq!(product.get("/signin").await.status, 200);
        }
    }
}
