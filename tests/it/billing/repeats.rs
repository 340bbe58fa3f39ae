//! `Idempotency-Key` on what changes a subscription: a repeat answers what the first did, and does nothing.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Member, on_growth, register};
use crate::support::{Answer, Product};

async fn send(product: &Product, member: &Member, path: &str, key: &str, body: &Value) -> Answer {
    let path = format!("/api/v1/billing/{path}");
    product.call(Method::POST, &path, Some(&member.token), Some(body), &[("idempotency-key", key)]).await
}

#[track_caller]
fn repeats(again: Answer, first: &Value) {
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert_eq!(&again.expect(200), first);
}

on_both! {
    async fn an_order_that_is_repeated_is_one(database: Database) {
        let product = Product::start(database).await;
        let member = register(&product, "Acme", json!({"plan_slug": "free"})).await;
        let body = json!({"plan_slug": "pro", "interval": "year", "payment_method": "bank_transfer"});
        let first = send(&product, &member, "change-plan", "k", &body).await.expect(200);
        let other = send(&product, &member, "change-plan", "other", &json!({"plan_slug": "scale"})).await.expect(200);
        assert_ne!(first["invoice_id"], other["invoice_id"]);
        repeats(send(&product, &member, "change-plan", "k", &body).await, &first);
        let open = "select count(*) as n from invoices i join plans p on p.id = i.plan_id where i.status = 'open' and p.slug = 'scale'";
        assert_eq!(product.database.count(open).await, 1, "the repeat has not ordered Pro again");
        assert_eq!(product.database.count("select count(*) as n from invoices").await, 2);
        assert_eq!(product.database.count("select count(*) as n from audit_events where action = 'plan.changed'").await, 2);
        send(&product, &member, "change-plan", "k", &json!({"plan_slug": "pro"})).await.expect_problem(422, "IDEMPOTENCY_KEY_REUSED");
        let sixteen = (0..16).map(|_| send(&product, &member, "change-plan", "at once", &body));
        for answer in futures_util::future::join_all(sixteen).await {
            if answer.status != 200 {
                answer.expect_problem(409, "IDEMPOTENCY_IN_PROGRESS");
            }
        }
        assert_eq!(product.database.count("select count(*) as n from audit_events where action = 'plan.changed'").await, 3);
    }
}

on_both! {
    async fn a_repeat_neither_cancels_nor_resumes_nor_leaves_again(database: Database) {
        let product = Product::start(database).await;
        let member = on_growth(&product, "Acme").await;
        let ending = "select count(*) as n from subscriptions where cancel_at_period_end";
        let (nothing, free) = (json!({}), json!({"plan_slug": "free"}));
        let canceled = send(&product, &member, "cancel", "k", &nothing).await.expect(200);
        assert_eq!((&canceled["cancel_at_period_end"], product.database.count(ending).await), (&json!(true), 1));
        // One key is another thing on another route.
        let resumed = send(&product, &member, "resume", "k", &nothing).await.expect(200);
        assert_eq!((&resumed["cancel_at_period_end"], product.database.count(ending).await), (&json!(false), 0));
        repeats(send(&product, &member, "cancel", "k", &nothing).await, &canceled);
        assert_eq!(product.database.count(ending).await, 0, "it was resumed since");
        let left = send(&product, &member, "change-plan", "k", &free).await.expect(200);
        assert_eq!(product.database.count(ending).await, 1);
        repeats(send(&product, &member, "resume", "k", &nothing).await, &resumed);
        assert_eq!(product.database.count(ending).await, 1, "it was left since");
        send(&product, &member, "resume", "l", &nothing).await.expect(200);
        repeats(send(&product, &member, "change-plan", "k", &free).await, &left);
        assert_eq!(product.database.count(ending).await, 0);
        let told = "select count(*) as n from audit_events where action in ('subscription.canceled', 'subscription.resumed', 'plan.changed')";
        assert_eq!(product.database.count(told).await, 4);
        // Another tenant's key is its own.
        let pear = on_growth(&product, "Pear").await;
        assert_eq!(send(&product, &pear, "cancel", "k", &nothing).await.expect(200)["cancel_at_period_end"], true);
        assert_eq!(product.database.count(ending).await, 1);
    }
}
