//! What is taken from Stripe, and what is refused.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tenantry::{billing::stripe::signature::sign, serve::Roles};

use super::{SECRET, deliver, model::Stripe, send, settings, start_idle};
use crate::support::Product;

const KEPT: &str = "select count(*) as n from stripe_events";
const QUEUED: &str = "select count(*) as n from outbox where kind = 'stripe_event'";

fn event(id: &str) -> Value {
    json!({"id": id, "object": "event", "type": "invoice.paid", "created": 1_700_000_000, "livemode": false,
        "data": {"object": {"id": "in_1", "object": "invoice", "customer": "cus_1"}}})
}

on_both! {
    async fn what_is_not_signed_by_stripe_just_now_for_us_changes_nothing(database: Database) {
        let (product, _stripe) = start_idle(database).await;
        let now = product.app.clock.now().at;
        let body = event("evt_1").to_string();
        let good = sign(&SECRET.into(), body.as_bytes(), now);
        let changed = body.replace("in_1", "in_2");
        let at = |seconds: i64| sign(&SECRET.into(), body.as_bytes(), now + TimeDelta::seconds(seconds));
        for (case, body, signed) in [
            ("unsigned", &body, None),
            ("forged", &body, Some(sign(&"whsec_of_somebody_else".into(), body.as_bytes(), now))),
            ("signed with nothing", &body, Some(sign(&"".into(), body.as_bytes(), now))),
            ("of another body", &changed, Some(good.clone())),
            ("old", &body, Some(at(-310))),
            ("of the future", &body, Some(at(310))),
            ("of another scheme", &body, Some(good.replace("v1=", "v0="))),
            ("nonsense", &body, Some("t=now,v1=yes".to_owned())),
        ] {
            let refused = send(&product, body, signed.as_deref()).await;
            assert_eq!((refused.status.as_u16(), &refused.body["code"]), (400, &json!("SIGNATURE_INVALID")), "{case}: {}", refused.text);
        }
        let mut wrong = event("evt_1");
        wrong["livemode"] = json!(true);
        deliver(&product, &wrong).await.expect_problem(400, "EVENT_REFUSED");
        wrong = event("evt_1");
        wrong["account"] = json!("acct_other");
        deliver(&product, &wrong).await.expect_problem(400, "EVENT_REFUSED");
        for nonsense in ["{", "[]", "{\"id\": \"evt_1\"}"] {
            let signed = sign(&SECRET.into(), nonsense.as_bytes(), now);
            send(&product, nonsense, Some(&signed)).await.expect_problem(400, "MALFORMED_REQUEST");
        }
        assert_eq!((product.database.count(KEPT).await, product.database.count(QUEUED).await), (0, 0));

        assert_eq!(send(&product, &body, Some(&good)).await.expect(200)["status"], "queued");
        assert_eq!(send(&product, &body, Some(&at(-290))).await.expect(200)["status"], "replayed");
        assert_eq!(send(&product, &body, Some(&at(290))).await.expect(200)["status"], "replayed");
        assert_eq!((product.database.count(KEPT).await, product.database.count(QUEUED).await), (1, 1));
        let mut unknown = event("evt_2");
        unknown["type"] = json!("radar.early_fraud_warning.created");
        assert_eq!(deliver(&product, &unknown).await.expect(200)["status"], "ignored");
        let ignored = "select count(*) as n from stripe_events where status = 'ignored' and event_type like 'radar%'";
        assert_eq!((product.database.count(ignored).await, product.database.count(QUEUED).await), (1, 1));
    }
}

on_both! {
    async fn the_products_own_clock_says_how_old_an_event_is(database: Database) {
        let (product, _stripe) = start_idle(database).await;
        let body = event("evt_1").to_string();
        let signed = sign(&SECRET.into(), body.as_bytes(), product.app.clock.now().at);
        product.app.clock.advance(TimeDelta::minutes(6));
        send(&product, &body, Some(&signed)).await.expect_problem(400, "SIGNATURE_INVALID");
        deliver(&product, &event("evt_1")).await.expect(200);
    }
}

on_both! {
    async fn without_a_secret_nothing_is_accepted(database: Database) {
        let stripe = Stripe::start().await;
        let idle = Roles { http: true, worker: false };
        for settings in [
            settings(&stripe).with("STRIPE_WEBHOOK_SECRET", ""),
            settings(&stripe).with("STRIPE_SECRET_KEY", ""),
        ] {
            let product = Product::start_as(database.shared(), settings, idle).await;
            deliver(&product, &event("evt_1")).await.expect_problem(503, "BILLING_NOT_CONFIGURED");
            let body = event("evt_1").to_string();
            let signed = sign(&"".into(), body.as_bytes(), product.app.clock.now().at);
            send(&product, &body, Some(&signed)).await.expect_problem(503, "BILLING_NOT_CONFIGURED");
            assert_eq!(product.database.count(KEPT).await, 0);
            product.stop().await;
        }
    }
}

on_both! {
    async fn sixteen_deliveries_of_one_event_are_one(database: Database) {
        let (product, _stripe) = start_idle(database).await;
        let event = event("evt_1");
        let answers = futures_util::future::join_all((0..16).map(|_| deliver(&product, &event))).await;
        let queued = answers.iter().filter(|answer| answer.body["status"] == "queued").count();
        assert!(answers.iter().all(|answer| answer.status == 200) && queued == 1, "{queued}");
        assert_eq!((product.database.count(KEPT).await, product.database.count(QUEUED).await), (1, 1));
    }
}
