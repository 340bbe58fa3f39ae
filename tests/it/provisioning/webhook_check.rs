//! `validate_webhook` really asks: HEAD, GET, OPTIONS, strictly or not, and nobody it must not ask.

use super::{BOTH, World, step};
use crate::support::{Database, Reply, Settings};

async fn world(database: Database, strict: bool) -> World {
    let tune = |_: &_, settings: Settings| settings.with("TENANTRY_PROVISION__STRICT_WEBHOOKS", &strict.to_string());
    World::new(database, BOTH, tune).await
}

/// The methods that the webhook was asked with.
fn asked(world: &World, path: &str) -> Vec<String> {
    let seen = world.fake.seen(path).into_iter();
    seen.map(|seen| seen.method).filter(|method| method != "POST").collect()
}

on_both! {
    async fn asks_with_head_get_and_options_until_one_counts(database: Database) {
        let world = world(database, true).await;
        world.fake.tell("HEAD", "/hooks/acme", [Reply::status(405)]);
        world.fake.tell("GET", "/hooks/acme", [Reply::status(404)]);
        world.fake.tell("OPTIONS", "/hooks/acme", [Reply::status(204)]);
        world.queue("Acme").await.completed().await;
        assert_eq!(asked(&world, "/hooks/acme"), ["HEAD", "GET", "OPTIONS"]);
        world.queue("Plain").await.completed().await;
        assert_eq!(asked(&world, "/hooks/plain"), ["HEAD"]);
    }
}

on_both! {
    async fn strictly_only_2xx_counts_and_else_also_that_somebody_is_there(database: Database) {
        let world = world(database, true).await;
        world.fake.tell("*", "/hooks/strict", [Reply::status(404)]);
        let tenant = world.queue("Strict").await;
        let told = "Checking the webhook failed: the webhook answered 404 to HEAD, GET and OPTIONS";
        assert_eq!(tenant.failed().await, told);
        assert_eq!(step(&tenant.status().await, "validate_webhook")["attempts"], 1, "no later try can succeed");
    }
}

on_both! {
    async fn not_strictly_401_403_404_and_405_count_too(database: Database) {
        let world = world(database, false).await;
        for status in [401, 403, 404, 405] {
            let path = format!("/hooks/answers-{status}");
            world.fake.tell("*", &path, [Reply::status(status)]);
            world.queue(&format!("Answers {status}")).await.completed().await;
            assert_eq!(asked(&world, &path), ["HEAD"]);
        }
        world.fake.tell("*", "/hooks/answers-400", [Reply::status(400)]);
        let reason = world.queue("Answers 400").await.failed().await;
        assert_eq!(reason, "Checking the webhook failed: the webhook answered 400 to HEAD, GET and OPTIONS");
    }
}

on_both! {
    async fn is_asked_again_while_that_may_help(database: Database) {
        let world = world(database, true).await;
        let answers = [500, 502, 503, 200].map(Reply::status);
        world.fake.tell("*", "/hooks/acme", answers);
        let status = world.queue("Acme").await.completed().await;
        assert_eq!(asked(&world, "/hooks/acme"), ["HEAD", "GET", "OPTIONS", "HEAD"]);
        assert_eq!(step(&status, "validate_webhook")["attempts"], 2);
    }
}

on_both! {
    async fn never_asks_a_host_that_leads_to_loopback(database: Database) {
        let guarded = |_: &_, settings: Settings| settings.with("TENANTRY_PROVISION__ALLOW_PRIVATE_ADDRESSES", "false");
        let world = World::new(database, BOTH, guarded).await;
        // A name says nothing of its address; the run finds out.
        let hook = world.fake.url("/hooks/acme").replace("127.0.0.1", "localhost");
        let tenant = world.begin("Acme", "starter").await;
        let tenant = world.make(tenant, &hook).await;
        let told = "Checking the webhook failed: the webhook failed (the URL is not allowed: its host name resolves to a \
                    loopback address) on HEAD";
        assert_eq!(tenant.failed().await, told);
        assert_eq!(step(&tenant.status().await, "validate_webhook")["attempts"], 1);
        assert!(world.fake.seen("/hooks/").is_empty());
    }
}
