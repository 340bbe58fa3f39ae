//! Events: in any order, any number of times, whoever's they are.

use serde_json::{Value, json};
use tenantry::billing::stripe::sync;

use super::{buy, deliver, register, start, start_idle, text};
use crate::support::eventually;

const WAITING: &str = "select count(*) as n from stripe_events where status in ('pending', 'failed')";

on_both! {
    async fn the_order_of_events_is_of_no_consequence(database: Database) {
        let (product, stripe) = start(database).await;
        let acme = register(&product, "Acme").await;
        let subscription = buy(&product, &stripe, &acme, "pro", "month").await;
        stripe.happen(|world| {
            world.renew(&subscription, false);
            world.settle(&subscription);
            world.change(&subscription, "price_m_scale");
            world.change(&subscription, "price_m_pro");
            world.change(&subscription, "price_m_scale");
            world.schedule_end(&subscription, true);
            world.renew(&subscription, true);
        });
        // From the last to the first, and each twice.
        let mut events = stripe.take_events();
        events.reverse();
        for event in events.iter().chain(&events) {
            deliver(&product, event).await.expect(200);
        }
        eventually("all are processed", async || product.database.count(WAITING).await == 0).await;
        let ended = "select count(*) as n from subscriptions s join plans p on p.id = s.plan_id where s.status = 'canceled' and p.slug = 'scale' \
                     and s.past_due_since is null and s.canceled_at is not null and not s.cancel_at_period_end";
        assert_eq!(product.database.count(ended).await, 1);
        // The sign-up's, two months of Pro, and of Scale what is more of nearly a month: changing to and fro mints none.
        let balance = product.database.count("select balance as n from credit_balances").await;
        assert!((299_000..300_000).contains(&balance), "{balance}");
        assert_eq!(product.database.count("select count(*) as n from invoices where status = 'paid' and issuer = 'stripe'").await, 5);
    }
}

on_both! {
    async fn somebody_elses_customer_is_nobody_here_whatever_it_claims(database: Database) {
        let (product, stripe) = start(database).await;
        let acme = register(&product, "Acme").await;
        buy(&product, &stripe, &acme, "pro", "month").await;
        let mut event = stripe.take_events().pop().unwrap();
        event["data"]["object"]["customer"] = json!("cus_of_somebody_else");
        event["data"]["object"]["client_reference_id"] = json!(acme.id);
        event["data"]["object"]["metadata"] = json!({"tenant_id": acme.id});
        let calls = stripe.calls("GET").len();
        deliver(&product, &event).await.expect(200);
        let ignored = "select count(*) as n from stripe_events where status = 'ignored' and tenant_id is null and attempts = 1";
        eventually("it is ignored", async || product.database.count(ignored).await == 1).await;
        assert_eq!(stripe.calls("GET").len(), calls);
        assert_eq!(product.database.count("select count(*) as n from subscriptions where status = 'trialing'").await, 1);
    }
}

on_both! {
    async fn what_is_missing_is_dated_and_forgiven(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let acme = register(&product, "Acme").await;
        let id = acme.id.parse().unwrap();
        let subscription = buy(&product, &stripe, &acme, "pro", "month").await;
        assert!(sync(&product.app, id, "test").await.unwrap().changed);
        assert!(!sync(&product.app, id, "test").await.unwrap().changed, "nothing is news twice");
        stripe.happen(|world| world.renew(&subscription, false));
        sync(&product.app, id, "test").await.unwrap();
        let late = "select count(*) as n from subscriptions s join invoices i on i.tenant_id = s.tenant_id \
                    where s.status = 'past_due' and i.status = 'open' and i.issued_at = s.past_due_since";
        assert_eq!(product.database.count(late).await, 1);
        assert!(!sync(&product.app, id, "test").await.unwrap().changed);
        stripe.happen(|world| world.change_card(&subscription));
        stripe.happen(|world| world.settle(&subscription));
        sync(&product.app, id, "test").await.unwrap();
        let good = "select count(*) as n from subscriptions s join payment_methods m on m.tenant_id = s.tenant_id \
                    where s.status = 'active' and s.past_due_since is null and m.is_default";
        assert_eq!(product.database.count(good).await, 1);
        assert_eq!(product.database.count("select count(*) as n from payment_methods").await, 1);
        assert_eq!(product.database.count("select balance as n from credit_balances").await, 150_000);
    }
}

on_both! {
    async fn words_that_are_new_change_nothing(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let acme = register(&product, "Acme").await;
        let id = acme.id.parse().unwrap();
        let subscription = buy(&product, &stripe, &acme, "pro", "month").await;
        sync(&product.app, id, "test").await.unwrap();
        stripe.happen(|world| world.set(&subscription, &json!({"status": "hibernating"})));
        assert!(!sync(&product.app, id, "test").await.unwrap().changed);
        // A price that is replaced in the catalogue leaves those who pay the old one where they are.
        product.database.execute("update plan_billing set stripe_price_monthly = 'price_new'").await;
        stripe.happen(|world| {
            world.set(&subscription, &json!({"status": "active"}));
            world.renew(&subscription, true);
        });
        assert!(sync(&product.app, id, "test").await.unwrap().changed);
        let pro = "select count(*) as n from subscriptions s join plans p on p.id = s.plan_id where p.slug = 'pro' and s.status = 'active'";
        assert_eq!(product.database.count(pro).await, 1);
        assert_eq!(product.database.count("select balance as n from credit_balances").await, 150_000);
    }
}

on_both! {
    async fn terms_that_were_agreed_on_since_outlive_what_has_ended(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let acme = register(&product, "Acme").await;
        let id = acme.id.parse().unwrap();
        let subscription = buy(&product, &stripe, &acme, "pro", "month").await;
        stripe.happen(|world| world.end(&subscription));
        sync(&product.app, id, "test").await.unwrap();
        assert_eq!(product.database.count("select count(*) as n from subscriptions where status = 'canceled'").await, 1);
        product.database.execute("update subscriptions set status = 'complimentary'").await;
        assert!(!sync(&product.app, id, "test").await.unwrap().changed);
        assert_eq!(product.database.count("select count(*) as n from subscriptions where status = 'complimentary'").await, 1);
    }
}

on_both! {
    async fn sixteen_at_once_agree(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let acme = register(&product, "Acme").await;
        let subscription = buy(&product, &stripe, &acme, "pro", "month").await;
        let id = acme.id.parse().unwrap();
        for round in 0..4 {
            stripe.happen(|world| world.renew(&subscription, round % 2 == 0));
            let all = futures_util::future::join_all((0..16).map(|_| sync(&product.app, id, "test"))).await;
            assert!(all.iter().any(Result::is_ok));
            sync(&product.app, id, "test").await.unwrap();
            let there = stripe.world().objects[&subscription].clone();
            let status = if there["status"] == "active" { "active" } else { "past_due" };
            let agrees = format!("select count(*) as n from subscriptions where status = '{status}'");
            assert_eq!(product.database.count(&agrees).await, 1, "{}", text_of(&there));
        }
        let twice = "select count(*) as n from (select idempotency_key from credit_transactions group by idempotency_key having count(*) > 1) x";
        assert_eq!(product.database.count(twice).await, 0);
        assert_eq!(product.database.count("select balance as n from credit_balances").await, 50_000 * 4, "the sign-up, the first month, and two that were paid");
    }
}

fn text_of(object: &Value) -> String {
    text(&object["status"])
}
