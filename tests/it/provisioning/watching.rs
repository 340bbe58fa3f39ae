//! Watching a run: `provision-status` to the letter, `provision-events` as they happen and again from where a client left off.

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::time::timeout;

use super::{BOTH, HTTP, Tenant, World};
use crate::support::{Answer, Gate, PATIENCE, Reply, text};

/// One Server-Sent Event.
#[derive(Clone, Debug)]
struct Event {
    id: String,
    kind: String,
    data: Value,
}

/// Which event told that a step stands so.
fn position(events: &[Event], name: &str, status: &str) -> Option<usize> {
    events.iter().position(|event| event.data["name"] == name && event.data["status"] == status)
}

/// Reads what has come of a stream.
fn events(stream: &str) -> Vec<Event> {
    let whole = stream.rfind("\n\n").map_or("", |end| &stream[..end]);
    let blocks = whole.split("\n\n").filter(|block| block.lines().any(|line| line.starts_with("data:")));
    let field = |block: &str, name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("{name} in {block}")).trim().to_owned()
    };
    blocks
        .map(|block| Event {
            id: field(block, "id"),
            kind: field(block, "event"),
            data: serde_json::from_str(&field(block, "data")).expect("JSON"),
        })
        .collect()
}

/// An event's version and place.
fn place(event: &Event) -> (i64, usize) {
    let (version, place) = event.id.split_once('.').expect("two numbers");
    (version.parse().expect("a number"), place.parse().expect("a number"))
}

async fn watch(tenant: &Tenant<'_>, last_event_id: Option<&str>) -> Answer {
    let headers: Vec<_> = last_event_id.iter().map(|id| ("last-event-id", *id)).collect();
    let path = tenant.path("provision-events");
    tenant.world.product.call(reqwest::Method::GET, &path, Some(&tenant.token), None, &headers).await
}

#[track_caller]
fn keys(value: &Value) -> Vec<String> {
    value.as_object().expect("an object").keys().cloned().collect()
}

const STATUS: [&str; 10] =
    ["dry_run", "duration_ms", "plan", "queued_at", "reason", "run_id", "status", "steps", "tenant_id", "updated_at"];
const STEP: [&str; 7] = ["attempts", "duration_ms", "error", "finished_at", "name", "started_at", "status"];

/// Sorted, for `serde_json` may keep the order of the text.
fn sorted(mut keys: Vec<String>) -> Vec<String> {
    keys.sort();
    keys
}

#[track_caller]
fn shaped(status: &Value) {
    assert_eq!(sorted(keys(status)), STATUS);
    for step in status["steps"].as_array().expect("steps") {
        assert_eq!(sorted(keys(step)), STEP);
    }
}

fn at(value: &Value) -> DateTime<Utc> {
    text(value).parse().expect("a time in RFC 3339")
}

on_both! {
    async fn the_status_has_these_fields(database: Database) {
        let world = World::new(database, HTTP, |_, settings| settings).await;
        let tenant = world.begin("Acme", "starter").await;
        let waiting = tenant.status().await;
        shaped(&waiting);
        assert_eq!((&waiting["status"], &waiting["plan"]), (&"pending".into(), &"starter".into()));
        for null in ["reason", "queued_at", "duration_ms"] {
            assert_eq!(waiting[null], Value::Null, "{null}");
        }
        let first = &waiting["steps"][0];
        let expected = serde_json::json!({
            "name": "seed_defaults", "status": "pending", "attempts": 0, "started_at": null, "finished_at": null,
            "duration_ms": null, "error": null,
        });
        assert_eq!(*first, expected);

        let hook = world.fake.url(&tenant.hook());
        let tenant = world.make(tenant, &hook).await;
        let worker = world.worker(chrono::TimeDelta::zero()).await;
        let ended = tenant.completed().await;
        worker.stop().await;
        shaped(&ended);
        assert_eq!((&ended["tenant_id"], &ended["run_id"]), (&tenant.id.clone().into(), &tenant.run.clone().into()));
        assert_eq!(ended["dry_run"], false);
        assert!(at(&ended["queued_at"]) <= at(&ended["updated_at"]));
        assert!(ended["duration_ms"].as_i64().unwrap() >= 1);
        for step in ended["steps"].as_array().unwrap() {
            assert!(at(&step["started_at"]) <= at(&step["finished_at"]), "{step}");
            assert!(step["duration_ms"].as_i64().unwrap() >= 1);
        }
    }
}

on_both! {
    async fn only_the_tenants_own_people_may_look(database: Database) {
        let world = World::new(database, HTTP, |_, settings| settings).await;
        let (tenant, other) = (world.begin("Acme", "free").await, world.begin("Other", "free").await);
        for what in ["provision-status", "provision-events"] {
            let path = tenant.path(what);
            world.product.get_as(&other.token, &path).await.expect_problem(404, "NOT_FOUND");
            world.product.get_as("nonsense", &path).await.expect_problem(401, "TOKEN_INVALID");
            world.product.get(&path).await.expect(401);
            let nobodys = "/api/v1/tenants/00000000-0000-0000-0000-000000000000/".to_owned() + what;
            world.product.get_as(&tenant.token, &nobodys).await.expect_problem(404, "NOT_FOUND");
        }
    }
}

on_both! {
    async fn events_come_as_it_happens_and_end_with_the_run(database: Database) {
        let world = World::new(database, BOTH, |_, settings| settings).await;
        let gate = Gate::shut();
        world.fake.tell("POST", "/app", [Reply::usual().behind(&gate)]);
        let tenant = world.begin("Acme", "starter").await;
        let hook = world.fake.url(&tenant.hook());
        let mut stream = world.product.stream(&tenant.token, &tenant.path("provision-events")).await;
        assert_eq!(stream.status(), 200);
        assert_eq!(stream.headers()["content-type"], "text/event-stream");
        let tenant = world.make(tenant, &hook).await;
        let (mut heard, mut known) = (String::new(), None);
        let mut next = async || timeout(PATIENCE, stream.chunk()).await.expect("in time").expect("goes on");
        while let Some(chunk) = next().await {
            heard.push_str(std::str::from_utf8(&chunk).expect("text"));
            if known.is_none() {
                let so_far = events(&heard);
                known = position(&so_far, "call_webhook", "processing").map(|at| so_far[at].id.clone());
                if known.is_some() {
                    gate.open();
                }
            }
        }
        let heard = events(&heard);
        assert!(heard.is_sorted_by(|one, next| place(one) < place(next)), "{heard:#?}");
        for event in &heard {
            match event.kind.as_str() {
                "status" => shaped(&event.data),
                "step" => assert_eq!(sorted(keys(&event.data)), STEP),
                other => panic!("an event {other}"),
            }
        }
        let told = |status| position(&heard, "call_webhook", status);
        assert!(told("processing") < told("complete"), "{heard:#?}");
        let last = heard.last().expect("events");
        assert_eq!((last.kind.as_str(), &last.data["status"]), ("status", &"complete".into()));
        assert_eq!(last.data, tenant.status().await);

        // Afterwards: everything for a newcomer, what is later for who comes back, and nothing for who knows the end.
        let again = events(&watch(&tenant, None).await.text);
        assert_eq!(again.len(), tenant.status().await["steps"].as_array().unwrap().len() + 1);
        let missed = events(&watch(&tenant, known.as_deref()).await.text);
        let names: Vec<_> = missed.iter().filter_map(|event| event.data["name"].as_str()).collect();
        assert_eq!(names, ["call_webhook", "send_magic_link"], "{missed:#?}");
        assert_eq!(missed.last().map(|event| (&event.id, &event.data)), Some((&last.id, &last.data)));
        // Cut off anywhere, nobody hears an event twice.
        for (at, event) in again.iter().enumerate() {
            let rest: Vec<_> = events(&watch(&tenant, Some(&event.id)).await.text).into_iter().map(|event| event.id).collect();
            assert_eq!(rest, again[at + 1..].iter().map(|event| event.id.clone()).collect::<Vec<_>>());
        }
        let over = watch(&tenant, Some(&last.id)).await;
        assert_eq!((over.status.as_u16(), over.text.as_str()), (204, ""));
    }
}
