//! Opening, queueing, replacing and retrying runs. Every verb here is local and ends with its caller's transaction.

use sea_orm::{ConnectionTrait, DbErr};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    RunStatus, StepName, StepStatus, blueprint,
    store::{self, run, step, touched},
};
use crate::{
    clock::Now,
    db::{Batch, Tx, Unique, sql, unique},
};

/// What a caller can run into.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tenant has no run: it does not exist (any more).
    #[error("the tenant has no provisioning run")]
    NoRun,
    /// The run has been started, so what it was to do can no longer be changed.
    #[error("provisioning has already started")]
    AlreadyStarted,
    /// Only a failed run can be retried.
    #[error("provisioning has not failed")]
    NotFailed,
    /// No step waits for this callback token.
    #[error("unknown callback token")]
    UnknownCallback,
    /// The step that this callback is for has ended otherwise.
    #[error("the step has already ended")]
    StepEnded,
    /// The database.
    #[error(transparent)]
    Database(#[from] DbErr),
}

/// A run to open.
#[derive(Clone, Copy, Debug)]
pub struct NewRun<'a> {
    /// Whose.
    pub tenant_id: Uuid,
    /// The plan's slug, kept with the run.
    pub plan: &'a str,
    /// What it is to do, in order.
    pub steps: &'a [StepName],
    /// Due at once; otherwise it waits for [`queue`].
    pub queued: bool,
    /// Steps that leave the house only pretend to.
    pub dry_run: bool,
}

/// A run that waits for a worker, or what has become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Queued {
    /// The run.
    pub run_id: Uuid,
    /// Where it stands.
    pub status: RunStatus,
}

/// Opens a tenant's first run, in the transaction that creates the tenant. Returns the run's id.
pub fn open_run(batch: &mut Batch, now: &Now, new: NewRun<'_>) -> Uuid {
    add(batch, now, new, 1)
}

fn add(batch: &mut Batch, now: &Now, new: NewRun<'_>, version: i64) -> Uuid {
    let run_id = now.id();
    if new.queued {
        requested(new.tenant_id, run_id, new.plan);
    }
    let queued_at = new.queued.then_some(now.at);
    batch.insert(run::Model {
        tenant_id: new.tenant_id,
        id: run_id,
        plan: new.plan.to_owned(),
        status: RunStatus::Pending,
        reason: None,
        dry_run: new.dry_run,
        queued_at,
        started_at: None,
        finished_at: None,
        due_at: queued_at,
        fence: 0,
        lease_owner: None,
        lease_expires_at: None,
        version,
        created_at: now.at,
        updated_at: now.at,
    });
    batch.insert_all(step_rows(new.tenant_id, run_id, new.steps, version));
    run_id
}

fn requested(tenant_id: Uuid, run_id: Uuid, plan: &str) {
    tracing::info!(feature = "provision", %tenant_id, %run_id, plan, "Queue request");
}

fn step_rows(
    tenant_id: Uuid,
    run_id: Uuid,
    steps: &[StepName],
    version: i64,
) -> impl Iterator<Item = step::Model> + '_ {
    (0..).zip(steps).map(move |(position, name)| step::Model {
        tenant_id,
        run_id,
        position,
        name: *name,
        status: StepStatus::Pending,
        attempts: 0,
        started_at: None,
        finished_at: None,
        error: None,
        output: None,
        callback_hash: None,
        version,
    })
}

/// Queues the run that waits for it (the wizard's last step, the first payment). A repeat answers the same run.
///
/// # Errors
/// [`Error::NoRun`].
pub async fn queue(tx: &Tx, now: &Now, tenant_id: Uuid) -> Result<Queued, Error> {
    let text = "update provision_runs set queued_at = $2, due_at = $2, updated_at = $2, version = version + 1 \
                where tenant_id = $1 and status = 'pending' and queued_at is null returning id, version";
    let queued = touched(tx, text, [tenant_id.into(), now.at.into()]).await?;
    let last = store::last(tx, tenant_id).await?.ok_or(Error::NoRun)?;
    if queued.is_some() {
        requested(tenant_id, last.id, &last.plan);
    }
    Ok(Queued { run_id: last.id, status: last.status })
}

/// Gives a run that is not queued yet another plan and its steps.
///
/// # Errors
/// [`Error::AlreadyStarted`] where no run waits to be queued.
pub async fn replace_steps(tx: &Tx, now: &Now, tenant_id: Uuid, plan: &str, steps: &[StepName]) -> Result<(), Error> {
    let text = "update provision_runs set plan = $3, updated_at = $2, version = version + 1 \
                where tenant_id = $1 and status = 'pending' and queued_at is null returning id, version";
    let waiting = touched(tx, text, [tenant_id.into(), now.at.into(), plan.into()]).await?;
    let (run_id, version) = waiting.ok_or(Error::AlreadyStarted)?;
    let old = "delete from provision_steps where tenant_id = $1 and run_id = $2";
    tx.execute_raw(sql(tx, old, [tenant_id.into(), run_id.into()])).await?;
    let mut batch = Batch::default();
    batch.insert_all(step_rows(tenant_id, run_id, steps, version));
    batch.send(tx).await.map_err(|refused| refused.source)?;
    Ok(())
}

/// Puts a new run, queued, in the place of one that is pending or failed: what it is to work on has changed.
///
/// # Errors
/// [`Error::AlreadyStarted`] where a worker has it, or it is complete; [`Error::NoRun`].
pub async fn supersede(tx: &Tx, now: &Now, new: NewRun<'_>) -> Result<Queued, Error> {
    let text = "update provision_runs set status = 'failed', reason = 'superseded by a later request', \
                finished_at = $2, due_at = null, updated_at = $2, version = version + 1 \
                where tenant_id = $1 and status = 'pending' returning id, version";
    let version = match touched(tx, text, [new.tenant_id.into(), now.at.into()]).await? {
        Some((_, version)) => version,
        None => match store::last(tx, new.tenant_id).await?.ok_or(Error::NoRun)? {
            last if last.status == RunStatus::Failed => last.version,
            _ => return Err(Error::AlreadyStarted),
        },
    };
    let run_id = open_next(tx, now, NewRun { queued: true, ..new }, version).await?;
    Ok(Queued { run_id, status: RunStatus::Pending })
}

/// Gives a completely provisioned tenant the steps that a new plan adds to those it has had (P9). `new.steps` are the new
/// plan's. Answers the new run, or nothing where there is nothing to add or the tenant is not complete.
pub async fn follow_plan(tx: &Tx, now: &Now, new: NewRun<'_>) -> Result<Option<Queued>, Error> {
    let last = store::last(tx, new.tenant_id).await?.ok_or(Error::NoRun)?;
    if last.status != RunStatus::Complete {
        return Ok(None);
    }
    let steps = blueprint::added(new.steps, &store::had(tx, new.tenant_id).await?);
    if steps.is_empty() {
        return Ok(None);
    }
    let new = NewRun { steps: &steps, queued: true, ..new };
    let run_id = open_next(tx, now, new, last.version).await?;
    Ok(Some(Queued { run_id, status: RunStatus::Pending }))
}

/// A further run of a tenant. Versions go on from run to run, so that a stream of events can be resumed across them.
async fn open_next(tx: &Tx, now: &Now, new: NewRun<'_>, version: i64) -> Result<Uuid, Error> {
    let mut batch = Batch::default();
    let run_id = add(&mut batch, now, new, version + 1);
    batch.send(tx).await.map_err(|refused| match unique(&refused.source) {
        // Somebody else has opened one in the meantime.
        Some(Unique::OpenRun) => Error::AlreadyStarted,
        _ => Error::Database(refused.source),
    })?;
    store::mirror(tx, now, new.tenant_id, RunStatus::Pending, None).await?;
    Ok(run_id)
}

/// Queues a failed run again, with all its attempts; finished steps are not repeated.
///
/// # Errors
/// [`Error::NotFailed`], [`Error::NoRun`].
pub async fn retry(tx: &Tx, now: &Now, tenant_id: Uuid) -> Result<Queued, Error> {
    let last = store::last(tx, tenant_id).await?.ok_or(Error::NoRun)?;
    let text = "update provision_runs set status = 'pending', reason = null, queued_at = $3, due_at = $3, \
                finished_at = null, updated_at = $3, version = version + 1 \
                where tenant_id = $1 and id = $2 and status = 'failed' returning id, version";
    let queued = touched(tx, text, [tenant_id.into(), last.id.into(), now.at.into()]).await;
    let queued = queued.map_err(|error| match unique(&error) {
        Some(Unique::OpenRun) => Error::NotFailed,
        _ => Error::Database(error),
    })?;
    let (run_id, version) = queued.ok_or(Error::NotFailed)?;
    requested(tenant_id, run_id, &last.plan);
    let text = "update provision_steps set status = 'pending', attempts = 0, error = null, started_at = null, \
                finished_at = null, version = $3 \
                where tenant_id = $1 and run_id = $2 and status not in ('complete', 'skipped')";
    tx.execute_raw(sql(tx, text, [tenant_id.into(), run_id.into(), version.into()])).await?;
    store::mirror(tx, now, tenant_id, RunStatus::Pending, None).await?;
    Ok(Queued { run_id, status: RunStatus::Pending })
}
