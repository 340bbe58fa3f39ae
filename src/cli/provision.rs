//! Waiting for a tenant's provisioning, and doing it where nobody else does.

use std::{collections::HashMap, time::Duration};

use anyhow::Context;
use uuid::Uuid;

use super::{
    Failure,
    progress::{Board, Line, Mark},
};
use crate::{
    app::App,
    provisioning::{self, RunStatus, Status, StepName, StepState, StepStatus},
};

/// How often to look.
const EVERY: Duration = Duration::from_millis(50);

/// Waits until the tenant's run has ended, and shows each step. This process works the queue meanwhile, so it needs no server;
/// where there is one, leases decide who does what.
pub(super) async fn until_ended(app: &App, tenant_id: Uuid, board: &Board) -> Result<Status, Failure> {
    let stop = app.stop.child_token();
    let worker = tokio::spawn(provisioning::jobs::run(app.clone(), stop.clone()));
    let watched = watch(app, tenant_id, board).await;
    stop.cancel();
    worker.await.context("the worker ended badly")?;
    watched
}

async fn watch(app: &App, tenant_id: Uuid, board: &Board) -> Result<Status, Failure> {
    let mut lines = HashMap::new();
    loop {
        let status = provisioning::current(app.db.read(), tenant_id).await?;
        let status = status.ok_or_else(|| Failure::refused("the tenant has been removed meanwhile"))?;
        for step in &status.steps {
            let line = lines.entry(step.name).or_insert_with(|| Some(board.add(step.name.as_str())));
            show(line, step)?;
        }
        if status.status.is_terminal() {
            give_up(lines)?;
            return Ok(status);
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn show(line: &mut Option<Line>, step: &StepState) -> Result<(), Failure> {
    let mark = match step.status {
        StepStatus::Complete => Mark::Good,
        StepStatus::Skipped => Mark::Neutral,
        StepStatus::Failed => Mark::Bad,
        StepStatus::Pending | StepStatus::Processing => {
            if let Some(line) = line.as_ref().filter(|_| step.attempts > 0) {
                line.busy(step.error.as_deref().unwrap_or("under way"));
            }
            return Ok(());
        }
    };
    let took = step.duration_ms.map(|took| format!("{took} ms"));
    let texts: Vec<_> = took.into_iter().chain(step.error.clone()).collect();
    line.take().map_or(Ok(()), |line| line.end(mark, step.status.as_str(), &texts.join("  ")))
}

/// Steps that a failed run did not come to, or took back.
fn give_up(lines: HashMap<StepName, Option<Line>>) -> Result<(), Failure> {
    lines.into_values().flatten().try_for_each(|line| line.end(Mark::Neutral, "not done", ""))
}

/// The run's end, as the command's.
pub(super) fn ended(status: &Status) -> Result<(), Failure> {
    match status.status {
        RunStatus::Complete => Ok(()),
        RunStatus::Failed | RunStatus::Pending | RunStatus::Processing => {
            let reason = status.reason.as_deref().unwrap_or("no reason was given");
            Err(Failure::refused(format!("provisioning failed: {reason}")))
        }
    }
}
