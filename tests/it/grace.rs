//! The time that somebody has to prove their address, and what is closed to them after it.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::support::{Browser, Product, Settings, names, text};

const AUTOMATIONS: &str = "/api/v1/automations";
const PASSWORD: &str = "correct-horse-battery";

async fn register(product: &Product) -> Value {
    let form = json!({"email": "acme@example.com", "password": PASSWORD, "password_confirm": PASSWORD, "account_name": "Acme"});
    let made = product.post("/api/v1/auth/register", &form).await.expect(201);
    product.provisioned(&text(&made["access_token"]), &text(&made["tenant"]["id"])).await;
    made
}

async fn log_in(product: &Product) -> String {
    let login = json!({"email": "acme@example.com", "password": PASSWORD});
    text(&product.post("/api/v1/auth/login", &login).await.expect(200)["access_token"])
}

on_both! {
    async fn guarded_routes_close_after_seven_days_and_open_with_the_proof(database: Database) {
        let product = Product::start(database).await;
        let made = register(&product).await;
        let created: DateTime<Utc> = made["tenant"]["created_at"].as_str().map_or_else(|| product.app.clock.now().at, |at| at.parse().unwrap());
        product.app.clock.advance(TimeDelta::days(6));
        let token = log_in(&product).await;
        let list = product.get_as(&token, AUTOMATIONS).await.expect(200);
        assert!(list["data"].as_array().unwrap().len() > 1 && list["next_cursor"].is_null(), "{list}");
        assert_eq!(names(&list["data"][0]), ["created_at", "enabled", "event_type", "id", "name"]);

        product.app.clock.advance(TimeDelta::days(2));
        let token = log_in(&product).await;
        let refused = product.get_as(&token, AUTOMATIONS).await.expect_problem(403, "EMAIL_VERIFICATION_REQUIRED");
        let ended: DateTime<Utc> = refused["grace_ended_at"].as_str().unwrap().parse().unwrap();
        assert!((ended - created - TimeDelta::days(7)).abs() < TimeDelta::minutes(1), "{ended}");
        product.get_as(&token, "/api/v1/auth/me").await.expect(200);
        product.get_as(&token, "/api/v1/auth/sessions").await.expect(200);
        product.post_as(&token, "/api/v1/auth/email/resend", &json!({})).await.expect(202);
        let link = json!({"token": product.secret("acme@example.com", "/verify-email").await});
        product.post("/api/v1/auth/email/verify", &link).await.expect(200);
        product.get_as(&token, AUTOMATIONS).await.expect(200);
    }
}

on_both! {
    async fn the_grace_is_configured(database: Database) {
        let product = Product::start_with(database, Settings::default().with("TENANTRY_IDENTITY__VERIFICATION_GRACE", "0s")).await;
        let made = register(&product).await;
        product.get_as(&text(&made["access_token"]), AUTOMATIONS).await.expect_problem(403, "EMAIL_VERIFICATION_REQUIRED");
        product.get(AUTOMATIONS).await.expect_problem(401, "UNAUTHENTICATED");
    }
}

on_both! {
    async fn automations_are_the_tenants_own_page_by_page(database: Database) {
        let product = Product::start(database).await;
        let made = register(&product).await;
        let token = text(&made["access_token"]);
        let all = product.get_as(&token, AUTOMATIONS).await.expect(200)["data"].as_array().unwrap().clone();
        let first = product.get_as(&token, &format!("{AUTOMATIONS}?limit=1")).await.expect(200);
        assert_eq!(first["data"].as_array().unwrap(), &all[..1]);
        let next = format!("{AUTOMATIONS}?limit=200&cursor={}", text(&first["next_cursor"]));
        assert_eq!(product.get_as(&token, &next).await.expect(200)["data"].as_array().unwrap(), &all[1..]);
        product.get_as(&token, &format!("{AUTOMATIONS}?limit=0")).await.expect_problem(422, "VALIDATION_FAILED");
        let form = json!({"email": "pear@example.com", "password": PASSWORD, "password_confirm": PASSWORD, "account_name": "Pear"});
        let pear = product.post("/api/v1/auth/register", &form).await.expect(201);
        product.provisioned(&text(&pear["access_token"]), &text(&pear["tenant"]["id"])).await;
        let theirs = product.get_as(&text(&pear["access_token"]), AUTOMATIONS).await.expect(200)["data"].as_array().unwrap().clone();
        assert!(!theirs.is_empty() && theirs.iter().all(|one| !all.contains(one)));
    }
}

on_both! {
    async fn the_dashboard_counts_the_days(database: Database) {
        let product = Product::start(database).await;
        register(&product).await;
        let mut browser = Browser::new(&product);
        browser.go("/signin").await;
        browser.send(&browser.form("/signin").fill("email", "acme@example.com").fill("password", PASSWORD)).await;
        assert!(browser.html.contains("6 days are left to use it."), "{}", browser.html);
        product.app.clock.advance(TimeDelta::days(8));
        browser.go("/dashboard").await;
        assert!(browser.html.contains("some things are closed to you"), "{}", browser.html);
    }
}
