//! A run that fails: what is left of it, and how it is set going again.

use reqwest::Method;
use serde_json::{Value, json};

use super::{BOTH, Tenant, World, step};
use crate::support::{ADMIN_TOKEN, Answer, Database, Reply, signup_body, text};

/// Holds a tenant to how a failed run leaves it: not open, told why, and nothing there that others could see.
pub async fn closed(tenant: &Tenant<'_>) {
    let query =
        format!("select status, provision_state, provision_reason from tenants where id = {}", tenant.id_in_sql());
    let row = tenant.world.row(&query).await;
    let column = |name: &str| row.try_get::<String>("", name).expect(name);
    assert_eq!((column("status"), column("provision_state")), ("pending".into(), "failed".into()));
    assert_eq!(column("provision_reason"), text(&tenant.status().await["reason"]));
    for (table, and) in [("tenant_hostnames", ""), ("automations", ""), ("webhook_deliveries", "")] {
        assert_eq!(tenant.count(table, and).await, 0, "{table}");
    }
    assert!(tenant.world.fake.projects(&tenant.run).iter().all(|project| project.deployments.is_empty()));
    front(tenant).await.expect_problem(404, "NOT_FOUND");
    let storefront = format!("/public/storefronts/{}", tenant.slug);
    tenant.world.product.get(&storefront).await.expect_problem(404, "NOT_FOUND");
}

/// The page at the tenant's own hostname.
async fn front(tenant: &Tenant<'_>) -> Answer {
    let host = format!("{}.localhost", tenant.slug);
    tenant.world.product.call(Method::GET, "/", None, None, &[("host", &host)]).await
}

async fn refused(database: Database) -> World {
    let world = World::new(database, BOTH, |_, settings| settings).await;
    world.fake.tell("POST", "/app", [Reply::status(403)]);
    world
}

on_both! {
    async fn leaves_the_tenant_shut_and_says_why(database: Database) {
        let world = refused(database).await;
        let tenant = world.queue("Acme").await;
        let reason = tenant.failed().await;
        assert_eq!(reason, "Calling the operator's application failed: the operator's application refused the call with 403");
        closed(&tenant).await;
        let stand = world.product.get_as(&tenant.token, "/public/signup").await.expect(200);
        assert_eq!((&stand["next"], &stand["provision"]["status"]), (&"status".into(), &"failed".into()));
        // What does no harm stays; what was undone says so.
        assert_eq!((tenant.count("posts", "").await, tenant.count("fixtures", "").await), (1, 1));
        let status = tenant.status().await;
        let stands = |name: &str| text(&step(&status, name)["status"]);
        let names = ["seed_defaults", "configure_routing", "validate_webhook", "call_webhook", "send_magic_link"];
        assert_eq!(names.map(stands), ["complete", "pending", "complete", "failed", "pending"]);
        assert_eq!(tenant.count("one_time_tokens", "and purpose = 'magic_link'").await, 0);
    }
}

on_both! {
    async fn is_retried_by_the_sign_up_token_and_completes_once_mended(database: Database) {
        let world = refused(database).await;
        let tenant = world.begin("Acme", "starter").await;
        tenant.retry().await.expect_problem(409, "PROVISION_NOT_FAILED");
        let hook = world.fake.url(&tenant.hook());
        let tenant = world.make(tenant, &hook).await;
        tenant.failed().await;
        let failed = tenant.status().await;

        let other = world.begin("Other", "starter").await;
        let product = &world.product;
        let retry = tenant.path("provision-retry");
        product.post_as(&other.token, &retry, &json!({})).await.expect_problem(404, "NOT_FOUND");
        product.post(&retry, &json!({})).await.expect(401);
        product.post_as("nonsense", &retry, &json!({})).await.expect_problem(401, "TOKEN_INVALID");
        assert_eq!(tenant.status().await, failed, "nothing of that changed anything");

        world.fake.forget("POST", "/app");
        assert_eq!(tenant.retry().await.expect(202), json!({"run_id": tenant.run, "status": "pending"}));
        let status = tenant.completed().await;
        for name in ["seed_defaults", "validate_webhook"] {
            assert_eq!(step(&status, name), step(&failed, name), "was not repeated");
        }
        assert_eq!(front(&tenant).await.status, 200);
        let admin = format!("/api/v1/admin/tenants/{}/provision-retry", tenant.id);
        product.post_as(ADMIN_TOKEN, &admin, &json!({})).await.expect_problem(409, "PROVISION_NOT_FAILED");
        // Its time is over, except for reading.
        tenant.retry().await.expect_problem(401, "TOKEN_INVALID");
        assert_eq!(tenant.count("audit_events", "and action = 'tenant.provision_retried'").await, 1);
    }
}

on_both! {
    async fn is_retried_by_an_admin(database: Database) {
        let world = refused(database).await;
        let tenant = world.queue("Acme").await;
        tenant.failed().await;
        world.fake.forget("POST", "/app");
        let admin = format!("/api/v1/admin/tenants/{}/provision-retry", tenant.id);
        world.product.post_as(&tenant.token, &admin, &json!({})).await.expect(401);
        world.product.post_as(ADMIN_TOKEN, &admin, &json!({})).await.expect(202);
        tenant.completed().await;
    }
}

on_both! {
    async fn gives_way_to_a_new_run_with_another_webhook(database: Database) {
        let world = World::new(database, BOTH, |_, settings| settings).await;
        world.fake.tell("*", "/hooks/acme", [Reply::status(500)]);
        let tenant = world.queue("Acme").await;
        let reason = tenant.failed().await;
        let told = "Checking the webhook failed: the webhook answered 500 to HEAD, GET and OPTIONS (given up after 3 attempts)";
        assert_eq!(reason, told);
        let failed = tenant.run.clone();
        let again = world.make(tenant, &world.fake.url("/hooks/another")).await;
        assert_ne!(again.run, failed);
        let status = again.completed().await;
        assert_eq!(status["run_id"], Value::from(again.run.clone()));
        assert_eq!(world.fake.seen("/hooks/another")[0].method, "HEAD");
        assert_eq!(again.count("provision_runs", "and status = 'failed'").await, 1);
        assert_eq!(again.count("posts", "").await, 1);
        // A resumed sign-up with the same address, meanwhile, is over.
        world.product.post("/public/signup/start", &signup_body("Acme", "starter")).await.expect_problem(409, "EMAIL_TAKEN");
    }
}
