//! What a session has begun comes to nothing where it ends before it is done: on another replica, by a new password, or by whoever proves
//! the address. The point "begin" stands between reading the session and the transaction, and there it ends.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use reqwest::Method;
use serde_json::{Value, json};

use tenantry::serve::Roles;

use crate::support::{Database, Product, Settings};

const AUTH: &str = "/api/v1/auth";
const EMAIL: &str = "acme@example.com";
const PASSWORD: &str = "correct-horse-battery";
/// No worker begins transactions of its own.
const HTTP: Roles = Roles { http: true, worker: false };

async fn register(product: &Product) -> Value {
    let form = json!({"email": EMAIL, "password": PASSWORD, "password_confirm": PASSWORD, "account_name": "Acme", "plan_slug": "free"});
    product.post(&format!("{AUTH}/register"), &form).await.expect(201)
}

async fn token(product: &Product) -> String {
    let login = json!({"email": EMAIL, "password": PASSWORD});
    let tokens = product.post(&format!("{AUTH}/login"), &login).await.expect(200);
    tokens["access_token"].as_str().expect("a token").to_owned()
}

/// Runs `statement` where the next transaction of the product begins, once. Answers whether that has come.
fn just_before_the_transaction(database: &Database, statement: &'static str) -> Arc<AtomicBool> {
    let (database, done) = (database.shared(), Arc::new(AtomicBool::new(false)));
    let come = done.clone();
    let at_begin = move || {
        if !come.swap(true, Ordering::SeqCst) {
            // The point is in the midst of async code: a thread of its own may wait.
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let runtime =
                        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                    runtime.block_on(database.execute(statement));
                });
            });
        }
    };
    fail::cfg_callback("begin", at_begin).expect("built with the feature failpoints");
    done
}

const REVOKED: &str = "update sessions set revoked_at = created_at, revoked_reason = 'test' where revoked_at is null";

on_both! {
    async fn what_gives_or_takes_a_way_in_looks_at_the_session_again(database: Database) {
        let product = Product::start_as(database, Settings::default(), HTTP).await;
        let tenant_id = register(&product).await["tenant"]["id"].clone();
        let sessions = "select count(*) as n from sessions where revoked_at is null";
        for (method, path, body) in [
            (Method::POST, "/switch-tenant", json!({"tenant_id": tenant_id})),
            (Method::POST, "/password/change", json!({"current_password": PASSWORD, "password": "another-horse-battery"})),
            (Method::POST, "/email/change", json!({"email": "thief@example.com", "password": PASSWORD})),
            (Method::POST, "/email/change/confirm", json!({"token": "a"})),
            (Method::POST, "/totp/setup", json!({})),
            (Method::POST, "/totp/confirm", json!({"totp": "123456"})),
            (Method::POST, "/sessions/end-others", json!({})),
            (Method::DELETE, "/identities/google", json!({})),
        ] {
            let token = token(&product).await;
            let come = just_before_the_transaction(&product.database, REVOKED);
            let answer = product.call(method.clone(), &format!("{AUTH}{path}"), Some(&token), Some(&body), &[]).await;
            fail::remove("begin");
            assert!(come.load(Ordering::SeqCst), "{path} begins a transaction");
            answer.expect_problem(401, "UNAUTHENTICATED");
            assert_eq!(product.database.count(sessions).await, 0, "{path} opened a session");
        }
        assert_eq!(product.database.count("select count(*) as n from totp_factors").await, 0);
        assert_eq!(product.database.count("select count(*) as n from one_time_tokens where purpose = 'change_email'").await, 0);
        token(&product).await;
    }
}

on_both! {
    async fn an_unfinished_sign_up_is_not_resumed_past_a_claim(database: Database) {
        let product = Product::start_as(database, Settings::default(), HTTP).await;
        let start = json!({"email": EMAIL, "password": PASSWORD, "tenant_name": "Acme"});
        let begun = product.post("/public/signup/start", &start).await.expect(201);
        let claimed = "update users set password_hash = null, claimed_at = '2999-01-01T00:00:00+00:00'";
        let come = just_before_the_transaction(&product.database, claimed);
        let answer = product.post("/public/signup/start", &start).await;
        fail::remove("begin");
        assert!(come.load(Ordering::SeqCst));
        answer.expect_problem(409, "EMAIL_TAKEN");
        let token = begun["token"].as_str().expect("a token");
        product.post_as(token, "/public/signup/finish", &json!({})).await.expect_problem(401, "TOKEN_INVALID");
    }
}

on_both! {
    async fn a_wizards_token_sets_no_webhook_past_a_claim(database: Database) {
        let product = Product::start_as(database, Settings::default(), HTTP).await;
        let start = json!({"email": EMAIL, "password": PASSWORD, "tenant_name": "Acme"});
        let begun = product.post("/public/signup/start", &start).await.expect(201);
        let token = begun["token"].as_str().expect("a token");
        product.post_as(token, "/public/signup/brand", &json!({"primary_color": "#112233"})).await.expect(200);
        let come = just_before_the_transaction(&product.database, "update users set claimed_at = '2999-01-01T00:00:00+00:00'");
        let make = json!({"webhook_url": "https://hook.eu1.make.com/thief"});
        let answer = product.post_as(token, "/public/signup/starter/make", &make).await;
        fail::remove("begin");
        assert!(come.load(Ordering::SeqCst));
        answer.expect_problem(401, "TOKEN_INVALID");
        assert_eq!(product.database.count("select count(*) as n from webhook_endpoints").await, 0);
    }
}
