//! What the automations deliver: a complete run is announced to the tenant's webhook.

use sea_orm::QueryResult;
use secrecy::ExposeSecret;
use serde_json::json;
use standardwebhooks::Webhook;
use tenantry::webhooks;

use super::{BOTH, Tenant, World, operator::advance};
use crate::support::{Reply, Seen, Settings, eventually};

async fn delivery(tenant: &Tenant<'_>) -> QueryResult {
    let of = tenant.id_in_sql();
    let query = format!("select status, attempts, last_status_code from webhook_deliveries where tenant_id = {of}");
    tenant.world.row(&query).await
}

async fn delivery_is(tenant: &Tenant<'_>, status: &str, attempts: i64) {
    eventually(&format!("a delivery {status} after {attempts}"), async || {
        let row = delivery(tenant).await;
        row.try_get::<String>("", "status").unwrap() == status
            && row.try_get::<i64>("", "attempts").unwrap() == attempts
    })
    .await;
}

/// The POSTs that came, when there are so many.
async fn posts(tenant: &Tenant<'_>, wanted: usize) -> Vec<Seen> {
    // One more than posts: the check's HEAD.
    let seen = tenant.world.fake.wait_for(&tenant.hook(), wanted + 1).await;
    seen.into_iter().filter(|seen| seen.method == "POST").collect()
}

/// Holds a message to being signed with the endpoint's secret.
async fn signed(tenant: &Tenant<'_>, post: &Seen) {
    let query = format!("select secret from webhook_endpoints where tenant_id = {}", tenant.id_in_sql());
    let sealed: Vec<u8> = tenant.world.row(&query).await.try_get("", "secret").unwrap();
    let secret = webhooks::open_secret(&tenant.world.product.app.sealer, &sealed).expect("opens");
    let webhook = Webhook::new(secret.expose_secret()).expect("a good secret");
    webhook.verify(post.body.as_bytes(), &post.headers).expect("a good signature");
}

on_both! {
    async fn a_complete_run_is_announced_until_it_is_heard(database: Database) {
        let world = World::new(database, BOTH, |_, settings| settings).await;
        world.every_step().await;
        world.fake.tell("POST", "/hooks/acme", [Reply::status(500), Reply::status(200)]);
        let tenant = world.queue("Acme").await;
        tenant.completed().await;
        posts(&tenant, 1).await;
        delivery_is(&tenant, "pending", 1).await;
        assert_eq!(delivery(&tenant).await.try_get::<Option<i64>>("", "last_status_code").unwrap(), Some(500));

        advance(&world, 10).await;
        let posts = posts(&tenant, 2).await;
        delivery_is(&tenant, "delivered", 2).await;
        let [first, second] = posts.as_slice() else { panic!("two tries: {posts:?}") };
        assert_eq!(first.key(), second.key());
        assert_eq!(first.body, second.body);
        signed(&tenant, first).await;
        signed(&tenant, second).await;
        let said = first.json();
        assert_eq!(said["type"], "tenant.provisioned");
        let data = json!({
            "tenant": {"id": tenant.id, "slug": "acme", "name": "Acme"}, "plan": "starter", "run_id": tenant.run,
        });
        assert_eq!(said["data"], data);
        assert!(said["timestamp"].is_string());
        assert_eq!(tenant.count("outbox", "and kind = 'webhook' and status = 'done' and payload is null").await, 1);
    }
}

on_both! {
    async fn an_endpoint_that_is_gone_is_disabled(database: Database) {
        let world = World::new(database, BOTH, |_, settings| settings).await;
        world.fake.tell("POST", "/hooks/acme", [Reply::status(410)]);
        let tenant = world.queue("Acme").await;
        tenant.completed().await;
        posts(&tenant, 1).await;
        delivery_is(&tenant, "failed", 1).await;
        assert_eq!(tenant.count("webhook_endpoints", "and not enabled").await, 1);
        assert_eq!(tenant.count("outbox", "and kind = 'webhook' and status = 'failed'").await, 1);
        assert_eq!(world.fake.seen(&tenant.hook()).len(), 2);
    }
}

on_both! {
    async fn in_dry_run_nothing_leaves_the_server(database: Database) {
        let dry = |_: &_, settings: Settings| settings.with("TENANTRY_PROVISION__DRY_RUN", "true");
        let world = World::new(database, BOTH, dry).await;
        world.every_step().await;
        let tenant = world.queue("Acme").await;
        let status = tenant.completed().await;
        assert_eq!(status["dry_run"], true);
        let steps = status["steps"].as_array().unwrap();
        assert!(steps.iter().all(|step| step["status"] == "complete"), "{status:#}");
        delivery_is(&tenant, "dry_run", 0).await;
        assert_eq!(tenant.count("outbox", "and kind = 'webhook'").await, 0);
        assert_eq!(tenant.count("automations", "").await, 1);
        assert!(world.fake.seen("").is_empty(), "{:?}", world.fake.seen(""));
    }
}
