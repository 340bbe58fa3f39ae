//! A tenant whose plan changes gets the steps that the new plan adds, and no others.

use serde_json::Value;
use tenantry::{
    billing, plans,
    provisioning::{self, Blueprint, NewRun, Queued},
};

use super::{BOTH, Tenant, World};
use crate::support::text;

/// Puts a tenant on another plan, as whoever sells plans does it: in one transaction.
async fn switch(tenant: &Tenant<'_>, slug: &str) -> Option<Queued> {
    let app = &tenant.world.product.app;
    let (now, tenant_id) = (app.clock.now(), tenant.id.parse().expect("an id"));
    let tx = app.db.begin().await.expect("begins");
    let plan = plans::by_slug(&tx, slug).await.expect("asks").expect("a plan");
    let blueprint = Blueprint::parse(&plan.blueprint).expect("a blueprint");
    billing::switch_plan(&tx, &now, tenant_id, &plan, None).await.expect("switches");
    let run = NewRun { tenant_id, plan: &plan.slug, steps: &blueprint.steps, queued: true, dry_run: false };
    let queued = provisioning::follow_plan(&tx, &now, run).await.expect("follows");
    tx.commit().await.expect("commits");
    app.wake.wake();
    queued
}

on_both! {
    async fn from_starter_to_pro_adds_automations_and_script(database: Database) {
        let world = World::new(database, BOTH, |_, settings| settings).await;
        let tenant = world.queue("Acme").await;
        tenant.completed().await;
        let before = world.product.mails().await.len();

        let queued = switch(&tenant, "pro").await.expect("a run");
        let status = tenant.completed().await;
        assert_eq!(status["run_id"], Value::from(queued.run_id.to_string()));
        assert_ne!(status["run_id"], Value::from(tenant.run.clone()));
        assert_eq!(status["plan"], "pro");
        let names: Vec<_> = status["steps"].as_array().unwrap().iter().map(|step| text(&step["name"])).collect();
        assert_eq!(names, ["deploy_automations", "deploy_apps_script"]);
        assert_eq!(tenant.count("automations", "").await, 3);
        assert_eq!(world.fake.projects(&queued.run_id.to_string()).len(), 1);
        assert_eq!((tenant.count("posts", "").await, tenant.count("tenant_hostnames", "").await), (1, 1));
        assert_eq!(world.fake.seen("/app").len(), 1, "the first run's call only");
        assert_eq!(world.product.mails().await.len(), before);

        assert_eq!(switch(&tenant, "scale").await, None, "it has had all that");
        assert_eq!(switch(&tenant, "starter").await, None);
    }
}
