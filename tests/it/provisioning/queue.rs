//! The queue of runs: it starts at once, is shared, and goes on where a worker has stopped.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use serde_json::Value;

use super::{BOTH, HTTP, Tenant, World};
use crate::support::{Gate, Product, Reply, Seen, Settings, text};

const RUNS: u8 = 60;

on_both! {
    async fn a_run_starts_when_it_is_committed(database: Database) {
        // The timer would come too late: it is the commit that wakes the worker.
        let tune = |_: &_, settings: Settings| settings.with("TENANTRY_WORKER__POLL", "10s");
        let world = World::new(database, BOTH, tune).await;
        let mut waits = Vec::new();
        for n in 0..10 {
            let status = world.queue(&format!("Tenant {n}")).await.completed().await;
            let at = |value: &Value| text(value).parse::<DateTime<Utc>>().expect("a time");
            waits.push(at(&status["steps"][0]["started_at"]) - at(&status["queued_at"]));
        }
        waits.sort();
        println!("from commit to first step: median {:?} µs", waits[waits.len() / 2].num_microseconds());
        assert!(*waits.last().unwrap() <= TimeDelta::seconds(1), "{waits:?}");
    }
}

on_both! {
    async fn two_workers_share_it_and_no_run_is_run_twice(database: Database) {
        let four = |_: &_, settings: Settings| settings.with("TENANTRY_WORKER__CONCURRENCY", "4");
        let world = World::new(database, HTTP, four).await;
        let gate = Gate::shut();
        world.fake.tell("POST", "/app", [Reply::usual().behind(&gate)]);
        let mut tenants = Vec::new();
        for n in 0..RUNS {
            tenants.push(world.queue(&format!("Tenant {n}")).await);
        }
        let workers = [world.worker(TimeDelta::zero()).await, world.worker(TimeDelta::zero()).await];
        world.fake.wait_for("/app", 8).await;
        let held = "select count(distinct lease_owner) as n from provision_runs where lease_owner is not null";
        assert_eq!(world.product.database.count(held).await, 2, "each has as many as it carries at once");
        gate.open();

        join_all(tenants.iter().map(Tenant::completed)).await;
        for worker in workers {
            worker.stop().await;
        }
        let once = "select count(*) as n from provision_runs where status = 'complete' and fence = 1";
        assert_eq!(world.product.database.count(once).await, i64::from(RUNS));
        let again = "select count(*) as n from provision_steps where attempts <> 1";
        assert_eq!(world.product.database.count(again).await, 0);
        let calls = world.fake.seen("/app");
        let keys: HashSet<_> = calls.iter().filter_map(Seen::key).collect();
        assert_eq!((calls.len(), keys.len()), (usize::from(RUNS), usize::from(RUNS)));
    }
}

on_both! {
    async fn who_stops_ends_the_step_at_hand_and_gives_the_run_back(database: Database) {
        let world = World::new(database, BOTH, |_, settings| settings).await;
        let gate = Gate::shut();
        world.fake.tell("POST", "/app", [Reply::usual().behind(&gate)]);
        let tenant = world.queue("Acme").await;
        world.fake.wait_for("/app", 1).await;
        let (id, token) = (tenant.id.clone(), tenant.token.clone());
        let World { fake, product, settings } = world;
        let (database, ()) = tokio::join!(product.stop(), async { gate.open() });

        let given_back = "select count(*) as n from provision_runs where status = 'processing' and lease_owner is null";
        assert_eq!(database.count(given_back).await, 1);
        let ended = "select count(*) as n from provision_steps where name = 'call_webhook' and status = 'complete'";
        assert_eq!(database.count(ended).await, 1);
        let untouched = "select count(*) as n from provision_steps where status = 'pending' and attempts = 0";
        assert_eq!(database.count(untouched).await, 1);

        // Long before the lease would have ended.
        let heir = Product::start_as(database, settings, BOTH).await;
        let status = heir.provisioned(&token, &id).await;
        assert_eq!(status["status"], "complete", "{status:#}");
        assert_eq!(fake.seen("/app").len(), 1, "the step was not repeated");
        assert_eq!(heir.database.count("select count(*) as n from provision_runs where fence = 2").await, 1);
    }
}
