//! A worker that stalls past its lease, and wakes up when another has done its work: what it writes then is refused.

use std::{
    sync::{Mutex, mpsc},
    thread,
};

use chrono::TimeDelta;
use fail::FailGuard;
use tenantry::provisioning;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::Level;

use super::{HTTP, STEPS, World, app, config, overtaking, step};
use crate::support::{Logged, Logs, PATIENCE, eventually};

/// Where a worker stands still at a step. A step of our own database holds the run's row from its first write to its commit, so
/// nobody can overtake it there; one that leaves the house can be overtaken between its effect and its record, too.
fn points() -> Vec<(&'static str, &'static str)> {
    let outside = ["validate_webhook", "deploy_apps_script", "call_webhook"];
    let before = STEPS.map(|name| (name, "before"));
    before.into_iter().chain(outside.map(|name| (name, "after"))).collect()
}

/// A worker with threads of its own, one of which is about to stand still.
struct Sleeper {
    stop: CancellationToken,
    thread: thread::JoinHandle<()>,
}

impl Sleeper {
    fn start(world: &World) -> Self {
        let (config, stop) = (config(&world.settings, &world.product.database), CancellationToken::new());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let (runtime, stopped) = (runtime.expect("a runtime"), stop.clone());
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                let app = app(config, TimeDelta::zero()).await;
                provisioning::jobs::run(app, stopped).await;
            });
        });
        Self { stop, thread }
    }

    async fn stop(self) {
        self.stop.cancel();
        tokio::task::spawn_blocking(|| self.thread.join().expect("stops in order")).await.expect("joins");
    }
}

/// Makes the first who comes to a failpoint stand still there.
struct Stall {
    _guard: FailGuard,
    asleep: oneshot::Receiver<()>,
    wake: mpsc::Sender<()>,
}

impl Stall {
    fn at(name: &str, when: &str) -> Self {
        let (fell_asleep, asleep) = oneshot::channel();
        let (wake, woken) = mpsc::channel();
        let first = Mutex::new(Some((fell_asleep, woken)));
        let guard = FailGuard::with_callback(format!("step::{name}::{when}"), move || {
            let Some((fell_asleep, woken)) = first.lock().expect("the first").take() else { return };
            fell_asleep.send(()).expect("the test waits");
            woken.recv().expect("the test wakes");
        });
        Self { _guard: guard.expect("a failpoint"), asleep, wake }
    }
}

/// Waits for the line that tells of a run's refused write.
async fn warning(logs: &Logs, run: &str) -> Logged {
    let is_it = |line: &Logged| line.get("message") == "Late write refused" && line.get("run_id") == run;
    let found = Mutex::new(None);
    let look = || logs.take().into_iter().find(|line| line.level == Level::WARN && is_it(line));
    eventually("the late write", async || {
        *found.lock().expect("a line") = look();
        found.lock().expect("a line").is_some()
    })
    .await;
    found.into_inner().expect("a line").expect("found")
}

on_both! {
    async fn what_a_stalled_worker_writes_late_is_refused(database: Database) {
        let logs = Logs::catch();
        let world = World::new(database, HTTP, |_, settings| settings).await;
        world.every_step().await;
        for (refused, (name, when)) in (1..).zip(points()) {
            let stall = Stall::at(name, when);
            let sleeper = Sleeper::start(&world);
            let tenant = world.queue(&format!("{when}-{}", name.replace('_', "-"))).await;
            tokio::time::timeout(PATIENCE, stall.asleep).await.expect("comes to the step").expect("stands still");

            // To this one, whose clock is ahead, the lease is over.
            let overtaker = world.worker(overtaking()).await;
            let status = tenant.completed().await;
            overtaker.stop().await;
            assert_eq!(step(&status, name)["attempts"], 2, "{status:#}");
            tenant.everything_once().await;

            stall.wake.send(()).expect("still there");
            let warned = warning(&logs, &tenant.run).await;
            assert_eq!((warned.get("feature"), warned.get("fence")), ("provision", "1"));
            sleeper.stop().await;
            assert_eq!(world.metric("tenantry_late_writes_refused_total").await, refused);

            // Everything is as the later claim has left it.
            let query = format!("select fence, status from provision_runs where tenant_id = {}", tenant.id_in_sql());
            let row = world.row(&query).await;
            assert_eq!(row.try_get::<i64>("", "fence").expect("a fence"), 2);
            assert_eq!(tenant.status().await, status);
            tenant.everything_once().await;
        }
    }
}
