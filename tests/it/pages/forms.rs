//! What holds for every form and page: where they may come from, what they may carry, and at which address they are.

use reqwest::Method;
use serde_json::json;

use super::{TENANTS, begin, is_at, shows};
use crate::support::{Browser, Database, Kind, Product, Settings};

on_both! {
    async fn a_form_that_is_not_from_our_page_does_nothing(database: Database) {
        let product = Product::start(database).await;
        let mut browser = Browser::new(&product);
        browser.go("/onboarding").await;
        let form = browser.form("/onboarding").fill("email", "ada@example.com").fill("tenant_name", "Acme");
        let form = form.fill("password", "correct-horse-battery");
        let mut stranger = Browser::new(&product);
        stranger.go("/onboarding").await;
        for (csrf, headers) in [
            (String::new(), vec![("sec-fetch-site", "same-origin")]),
            ("bm90IGEgdG9rZW4".to_owned(), vec![]),
            (stranger.form("/onboarding").fields[0].1.clone(), vec![]),
            (form.fields[0].1.clone(), vec![("sec-fetch-site", "cross-site")]),
            (form.fields[0].1.clone(), vec![("sec-fetch-site", "same-site")]),
            (form.fields[0].1.clone(), vec![("origin", "https://evil.example")]),
        ] {
            browser.send_with(&form.clone().fill("csrf", &csrf), &headers).await;
            is_at(&browser, "/onboarding", 403);
        }
        browser.set_cookie("tenantry_csrf", None);
        browser.send(&form).await;
        is_at(&browser, "/onboarding", 403);
        assert_eq!(product.database.count(TENANTS).await, 0);
    }
}

on_both! {
    async fn a_form_that_cannot_be_read_is_said_to_be_so(database: Database) {
        let product = Product::start(database).await;
        let mut browser = Browser::new(&product);
        browser.go("/onboarding").await;
        let form = browser.form("/onboarding").fill("email", "ada@example.com").fill("password", "correct-horse-battery");
        browser.send(&form.clone().fill("tenant_name", "A\0b")).await;
        is_at(&browser, "/onboarding", 422);
        browser.send(&form.clone().fill("tenant_name", &"a".repeat(2_000_000))).await;
        is_at(&browser, "/onboarding", 413);
        assert_eq!(browser.headers["connection"], "close", "nobody reads what is left of it");
        product.post("/onboarding", &json!({})).await.expect_problem(415, "UNSUPPORTED_MEDIA_TYPE");
        browser.send(&form.fill("tenant_name", &"a".repeat(101))).await;
        is_at(&browser, "/onboarding", 422);
        shows(&browser, "At most 100 characters, please.");
        assert_eq!(product.database.count(TENANTS).await, 0);
    }
}

on_both! {
    async fn a_form_that_is_sent_twice_does_its_work_once(database: Database) {
        let product = Product::start(database).await;
        let mut browser = Browser::new(&product);
        browser.go("/onboarding").await;
        let form = browser.form("/onboarding").fill("email", "ada@example.com").fill("tenant_name", "Acme");
        let form = form.fill("password", "correct-horse-battery");
        let mut others: Vec<_> = (0..6).map(|_| browser.clone()).collect();
        futures_util::future::join_all(others.iter_mut().map(|other| other.send(&form))).await;
        for other in &others {
            is_at(other, "/onboarding/branding", 200);
        }
        assert_eq!(product.database.count(TENANTS).await, 1);
        // Filled in differently, the same form is another request, and is told what it is told.
        browser.send(&form.fill("tenant_name", "Other").fill("email", "eve@example.com").fill("slug", "acme")).await;
        is_at(&browser, "/onboarding", 409);
    }
}

on_both! {
    async fn the_products_pages_are_at_the_operators_hostname_only(database: Database) {
        let settings = Settings::default().with("TENANTRY_BASE_DOMAIN", "tenants.example");
        let product = Product::start_with(database, settings).await;
        product.settle("Acme", "free").await;
        for (method, host, path, status) in [
            (Method::GET, "acme.tenants.example", "/onboarding?plan=pro", 307),
            (Method::GET, "acme.tenants.example", "/admin/signin", 307),
            (Method::GET, "nobody.tenants.example", "/signin", 307),
            (Method::POST, "acme.tenants.example", "/onboarding", 404),
            (Method::GET, "acme.tenants.example", "/", 200),
            (Method::GET, "tenants.example", "/onboarding", 200),
            (Method::GET, "localhost", "/onboarding", 200),
        ] {
            let answer = product.call(method.clone(), path, None, None, &[("host", host)]).await;
            assert_eq!(answer.status, status, "{method} {host}{path}");
            if status == 307 {
                assert_eq!(answer.headers["location"], format!("http://localhost:8080{path}"));
            }
        }
    }
}

on_both! {
    async fn who_comes_with_a_browser_gets_problems_as_pages(database: Database) {
        let product = Product::start(database).await;
        let mut browser = Browser::new(&product);
        browser.go("/nowhere").await;
        is_at(&browser, "/nowhere", 404);
        assert!(browser.headers["content-type"].to_str().unwrap().starts_with("text/html"));
        shows(&browser, "This page was never there");
        product.get("/nowhere").await.expect_problem(404, "NOT_FOUND");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_https_cookies_are_bound_to_the_host() {
    let database = Database::create(Kind::Sqlite).await;
    let settings = Settings::default().with("TENANTRY_PUBLIC_URL", "https://app.example.com");
    let product = Product::start_with(database, settings).await;
    let mut browser = Browser::new(&product);
    begin(&mut browser, "Acme", "free").await;
    is_at(&browser, "/onboarding/branding", 200);
    for name in ["__Host-tenantry_csrf", "__Host-tenantry_signup", "__Host-tenantry_session"] {
        assert!(browser.cookie(name).is_some(), "{name}");
    }
    let page = product.get("/onboarding").await;
    let cookie = page.headers["set-cookie"].to_str().unwrap();
    for attribute in ["; Path=/", "; HttpOnly", "; SameSite=Lax", "; Secure"] {
        assert!(cookie.contains(attribute) && !cookie.contains("Domain"), "{cookie}");
    }
}
