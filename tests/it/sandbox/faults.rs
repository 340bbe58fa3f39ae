//! Failures on demand.

use std::time::Duration;

use reqwest::Method;

use super::*;

async fn faulty(stripe: &Stripe, fault: Value) {
    stripe.product.post("/dev/sandbox/faults", &order(fault)).await.expect(204);
}

on_both! {
    async fn calls_fail_as_often_as_ordered_and_do_nothing(database: Database) {
        let stripe = Stripe::start(database).await;
        faulty(&stripe, json!({"method": "POST", "path": "/v1/customers", "times": 2, "status": 500})).await;
        faulty(&stripe, json!({"path": "/v1/prod*", "status": 429, "retry_after": 7})).await;
        faulty(&stripe, json!({"path": "/v1/prices", "status": 402})).await;
        let key = [("idempotency-key", "k")];
        for _ in 0..2 {
            let failed = stripe.call(Method::POST, "customers", &[], &key).await.expect(500);
            assert_eq!(failed["error"]["type"], "api_error");
        }
        let limited = stripe.call(Method::GET, "products", &[], &[]).await;
        assert_eq!(limited.headers["retry-after"], "7");
        assert_eq!(limited.expect(429)["error"]["code"], "rate_limit");
        assert_eq!(stripe.refused(402, Method::GET, "prices", &[]).await["type"], "card_error");
        assert!(stripe.events().await.is_empty());
        let made = stripe.call(Method::POST, "customers", &[], &key).await;
        assert!(!made.headers.contains_key("idempotent-replayed"), "nothing was begun under the key before");
        made.expect(200);
        faulty(&stripe, json!({"path": "/v1/*", "times": 9, "status": 503})).await;
        stripe.product.call(Method::DELETE, "/dev/sandbox/faults", None, None, &[]).await.expect(204);
        stripe.get("customers", &[]).await;
    }
}

on_both! {
    async fn an_answer_may_be_lost_after_the_effect(database: Database) {
        let stripe = Stripe::start(database).await;
        faulty(&stripe, json!({"path": "/v1/customers", "effect": true, "drop": true})).await;
        let request = |key: &str| {
            let request = stripe.product.request(Method::POST, "/v1/customers").bearer_auth(&stripe.key);
            request.header("idempotency-key", key).body("email=a%40example.com")
        };
        let lost = async { request("k1").send().await?.bytes().await };
        lost.await.expect_err("the connection broke");
        let again = answer(request("k1")).await;
        assert_eq!(again.headers["idempotent-replayed"], "true");
        again.expect(200);
        faulty(&stripe, json!({"path": "/v1/customers", "effect": true, "status": 500})).await;
        for replayed in [false, true] {
            let failed = answer(request("k2")).await;
            assert_eq!(failed.headers.contains_key("idempotent-replayed"), replayed);
            failed.expect(500);
        }
        assert_eq!(stripe.events().await, ["customer.created", "customer.created"], "each was done once");
        faulty(&stripe, json!({"path": "/v1/customers", "drop": true})).await;
        let lost = async { request("k3").send().await?.bytes().await };
        lost.await.expect_err("the connection broke");
        assert_eq!(stripe.events().await.len(), 2, "without an effect");
    }
}

on_both! {
    async fn a_call_may_stall(database: Database) {
        let stripe = Stripe::start(database).await;
        faulty(&stripe, json!({"path": "/v1/customers", "stall_ms": 60_000})).await;
        let stalled = stripe.call(Method::GET, "customers", &[], &[]);
        tokio::time::timeout(Duration::from_millis(50), stalled).await.expect_err("it waits");
        stripe.get("customers", &[]).await;
        faulty(&stripe, json!({"path": "/v1/customers", "stall_ms": 1})).await;
        stripe.get("customers", &[]).await;
    }
}

on_both! {
    async fn orders_are_read_strictly(database: Database) {
        let stripe = Stripe::start(database).await;
        for (body, field) in [
            (json!({"request": {"path": "/v1", "status": 200}}), "request.status"),
            (json!({"request": {"path": "/v1", "times": 0}}), "request.times"),
            (json!({"request": {"path": "/v1", "stall_ms": 60_001}}), "request.stall_ms"),
            (json!({"deliveries": {"mode": "late", "seconds": -1}}), "deliveries.seconds"),
        ] {
            let refused = stripe.product.post("/dev/sandbox/faults", &body).await;
            assert_eq!(refused.expect_problem(422, "VALIDATION_FAILED")["errors"][0]["field"], field);
        }
    }
}
