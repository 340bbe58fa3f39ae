//! Follows plans: a tenant whose plan has changed gets the steps that the new one adds (P9).
//!
//! Whoever changes a plan only marks the subscription (`plan_followed`), in the transaction of the change; so nothing is lost whoever it was and
//! wherever they died. A tenant whose run is under way waits until it is
//! complete; one whose run waited for the first payment is set going.

use sea_orm::{ConnectionTrait, FromQueryResult};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Blueprint, Error, NewRun, Queued, RunStatus, follow_plan, queue, replace_steps, store};
use crate::{
    app::App,
    clock::Now,
    db::{Tx, skip_locked, sql},
    http::chain,
};

/// Tenants in one look.
const LIMIT: i64 = 50;

/// Follows plans until `stop`; wakes on each commit, and by itself now and then.
pub async fn run(app: App, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let woken = app.wake.woken();
        if let Err(error) = all(&app).await {
            tracing::warn!(feature = "provision", error = %chain(&error), "Could not look for changed plans");
        }
        tokio::select! {
            () = woken => {}
            () = sleep(app.config.worker.poll) => {}
            () = stop.cancelled() => {}
        }
    }
}

#[derive(FromQueryResult)]
struct Changed {
    tenant_id: Uuid,
    plan: String,
    blueprint: serde_json::Value,
}

/// Tenants whose plan nobody has looked at since it changed, and that are complete, or wait for nothing but that.
const CHANGED: &str = "select s.tenant_id, p.slug as plan, p.blueprint from subscriptions s join plans p on p.id = s.plan_id \
     where not s.plan_followed and not exists (select 1 from provision_runs r where r.tenant_id = s.tenant_id and r.status <> 'complete' \
     and not (r.status = 'pending' and r.queued_at is null) and r.version = (select max(o.version) from provision_runs o where o.tenant_id = s.tenant_id))";

/// Follows every plan that can be followed now. Answers how many runs that made.
pub async fn all(app: &App) -> Result<usize, Error> {
    let text = format!("{CHANGED} limit $1");
    let mut runs = 0;
    for Changed { tenant_id, .. } in
        Changed::find_by_statement(sql(app.db.read(), &text, [LIMIT.into()])).all(app.db.read()).await?
    {
        let tx = app.db.begin().await?;
        let now = app.clock.now();
        let queued =
            one(&tx, &now, tenant_id, (app.config.provision.app_url.is_some(), app.config.provision.dry_run)).await?;
        tx.commit().await?;
        if let Some(Queued { run_id, .. }) = queued {
            runs += 1;
            app.wake.wake();
            tracing::info!(feature = "provision", %tenant_id, %run_id, "The plan has changed: its further steps are queued");
        }
    }
    Ok(runs)
}

/// Follows one tenant's plan, where there is something to follow: queues a run, and answers it.
pub async fn one(
    tx: &Tx,
    now: &Now,
    tenant_id: Uuid,
    (calls_application, dry_run): (bool, bool),
) -> Result<Option<Queued>, Error> {
    // The subscription alone: the plan is everybody's.
    let hold = format!("select 1 as one from subscriptions where tenant_id = $1{}", skip_locked(tx));
    if tx.query_one_raw(sql(tx, &hold, [tenant_id.into()])).await?.is_none() {
        return Ok(None);
    }
    let text = format!("{CHANGED} and s.tenant_id = $1");
    let changed = Changed::find_by_statement(sql(tx, &text, [tenant_id.into()])).one(tx).await?;
    let Some(Changed { plan, blueprint, .. }) = changed else { return Ok(None) };
    let queued = match Blueprint::parse(&blueprint) {
        Ok(blueprint) => {
            let steps = blueprint.steps_with(calls_application);
            if store::last(tx, tenant_id).await?.is_some_and(|last| last.status == RunStatus::Pending) {
                // It waited for the first payment, on whatever plan.
                replace_steps(tx, now, tenant_id, &plan, &steps).await?;
                Some(queue(tx, now, tenant_id).await?)
            } else {
                follow_plan(tx, now, NewRun { tenant_id, plan: &plan, steps: &steps, queued: true, dry_run }).await?
            }
        }
        Err(error) => {
            tracing::error!(feature = "provision", %tenant_id, plan, %error, "The plan's blueprint cannot be read");
            None
        }
    };
    let done = "update subscriptions set plan_followed = $2 where tenant_id = $1";
    tx.execute_raw(sql(tx, done, [tenant_id.into(), true.into()])).await?;
    Ok(queued)
}
