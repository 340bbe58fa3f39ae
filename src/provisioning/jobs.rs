//! The reconciler: it claims due runs and carries each to its end, step by step.
//!
//! It takes no input but the database. It wakes when somebody commits work and on a timer, so that the happy path, a retry that
//! has become due and a run whose worker has died are one path. Up to `worker.concurrency` runs are carried at once.
//!
//! For the fault tests (feature `failpoints`) each step passes two points: `step::<name>::before`, when its attempt is counted
//! and nothing has happened, and `step::<name>::after`, when its effect has happened and is not recorded yet. They take `fail`'s
//! own actions (`panic`, `sleep(ms)`, `pause`), `return(error)` and `return(die)`; a `sleep` beyond the lease at `after` makes the
//! worker write late.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use sea_orm::DbErr;
use tokio::{sync::Semaphore, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

use super::{
    StepName,
    apps_script::Client,
    backoff::Backoff,
    carry,
    held::{Held, Next, Rules},
    record::{self, Claimant},
    steps,
};
use crate::{app::App, egress::Egress, http::chain, telemetry::traces::span};

/// The lease of a step that leaves nothing outside.
const LEASE_HERE: TimeDelta = TimeDelta::seconds(10);

/// What the reconciler and its steps work with.
pub(super) struct Worker {
    pub app: App,
    /// For URLs that the operator configured.
    pub trusted: Egress,
    /// Where Apps Script is enabled.
    pub apps_script: Option<Client>,
    /// Who holds a lease, for people who look into the table.
    name: String,
}

impl Worker {
    fn new(app: App) -> Self {
        let config = &app.config;
        let trusted = app.trusted.clone();
        let google = &config.apps_script;
        let apps_script = google.token.as_ref().filter(|_| google.enabled).map(|token| {
            let timeout = config.provision.step_timeout;
            Client::new(trusted.clone(), google.api_base.clone(), token.clone(), timeout)
        });
        let name = format!("{}-{}", std::process::id(), app.clock.now().id());
        Self { app, trusted, apps_script, name }
    }

    /// How long a worker may be silent.
    pub fn lease(&self) -> TimeDelta {
        TimeDelta::from_std(self.app.config.provision.lease).unwrap_or(TimeDelta::MAX)
    }

    /// How long it may be silent while `next` runs. What happens here takes milliseconds, so a run whose worker was killed meanwhile
    /// is taken up again soon; an outside call may take its time.
    pub fn lease_for(&self, held: &Held, next: &Next) -> TimeDelta {
        let leaves = |position: &usize| steps::leaves(held.steps[*position].name, held.dry_run).is_some();
        match next {
            Next::Run(position) if leaves(position) => self.lease(),
            Next::Run(_) | Next::Fail(..) | Next::Complete => self.lease().min(LEASE_HERE),
        }
    }

    pub fn backoff(&self) -> Backoff {
        let config = &self.app.config.provision;
        Backoff { base: config.backoff_base, cap: config.backoff_cap }
    }
}

impl Rules for Worker {
    fn max_attempts(&self) -> i64 {
        self.app.config.provision.max_attempts.into()
    }

    fn is_idle(&self, held: &Held, name: StepName) -> bool {
        steps::is_idle(self, held, name)
    }

    fn callback_hash(&self, held: &Held, name: StepName) -> Option<Vec<u8>> {
        steps::callback_hash(&self.app.sealer, held, name)
    }
}

/// Carries runs until `stop`; then ends the steps at hand, gives the rest of their runs back and returns.
pub async fn run(app: App, stop: CancellationToken) {
    let worker = Arc::new(Worker::new(app));
    let lanes = Arc::new(Semaphore::new(worker.app.config.worker.concurrency));
    let carried = TaskTracker::new();
    while let Some(free) = free_lanes(&lanes, &stop).await {
        // From before the look, so that work which is committed during it is not slept over.
        let woken = worker.app.wake.woken();
        let look = look(&worker, free).await.unwrap_or_else(|error| {
            tracing::warn!(feature = "provision", error = %chain(&error), "Could not look for due runs");
            Look::Nothing(worker.app.config.worker.poll)
        });
        let claimed = match look {
            Look::Claimed(claimed) => claimed,
            Look::Nothing(pause) => {
                tokio::select! {
                    () = woken => {}
                    () = sleep(pause) => {}
                    () = stop.cancelled() => {}
                }
                continue;
            }
        };
        for (held, next) in claimed {
            let Ok(lane) = lanes.clone().try_acquire_owned() else { break };
            let (worker, stop) = (worker.clone(), stop.clone());
            let span =
                span!("provision_run", run_id = %held.run_id, tenant_id = %held.subject.tenant_id, plan = held.plan);
            let carry = async move {
                carry::to_its_end(&worker, held, next, &stop).await;
                drop(lane);
            };
            carried.spawn(carry.instrument(span));
        }
    }
    carried.close();
    carried.wait().await;
}

/// Waits until a run could be carried, and answers how many; nothing once it is time to stop.
async fn free_lanes(lanes: &Semaphore, stop: &CancellationToken) -> Option<usize> {
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        lane = lanes.acquire() => lane.ok().map(|_| lanes.available_permits() + 1),
    }
}

/// What a look at the queue came to.
enum Look {
    /// Runs to carry.
    Claimed(Vec<(Held, Next)>),
    /// Nothing to do for so long, unless somebody says otherwise.
    Nothing(Duration),
}

async fn look(worker: &Worker, free: usize) -> Result<Look, DbErr> {
    let app = &worker.app;
    let (now, poll) = (app.clock.now(), app.config.worker.poll);
    match record::next_due(app.db.read()).await? {
        None => return Ok(Look::Nothing(poll)),
        Some(due) if due > now.at => return Ok(Look::Nothing((due - now.at).to_std().unwrap_or(poll).min(poll))),
        Some(_) => {}
    }
    let lease = worker.lease().min(LEASE_HERE);
    let claimant = Claimant { name: &worker.name, lease, limit: free };
    let tx = app.db.begin().await?;
    let claimed = record::claim(&tx, &now, &claimant, worker).await?;
    for (held, next) in &claimed {
        let needed = worker.lease_for(held, next);
        if needed > lease {
            record::extend(&tx, &now, held, needed).await?;
        }
    }
    tx.commit().await?;
    // Where others were faster, they are not raced at once.
    Ok(if claimed.is_empty() { Look::Nothing(poll) } else { Look::Claimed(claimed) })
}
