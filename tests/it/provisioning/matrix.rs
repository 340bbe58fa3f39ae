//! Every step under every fault that leaves the process alive: once, so that the next try mends it, and at every try.

use std::{
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use fail::FailGuard;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use tenantry::db::{self, Location};

use super::{BOTH, STEPS, World, failing::closed, step};
use crate::support::{Database, Gate, Reply, Settings};

/// Steps that really leave the house, and where to.
const OUTSIDE: [(&str, &str, &str); 3] = [
    ("validate_webhook", "HEAD", "/hooks/"),
    ("deploy_apps_script", "POST", "/google/v1/projects"),
    ("call_webhook", "POST", "/app"),
];

const DEEDS: [&str; 7] = [
    "Seeding the default content failed: ",
    "Setting up the hostname failed: ",
    "Checking the webhook failed: ",
    "Deploying the automations failed: ",
    "Deploying the Apps Script failed: ",
    "Calling the operator's application failed: ",
    "Sending the magic link failed: ",
];

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    ErrorBefore,
    ErrorAfter,
    PanicBefore,
    PanicAfter,
    Timeout,
}

/// What a step may take where it is to take too long.
const LIMIT: Duration = Duration::from_millis(200);

impl Fault {
    fn action(self) -> (&'static str, &'static str) {
        match self {
            Self::ErrorBefore => ("before", "return(error)"),
            Self::ErrorAfter => ("after", "return(error)"),
            Self::PanicBefore => ("before", "panic(injected)"),
            Self::PanicAfter => ("after", "panic(injected)"),
            Self::Timeout => unreachable!("the other side is late, not the program"),
        }
    }

    fn settings(self, settings: Settings) -> Settings {
        match self {
            Self::Timeout => settings.with("TENANTRY_PROVISION__STEP_TIMEOUT", "200ms"),
            _ => settings,
        }
    }

    /// What a person reads of it.
    fn told(self) -> &'static str {
        match self {
            // "no end" or "no answer": a call has the same limit as its step.
            Self::Timeout => " within 200ms (given up after 3 attempts)",
            _ => {
                "something went wrong on our side; the operator finds the cause in the log (given up after 3 attempts)"
            }
        }
    }

    /// Makes it happen to a step: at the first try, or at every one.
    fn arm(self, world: &World, slug: &str, name: &str, always: bool) -> Armed {
        if let (Self::Timeout, Some((_, method, path))) = (self, OUTSIDE.iter().find(|outside| outside.0 == name)) {
            let path = if *path == "/hooks/" { format!("/hooks/{slug}") } else { (*path).to_owned() };
            let held = Reply::usual().behind(&Gate::shut());
            let replies = if always { vec![held] } else { vec![held, Reply::usual()] };
            world.fake.tell(method, &path, replies);
            return Armed { _guard: None, told: Some(((*method).to_owned(), path)) };
        }
        if self == Self::Timeout {
            let guard = late_database(world, name, always);
            return Armed { _guard: Some(guard), told: None };
        }
        let (when, action) = self.action();
        let action = if always { action.to_owned() } else { format!("1*{action}->off") };
        let guard = FailGuard::new(format!("step::{name}::{when}"), &action).expect("a failpoint");
        Armed { _guard: Some(guard), told: None }
    }
}

/// Makes the database keep a step of ours waiting for longer than it may take: somebody else has locked what it writes.
fn late_database(world: &World, name: &str, always: bool) -> FailGuard {
    let (location, tries) = (location(&world.product.database), AtomicUsize::new(0));
    let late = move || {
        if always || tries.fetch_add(1, Ordering::Relaxed) == 0 {
            lock(location.clone());
        }
    };
    FailGuard::with_callback(format!("step::{name}::before"), late).expect("a failpoint")
}

fn location(database: &Database) -> Location {
    let file = || Location::Sqlite(database.folder().join("tenantry.db"));
    database.url.clone().map_or_else(file, |url| Location::Postgres(url.into()))
}

/// Holds the runs' table, in a thread of its own, and lets go when the time limit is over. Returns once it has it.
fn lock(location: Location) {
    let (has_it, locked) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let db = db::connect(&location, 1).await.expect("connects");
            let tx = db.begin().await.expect("begins");
            if db.postgres().is_some() {
                tx.execute_unprepared("lock table provision_runs in exclusive mode").await.expect("locks");
            }
            has_it.send(()).expect("somebody waits");
            tokio::time::sleep(LIMIT + LIMIT / 4).await;
            tx.rollback().await.expect("lets go");
            db.close().await;
        });
    });
    locked.recv().expect("a lock");
}

/// Until it is disarmed.
struct Armed {
    _guard: Option<FailGuard>,
    told: Option<(String, String)>,
}

impl Armed {
    fn disarm(self, world: &World) {
        if let Some((method, path)) = self.told {
            world.fake.forget(&method, &path);
        }
    }
}

async fn world(database: Database, fault: Fault) -> World {
    let world = World::new(database, BOTH, |_, settings| fault.settings(settings)).await;
    world.every_step().await;
    world
}

/// Each step fails at its first try: the run completes, nothing that was finished is repeated, and nothing has happened twice.
async fn once(database: Database, fault: Fault) {
    let world = world(database, fault).await;
    for name in STEPS {
        let slug = format!("once-{}", name.replace('_', "-"));
        let armed = fault.arm(&world, &slug, name, false);
        let tenant = world.queue(&slug).await;
        let status = tenant.completed().await;
        armed.disarm(&world);
        attempts(&status, name, 2, fault);
        tenant.everything_once().await;
    }
}

/// Each step fails at every try: the run fails for a reason, undoes what needs it, and completes by a retry once it is mended.
async fn for_good(database: Database, fault: Fault) {
    let world = world(database, fault).await;
    for (name, deed) in STEPS.into_iter().zip(DEEDS) {
        let slug = format!("never-{}", name.replace('_', "-"));
        let armed = fault.arm(&world, &slug, name, true);
        let tenant = world.queue(&slug).await;
        let reason = tenant.failed().await;
        assert!(reason.starts_with(deed) && reason.ends_with(fault.told()), "{reason}");
        let status = tenant.status().await;
        assert_eq!(step(&status, name)["status"], "failed", "{status:#}");
        assert_eq!(step(&status, name)["attempts"], 3);
        closed(&tenant).await;
        armed.disarm(&world);

        let queued = tenant.retry().await.expect(202);
        assert_eq!(queued, json!({"run_id": tenant.run, "status": "pending"}));
        let mended = tenant.completed().await;
        attempts(&mended, name, 1, fault);
        tenant.everything_once().await;
        if name != "seed_defaults" {
            assert_eq!(step(&mended, "seed_defaults"), step(&status, "seed_defaults"), "was not repeated");
        }
    }
}

/// Holds every step to one attempt, and the faulty one to so many. A slow machine may add to those that are under a time limit.
#[track_caller]
fn attempts(status: &Value, faulty: &str, expected: i64, fault: Fault) {
    for name in STEPS {
        let step = step(status, name);
        assert_eq!(step["status"], "complete", "{status:#}");
        assert_eq!(step["error"], Value::Null);
        let (had, wanted) = (step["attempts"].as_i64().expect("a number"), if name == faulty { expected } else { 1 });
        assert!(had == wanted || (fault == Fault::Timeout && had >= wanted), "{name} in {status:#}");
    }
}

macro_rules! faults {
    ($($name:ident: $fault:ident),+ $(,)?) => {
        $(mod $name {
            use super::*;
            on_both! {
                async fn mended_by_the_next_try(database: Database) { once(database, Fault::$fault).await; }
            }
            on_both! {
                async fn fails_for_good(database: Database) { for_good(database, Fault::$fault).await; }
            }
        })+
    };
}

faults! {
    error_before: ErrorBefore,
    error_after: ErrorAfter,
    panic_before: PanicBefore,
    panic_after: PanicAfter,
    timeout: Timeout,
}
