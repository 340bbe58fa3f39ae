//! Provisioning: every step under every fault, real effects against a fake world, failing and mending, watching, sharing.

#[cfg(feature = "failpoints")]
mod death;
mod deliveries;
mod failing;
mod google;
mod janitor;
#[cfg(feature = "failpoints")]
mod matrix;
mod operator;
mod plan_change;
mod queue;
#[cfg(feature = "failpoints")]
mod stall;
mod watching;
mod webhook_check;

use chrono::TimeDelta;
use sea_orm::{ConnectionTrait, QueryResult, Statement};
use serde_json::{Value, json};
use tenantry::{app::App, clock::Clock, config::Config, provisioning, serve::Roles};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{Answer, Database, Fake, Product, Settings, text};

/// Every step there is, in the order of the plans.
pub const STEPS: [&str; 7] = [
    "seed_defaults",
    "configure_routing",
    "validate_webhook",
    "deploy_automations",
    "deploy_apps_script",
    "call_webhook",
    "send_magic_link",
];

/// Signs the calls to the operator's application.
pub const APP_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLjcfZ0Y5vT2ocG4=";

/// Only HTTP: the test brings the workers.
pub const HTTP: Roles = Roles { http: true, worker: false };
pub const BOTH: Roles = Roles { http: true, worker: true };

/// Settings with which steps really leave the house, for a world that `fake` plays.
pub fn real(fake: &Fake) -> Settings {
    Settings::default()
        .with("TENANTRY_PROVISION__DRY_RUN", "false")
        .with("TENANTRY_PROVISION__ALLOW_PRIVATE_ADDRESSES", "true")
        .with("TENANTRY_PROVISION__WEBHOOK_HOSTS", "*")
        .with("TENANTRY_PROVISION__APP_URL", &fake.url("/app"))
        .with("TENANTRY_PROVISION__APP_SECRET", APP_SECRET)
        .with("TENANTRY_PROVISION__BACKOFF_BASE", "1ms")
        .with("TENANTRY_PROVISION__BACKOFF_CAP", "5ms")
        .with("TENANTRY_PROVISION__MAX_ATTEMPTS", "3")
        .with("TENANTRY_APPS_SCRIPT__ENABLED", "true")
        .with("TENANTRY_APPS_SCRIPT__API_BASE", &fake.url("/google"))
        .with("TENANTRY_APPS_SCRIPT__TOKEN", "ya29.test")
        .with("TENANTRY_WORKER__POLL", "20ms")
}

/// A product and the world it calls.
pub struct World {
    pub fake: Fake,
    pub product: Product,
    pub settings: Settings,
}

impl World {
    pub async fn new(database: Database, roles: Roles, tune: impl FnOnce(&Fake, Settings) -> Settings) -> Self {
        let fake = Fake::start().await;
        let settings = tune(&fake, real(&fake));
        let product = Product::start_as(database, settings.clone(), roles).await;
        // What is counted before somebody asks for the first time is not counted.
        product.get("/metrics").await.expect(200);
        Self { fake, product, settings }
    }

    /// Lets `starter` have every step there is.
    pub async fn every_step(&self) {
        let automations = json!([{"name": "Results", "event_type": "fixture.finished"}]);
        let blueprint = json!({"steps": STEPS, "automations": automations});
        let update = format!("update plans set blueprint = '{blueprint}' where slug = 'starter'");
        self.product.database.execute(&update).await;
    }

    /// Signs `name` up and sets its webhook, `/hooks/{slug}` of the fake, which queues its run.
    pub async fn queue(&self, name: &str) -> Tenant<'_> {
        let tenant = self.begin(name, "starter").await;
        let hook = self.fake.url(&tenant.hook());
        self.make(tenant, &hook).await
    }

    /// Ends the wizard with this webhook.
    pub async fn make<'a>(&'a self, tenant: Tenant<'a>, hook: &str) -> Tenant<'a> {
        let hook = json!({ "webhook_url": hook });
        let ended = self.product.post_as(&tenant.token, "/public/signup/starter/make", &hook).await.expect(202);
        assert_eq!(ended["provision"]["status"], "pending");
        Tenant { run: text(&ended["provision"]["run_id"]), ..tenant }
    }

    /// The wizard's first step alone.
    pub async fn begin(&self, name: &str, plan: &str) -> Tenant<'_> {
        let started = self.product.sign_up(name, plan).await;
        Tenant {
            world: self,
            token: text(&started["token"]),
            id: text(&started["tenant"]["id"]),
            slug: text(&started["tenant"]["slug"]),
            run: String::new(),
        }
    }

    /// A worker of the test's own whose clock is so far ahead.
    pub async fn worker(&self, ahead: TimeDelta) -> Worker {
        let app = app(config(&self.settings, &self.product.database), ahead).await;
        let stop = CancellationToken::new();
        let running = tokio::spawn(provisioning::jobs::run(app.clone(), stop.clone()));
        Worker { app, stop, running }
    }

    /// The one row that a query answers.
    pub async fn row(&self, query: &str) -> QueryResult {
        let connection = self.product.database.open().await;
        let statement = Statement::from_string(connection.get_database_backend(), query);
        let row = connection.query_one_raw(statement).await.expect(query).expect("a row");
        connection.close().await.expect("closes");
        row
    }

    /// A counter's value, over all its labels.
    #[cfg(feature = "failpoints")]
    pub async fn metric(&self, name: &str) -> u64 {
        let metrics = self.product.get("/metrics").await.text;
        let samples = metrics.lines().filter(|line| line.starts_with(name));
        samples.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }
}

pub fn config(settings: &Settings, database: &Database) -> Config {
    Config::load_from(settings.variables(database).into_iter(), database.folder()).expect("good settings")
}

/// The product's parts, with no part running, at a clock that is so far ahead.
pub async fn app(config: Config, ahead: TimeDelta) -> App {
    let clock = Clock::system();
    clock.advance(ahead);
    App::new(config, clock).await.expect("starts")
}

/// A worker of the test's own.
pub struct Worker {
    pub app: App,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Worker {
    pub async fn stop(self) {
        self.stop.cancel();
        self.running.await.expect("stops in order");
        self.app.db.clone().close().await;
    }
}

/// Longer than a lease.
#[cfg(feature = "failpoints")]
pub fn overtaking() -> TimeDelta {
    TimeDelta::hours(1)
}

/// One who signed up.
pub struct Tenant<'a> {
    pub world: &'a World,
    pub token: String,
    pub id: String,
    pub slug: String,
    pub run: String,
}

impl Tenant<'_> {
    pub fn hook(&self) -> String {
        format!("/hooks/{}", self.slug)
    }

    pub fn path(&self, what: &str) -> String {
        format!("/api/v1/tenants/{}/{what}", self.id)
    }

    pub async fn status(&self) -> Value {
        self.world.product.get_as(&self.token, &self.path("provision-status")).await.expect(200)
    }

    /// Waits until the run has ended.
    pub async fn ended(&self) -> Value {
        self.world.product.provisioned(&self.token, &self.id).await
    }

    /// Waits until the run has ended, and holds it to being complete.
    pub async fn completed(&self) -> Value {
        let status = self.ended().await;
        assert_eq!(status["status"], "complete", "{status:#}");
        assert_eq!(status["reason"], Value::Null);
        status
    }

    /// Waits until the run has ended, and holds it to having failed. Answers the reason.
    pub async fn failed(&self) -> String {
        let status = self.ended().await;
        assert_eq!(status["status"], "failed", "{status:#}");
        text(&status["reason"])
    }

    pub async fn retry(&self) -> Answer {
        self.world.product.post_as(&self.token, &self.path("provision-retry"), &json!({})).await
    }

    /// Counts rows of this tenant.
    pub async fn count(&self, table: &str, and: &str) -> i64 {
        let tenant = self.id_in_sql();
        let query = format!("select count(*) as n from {table} where tenant_id = {tenant} {and}");
        self.world.product.database.count(&query).await
    }

    /// The id as the database has it: SQLite keeps the bytes.
    pub fn id_in_sql(&self) -> String {
        match self.world.product.database.kind {
            crate::support::Kind::Sqlite => format!("x'{}'", self.id.replace('-', "")),
            crate::support::Kind::Postgres => format!("'{}'", self.id),
        }
    }

    /// Holds every effect of a complete run to be there once, here and outside.
    pub async fn everything_once(&self) {
        for (table, and) in [
            ("posts", ""),
            ("fixtures", ""),
            ("tenant_hostnames", ""),
            ("automations", ""),
            ("one_time_tokens", "and purpose = 'magic_link'"),
            ("webhook_deliveries", "and event_type = 'tenant.provisioned'"),
        ] {
            assert_eq!(self.count(table, and).await, 1, "{table} of {}", self.slug);
        }
        let keys = self.keys("/app");
        assert_eq!(keys, [format!("{}:call_webhook", self.run)]);
        let mut keys = self.keys("/google");
        keys.retain(|key| !key.ends_with(":undo"));
        let parts = ["content", "deployment", "project", "version"];
        assert_eq!(keys, parts.map(|part| format!("{}:deploy_apps_script:{part}", self.run)));
        let deployments =
            self.world.fake.projects(&self.run).iter().map(|project| project.deployments.len()).sum::<usize>();
        assert_eq!(deployments, 1, "deployments of {}", self.slug);
    }

    /// The idempotency keys with which this tenant's run called the fake, each once.
    pub fn keys(&self, path: &str) -> Vec<String> {
        let seen = self.world.fake.seen(path);
        let mut keys: Vec<_> = seen.iter().filter_map(|seen| Some(seen.key()?.to_owned())).collect();
        keys.retain(|key| key.starts_with(&self.run));
        keys.sort();
        keys.dedup();
        keys
    }
}

/// A step of a status.
pub fn step<'a>(status: &'a Value, name: &str) -> &'a Value {
    let steps = status["steps"].as_array().expect("steps");
    steps.iter().find(|step| step["name"] == name).expect(name)
}
