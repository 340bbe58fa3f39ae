//! What people are told of their accounts without having asked.

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Browser, Product, Settings};

const PASSWORD: &str = "correct-horse-battery";
const EMAIL: &str = "acme@example.com";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
const NEWER_FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const SAFARI: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15";

async fn start(database: crate::support::Database) -> Product {
    Product::start_with(database, Settings::default().with("TENANTRY_HTTP__TRUSTED_PROXIES", "127.0.0.1")).await
}

async fn call(product: &Product, path: &str, body: Value, (agent, ip): (&str, &str), status: u16) -> Value {
    let headers = [("user-agent", agent), ("x-forwarded-for", ip)];
    product.call(Method::POST, path, None, Some(&body), &headers).await.expect(status)
}

async fn register(product: &Product, device: (&str, &str)) -> Value {
    let form = json!({"email": EMAIL, "password": PASSWORD, "password_confirm": PASSWORD, "account_name": "Acme"});
    call(product, "/api/v1/auth/register", form, device, 201).await
}

async fn log_in(product: &Product, device: (&str, &str)) {
    call(product, "/api/v1/auth/login", json!({"email": EMAIL, "password": PASSWORD}), device, 200).await;
}

/// The letters about new devices, newest first.
async fn devices(product: &Product) -> Vec<Value> {
    let mails = product.mails().await.into_iter();
    mails.filter(|mail| mail["subject"] == "A new device logged in to your account").collect()
}

on_both! {
    async fn a_new_device_is_told_of_in_words(database: Database) {
        let product = start(database).await;
        register(&product, (FIREFOX, "203.0.113.7")).await;
        log_in(&product, (FIREFOX, "203.0.113.7")).await;
        log_in(&product, (NEWER_FIREFOX, "203.0.113.99")).await;
        assert_eq!(devices(&product).await.len(), 0, "sign-up, the same device, its next version in its network");
        log_in(&product, (SAFARI, "203.0.113.7")).await;
        let told = devices(&product).await;
        assert_eq!(told.len(), 1);
        assert_eq!(told[0]["to"], EMAIL);
        assert!(told[0]["text"].as_str().unwrap().contains("with Safari on macOS, from 203.0.113.x,"), "{}", told[0]["text"]);
        assert_eq!(told[0]["links"], json!(["http://localhost:8080/settings/sessions"]));
        log_in(&product, (SAFARI, "203.0.113.7")).await;
        assert_eq!(devices(&product).await.len(), 1, "once");
        log_in(&product, (FIREFOX, "198.51.100.7")).await;
        log_in(&product, (FIREFOX, "2001:db8:1:2::3")).await;
        log_in(&product, (FIREFOX, "2001:db8:1:ffff::4")).await;
        let told = devices(&product).await;
        assert_eq!(told.len(), 3);
        assert!(told[0]["text"].as_str().unwrap().contains("from 2001:db8:1:x"), "{}", told[0]["text"]);
    }
}

on_both! {
    async fn a_device_is_forgotten_after_ninety_days(database: Database) {
        let product = start(database).await;
        register(&product, (FIREFOX, "203.0.113.7")).await;
        product.app.clock.advance(TimeDelta::days(89));
        log_in(&product, (FIREFOX, "203.0.113.7")).await;
        assert_eq!(devices(&product).await.len(), 0);
        product.app.clock.advance(TimeDelta::days(91));
        log_in(&product, (FIREFOX, "203.0.113.7")).await;
        assert_eq!(devices(&product).await.len(), 1);
    }
}

on_both! {
    async fn every_way_in_tells(database: Database) {
        let product = start(database).await;
        register(&product, (FIREFOX, "203.0.113.7")).await;
        product.post("/api/v1/auth/magic-link", &json!({"email": EMAIL})).await.expect(202);
        let link = json!({"token": product.secret(EMAIL, "/magic-link").await});
        let opened = call(&product, "/api/v1/auth/magic-link/verify", link, ("curl/8.5.0", "203.0.113.7"), 200).await;
        let told = devices(&product).await;
        assert!(told.len() == 1 && told[0]["text"].as_str().unwrap().contains("curl, from 203.0.113.x"), "{told:?}");
        // Switching from a device that is known by now.
        let (token, tenant) = (opened["access_token"].as_str().unwrap(), product.get_as(opened["access_token"].as_str().unwrap(), "/api/v1/auth/me").await.expect(200)["tenant"]["id"].clone());
        let headers = [("user-agent", "curl/9"), ("x-forwarded-for", "203.0.113.8")];
        product.call(Method::POST, "/api/v1/auth/switch-tenant", Some(token), Some(&json!({"tenant_id": tenant})), &headers).await.expect(200);
        assert_eq!(devices(&product).await.len(), 1);
    }
}

on_both! {
    async fn somebody_who_goes_on_with_a_wizard_elsewhere_is_told_of(database: Database) {
        let product = start(database).await;
        for (agent, mails) in [(FIREFOX, 0), (SAFARI, 1)] {
            let mut browser = Browser::new(&product);
            browser.go("/onboarding?plan=free").await;
            let form = browser.form("/onboarding").fill("email", EMAIL).fill("password", PASSWORD);
            let form = form.fill("tenant_name", "Acme").fill("name", "Ada");
            browser.send_with(&form, &[("sec-fetch-site", "same-origin"), ("user-agent", agent), ("x-forwarded-for", "203.0.113.7")]).await;
            assert_eq!(browser.path, "/onboarding/branding", "{}", browser.html);
            assert_eq!(devices(&product).await.len(), mails);
        }
    }
}

on_both! {
    async fn nobody_is_told_of_their_first_session(database: Database) {
        let product = start(database).await;
        let onboard = json!({"email": EMAIL, "tenant_name": "Acme", "plan": "free"});
        product.admin_post("/onboard", &onboard).await.expect(201);
        let link = json!({"token": product.secret(EMAIL, "/magic-link").await});
        call(&product, "/api/v1/auth/magic-link/verify", link, (SAFARI, "203.0.113.7"), 200).await;
        assert_eq!(devices(&product).await.len(), 0);
    }
}

on_both! {
    async fn a_hostile_name_of_a_program_stays_out_of_mails(database: Database) {
        let product = start(database).await;
        register(&product, (FIREFOX, "203.0.113.7")).await;
        let long = format!("https://evil.example/{}", "x".repeat(3000));
        for agent in ["<script>alert(1)</script> Bcc: x@example.com", "{name}", "\"=cmd\" %0d%0aBcc: x@example.com", &long] {
            log_in(&product, (agent, "203.0.113.7")).await;
            let told = &devices(&product).await[0];
            let text = format!("{}{}", told["text"], told["html"]);
            assert!(text.contains("an unknown program, from 203.0.113.x") && !text.contains("evil") && !text.contains("Bcc") && !text.contains("<script"), "{text}");
            assert_eq!(told["links"], json!(["http://localhost:8080/settings/sessions"]));
        }
        // Letters outside ASCII are no header that we read.
        let request = product.request(Method::POST, "/api/v1/auth/login").header("user-agent", "Žluťoučký".as_bytes());
        let answer = crate::support::answer(request.header("x-forwarded-for", "203.0.113.7").json(&json!({"email": EMAIL, "password": PASSWORD}))).await;
        answer.expect(200);
        assert!(devices(&product).await[0]["text"].as_str().unwrap().contains("an unknown program"));
    }
}
