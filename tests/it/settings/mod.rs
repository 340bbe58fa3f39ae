//! What people change about their own account: password, address, sessions; by the API, and by forms alone.

mod pages;

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Browser, Product, fields, text};

const AUTH: &str = "/api/v1/auth";
const EMAIL: &str = "acme@example.com";
const NEW: &str = "ada@example.com";
const PASSWORD: &str = "correct-horse-battery";
const OTHER: &str = "another-horse-battery";

async fn register(product: &Product, name: &str) -> Value {
    let email = format!("{}@example.com", name.to_lowercase());
    let form = json!({"email": email, "password": PASSWORD, "password_confirm": PASSWORD, "account_name": name, "plan_slug": "free"});
    product.post(&format!("{AUTH}/register"), &form).await.expect(201)
}

/// Somebody who has no password: a tenant was made for them. The access token of their first session.
async fn without_password(product: &Product) -> String {
    let onboard = json!({"email": EMAIL, "tenant_name": "Acme", "plan": "free"});
    product.admin_post("/onboard", &onboard).await.expect(201);
    let link = json!({"token": product.secret(EMAIL, "/magic-link").await});
    text(&product.post(&format!("{AUTH}/magic-link/verify"), &link).await.expect(200)["access_token"])
}

async fn log_in(product: &Product, email: &str, password: &str) -> Answer {
    product.post(&format!("{AUTH}/login"), &json!({"email": email, "password": password})).await
}

async fn post(product: &Product, token: &str, path: &str, body: Value) -> Answer {
    product.post_as(token, &format!("{AUTH}{path}"), &body).await
}

async fn is_open(product: &Product, token: &Value) -> bool {
    product.get_as(&text(token), &format!("{AUTH}/me")).await.status == 200
}

/// How many letters of that subject somebody got.
async fn letters(product: &Product, to: &str, subject: &str) -> usize {
    product.mails().await.iter().filter(|mail| mail["to"] == to && mail["subject"] == subject).count()
}

on_both! {
    async fn a_changed_password_ends_all_other_sessions(database: Database) {
        let product = Product::start(database).await;
        let other = register(&product, "Acme").await;
        let mine = log_in(&product, EMAIL, PASSWORD).await.expect(200);
        let token = text(&mine["access_token"]);
        let change = |body: Value| post(&product, &token, "/password/change", body);
        let refused = change(json!({"current_password": PASSWORD, "password": "short"})).await.expect_problem(422, "VALIDATION_FAILED");
        assert_eq!(fields(&refused), [("password", "TOO_SHORT")]);
        let refused = change(json!({"password": OTHER})).await.expect_problem(422, "VALIDATION_FAILED");
        assert_eq!(fields(&refused), [("current_password", "REQUIRED")]);
        for wrong in ["wrong-horse-battery".to_owned(), String::new(), "x".repeat(100_000)] {
            change(json!({"current_password": wrong, "password": OTHER})).await.expect_problem(401, "INVALID_CREDENTIALS");
        }
        assert!(is_open(&product, &other["access_token"]).await);
        change(json!({"current_password": PASSWORD, "password": OTHER})).await.expect(200);
        assert!(is_open(&product, &mine["access_token"]).await, "the one that asked goes on");
        assert!(!is_open(&product, &other["access_token"]).await);
        product.post(&format!("{AUTH}/refresh"), &json!({"refresh_token": other["refresh_token"]})).await.expect(401);
        log_in(&product, EMAIL, PASSWORD).await.expect_problem(401, "INVALID_CREDENTIALS");
        log_in(&product, EMAIL, OTHER).await.expect(200);
        assert_eq!(letters(&product, EMAIL, "Your password was changed").await, 1);
        product.post(&format!("{AUTH}/password/change"), &json!({"password": OTHER})).await.expect_problem(401, "UNAUTHENTICATED");
    }
}

on_both! {
    async fn who_has_no_password_sets_one_soon_after_logging_in(database: Database) {
        let product = Product::start(database).await;
        let token = without_password(&product).await;
        product.app.clock.advance(TimeDelta::minutes(10));
        post(&product, &token, "/password/change", json!({"password": OTHER})).await.expect_problem(403, "REAUTHENTICATION_REQUIRED");
        // A session that was switched to is as old as the one before it, and so is one whose tokens were renewed.
        let tenant = product.get_as(&token, &format!("{AUTH}/me")).await.expect(200)["tenant"]["id"].clone();
        let mut switched = token;
        for _ in 0..2 {
            switched = text(&post(&product, &switched, "/switch-tenant", json!({"tenant_id": tenant})).await.expect(200)["access_token"]);
            post(&product, &switched, "/password/change", json!({"password": OTHER})).await.expect_problem(403, "REAUTHENTICATION_REQUIRED");
            post(&product, &switched, "/email/change", json!({"email": NEW})).await.expect_problem(403, "REAUTHENTICATION_REQUIRED");
        }
        product.post(&format!("{AUTH}/magic-link"), &json!({"email": EMAIL})).await.expect(202);
        let link = json!({"token": product.secret(EMAIL, "/magic-link").await});
        let token = text(&product.post(&format!("{AUTH}/magic-link/verify"), &link).await.expect(200)["access_token"]);
        post(&product, &token, "/email/change", json!({"email": NEW})).await.expect(202);
        post(&product, &token, "/password/change", json!({"password": OTHER})).await.expect(200);
        log_in(&product, EMAIL, OTHER).await.expect(200);
        // From now on it is the password that counts.
        post(&product, &token, "/password/change", json!({"password": PASSWORD})).await.expect_problem(422, "VALIDATION_FAILED");
    }
}

on_both! {
    async fn a_new_address_is_proved_before_it_counts(database: Database) {
        let product = Product::start(database).await;
        let other = register(&product, "Acme").await;
        let mine = log_in(&product, EMAIL, PASSWORD).await.expect(200);
        let token = text(&mine["access_token"]);
        let ask = |body: Value| post(&product, &token, "/email/change", body);
        ask(json!({"email": NEW})).await.expect_problem(422, "VALIDATION_FAILED");
        ask(json!({"email": "no address", "password": PASSWORD})).await.expect_problem(422, "VALIDATION_FAILED");
        ask(json!({"email": " ACME@example.com", "password": PASSWORD})).await.expect_problem(422, "VALIDATION_FAILED");
        for evil in [json!([NEW, "eve@example.com"]), json!("ada@example.com,eve@example.com"), json!("ada@example.com\r\nBcc: eve@example.com"), json!("аda@example.com")] {
            ask(json!({"email": evil, "password": PASSWORD})).await.expect_problem(422, "VALIDATION_FAILED");
        }
        ask(json!({"email": NEW, "password": OTHER})).await.expect_problem(401, "INVALID_CREDENTIALS");
        ask(json!({"email": "first@example.com", "password": PASSWORD})).await.expect(202);
        let first = json!({"token": product.secret("first@example.com", "/change-email").await});
        ask(json!({"email": "ADA@example.com", "password": PASSWORD})).await.expect(202);
        let confirm = format!("{AUTH}/email/change/confirm");
        product.post_as(&token, &confirm, &first).await.expect_problem(401, "TOKEN_INVALID");
        assert_eq!(letters(&product, EMAIL, "Somebody asked to change your email address").await, 2);
        let link = json!({"token": product.secret(NEW, "/change-email").await});
        product.post(&format!("{AUTH}/email/verify"), &link).await.expect_problem(401, "TOKEN_INVALID");
        product.post(&format!("{AUTH}/magic-link"), &json!({"email": EMAIL})).await.expect(202);
        product.post(&format!("{AUTH}/password/forgot"), &json!({"email": EMAIL})).await.expect(202);
        let login = json!({"token": product.secret(EMAIL, "/magic-link").await});
        let reset = json!({"token": product.secret(EMAIL, "/reset-password").await, "password": OTHER});
        log_in(&product, NEW, PASSWORD).await.expect(401);

        let changed = product.call(Method::POST, &confirm, Some(&token), Some(&link), &[]).await.expect(200);
        assert_eq!(changed["user"]["email"], NEW);
        assert!(changed["user"]["email_verified_at"].is_string());
        assert!(is_open(&product, &mine["access_token"]).await, "the one that came with it goes on");
        assert!(!is_open(&product, &other["access_token"]).await);
        product.post(&format!("{AUTH}/magic-link/verify"), &login).await.expect_problem(401, "TOKEN_INVALID");
        product.post(&format!("{AUTH}/password/reset"), &reset).await.expect_problem(401, "TOKEN_INVALID");
        product.post_as(&token, &confirm, &link).await.expect_problem(401, "TOKEN_INVALID");
        log_in(&product, EMAIL, PASSWORD).await.expect_problem(401, "INVALID_CREDENTIALS");
        log_in(&product, NEW, PASSWORD).await.expect(200);
        assert_eq!(letters(&product, EMAIL, "Your email address was changed").await, 1);
        assert_eq!(letters(&product, NEW, "Your account uses this address now").await, 1);
        let kept = "select count(*) as n from tenants where billing_email = 'acme@example.com'";
        assert_eq!(product.database.count(kept).await, 1, "invoices go where they went");
        let noted = "select count(*) as n from audit_events where action = 'user.email_changed'";
        assert_eq!(product.database.count(noted).await, 1);
    }
}

on_both! {
    async fn a_link_that_changes_an_address_is_good_for_whoever_asked_alone(database: Database) {
        let product = Product::start(database).await;
        let mine = register(&product, "Acme").await;
        let pear = register(&product, "Pear").await;
        let token = text(&mine["access_token"]);
        post(&product, &token, "/email/change", json!({"email": NEW, "password": PASSWORD})).await.expect(202);
        let link = json!({"token": product.secret(NEW, "/change-email").await});
        let confirm = format!("{AUTH}/email/change/confirm");
        product.post(&confirm, &link).await.expect_problem(401, "UNAUTHENTICATED");
        // A victim who was sent it, and presses the button, would else prove a stranger's account.
        product.post_as(&text(&pear["access_token"]), &confirm, &link).await.expect_problem(401, "TOKEN_INVALID");
        let mut victim = Browser::new(&product);
        victim.go(&format!("/change-email?token={}", text(&link["token"]))).await;
        assert!(victim.html.contains("Sign in first") && !victim.html.contains("<form method=\"post\" action=\"/change-email\""), "{}", victim.html);
        product.post_as(&token, &confirm, &link).await.expect(200);
    }
}

on_both! {
    async fn whether_a_new_address_is_somebody_elses_does_not_show(database: Database) {
        let product = Product::start(database).await;
        let token = text(&register(&product, "Acme").await["access_token"]);
        register(&product, "Pear").await;
        let mut answers = Vec::new();
        let mut told = Vec::new();
        for email in [NEW, "pear@example.com"] {
            answers.push(post(&product, &token, "/email/change", json!({"email": email, "password": PASSWORD})).await.expect(202));
            let is_notice = |mail: &Value| mail["to"] == EMAIL && mail["text"].as_str().unwrap().contains(email);
            let mail = product.mails().await.into_iter().find(is_notice).expect("a notice");
            told.push((mail["subject"].clone(), mail["text"].as_str().unwrap().replace(email, "")));
        }
        assert_eq!(answers[0], answers[1]);
        assert_eq!(told[0], told[1]);
        let polite = product.mails().await.into_iter().find(|mail| mail["to"] == "pear@example.com" && mail["subject"] == "You have an account with this address already");
        assert_eq!(polite.expect("a letter")["links"], json!(["http://localhost:8080/signin"]));
        let mails = "select count(*) as n from one_time_tokens where purpose = 'change_email'";
        assert_eq!(product.database.count(mails).await, 2, "alike in the database too");
    }
}

on_both! {
    async fn a_minute_lies_between_two_changes_of_address_whosever_it_is(database: Database) {
        let product = Product::start_with(database, crate::support::Settings::default().with("TENANTRY_RATE_LIMIT__ENABLED", "true")).await;
        let token = text(&register(&product, "Acme").await["access_token"]);
        register(&product, "Pear").await;
        for (email, next) in [("pear@example.com", NEW), (NEW, "pear@example.com")] {
            post(&product, &token, "/email/change", json!({"email": email, "password": PASSWORD})).await.expect(202);
            let soon = post(&product, &token, "/email/change", json!({"email": next, "password": PASSWORD})).await;
            assert!(soon.headers.contains_key("retry-after"));
            soon.expect_problem(429, "RATE_LIMITED");
            product.app.clock.advance(TimeDelta::seconds(61));
        }
    }
}

on_both! {
    async fn a_new_password_stops_a_change_of_address_that_somebody_else_asked_for(database: Database) {
        let product = Product::start(database).await;
        let token = text(&register(&product, "Acme").await["access_token"]);
        let link = json!({"token": product.secret(EMAIL, "/verify-email").await});
        product.post(&format!("{AUTH}/email/verify"), &link).await.expect(200);
        for by_link in [true, false] {
            let (now, next) = if by_link { (PASSWORD, OTHER) } else { (OTHER, PASSWORD) };
            let token = if by_link { token.clone() } else { text(&log_in(&product, EMAIL, now).await.expect(200)["access_token"]) };
            post(&product, &token, "/email/change", json!({"email": "eve@example.com", "password": now})).await.expect(202);
            let away = json!({"token": product.secret("eve@example.com", "/change-email").await});
            if by_link {
                product.post(&format!("{AUTH}/password/forgot"), &json!({"email": EMAIL})).await.expect(202);
                let reset = json!({"token": product.secret(EMAIL, "/reset-password").await, "password": next});
                product.post(&format!("{AUTH}/password/reset"), &reset).await.expect(200);
            } else {
                post(&product, &token, "/password/change", json!({"current_password": now, "password": next})).await.expect(200);
            }
            let code = if by_link { "UNAUTHENTICATED" } else { "TOKEN_INVALID" };
            product.post_as(&token, &format!("{AUTH}/email/change/confirm"), &away).await.expect_problem(401, code);
        }
    }
}

on_both! {
    async fn a_change_link_ends_with_its_day(database: Database) {
        let product = Product::start(database).await;
        let token = text(&register(&product, "Acme").await["access_token"]);
        post(&product, &token, "/email/change", json!({"email": NEW, "password": PASSWORD})).await.expect(202);
        let link = json!({"token": product.secret(NEW, "/change-email").await});
        product.app.clock.advance(TimeDelta::hours(24));
        let token = text(&log_in(&product, EMAIL, PASSWORD).await.expect(200)["access_token"]);
        product.post_as(&token, &format!("{AUTH}/email/change/confirm"), &link).await.expect_problem(401, "TOKEN_EXPIRED");
    }
}

on_both! {
    async fn all_other_sessions_end_with_one_call(database: Database) {
        let product = Product::start(database).await;
        let first = register(&product, "Acme").await;
        let stranger = register(&product, "Pear").await;
        let mine = log_in(&product, EMAIL, PASSWORD).await.expect(200);
        for _ in 0..2 {
            post(&product, &text(&mine["access_token"]), "/sessions/end-others", json!({})).await.expect(204);
        }
        assert!(is_open(&product, &mine["access_token"]).await && is_open(&product, &stranger["access_token"]).await);
        assert!(!is_open(&product, &first["access_token"]).await);
        let noted = "select count(*) as n from audit_events where action = 'session.revoked'";
        assert_eq!(product.database.count(noted).await, 1);
        product.post(&format!("{AUTH}/sessions/end-others"), &json!({})).await.expect_problem(401, "UNAUTHENTICATED");
    }
}
