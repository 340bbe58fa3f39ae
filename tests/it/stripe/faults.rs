//! Stripe down, busy, slow, or answering into nothing: honest answers, nothing twice, nothing lost.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::FromQueryResult;
use serde_json::json;

use super::{CHECKOUT, buy, deliver, model::Fault, on_pro, register, start, start_idle, text};
use crate::support::eventually;

const CHANGE: &str = "/api/v1/billing/change-plan";

on_both! {
    async fn an_answer_that_was_lost_after_the_effect_makes_nothing_twice(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let acme = register(&product, "Acme").await;
        stripe.fail("POST /v1/customers", [Fault::LostAnswer]);
        stripe.fail("POST /v1/checkout/sessions", [Fault::LostAnswer, Fault::Status(500)]);
        let session = product.post_as(&acme.token, CHECKOUT, &json!({"plan_slug": "pro"})).await.expect(201);
        assert_eq!((stripe.all("customer").len(), stripe.all("checkout.session").len()), (1, 1));
        let keys: Vec<_> = stripe.calls("POST /v1/checkout/sessions").into_iter().map(|call| call.key.unwrap()).collect();
        assert_eq!(keys.len(), 3);
        assert!(keys.iter().all(|key| key == &keys[0]), "{keys:?}");
        let subscription = stripe.pay(&text(&session["id"]));
        tenantry::billing::stripe::sync(&product.app, acme.id.parse().unwrap(), "test").await.unwrap();

        stripe.fail(&format!("POST /v1/subscriptions/{subscription}"), [Fault::LostAnswer]);
        let body = json!({"plan_slug": "scale"});
        product.post_as(&acme.token, "/api/v1/billing/change-plan", &body).await.expect(200);
        assert_eq!(stripe.all("invoice").len(), 2, "charged once");
    }
}

on_both! {
    async fn while_stripe_is_down_the_answer_is_503_and_later_it_works(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let acme = register(&product, "Acme").await;
        for fault in [Fault::Status(500), Fault::Status(503), Fault::Status(409), Fault::RateLimited(0)] {
            stripe.fail("POST /v1/customers", [fault; 3]);
            let down = product.post_as(&acme.token, CHECKOUT, &json!({"plan_slug": "pro"})).await;
            assert!(down.headers.contains_key("retry-after"), "{fault:?}");
            down.expect_problem(503, "SERVICE_UNAVAILABLE");
        }
        // Where Stripe asks for more patience than anybody has, its word is passed on.
        stripe.fail("POST /v1/customers", [Fault::RateLimited(60)]);
        let calls = stripe.calls("POST /v1/customers").len();
        let busy = product.post_as(&acme.token, CHECKOUT, &json!({"plan_slug": "pro"})).await;
        assert_eq!((busy.headers["retry-after"].to_str().unwrap(), stripe.calls("POST /v1/customers").len()), ("60", calls + 1));
        busy.expect_problem(503, "SERVICE_UNAVAILABLE");
        // A key that is wrong is our affair, and says nothing of itself.
        stripe.fail("POST /v1/customers", [Fault::Status(401)]);
        let refused = product.post_as(&acme.token, CHECKOUT, &json!({"plan_slug": "pro"})).await;
        assert!(!refused.text.contains("sk_test"), "{}", refused.text);
        refused.expect_problem(500, "INTERNAL");
        product.post_as(&acme.token, CHECKOUT, &json!({"plan_slug": "pro"})).await.expect(201);
        assert_eq!((stripe.all("customer").len(), stripe.all("checkout.session").len()), (1, 1));
    }
}

on_both! {
    async fn an_event_that_came_while_stripe_was_down_is_followed_later(database: Database) {
        let (product, stripe) = start(database).await;
        let acme = register(&product, "Acme").await;
        buy(&product, &stripe, &acme, "pro", "month").await;
        stripe.fail("GET /v1/subscriptions", [Fault::Status(500); 3]);
        let events = stripe.take_events();
        deliver(&product, &events[0]).await.expect(200);
        let failed = "select count(*) as n from stripe_events where status = 'failed' and last_error like '%500%'";
        eventually("it fails", async || product.database.count(failed).await == 1).await;
        let trialing = "select count(*) as n from subscriptions where status = 'trialing'";
        assert_eq!(product.database.count(trialing).await, 1);
        product.advance(5).await;
        let done = "select count(*) as n from stripe_events e, subscriptions s where e.status = 'processed' and e.attempts = 2 and s.status = 'active'";
        eventually("it is tried again", async || product.database.count(done).await == 1).await;
    }
}

on_both! {
    async fn a_change_whose_answer_never_came_is_made_once(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let (acme, subscription) = on_pro(&product, &stripe, "Acme").await;
        let place = format!("POST /v1/subscriptions/{subscription}");
        stripe.fail(&place, [Fault::LostAnswer; 3]);
        let body = json!({"plan_slug": "scale"});
        product.post_as(&acme.token, CHANGE, &body).await.expect_problem(503, "SERVICE_UNAVAILABLE");
        assert_eq!((stripe.calls(&place).len(), stripe.all("invoice").len()), (3, 2), "charged, and we do not know");
        let changed = product.post_as(&acme.token, CHANGE, &body).await.expect(200);
        assert_eq!(changed["plan"], "scale");
        assert_eq!((stripe.calls(&place).len(), stripe.all("invoice").len()), (3, 2), "nothing is asked for again");
        let kept = "select count(*) as n from invoices where issuer = 'stripe' and status = 'paid'";
        assert_eq!(product.database.count(kept).await, 2);
    }
}

on_both! {
    async fn a_stripe_that_never_answers_is_503_in_time_and_makes_nothing_twice(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let (acme, subscription) = on_pro(&product, &stripe, "Acme").await;
        let (pear, plum) = (register(&product, "Pear").await, register(&product, "Plum").await);
        product.post_as(&plum.token, CHECKOUT, &json!({"plan_slug": "growth"})).await.expect(201);
        stripe.happen(|world| {
            let open: Vec<_> = world.all("checkout.session").iter().filter(|session| session["status"] == "open").map(|session| text(&session["id"])).collect();
            world.set(&open[0], &json!({"status": "expired"}));
        });
        // More of each than there are tries: the rest is for nobody.
        let change = format!("POST /v1/subscriptions/{subscription}");
        for place in ["POST /v1/customers", "POST /v1/checkout/sessions", &change] {
            stripe.fail(place, [Fault::Hang; 2]);
        }
        let (growth, scale) = (json!({"plan_slug": "growth"}), json!({"plan_slug": "scale"}));
        let ask = || [
            product.post_as(&pear.token, CHECKOUT, &growth),
            product.post_as(&plum.token, CHECKOUT, &growth),
            product.post_as(&acme.token, CHANGE, &scale),
        ];
        for answer in futures_util::future::join_all(ask()).await {
            assert!(answer.headers.contains_key("retry-after"), "{}", answer.text);
            answer.expect_problem(503, "SERVICE_UNAVAILABLE");
        }
        let answers = futures_util::future::join_all(ask()).await;
        assert_eq!(answers.iter().map(|answer| answer.status.as_u16()).collect::<Vec<_>>(), [201, 201, 200]);
        assert_eq!(stripe.all("customer").len(), 3, "one for each tenant");
        assert_eq!(stripe.all("invoice").len(), 2, "the first month, and one change");
        for answer in &answers[..2] {
            let kept = format!("select count(*) as n from checkouts where session_id = '{}'", text(&answer.body["id"]));
            assert_eq!(product.database.count(&kept).await, 1);
        }
    }
}

#[derive(FromQueryResult)]
struct Due {
    due_at: DateTime<Utc>,
}

on_both! {
    async fn an_event_waits_as_long_as_stripe_asks_for(database: Database) {
        let (product, stripe) = start(database).await;
        let acme = register(&product, "Acme").await;
        buy(&product, &stripe, &acme, "pro", "month").await;
        stripe.fail("GET /v1/subscriptions", [Fault::RateLimited(90)]);
        let asked = product.app.clock.now().at;
        deliver(&product, &stripe.take_events()[0]).await.expect(200);
        let waits = "select due_at from outbox where kind = 'stripe_event' and status = 'pending' and attempts = 1 and lease_expires_at is null";
        eventually("it is put off", async || product.database.all::<Due>(waits).await.len() == 1).await;
        let due_at = product.database.one::<Due>(waits).await.due_at;
        assert!(due_at >= asked + TimeDelta::seconds(90) && due_at < asked + TimeDelta::minutes(10), "{}", due_at - asked);
        assert_eq!(stripe.calls("GET /v1/subscriptions").len(), 1);
        product.app.clock.advance(due_at - asked);
        product.app.wake.wake();
        let done = "select count(*) as n from stripe_events where status = 'processed' and attempts = 2";
        eventually("it is tried again", async || product.database.count(done).await == 1).await;
    }
}
