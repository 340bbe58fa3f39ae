//! A repeat under one `Idempotency-Key` charges nothing again, also after a death between what Stripe did and what we kept.

use reqwest::Method;
use serde_json::{Value, json};

use super::{CHECKOUT, Tenant, on_pro, register, start_idle, text};
use crate::support::{Answer, Product};

async fn send(product: &Product, tenant: &Tenant, path: &str, body: &Value) -> Answer {
    let path = format!("/api/v1/billing/{path}");
    product.call(Method::POST, &path, Some(&tenant.token), Some(body), &[("idempotency-key", "k")]).await
}

on_both! {
    async fn a_repeat_changes_cancels_and_resumes_nothing_at_stripe(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let (acme, subscription) = on_pro(&product, &stripe, "Acme").await;
        let changes = || stripe.calls(&format!("POST /v1/subscriptions/{subscription}")).len();
        let mut first = Vec::new();
        for (path, body) in [("change-plan", json!({"plan_slug": "scale"})), ("cancel", json!({})), ("resume", json!({}))] {
            first.push((path, body.clone(), send(&product, &acme, path, &body).await.expect(200)));
        }
        assert_eq!((changes(), stripe.all("invoice").len()), (3, 2));
        // Meanwhile somebody else has gone back, and a repeat of ours does not undo it.
        product.post_as(&acme.token, "/api/v1/billing/change-plan", &json!({"plan_slug": "pro"})).await.expect(200);
        let calls = stripe.calls("").len();
        for (path, body, before) in &first {
            let again = send(&product, &acme, path, body).await;
            assert_eq!(again.headers["idempotent-replayed"], "true", "{path}");
            assert_eq!(&again.expect(200), before);
        }
        assert_eq!((changes(), stripe.calls("").len()), (4, calls), "nothing is asked of Stripe");
        send(&product, &acme, "change-plan", &json!({"plan_slug": "starter"})).await.expect_problem(422, "IDEMPOTENCY_KEY_REUSED");
        assert_eq!(changes(), 4);
    }
}

on_both! {
    async fn after_a_death_between_stripes_effect_and_our_commit_a_repeat_charges_nothing_again(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let scale = json!({"plan_slug": "scale"});
        for (n, point) in ["stripe::asked", "stripe::applied", "commit::before"].into_iter().enumerate() {
            let (tenant, subscription) = on_pro(&product, &stripe, &format!("Acme{n}")).await;
            let place = format!("POST /v1/subscriptions/{subscription}");
            let invoices = stripe.all("invoice").len() + 1;
            fail::cfg(point, "return").expect("built with the feature failpoints");
            let lost = send(&product, &tenant, "change-plan", &scale).await;
            fail::remove(point);
            assert!(lost.status.is_server_error(), "{point}: {}", lost.text);
            assert_eq!(stripe.calls(&place).len(), 1, "{point}");
            let changed = send(&product, &tenant, "change-plan", &scale).await;
            assert_eq!(changed.expect(200)["plan"], "scale", "{point}");
            assert_eq!((stripe.calls(&place).len(), stripe.all("invoice").len()), (1, invoices), "{point}");

            fail::cfg(point, "return").expect("built with the feature failpoints");
            let lost = send(&product, &tenant, "cancel", &json!({})).await;
            fail::remove(point);
            assert!(lost.status.is_server_error(), "{point}: {}", lost.text);
            assert_eq!(send(&product, &tenant, "cancel", &json!({})).await.expect(200)["cancel_at_period_end"], true, "{point}");
            assert_eq!(stripe.calls(&place).len(), 2, "{point}");
        }
        let told = "select count(*) as n from audit_events where action in ('plan.changed', 'subscription.canceled')";
        assert_eq!(product.database.count(told).await, 6);
        let twice = "select count(*) as n from (select tenant_id, idempotency_key from credit_transactions group by tenant_id, idempotency_key having count(*) > 1) x";
        assert_eq!(product.database.count(twice).await, 0);
    }
}

on_both! {
    async fn after_a_death_behind_the_checkout_one_page_is_left_to_pay_on(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let acme = register(&product, "Acme").await;
        let body = json!({"plan_slug": "pro"});
        fail::cfg("stripe::checkout_made", "return").expect("built with the feature failpoints");
        assert!(send(&product, &acme, "checkout-session", &body).await.status.is_server_error());
        fail::remove("stripe::checkout_made");
        let kept = send(&product, &acme, "checkout-session", &body).await.expect(201);
        assert_eq!(stripe.all("customer").len(), 1);
        let again = product.post_as(&acme.token, CHECKOUT, &body).await.expect(201);
        assert_eq!(again["id"], kept["id"]);
        let row = format!("select count(*) as n from checkouts where session_id = '{}'", text(&kept["id"]));
        assert_eq!(product.database.count(&row).await, 1);
    }
}
