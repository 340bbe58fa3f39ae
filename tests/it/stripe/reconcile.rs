//! What heals by itself.

use chrono::TimeDelta;
use serde_json::json;
use tenantry::billing::stripe::reconcile::{Round, round};

use super::{buy, model::Fault, register, start_idle};

on_both! {
    async fn drift_is_found_mended_and_told(database: Database) {
        let (product, stripe) = start_idle(database).await;
        assert_eq!(round(&product.app).await.unwrap(), Round::default());
        assert!(stripe.calls("GET").is_empty(), "nobody pays: nothing is asked");
        let acme = register(&product, "Acme").await;
        let subscription = buy(&product, &stripe, &acme, "pro", "month").await;
        assert_eq!(round(&product.app).await.unwrap(), Round { missed: 0, asked: 1, mended: 1 });
        assert_eq!(round(&product.app).await.unwrap().asked, 0, "looked at within the hour");
        product.app.clock.advance(TimeDelta::minutes(61));
        assert_eq!(round(&product.app).await.unwrap(), Round { missed: 0, asked: 1, mended: 0 });
        stripe.happen(|world| world.end(&subscription));
        product.app.clock.advance(TimeDelta::minutes(61));
        assert_eq!(round(&product.app).await.unwrap().mended, 1);
        let told = "select count(*) as n from audit_events where action = 'billing.drift_mended'";
        assert_eq!(product.database.count(told).await, 2);
        assert_eq!(product.database.count("select count(*) as n from subscriptions where status = 'canceled'").await, 1);
    }
}

on_both! {
    async fn events_that_never_came_are_fetched(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let acme = register(&product, "Acme").await;
        buy(&product, &stripe, &acme, "pro", "month").await;
        stripe.happen(|world| {
            let lost = std::mem::take(&mut world.events);
            for mut event in lost {
                event["created"] = json!(product.app.clock.now().at.timestamp() - 600);
                world.put(event);
            }
        });
        let events = i64::try_from(stripe.all("event").len()).unwrap();
        assert_eq!(i64::try_from(round(&product.app).await.unwrap().missed).unwrap(), events);
        assert_eq!(product.database.count("select count(*) as n from stripe_events where tenant_id is not null").await, events);
        assert_eq!(product.database.count("select count(*) as n from outbox where kind = 'stripe_event'").await, events);
        product.app.clock.advance(TimeDelta::minutes(61));
        assert_eq!(round(&product.app).await.unwrap().missed, 0);
    }
}

on_both! {
    async fn while_stripe_is_down_nothing_is_done_and_nothing_lost(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let acme = register(&product, "Acme").await;
        buy(&product, &stripe, &acme, "pro", "month").await;
        stripe.fail("GET /v1/subscriptions", [Fault::Status(500); 3]);
        assert!(round(&product.app).await.is_err());
        assert_eq!(product.database.count("select count(*) as n from subscriptions where status = 'trialing'").await, 1);
        assert_eq!(round(&product.app).await.unwrap().mended, 1);
    }
}

on_both! {
    async fn events_of_the_other_mode_or_of_another_account_are_left(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let acme = register(&product, "Acme").await;
        buy(&product, &stripe, &acme, "pro", "month").await;
        stripe.happen(|world| {
            let lost = std::mem::take(&mut world.events);
            let ours = lost[0].clone();
            for (id, member, value) in [("evt_live", "livemode", json!(true)), ("evt_other", "account", json!("acct_other")), ("evt_ours", "x", json!(1))] {
                let mut event = ours.clone();
                (event["id"], event[member]) = (json!(id), value);
                event["created"] = json!(product.app.clock.now().at.timestamp() - 600);
                world.put(event);
            }
        });
        assert_eq!(round(&product.app).await.unwrap().missed, 1);
        assert_eq!(product.database.count("select count(*) as n from stripe_events where id = 'evt_ours'").await, 1);
        assert_eq!(product.database.count("select count(*) as n from stripe_events").await, 1);
    }
}
