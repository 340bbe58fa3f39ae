//! Recording how a step ended, and ending a run.

use chrono::TimeDelta;
use sea_orm::DbErr;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    RunStatus, StepName, StepStatus,
    held::{Held, Next, Rules},
    jobs::Worker,
    record::{self, Ahead, Halt},
    steps::{self, Outcome},
    store::{self, millis},
};
use crate::{
    audit,
    clock::Now,
    db::{Batch, Tx},
    webhooks::deliver,
};

/// A run as it will be, and what is next in it then.
pub(super) struct Advance {
    pub after: Held,
    pub next: Option<Next>,
    pub ahead: Ahead,
}

/// An advance that is written and only has to be committed.
pub(super) struct Written {
    pub tx: Tx,
    pub now: Now,
    pub advance: Advance,
}

/// What follows when a step is done: the next one begins, or the run is complete.
pub(super) fn advance(worker: &Worker, now: &Now, held: &Held, position: usize, stop: &CancellationToken) -> Advance {
    let mut after = held.clone();
    after.finish(position, now, StepStatus::Complete, None);
    // With the server about to stop, the next step is not begun; another worker may have it at once.
    if stop.is_cancelled() && after.steps.iter().any(|step| !step.status.is_finished()) {
        return Advance { after, next: None, ahead: Ahead::Waits(now.at) };
    }
    match after.begin_next(now, worker) {
        Next::Complete => Advance { after, next: None, ahead: Ahead::Complete },
        next => {
            let lease = worker.lease_for(&after, &next);
            Advance { after, next: Some(next), ahead: Ahead::GoesOn(lease) }
        }
    }
}

/// Writes an advance whose fence has been passed: the steps that changed, and all that opens the tenant where the run is
/// complete.
pub(super) async fn write(
    worker: &Worker,
    tx: &Tx,
    mut batch: Batch,
    now: &Now,
    held: &Held,
    advance: &Advance,
) -> Result<(), DbErr> {
    let after = &advance.after;
    if advance.ahead == Ahead::Complete {
        open(worker, tx, &mut batch, now, after).await?;
    }
    batch.send(tx).await.map_err(|refused| refused.source)?;
    record::write_steps(tx, after.changed_since(held, after.version)).await
}

/// Opens the tenant: the last thing of a run.
async fn open(worker: &Worker, tx: &Tx, batch: &mut Batch, now: &Now, held: &Held) -> Result<(), DbErr> {
    let subject = &held.subject;
    store::open_tenant(tx, now, subject.tenant_id).await?;
    audit::append(
        batch,
        now,
        audit::Event {
            actor: audit::Actor::System,
            tenant_id: Some(subject.tenant_id),
            action: "tenant.provisioned",
            request_id: None,
            detail: json!({"run_id": held.run_id, "plan": held.plan, "dry_run": held.dry_run}),
        },
    );
    let event = deliver::Event {
        tenant_id: subject.tenant_id,
        event_type: deliver::TENANT_PROVISIONED,
        key: &held.run_id.to_string(),
        data: json!({
            "tenant": {"id": subject.tenant_id, "slug": subject.slug, "name": subject.name},
            "plan": held.plan,
            "run_id": held.run_id,
        }),
        dry_run: held.dry_run,
    };
    deliver::announce(tx, batch, now, &worker.app.sealer, &event).await
}

/// Commits. An error here leaves the outcome unknown, so the run is left to its lease.
pub(super) async fn commit(worker: &Worker, written: Written) -> Result<(Held, Option<Next>), Halt> {
    let Written { tx, now, advance: Advance { after, next, ahead } } = written;
    tx.commit().await?;
    let outcome = match &ahead {
        Ahead::Complete => "complete",
        Ahead::Failed(_) => "failed",
        Ahead::GoesOn(_) | Ahead::Waits(_) => return Ok((after, next)),
    };
    worker.app.wake.wake();
    let duration_ms = millis(after.started_at, now.at);
    metrics::counter!("tenantry_provision_runs_total", "outcome" => outcome).increment(1);
    let seconds = (now.at - after.started_at).to_std().unwrap_or_default().as_secs_f64();
    metrics::histogram!("tenantry_provision_run_seconds").record(seconds);
    let (tenant_id, run_id, plan) = (after.subject.tenant_id, after.run_id, after.plan.as_str());
    if let Ahead::Failed(reason) = &ahead {
        tracing::error!(feature = "provision", %tenant_id, %run_id, plan, reason, duration_ms, "Provision failed");
    } else {
        tracing::info!(feature = "provision", %tenant_id, %run_id, plan, duration_ms, "Provision complete");
    }
    Ok((after, next))
}

/// Records how a step ended whose effect, if any, is already there.
pub(super) async fn settle(
    worker: &Worker,
    held: &Held,
    position: usize,
    outcome: Outcome,
    stop: &CancellationToken,
) -> Result<(Held, Option<Next>), Halt> {
    let now = worker.app.clock.now();
    let advance = match outcome {
        Outcome::Done(output) => {
            let mut advance = advance(worker, &now, held, position, stop);
            advance.after.steps[position].output = output;
            advance
        }
        Outcome::Wait(until) => {
            let mut after = held.clone();
            after.wait(position, until);
            Advance { after, next: None, ahead: Ahead::Waits(until) }
        }
        Outcome::Fail(reason) => return fail(worker, held, position, &reason).await,
        Outcome::Retry { reason, after } => {
            let attempts = held.steps[position].attempts;
            if attempts >= worker.max_attempts() {
                let reason = format!("{reason} (given up after {attempts} attempts)");
                return fail(worker, held, position, &reason).await;
            }
            let pause = worker.backoff().pause(attempts, now.fraction(), after);
            let mut after = held.clone();
            after.postpone(position, &reason);
            let until = now.at + TimeDelta::from_std(pause).unwrap_or(TimeDelta::MAX);
            Advance { after, next: None, ahead: Ahead::Waits(until) }
        }
    };
    record(worker, now, held, advance).await
}

async fn record(worker: &Worker, now: Now, held: &Held, mut advance: Advance) -> Result<(Held, Option<Next>), Halt> {
    let tx = worker.app.db.begin().await?;
    advance.after.version = record::fence(&tx, &now, held, &advance.ahead).await?;
    write(worker, &tx, Batch::default(), &now, held, &advance).await?;
    commit(worker, Written { tx, now, advance }).await
}

/// Completes a run all of whose steps are finished.
pub(super) async fn complete(worker: &Worker, held: &Held) -> Result<(Held, Option<Next>), Halt> {
    let advance = Advance { after: held.clone(), next: None, ahead: Ahead::Complete };
    record(worker, worker.app.clock.now(), held, advance).await
}

/// Gives a run up: undoes what needs undoing, and says why.
pub(super) async fn fail(
    worker: &Worker,
    held: &Held,
    position: usize,
    reason: &str,
) -> Result<(Held, Option<Next>), Halt> {
    let mut after = held.clone();
    steps::undo_outside(worker, &mut after).await;
    let now = worker.app.clock.now();
    let told = format!("{} failed: {reason}", deed(held.steps[position].name));
    let ahead = Ahead::Failed(told.clone());
    let tx = worker.app.db.begin().await?;
    after.version = record::fence(&tx, &now, held, &ahead).await?;
    steps::undo_here(&tx, &mut after).await?;
    after.give_up(position, &now, reason);
    store::mirror(&tx, &now, after.subject.tenant_id, RunStatus::Failed, Some(&told)).await?;
    let advance = Advance { after, next: None, ahead };
    write(worker, &tx, Batch::default(), &now, held, &advance).await?;
    commit(worker, Written { tx, now, advance }).await
}

/// What a step does, for the reason that a person reads.
fn deed(name: StepName) -> &'static str {
    match name {
        StepName::SeedDefaults => "Seeding the default content",
        StepName::ConfigureRouting => "Setting up the hostname",
        StepName::ValidateWebhook => "Checking the webhook",
        StepName::DeployAutomations => "Deploying the automations",
        StepName::DeployAppsScript => "Deploying the Apps Script",
        StepName::CallWebhook => "Calling the operator's application",
        StepName::SendMagicLink => "Sending the magic link",
    }
}

/// Goes on with a run that a callback has changed.
pub(super) async fn look_again(worker: &Worker, held: &Held) -> Result<(Held, Option<Next>), Halt> {
    let now = worker.app.clock.now();
    let lease = worker.lease();
    let tx = worker.app.db.begin().await?;
    let (after, next) = record::resume(&tx, &now, held, lease, worker).await?;
    tx.commit().await?;
    Ok((after, Some(next)))
}
