//! `deploy_apps_script` against a Google that is busy, or refuses, half-way.

use serde_json::{Value, json};

use super::{BOTH, Tenant, World, failing, step};
use crate::support::{Database, Reply};

const PROJECTS: &str = "/google/v1/projects";

fn google(status: u16, name: &str, message: &str) -> Reply {
    Reply::status(status).json(json!({"error": {"code": status, "status": name, "message": message}}))
}

async fn world(database: Database) -> World {
    let world = World::new(database, BOTH, |_, settings| settings).await;
    world.every_step().await;
    world
}

async fn output(tenant: &Tenant<'_>) -> Value {
    let of = tenant.id_in_sql();
    let query = format!("select output from provision_steps where name = 'deploy_apps_script' and tenant_id = {of}");
    tenant.world.row(&query).await.try_get("", "output").expect("an output")
}

on_both! {
    async fn a_script_is_deployed(database: Database) {
        let world = world(database).await;
        let tenant = world.queue("Acme").await;
        tenant.completed().await;
        tenant.everything_once().await;
        let projects = world.fake.projects(&tenant.run);
        let [project] = projects.as_slice() else { panic!("one project: {projects:?}") };
        assert_eq!(project.title, format!("Acme automations ({}:deploy_apps_script)", tenant.run));
        let source = project.files[1]["source"].as_str().unwrap();
        assert!(source.contains(&tenant.id), "{source}");
        let kept = output(&tenant).await;
        assert_eq!(kept["web_app_url"], "https://script.test/deployment-1");
        assert_eq!(kept["deployment_id"], "deployment-1");
        assert!(world.fake.seen("/google").iter().all(|call| call.headers["authorization"] == "Bearer ya29.test"));
    }
}

on_both! {
    async fn a_deployment_goes_on_where_google_was_busy(database: Database) {
        let world = world(database).await;
        let busy = || google(429, "RESOURCE_EXHAUSTED", "Quota exceeded.").header("retry-after", "0");
        world.fake.tell("PUT", &format!("{PROJECTS}/script-1/content"), [busy(), Reply::usual()]);
        world.fake.tell("POST", &format!("{PROJECTS}/script-1/deployments"), [busy(), Reply::usual()]);
        let tenant = world.queue("Acme").await;
        let status = tenant.completed().await;
        assert_eq!(step(&status, "deploy_apps_script")["attempts"], 3);
        tenant.everything_once().await;
        let writes = world.fake.seen("/google");
        let writes: Vec<_> = writes.iter().filter(|call| call.method != "GET").map(|call| call.key().unwrap_or_default()).collect();
        let parts = ["project", "content", "content", "version", "deployment", "deployment"];
        assert_eq!(writes, parts.map(|part| format!("{}:deploy_apps_script:{part}", tenant.run)));
    }
}

on_both! {
    async fn a_refusal_fails_the_run_and_what_was_deployed_is_removed(database: Database) {
        let world = world(database).await;
        let refused = google(403, "PERMISSION_DENIED", "The Apps Script API is off.");
        world.fake.tell("POST", &format!("{PROJECTS}/script-1/versions"), [refused]);
        let tenant = world.queue("Acme").await;
        let told = "Google refused the call (403 PERMISSION_DENIED): The Apps Script API is off.";
        assert_eq!(tenant.failed().await, format!("Deploying the Apps Script failed: {told}"));
        failing::closed(&tenant).await;

        // Goes on with the project that it has.
        world.fake.forget("POST", &format!("{PROJECTS}/script-1/versions"));
        world.fake.tell("POST", "/app", [Reply::status(400)]);
        tenant.retry().await.expect(202);
        let reason = tenant.failed().await;
        assert!(reason.starts_with("Calling the operator's application failed: "), "{reason}");
        let projects = world.fake.projects(&tenant.run);
        let [project] = projects.as_slice() else { panic!("one project: {projects:?}") };
        assert_eq!((project.versions.len(), project.deployments.len()), (1, 0), "deployed, and removed again");
        assert_eq!(output(&tenant).await["undone"], true);

        world.fake.forget("POST", "/app");
        tenant.retry().await.expect(202);
        tenant.completed().await;
        assert_eq!(world.fake.projects(&tenant.run)[0].deployments.len(), 1);
        assert_eq!(world.fake.projects("").len(), 1);
    }
}
