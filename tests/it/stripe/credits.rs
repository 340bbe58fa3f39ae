//! Credits follow the money: changing to and fro mints none, and what is taken back is never more than there is.

use serde_json::{Value, json};

use super::{Tenant, buy, form, model::Stripe, on_pro, start_idle, synced, text};
use crate::support::{Product, healthy};

async fn post(product: &Product, tenant: &Tenant, path: &str, body: &Value) -> Value {
    product.post_as(&tenant.token, &format!("/api/v1/billing/{path}"), body).await.expect(200)
}

async fn change(product: &Product, tenant: &Tenant, plan: &str, interval: &str) {
    let changed = post(product, tenant, "change-plan", &json!({"plan_slug": plan, "interval": interval})).await;
    assert_eq!((&changed["plan"], &changed["interval"]), (&json!(plan), &json!(interval)));
}

async fn consume(product: &Product, tenant: &Tenant, amount: i64) {
    let charge = json!({"amount": amount, "description": "Report"});
    product.post_as(&tenant.token, "/api/v1/billing/credits/consume", &charge).await.expect(201);
}

async fn balance(product: &Product) -> i64 {
    product.database.count("select balance as n from credit_balances").await
}

/// What was taken back and was not there any more.
async fn owed(product: &Product) -> i64 {
    product.database.count("select credits_advanced as n from subscriptions").await
}

async fn renewed(product: &Product, stripe: &Stripe, tenant: &Tenant, subscription: &str) {
    stripe.happen(|world| world.renew(subscription, true));
    synced(product, tenant).await;
}

on_both! {
    async fn from_month_to_year_and_back_mints_none(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let (acme, _) = on_pro(&product, &stripe, "Acme").await;
        consume(&product, &acme, 60_000).await;
        for (plan, interval) in [("pro", "year"), ("pro", "month"), ("scale", "year"), ("starter", "month"), ("pro", "year"), ("pro", "month")] {
            change(&product, &acme, plan, interval).await;
            assert!(balance(&product).await + 60_000 < 50_000 + 200_100, "{plan} by the {interval}");
        }
        // The sign-up's month, the month of Pro that runs, and of each change the minute that had gone by.
        let balance = balance(&product).await;
        assert!((40_000..40_100).contains(&balance), "{balance}");
        assert_eq!(owed(&product).await, 0);
        healthy(&product).await;
    }
}

on_both! {
    async fn to_cancel_and_to_resume_changes_none(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let (acme, subscription) = on_pro(&product, &stripe, "Acme").await;
        for _ in 0..3 {
            for path in ["cancel", "resume"] {
                post(&product, &acme, path, &json!({})).await;
                assert_eq!((balance(&product).await, owed(&product).await), (100_000, 0));
            }
        }
        assert_eq!(product.database.count("select count(*) as n from credit_transactions").await, 2);
        renewed(&product, &stripe, &acme, &subscription).await;
        assert_eq!(balance(&product).await, 150_000);
    }
}

on_both! {
    async fn what_is_spent_already_is_set_off_against_what_is_paid_next(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let (acme, subscription) = on_pro(&product, &stripe, "Acme").await;
        consume(&product, &acme, 99_000).await;
        change(&product, &acme, "starter", "month").await;
        assert_eq!(balance(&product).await, 0, "what is left is taken back, and no more");
        let debt = owed(&product).await;
        assert!((43_900..44_000).contains(&debt), "of Pro's rest less Starter's, 1,000 were there: {debt}");
        renewed(&product, &stripe, &acme, &subscription).await;
        assert_eq!((balance(&product).await, owed(&product).await), (0, debt - 5_000));
        renewed(&product, &stripe, &acme, &subscription).await;
        assert_eq!((balance(&product).await, owed(&product).await), (0, debt - 10_000));
        // Ended, and begun anew: it is still owed.
        stripe.happen(|world| world.end(&subscription));
        synced(&product, &acme).await;
        stripe.happen(|world| world.now += 60);
        product.app.clock.advance(chrono::TimeDelta::minutes(1));
        let again = buy(&product, &stripe, &acme, "scale", "month").await;
        synced(&product, &acme).await;
        assert_eq!((balance(&product).await, owed(&product).await), (200_000 - (debt - 10_000), 0));
        renewed(&product, &stripe, &acme, &again).await;
        assert_eq!(balance(&product).await, 400_000 - (debt - 10_000));
        healthy(&product).await;
    }
}

on_both! {
    async fn who_signs_up_for_more_than_it_buys_has_the_credits_of_what_it_buys(database: Database) {
        let (product, stripe) = start_idle(database).await;
        for (name, method) in [("Acme", "stripe"), ("Pear", "bank_transfer")] {
            let body = form(name, &json!({"plan_slug": "scale", "payment_method": method}));
            let made = product.post("/api/v1/auth/register", &body).await.expect(201);
            let tenant = Tenant { token: text(&made["access_token"]), id: text(&made["tenant"]["id"]) };
            let of = format!("select c.balance as n from credit_balances c join tenants t on t.id = c.tenant_id where t.slug = '{}'", name.to_lowercase());
            assert_eq!(product.database.count(&of).await, 200_000);
            product.post_as(&tenant.token, "/api/v1/billing/credits/consume", &json!({"amount": 1, "description": "x"})).await.expect_problem(402, "SUBSCRIPTION_REQUIRED");
            buy(&product, &stripe, &tenant, "starter", "month").await;
            synced(&product, &tenant).await;
            assert_eq!(product.database.count(&of).await, 5_000, "{method}");
        }
        assert_eq!(product.database.count("select count(*) as n from invoices where status = 'open'").await, 0);
        healthy(&product).await;
    }
}
