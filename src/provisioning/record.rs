//! Claiming runs, and writing what became of them: short transactions, each under the claim's fencing token.
//!
//! A run is claimed by lease. `due_at` doubles as the lease's end, so a run whose worker has died becomes due again by itself. Each
//! claim increments `fence`; every later write shows it, and a worker that has been overtaken changes nothing
//! ([`Halt::LeaseLost`]). It shows the run's `version`, too: a callback that came in between is noticed ([`Halt::Changed`]).

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, FromQueryResult, IntoActiveModel, QueryFilter, QueryOrder,
    QueryTrait, Statement, Value, sea_query::OnConflict,
};
use uuid::Uuid;

use super::{
    RunStatus,
    held::{Held, Next, Rules},
    store::{Subject, step},
};
use crate::{
    clock::Now,
    db::{Tx, skip_locked, sql},
};

/// Why a worker has to let go of a run.
#[derive(Debug, thiserror::Error)]
pub(super) enum Halt {
    /// Another worker has claimed it, or it has ended.
    #[error("the lease was lost")]
    LeaseLost,
    /// The run changed under the same lease: what the worker knows of it is out of date.
    #[error("the run was changed by a callback")]
    Changed,
    /// The database refused, or whether it committed is unknown; the lease's end sorts it out.
    #[error(transparent)]
    Database(#[from] DbErr),
}

/// Where a write leaves the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ahead {
    /// With this worker, for another lease.
    GoesOn(TimeDelta),
    /// With nobody, due at this time.
    Waits(DateTime<Utc>),
    /// Ended well.
    Complete,
    /// Ended, for this reason.
    Failed(String),
}

/// Who claims, and how much.
pub(super) struct Claimant<'a> {
    /// The worker's name, for people who look into the table.
    pub name: &'a str,
    /// How long it may be silent.
    pub lease: TimeDelta,
    /// How many runs, at most.
    pub limit: usize,
}

/// When the next run is due: a wake that was meant for somebody else costs one read.
pub(super) async fn next_due(db: &impl ConnectionTrait) -> Result<Option<DateTime<Utc>>, DbErr> {
    let text = "select due_at from provision_runs where status in ('pending', 'processing') and due_at is not null \
                order by due_at limit 1";
    let row = db.query_one_raw(sql(db, text, [])).await?;
    row.map(|row| row.try_get("", "due_at")).transpose()
}

#[derive(FromQueryResult)]
struct Claimed {
    tenant_id: Uuid,
    id: Uuid,
    plan: String,
    dry_run: bool,
    fence: i64,
    version: i64,
    queued_at: Option<DateTime<Utc>>,
    started_at: DateTime<Utc>,
}

/// Claims due runs, and begins the next step of each. The tenants are locked with their runs, or passed by with them, so nobody who
/// holds one and wants the other is waited for.
pub(super) async fn claim(
    tx: &Tx,
    now: &Now,
    claimant: &Claimant<'_>,
    rules: &impl Rules,
) -> Result<Vec<(Held, Next)>, DbErr> {
    let text = format!(
        "with due as materialized (select r.tenant_id as due_tenant, r.id as due_run from provision_runs r \
         join tenants t on t.id = r.tenant_id where r.status in ('pending', 'processing') and r.due_at <= $1 \
         order by r.due_at limit $2{}) \
         update provision_runs set status = 'processing', fence = fence + 1, version = version + 1, \
         started_at = coalesce(started_at, $1), lease_owner = $3, lease_expires_at = $4, due_at = $4, updated_at = $1 \
         from due where tenant_id = due_tenant and id = due_run \
         returning tenant_id, id, plan, dry_run, fence, version, queued_at, started_at",
        skip_locked(tx)
    );
    let limit = i64::try_from(claimant.limit).unwrap_or(i64::MAX);
    let values = [now.at.into(), limit.into(), claimant.name.into(), (now.at + claimant.lease).into()];
    let claimed = Claimed::find_by_statement(sql(tx, &text, values)).all(tx).await?;
    if claimed.is_empty() {
        return Ok(Vec::new());
    }
    let mut subjects = mirror_processing(tx, now, &claimed).await?;
    let mut steps = steps_of(tx, &claimed).await?;
    let mut begun = Vec::new();
    let mut changed = Vec::new();
    for run in claimed {
        let Some(subject) = subjects.remove(&run.tenant_id) else { continue };
        let before = held(&run, steps.remove(&run.id).unwrap_or_default(), subject);
        let mut after = before.clone();
        let next = after.begin_next(now, rules);
        changed.extend(after.changed_since(&before, after.version));
        begun.push((after, next));
    }
    write_steps(tx, changed).await?;
    Ok(begun)
}

/// Lets the holder of a run be silent for longer than it was claimed for.
pub(super) async fn extend(tx: &Tx, now: &Now, held: &Held, lease: TimeDelta) -> Result<(), DbErr> {
    let text =
        "update provision_runs set due_at = $4, lease_expires_at = $4 where tenant_id = $1 and id = $2 and fence = $3";
    let until = now.at + lease;
    let values = [held.subject.tenant_id.into(), held.run_id.into(), held.fence.into(), until.into()];
    tx.execute_raw(sql(tx, text, values)).await.map(drop)
}

fn held(run: &Claimed, steps: Vec<step::Model>, subject: Subject) -> Held {
    Held {
        run_id: run.id,
        plan: run.plan.clone(),
        dry_run: run.dry_run,
        fence: run.fence,
        version: run.version,
        queued_at: run.queued_at,
        started_at: run.started_at,
        steps,
        subject,
    }
}

/// Mirrors the claims onto the tenants, and brings back what the steps need of them.
async fn mirror_processing(tx: &Tx, now: &Now, claimed: &[Claimed]) -> Result<HashMap<Uuid, Subject>, DbErr> {
    let places: Vec<_> = (2..2 + claimed.len()).map(|n| format!("${n}")).collect();
    let text = format!(
        "update tenants set provision_state = 'processing', provision_reason = null, provision_updated_at = $1, \
         updated_at = $1 where id in ({}) returning id as tenant_id, slug, name, created_at, \
         (select m.user_id from memberships m where m.tenant_id = tenants.id and m.role = 'owner') as owner_id, \
         (select u.email from memberships m join users u on u.id = m.user_id \
          where m.tenant_id = tenants.id and m.role = 'owner') as owner_email, \
         (select w.url from webhook_endpoints w where w.tenant_id = tenants.id and w.source = 'signup') as webhook_url",
        places.join(", ")
    );
    let mut values: Vec<Value> = vec![now.at.into()];
    values.extend(claimed.iter().map(|run| Value::from(run.tenant_id)));
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), text, values);
    let subjects = Subject::find_by_statement(statement).all(tx).await?;
    Ok(subjects.into_iter().map(|subject| (subject.tenant_id, subject)).collect())
}

async fn steps_of(tx: &Tx, claimed: &[Claimed]) -> Result<HashMap<Uuid, Vec<step::Model>>, DbErr> {
    let tenants = step::Column::TenantId.is_in(claimed.iter().map(|run| run.tenant_id));
    let runs = step::Column::RunId.is_in(claimed.iter().map(|run| run.id));
    let rows = step::Entity::find().filter(tenants).filter(runs).order_by_asc(step::Column::Position).all(tx).await?;
    let mut by_run = HashMap::<_, Vec<_>>::new();
    for row in rows {
        by_run.entry(row.run_id).or_default().push(row);
    }
    Ok(by_run)
}

/// Takes the run for this transaction's writes and says where they leave it. Comes before everything else in the transaction.
/// Answers the run's new version.
pub(super) async fn fence(tx: &Tx, now: &Now, held: &Held, ahead: &Ahead) -> Result<i64, Halt> {
    let (status, reason, due_at, lease_end, finished_at) = match ahead {
        Ahead::GoesOn(lease) => (RunStatus::Processing, None, Some(now.at + *lease), Some(now.at + *lease), None),
        Ahead::Waits(until) => (RunStatus::Processing, None, Some(*until), None, None),
        Ahead::Complete => (RunStatus::Complete, None, None, None, Some(now.at)),
        Ahead::Failed(reason) => (RunStatus::Failed, Some(reason.clone()), None, None, Some(now.at)),
    };
    let text = format!(
        "update provision_runs set version = version + 1, updated_at = $5, status = $6, reason = $7, due_at = $8, \
         lease_expires_at = $9, lease_owner = {}, finished_at = $10 \
         where tenant_id = $1 and id = $2 and fence = $3 and version = $4 and status = 'processing'",
        if lease_end.is_some() { "lease_owner" } else { "null" }
    );
    let values = [
        held.subject.tenant_id.into(),
        held.run_id.into(),
        held.fence.into(),
        held.version.into(),
        now.at.into(),
        status.as_str().into(),
        reason.into(),
        due_at.into(),
        lease_end.into(),
        finished_at.into(),
    ];
    match tx.execute_raw(sql(tx, &text, values)).await?.rows_affected() {
        0 => Err(refused(tx, held).await?),
        _ => Ok(held.version + 1),
    }
}

async fn refused(tx: &Tx, held: &Held) -> Result<Halt, DbErr> {
    let text = "select 1 from provision_runs where tenant_id = $1 and id = $2 and fence = $3 and status = 'processing'";
    let values = [held.subject.tenant_id.into(), held.run_id.into(), held.fence.into()];
    let ours = tx.query_one_raw(sql(tx, text, values)).await?;
    Ok(if ours.is_some() { Halt::Changed } else { Halt::LeaseLost })
}

/// Writes steps as they are now, in one statement.
pub(super) async fn write_steps(tx: &Tx, steps: Vec<step::Model>) -> Result<(), DbErr> {
    use step::Column as C;
    if steps.is_empty() {
        return Ok(());
    }
    let known = OnConflict::columns([C::TenantId, C::RunId, C::Position])
        .update_columns([
            C::Status,
            C::Attempts,
            C::StartedAt,
            C::FinishedAt,
            C::Error,
            C::Output,
            C::CallbackHash,
            C::Version,
        ])
        .to_owned();
    let rows = steps.into_iter().map(IntoActiveModel::into_active_model);
    tx.execute(&step::Entity::insert_many(rows).on_conflict(known).into_query()).await.map(drop)
}

/// Looks again at a run that was changed under this worker's lease, and begins its next step.
pub(super) async fn resume(
    tx: &Tx,
    now: &Now,
    held: &Held,
    lease: TimeDelta,
    rules: &impl Rules,
) -> Result<(Held, Next), Halt> {
    let text = "select tenant_id, id, plan, dry_run, fence, version, queued_at, started_at from provision_runs \
                where tenant_id = $1 and id = $2 and fence = $3 and status = 'processing'";
    let values = [held.subject.tenant_id.into(), held.run_id.into(), held.fence.into()];
    let run = Claimed::find_by_statement(sql(tx, text, values)).one(tx).await?.ok_or(Halt::LeaseLost)?;
    let steps = steps_of(tx, std::slice::from_ref(&run)).await?.remove(&run.id).unwrap_or_default();
    let before = self::held(&run, steps, held.subject.clone());
    let mut after = before.clone();
    let next = after.begin_next(now, rules);
    after.version = fence(tx, now, &before, &Ahead::GoesOn(lease)).await?;
    write_steps(tx, after.changed_since(&before, after.version)).await?;
    Ok((after, next))
}
