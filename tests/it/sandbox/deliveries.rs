//! Events on their way to the webhook.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tenantry::serve::Roles;

use super::*;
use crate::support::{Fake, Reply, Seen};

const WEBHOOK: &str = "/api/v1/webhooks/stripe";

/// A product whose sandbox delivers to `fake`.
async fn aimed_at(fake: &Fake, database: Database) -> Stripe {
    let receiver = fake.url("").parse().expect("a URL");
    let both = Roles { http: true, worker: true };
    let product = Product::start_prepared(database, Settings::default(), both, |app| {
        app.own_url.set(receiver).expect("not set yet");
    });
    Stripe::of(product.await).await
}

async fn delivery(stripe: &Stripe, mode: &str, seconds: i64) {
    let deliveries = json!({"deliveries": {"mode": mode, "seconds": seconds}});
    stripe.product.post("/dev/sandbox/faults", &deliveries).await.expect(204);
}

fn types(seen: &[Seen]) -> Vec<String> {
    seen.iter().map(|seen| text(&seen.json()["type"]).to_owned()).collect()
}

on_both! {
    async fn an_event_is_signed_and_sent_again_until_it_is_taken(database: Database) {
        let fake = Fake::start().await;
        fake.tell("POST", WEBHOOK, [Reply::status(500), Reply::usual()]);
        let stripe = aimed_at(&fake, database).await;
        stripe.post("customers", &[("email", "ada@example.com")]).await;
        fake.wait_for(WEBHOOK, 1).await;
        stripe.product.app.clock.advance(TimeDelta::minutes(5));
        stripe.product.app.wake.wake();
        let seen = fake.wait_for(WEBHOOK, 2).await;
        assert_eq!(seen[0].body, seen[1].body, "the same event, byte for byte");
        let reach = stripe.product.get("/dev/sandbox.json").await.expect(200);
        for seen in &seen {
            let header = seen.headers["stripe-signature"].to_str().unwrap();
            let (at, signature) = header.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
            let mut mac = Hmac::<Sha256>::new_from_slice(text(&reach["webhook_secret"]).as_bytes()).unwrap();
            mac.update(format!("{at}.{}", seen.body).as_bytes());
            let bytes = |at: usize| u8::from_str_radix(&signature[2 * at..2 * at + 2], 16).unwrap();
            assert_eq!((0..32).map(bytes).collect::<Vec<_>>(), mac.finalize().into_bytes().as_slice());
        }
        let at = |seen: &Seen| seen.headers["stripe-signature"].to_str().unwrap()[2..12].parse::<i64>().unwrap();
        assert!(at(&seen[1]) - at(&seen[0]) >= 300, "by the product's clock");
        let event = seen[0].json();
        assert_eq!((text(&event["type"]), text(&event["data"]["object"]["email"])), ("customer.created", "ada@example.com"));
        assert_eq!((&event["livemode"], text(&event["api_version"])), (&json!(false), "2025-03-31.basil"));
        let kept = stripe.get(&format!("events/{}", text(&event["id"])), &[]).await;
        assert_eq!(kept, event, "as the API has it");
    }
}

on_both! {
    async fn events_are_held_until_they_are_released_and_doubled_on_demand(database: Database) {
        let fake = Fake::start().await;
        let stripe = aimed_at(&fake, database).await;
        delivery(&stripe, "held", 0).await;
        stripe.post("customers", &[]).await;
        stripe.post("products", &[("name", "Tea")]).await;
        let done = "select count(*) as n from outbox where kind = 'sandbox_event' and status = 'done'";
        eventually("both are held", async || stripe.product.database.count(done).await == 2).await;
        assert!(fake.seen(WEBHOOK).is_empty());
        delivery(&stripe, "usual", 0).await;
        let released = stripe.product.post("/dev/sandbox/release", &json!({})).await.expect(200);
        assert_eq!(released["released"], 2);
        let mut sent = types(&fake.wait_for(WEBHOOK, 2).await);
        sent.sort();
        assert_eq!(sent, ["customer.created", "product.created"]);
        delivery(&stripe, "duplicated", 0).await;
        stripe.post("customers", &[]).await;
        let seen = fake.wait_for(WEBHOOK, 4).await;
        assert_eq!(seen[2].body, seen[3].body);
    }
}

on_both! {
    async fn events_come_late_or_shuffled_by_the_products_clock(database: Database) {
        let fake = Fake::start().await;
        let stripe = aimed_at(&fake, database).await;
        let waiting = "select count(*) as n from outbox where kind = 'sandbox_event' and status = 'pending' and attempts = 0";
        delivery(&stripe, "late", 3_600).await;
        stripe.post("customers", &[]).await;
        let done = "select count(*) as n from outbox where kind = 'sandbox_event' and status = 'done'";
        eventually("it is put off", async || stripe.product.database.count(done).await == 1).await;
        assert!(fake.seen(WEBHOOK).is_empty());
        stripe.advance(TimeDelta::hours(1)).await;
        fake.wait_for(WEBHOOK, 1).await;

        delivery(&stripe, "shuffled", 7_200).await;
        for n in 0..12 {
            stripe.post("products", &[("name", "Tea"), ("id", &format!("prod_{n}x"))]).await;
        }
        eventually("all are put off", async || stripe.product.database.count(done).await == 14).await;
        assert_eq!(stripe.product.database.count(waiting).await, 12);
        for _ in 0..24 {
            stripe.advance(TimeDelta::minutes(5)).await;
            let left = stripe.product.database.count(waiting).await;
            let due = usize::try_from(12 - left).unwrap() + 1;
            fake.wait_for(WEBHOOK, due).await;
        }
        let ids: Vec<_> = fake.wait_for(WEBHOOK, 13).await[1..].iter().map(|seen| seen.json()["data"]["object"]["id"].to_string()).collect();
        let mut sorted = ids.clone();
        sorted.sort_by_key(|id| id.trim_matches(|letter: char| !letter.is_ascii_digit()).parse::<u32>().unwrap());
        assert_ne!(ids, sorted, "12 in their own order by chance: once in 479,001,600 runs");
    }
}
