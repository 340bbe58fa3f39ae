//! `call_webhook`: the operator's application answers at once, later, wrongly or never.

use serde_json::{Value, json};
use standardwebhooks::Webhook;

use super::{APP_SECRET, BOTH, Tenant, World, failing::closed, step};
use crate::support::{Answer, Database, Reply, eventually, text};

const APP: &str = "/app";

async fn world(database: Database) -> World {
    World::new(database, BOTH, |_, settings| settings).await
}

/// Takes the call with 202, which leaves the step to be reported.
async fn called(world: &World) -> Value {
    let calls = world.fake.wait_for(APP, 1).await;
    calls.last().expect("a call").json()
}

/// Reports at the address that the call named.
async fn report(world: &World, call: &Value, body: &Value) -> Answer {
    let callback = text(&call["callback_url"]);
    let path = callback.strip_prefix("http://localhost:8080").expect("below the public URL");
    world.product.post(path, body).await
}

on_both! {
    async fn is_called_with_a_signature_and_done_with_200(database: Database) {
        let world = world(database).await;
        world.fake.tell("POST", APP, [Reply::status(200).json(json!({"account": 7}))]);
        let tenant = world.queue("Acme").await;
        tenant.completed().await;
        let calls = world.fake.seen(APP);
        let [call] = calls.as_slice() else { panic!("one call: {calls:?}") };
        Webhook::new(APP_SECRET).unwrap().verify(call.body.as_bytes(), &call.headers).expect("a good signature");
        assert_eq!(call.headers["content-type"], "application/json");
        assert_eq!(call.key(), Some(format!("{}:call_webhook", tenant.run)).as_deref());
        let said = call.json();
        let owner = world.product.get_as(&tenant.token, "/public/signup").await.expect(200)["user"].clone();
        assert_eq!(said["type"], "tenant.provisioning");
        assert_eq!(said["tenant"], json!({"id": tenant.id, "slug": "acme", "name": "Acme", "plan": "starter"}));
        assert_eq!(said["owner"], json!({"id": owner["id"], "email": "acme@example.com"}));
        assert_eq!(said["run_id"], Value::from(tenant.run.clone()));
        let query = format!("select output from provision_steps where name = 'call_webhook' and tenant_id = {}", tenant.id_in_sql());
        assert_eq!(world.row(&query).await.try_get::<Value>("", "output").unwrap(), json!({"account": 7}));
    }
}

on_both! {
    async fn takes_it_with_202_and_reports_that_it_is_done(database: Database) {
        let world = world(database).await;
        world.fake.tell("POST", APP, [Reply::status(202)]);
        let tenant = world.queue("Acme").await;
        let call = called(&world).await;
        let done = json!({"status": "done", "output": {"account": 7}});
        assert_eq!(report(&world, &call, &done).await.expect(200), json!({"status": "complete"}));
        let status = tenant.completed().await;
        assert_eq!(step(&status, "call_webhook")["attempts"], 1);
        assert_eq!(world.fake.seen(APP).len(), 1);
        // A repeat changes nothing, and a report that contradicts it is refused.
        assert_eq!(report(&world, &call, &done).await.expect(200), json!({"status": "complete"}));
        report(&world, &call, &json!({"status": "failed"})).await.expect_problem(409, "PROVISION_STEP_ENDED");
        assert_eq!(tenant.status().await, status);
        let stranger = "/api/v1/provision-callbacks/nobody-has-this-token";
        world.product.post(stranger, &done).await.expect_problem(404, "NOT_FOUND");
        report(&world, &call, &json!({"status": "perhaps"})).await.expect(422);
    }
}

on_both! {
    async fn reports_that_it_will_not_be_done(database: Database) {
        let world = world(database).await;
        world.fake.tell("POST", APP, [Reply::status(202)]);
        let tenant = world.queue("Acme").await;
        let call = called(&world).await;
        let failed = json!({"status": "failed", "reason": "the account name is taken"});
        assert_eq!(report(&world, &call, &failed).await.expect(200), json!({"status": "failed"}));
        let reason = tenant.failed().await;
        assert_eq!(reason, "Calling the operator's application failed: the account name is taken");
        closed(&tenant).await;
        report(&world, &call, &json!({"status": "done"})).await.expect_problem(409, "PROVISION_STEP_ENDED");
    }
}

on_both! {
    async fn never_reports_and_is_asked_again_after_the_deadline(database: Database) {
        let world = world(database).await;
        world.fake.tell("POST", APP, [Reply::status(202), Reply::status(200)]);
        let tenant = world.queue("Acme").await;
        called(&world).await;
        waits(&tenant).await;
        assert_eq!(world.fake.seen(APP).len(), 1, "not before the deadline");
        advance(&world, 16 * 60).await;
        let status = tenant.completed().await;
        assert_eq!(step(&status, "call_webhook")["attempts"], 2);
        assert_eq!(tenant.keys(APP).len(), 1);
    }
}

on_both! {
    async fn that_never_reports_at_any_try_fails_the_run(database: Database) {
        let world = world(database).await;
        world.fake.tell("POST", APP, [Reply::status(202)]);
        let tenant = world.queue("Acme").await;
        for calls in 1..=3 {
            world.fake.wait_for(APP, calls).await;
            waits(&tenant).await;
            advance(&world, 16 * 60).await;
        }
        let reason = tenant.failed().await;
        let told = "Calling the operator's application failed: the application took the call but did not report back in time";
        assert_eq!(reason, told);
    }
}

on_both! {
    async fn refuses_for_good_with_a_4xx(database: Database) {
        let world = world(database).await;
        world.fake.tell("POST", APP, [Reply::status(403)]);
        let reason = world.queue("Acme").await.failed().await;
        assert_eq!(reason, "Calling the operator's application failed: the operator's application refused the call with 403");
        assert_eq!(world.fake.seen(APP).len(), 1);
    }
}

on_both! {
    async fn is_asked_again_after_a_5xx_and_then_no_more(database: Database) {
        let world = world(database).await;
        world.fake.tell("POST", APP, [Reply::status(500), Reply::status(503), Reply::status(200)]);
        world.queue("Patient").await.completed().await;
        assert_eq!(world.fake.seen(APP).len(), 3);

        world.fake.tell("POST", APP, [Reply::status(503)]);
        let tenant = world.queue("Hopeless").await;
        let told = "the operator's application answered 503 (given up after 3 attempts)";
        assert_eq!(tenant.failed().await, format!("Calling the operator's application failed: {told}"));
        assert_eq!(world.fake.seen(APP).len(), 6);
        assert_eq!(tenant.keys(APP).len(), 1);
    }
}

/// Until the worker has put the run down to wait for its callback.
async fn waits(tenant: &Tenant<'_>) {
    let query = format!(
        "select count(*) as n from provision_runs where tenant_id = {} and status = 'processing' and lease_owner is null",
        tenant.id_in_sql()
    );
    eventually("the run waits", async || tenant.world.product.database.count(&query).await == 1).await;
}

pub(super) async fn advance(world: &World, seconds: i64) {
    world.product.post("/dev/clock/advance", &json!({"seconds": seconds})).await.expect(200);
}
