//! Three servers on one PostgreSQL share the queue. Two are killed in mid-run; all runs end, and none twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use axum::{Router, extract::State, http::HeaderMap, routing::any};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};

use super::server::{Server, assert_doctor_reads_zero};
use crate::support::{Database, Kind, Settings, eventually, signup_body};

const TENANTS: usize = 18;
/// Runs that a server carries at once.
const LANES: i64 = 3;

/// The operator's application and the tenants' webhooks: slow at first, and it does each thing once per key.
#[derive(Clone)]
struct Outside {
    calls: Arc<Mutex<BTreeMap<String, usize>>>,
    is_slow: watch::Sender<bool>,
    url: String,
}

impl Outside {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let outside = Self { calls: Arc::default(), is_slow: watch::channel(true).0, url };
        let router =
            Router::new().route("/app", any(application)).route("/hook", any(hook)).with_state(outside.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        outside
    }

    fn note(&self, headers: &HeaderMap) {
        let id = headers["webhook-id"].to_str().expect("an id").to_owned();
        *self.calls.lock().expect("calls").entry(id).or_default() += 1;
    }

    /// How often it was called under each key.
    fn calls(&self) -> BTreeMap<String, usize> {
        self.calls.lock().expect("calls").clone()
    }
}

/// `call_webhook`: holds its answer back for as long as it is slow.
async fn application(State(outside): State<Outside>, headers: HeaderMap) -> &'static str {
    outside.note(&headers);
    let _ = outside.is_slow.subscribe().wait_for(|is_slow| !is_slow).await;
    "{}"
}

/// A tenant's webhook: it is validated without an id, and told of events with one.
async fn hook(State(outside): State<Outside>, method: Method, headers: HeaderMap) {
    if method == Method::POST {
        outside.note(&headers);
    }
}

fn settings(outside: &Outside) -> Settings {
    Settings::default()
        .with("TENANTRY_PROVISION__DRY_RUN", "false")
        .with("TENANTRY_PROVISION__ALLOW_PRIVATE_ADDRESSES", "true")
        .with("TENANTRY_PROVISION__WEBHOOK_HOSTS", "*")
        .with("TENANTRY_PROVISION__APP_URL", &format!("{}/app", outside.url))
        .with("TENANTRY_PROVISION__APP_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        // Soon taken over from the dead; and whoever is only slow loses its runs, too.
        .with("TENANTRY_PROVISION__LEASE", "2s")
        .with("TENANTRY_PROVISION__STEP_TIMEOUT", "20s")
        .with("TENANTRY_PROVISION__MAX_ATTEMPTS", "100")
        .with("TENANTRY_WORKER__CONCURRENCY", &LANES.to_string())
}

/// Signs somebody up through to the end of the wizard; returns token and tenant.
async fn sign_up(server: &Server, n: usize, hook: &str) -> (String, String) {
    let name = format!("Acme {n}");
    let started = server.start_signup(&name, &signup_body(&name, "starter")).await.expect("an answer").expect(201);
    let token = started["token"].as_str().expect("a token").to_owned();
    let make = json!({"webhook_url": hook});
    let sent = Some((name.as_str(), &make));
    let ended = server.call(Method::POST, "/public/signup/starter/make", Some(&token), sent).await;
    ended.expect("an answer").expect(202);
    (token, started["tenant"]["id"].as_str().expect("an id").to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_three_are_killed() {
    let database = Database::create(Kind::Postgres).await;
    let outside = Outside::start().await;
    let settings = settings(&outside);
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(Server::start(&database, &settings, &[]).await);
    }
    let mut tenants = Vec::new();
    for n in 0..TENANTS {
        tenants.push(sign_up(&servers[n % 3], n, &format!("{}/hook", outside.url)).await);
    }
    let mut steps_at = Vec::new();
    for server in &servers {
        steps_at.push(format!(
            "select count(*) as n from provision_runs r join provision_steps s on s.run_id = r.id and s.status = 'processing' \
             and s.name = 'call_webhook' where r.status = 'processing' and r.lease_owner like '{}-%'",
            server.id()
        ));
    }
    let share = async || {
        for steps in &steps_at {
            if database.count(steps).await < LANES {
                return false;
            }
        }
        true
    };
    eventually("all three are in the middle of their runs", share).await;
    let survivor = servers.pop().expect("three servers");
    for server in servers {
        server.kill().await;
    }
    outside.is_slow.send_replace(false);

    for (token, tenant) in &tenants {
        let get = async |path: String| survivor.call(Method::GET, &path, Some(token), None).await.expect("an answer");
        get(format!("/api/v1/tenants/{tenant}/provision-events")).await;
        let status: Value = get(format!("/api/v1/tenants/{tenant}/provision-status")).await.expect(200);
        assert_eq!(status["status"], "complete", "{status}\n{}", survivor.log());
    }
    let delivered = "select count(*) as n from webhook_deliveries where status = 'delivered'";
    let all = i64::try_from(TENANTS).expect("few");
    eventually("every tenant's webhook was told", async || database.count(delivered).await == all).await;
    assert_each_thing_happened_once(&database, &outside).await;
    survivor.kill().await;
    assert_doctor_reads_zero(&database, &settings);
}

async fn assert_each_thing_happened_once(database: &Database, outside: &Outside) {
    let all = i64::try_from(TENANTS).expect("few");
    for (what, count) in [
        ("a run each", "select count(*) as n from provision_runs where status = 'complete'"),
        ("completed once", "select count(*) as n from audit_events where action = 'tenant.provisioned'"),
        ("each its own", "select count(distinct tenant_id) as n from audit_events where action = 'tenant.provisioned'"),
        ("one welcome post", "select count(*) as n from posts"),
        ("one fixture", "select count(*) as n from fixtures"),
        ("one host name", "select count(*) as n from tenant_hostnames"),
        ("one magic link", "select count(*) as n from one_time_tokens where purpose = 'magic_link'"),
        ("two mails", "select count(*) / 2 as n from outbox where kind = 'mail'"),
        ("one delivery", "select count(*) as n from webhook_deliveries"),
    ] {
        assert_eq!(database.count(count).await, all, "{what}");
    }
    let calls = outside.calls();
    let (steps, events): (BTreeSet<_>, BTreeSet<_>) = calls.keys().partition(|id| id.ends_with(":call_webhook"));
    assert_eq!(
        (steps.len(), events.len()),
        (TENANTS, TENANTS),
        "a key for each call of a run, and for each event: {calls:?}"
    );
    let again = calls.values().filter(|n| **n > 1).count();
    assert!(again > 0, "nobody was killed in the middle of a call: {calls:?}");
}
