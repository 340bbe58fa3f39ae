//! `Idempotency-Key`: a repeat answers what the first request did, for a day, and nobody reads the answer at rest.

use reqwest::Method;
use sea_orm::FromQueryResult;
use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, Answer, MAKE_URL, Product, fields, signup_body};

async fn post(product: &Product, path: &str, token: Option<&str>, key: &str, body: &Value) -> Answer {
    product.call(Method::POST, path, token, Some(body), &[("idempotency-key", key)]).await
}

fn replayed(answer: &Answer) -> bool {
    answer.headers.get("idempotent-replayed").is_some_and(|value| value == "true")
}

const START: &str = "/public/signup/start";

on_both! {
    async fn a_repeat_answers_the_first_answer(database: Database) {
        let product = Product::start(database).await;
        let body = signup_body("Acme", "starter");
        let first = post(&product, START, None, "key-1", &body).await;
        assert!(!first.headers.contains_key("idempotent-replayed"));
        let rows = product.database.rows().await;
        // The same members in another order are the same body.
        let reordered = r#"{ "plan": "starter", "tenant_name": "Acme", "password": "correct-horse-battery", "email": "acme@example.com" }"#;
        let reordered = answer_to(&product, "key-1", reordered).await;
        for again in [post(&product, START, None, "key-1", &body).await, post(&product, "/public/signup/start/", None, "key-1", &body).await, reordered] {
            assert!(replayed(&again));
            assert_eq!((again.status, &again.body), (first.status, &first.body));
            assert_ne!(again.headers["x-request-id"], first.headers["x-request-id"]);
        }
        assert_eq!(first.status, 201);
        assert_eq!(product.database.rows().await, rows);
    }
}

async fn answer_to(product: &Product, key: &str, body: &str) -> Answer {
    let request = product.request(Method::POST, START).header("content-type", "application/json");
    crate::support::answer(request.header("idempotency-key", key).body(body.to_owned())).await
}

on_both! {
    async fn another_body_under_the_same_key_is_refused(database: Database) {
        let product = Product::start(database).await;
        post(&product, START, None, "key-1", &signup_body("Acme", "starter")).await.expect(201);
        let rows = product.database.rows().await;
        let other = post(&product, START, None, "key-1", &signup_body("Other", "starter")).await;
        other.expect_problem(422, "IDEMPOTENCY_KEY_REUSED");
        assert_eq!(product.database.rows().await, rows);
        // A refusal keeps nothing: the key is free for the body that is put right.
        let wrong = json!({"email": "x"});
        post(&product, START, None, "key-2", &wrong).await.expect_problem(422, "VALIDATION_FAILED");
        post(&product, START, None, "key-2", &signup_body("Other", "starter")).await.expect(201);
        for key in ["", &"k".repeat(256)] {
            let refused = post(&product, START, None, key, &signup_body("Third", "starter")).await;
            let problem = refused.expect_problem(422, "VALIDATION_FAILED");
            assert_eq!(fields(&problem), [("Idempotency-Key", "INVALID")]);
        }
    }
}

on_both! {
    async fn keys_are_kept_by_route_and_caller(database: Database) {
        let product = Product::start(database).await;
        let first = post(&product, START, None, "key", &signup_body("One", "starter")).await.expect(201);
        let (one, two) = (first["token"].as_str().unwrap(), product.visit("Two", "starter").await);
        let brand = |color: &str| json!({"primary_color": color});
        let path = "/public/signup/brand";
        post(&product, path, Some(one), "key", &brand("#111111")).await.expect(200);
        post(&product, path, Some(&two.token), "key", &brand("#222222")).await.expect(200);
        post(&product, path, Some(one), "key", &brand("#333333")).await.expect_problem(422, "IDEMPOTENCY_KEY_REUSED");
        product.post_as(one, path, &brand("#444444")).await.expect(200);
        let again = post(&product, path, Some(one), "key", &brand("#111111")).await;
        assert!(replayed(&again));
        assert_eq!(again.body["tenant"]["branding"]["primary_color"], "#111111", "the answer, not the deed, is repeated");
        let stand = product.get_as(one, "/public/signup").await.expect(200);
        assert_eq!(stand["tenant"]["branding"]["primary_color"], "#444444");

        let make = json!({"webhook_url": MAKE_URL});
        post(&product, "/public/signup/starter/make", Some(one), "key", &make).await.expect(202);
        let again = post(&product, "/public/signup/starter/make", Some(one), "key", &make).await;
        assert!(replayed(&again));
        again.expect(202);
        let onboard = json!({"email": "grace@example.com", "tenant_name": "Hopper", "plan": "pro"});
        post(&product, "/api/v1/admin/onboard", Some(ADMIN_TOKEN), "key", &onboard).await.expect(201);
        let stranger = post(&product, "/api/v1/admin/onboard", Some("wrong"), "key", &onboard).await;
        stranger.expect_problem(401, "UNAUTHENTICATED");
    }
}

on_both! {
    async fn keys_are_kept_for_a_day(database: Database) {
        let product = Product::start(database).await;
        let body = signup_body("Acme", "starter");
        let first = post(&product, START, None, "key", &body).await;
        product.advance(86_390).await;
        let again = post(&product, START, None, "key", &body).await;
        assert!(replayed(&again));
        assert_eq!(again.status, 201);
        product.advance(11).await;
        let resumed = post(&product, START, None, "key", &body).await;
        assert!(!replayed(&resumed));
        assert_eq!(resumed.status, 200, "a new request: it resumes the sign-up");
        assert_ne!(resumed.body["token"], first.body["token"]);
        let again = post(&product, START, None, "key", &body).await;
        assert!(replayed(&again));
        assert_eq!((again.status, &again.body), (resumed.status, &resumed.body));
        assert_eq!(product.database.count("select count(*) as n from idempotency_keys").await, 1);
    }
}

#[derive(FromQueryResult)]
struct Kept {
    id: Vec<u8>,
    fingerprint: Vec<u8>,
    response: Vec<u8>,
}

#[derive(FromQueryResult)]
struct Letter {
    payload: Vec<u8>,
}

on_both! {
    async fn nothing_secret_is_readable_at_rest(database: Database) {
        let product = Product::start(database).await;
        let started = post(&product, START, None, "a-key-to-look-for", &signup_body("Acme", "starter")).await.expect(201);
        let token = started["token"].as_str().unwrap().as_bytes();
        let secret = product.secret("acme@example.com", "/verify-email").await;
        let kept: Kept = product.database.one("select id, fingerprint, response from idempotency_keys").await;
        let letter: Letter = product.database.one("select payload from outbox").await;
        for stored in [&kept.id, &kept.fingerprint, &kept.response, &letter.payload] {
            for plain in [token, secret.as_bytes(), b"a-key-to-look-for", b"acme@example.com", b"correct-horse-battery"] {
                assert!(!stored.windows(plain.len()).any(|window| window == plain));
            }
        }
        let hashes = "select count(*) as n from one_time_tokens where length(token_hash) = 32";
        assert_eq!(product.database.count(hashes).await, 1);
    }
}

on_both! {
    async fn a_repeat_is_answered_while_the_doors_are_closed(database: Database) {
        let product = Product::start(database).await;
        let body = signup_body("Acme", "starter");
        let first = post(&product, START, None, "key", &body).await;
        product.database.execute("update feature_flags set enabled = false where name = 'signup_enabled'").await;
        let again = post(&product, START, None, "key", &body).await;
        assert!(replayed(&again));
        assert_eq!(again.body, first.body);
        let new = post(&product, START, None, "key-2", &signup_body("Other", "starter")).await;
        new.expect_problem(503, "SIGNUPS_DISABLED");
    }
}
