//! Stripe's events in the console's API.

use serde_json::json;

use super::{buy, deliver, register, start, start_idle, text};
use crate::support::{ADMIN_TOKEN, eventually, names};

const EVENTS: &str = "/api/v1/admin/stripe-events";

on_both! {
    async fn events_are_listed_by_page_and_status(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let acme = register(&product, "Acme").await;
        buy(&product, &stripe, &acme, "pro", "month").await;
        let events = stripe.take_events();
        for event in &events {
            deliver(&product, event).await.expect(200);
        }
        let mut ignored = events[0].clone();
        (ignored["id"], ignored["type"]) = (json!("evt_x"), json!("price.created"));
        deliver(&product, &ignored).await.expect(200);
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = product.get_as(ADMIN_TOKEN, &format!("{EVENTS}?limit=2{cursor}")).await.expect(200);
            seen.extend(page["data"].as_array().unwrap().iter().map(|event| text(&event["id"])));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        let mut expected: Vec<_> = events.iter().map(|event| text(&event["id"])).collect();
        expected.push("evt_x".into());
        expected.reverse();
        assert_eq!(seen, expected, "those that came last first");
        let page = product.get_as(ADMIN_TOKEN, &format!("{EVENTS}?status=ignored")).await.expect(200);
        assert_eq!((page["data"].as_array().unwrap().len(), &page["data"][0]["id"]), (1, &json!("evt_x")));
        assert_eq!(names(&page["data"][0]), ["attempts", "created_at", "event_type", "id", "last_error", "object_id", "processed_at", "received_at", "status", "tenant_id"]);
        for query in ["?status=lost", "?cursor=x", "?limit=0"] {
            product.get_as(ADMIN_TOKEN, &format!("{EVENTS}{query}")).await.expect_problem(422, "VALIDATION_FAILED");
        }
        product.get_as(&acme.token, EVENTS).await.expect_problem(403, "FORBIDDEN");
    }
}

on_both! {
    async fn an_event_is_processed_again_when_an_administrator_says_so(database: Database) {
        let (product, stripe) = start(database).await;
        let acme = register(&product, "Acme").await;
        let subscription = buy(&product, &stripe, &acme, "pro", "month").await;
        let event = stripe.take_events().pop().unwrap();
        deliver(&product, &event).await.expect(200);
        let processed = async |times: i64| {
            let query = format!("select count(*) as n from stripe_events where status = 'processed' and attempts = {times}");
            eventually("it is processed", async || product.database.count(&query).await == 1).await;
        };
        processed(1).await;
        stripe.happen(|world| world.schedule_end(&subscription, true));
        let path = format!("{EVENTS}/{}/replay", text(&event["id"]));
        let queued = product.post_as(ADMIN_TOKEN, &path, &json!({})).await.expect(202);
        assert_eq!((&queued["id"], &queued["status"]), (&event["id"], &json!("pending")));
        processed(2).await;
        assert_eq!(product.database.count("select count(*) as n from subscriptions where cancel_at_period_end").await, 1);
        let told = "select count(*) as n from audit_events where action = 'stripe_event.replayed' and actor_type = 'platform_admin'";
        assert_eq!(product.database.count(told).await, 1);
        product.post_as(ADMIN_TOKEN, &format!("{EVENTS}/evt_none/replay"), &json!({})).await.expect_problem(404, "NOT_FOUND");
        product.post_as(&acme.token, &path, &json!({})).await.expect_problem(403, "FORBIDDEN");
    }
}
