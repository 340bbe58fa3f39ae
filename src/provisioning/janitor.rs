//! Removes what nobody will come back for: sign-ups abandoned half-way (S8), answers and tokens whose time is over.
//!
//! An abandoned sign-up is a *pending* tenant of the wizard whose run was never queued, or has failed, and that nobody has
//! touched for `signup.abandoned_after`. It goes whole, with its user where that user has nothing else, so slug and address are free
//! again. Whoever goes on with it at that moment wins, or finds nothing: the rows are locked, and looked at again under the lock.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    app::App,
    audit, billing,
    clock::Now,
    db::{Batch, Tx, skip_locked, sql},
    http::chain,
    schedule,
};

/// Between two sweeps, in the product's own time, where nothing is abandoned sooner.
const EVERY: TimeDelta = TimeDelta::hours(1);
/// What has expired is still told apart from what never was for so long.
const KEPT: TimeDelta = TimeDelta::days(30);
/// Sign-ups in one look.
const LIMIT: i64 = 100;

/// Sweeps now and then until `stop`.
pub async fn run(app: App, stop: CancellationToken) {
    schedule::every(&app, abandoned_after(&app).min(EVERY), &stop, |app| async move {
        if let Err(error) = sweep(&app).await {
            tracing::warn!(feature = "janitor", error = %chain(&error), "Could not sweep");
        }
    })
    .await;
}

fn abandoned_after(app: &App) -> TimeDelta {
    TimeDelta::from_std(app.config.signup.abandoned_after).unwrap_or(TimeDelta::MAX)
}

/// Sweeps once. Answers how many abandoned sign-ups were removed.
pub async fn sweep(app: &App) -> Result<usize, DbErr> {
    let now = app.clock.now();
    let untouched_since = now.at.checked_sub_signed(abandoned_after(app)).unwrap_or(DateTime::<Utc>::MIN_UTC);
    let mut removed = 0;
    loop {
        let abandoned = Abandoned::find(app.db.read(), untouched_since).await?;
        let mut progress = 0;
        for tenant in &abandoned {
            let tx = app.db.begin().await?;
            if remove(&tx, &now, tenant.id, untouched_since).await? {
                tx.commit().await?;
                progress += 1;
                tracing::info!(feature = "janitor", tenant_id = %tenant.id, slug = tenant.slug, "Abandoned sign-up removed");
            } else {
                tx.rollback().await?;
            }
        }
        removed += progress;
        if progress == 0 {
            break;
        }
    }
    let tx = app.db.begin().await?;
    expire(&tx, &now).await?;
    tx.commit().await?;
    Ok(removed)
}

#[derive(FromQueryResult)]
struct Abandoned {
    id: Uuid,
    slug: String,
}

/// `$1` is the moment since when nobody has touched it.
const ABANDONED: &str = "select t.id, t.slug from tenants t join provision_runs r on r.tenant_id = t.id \
    where t.door = 'wizard' and t.status = 'pending' and t.updated_at <= $1 and r.updated_at <= $1 \
    and (r.status = 'failed' or (r.status = 'pending' and r.queued_at is null)) \
    and r.version = (select max(o.version) from provision_runs o where o.tenant_id = t.id)";

impl Abandoned {
    async fn find(db: &impl ConnectionTrait, untouched_since: DateTime<Utc>) -> Result<Vec<Self>, DbErr> {
        let text = format!("{ABANDONED} order by t.created_at limit $2");
        Self::find_by_statement(sql(db, &text, [untouched_since.into(), LIMIT.into()])).all(db).await
    }
}

/// Removes one abandoned sign-up. False where somebody has touched it in the meantime, or is just about to.
async fn remove(tx: &Tx, now: &Now, tenant_id: Uuid, untouched_since: DateTime<Utc>) -> Result<bool, DbErr> {
    let text = format!("{ABANDONED} and t.id = $2{}", skip_locked(tx));
    let values = [untouched_since.into(), tenant_id.into()];
    let Some(tenant) = Abandoned::find_by_statement(sql(tx, &text, values)).one(tx).await? else { return Ok(false) };
    let text = "select user_id from memberships where tenant_id = $1";
    let members = tx.query_all_raw(sql(tx, text, [tenant_id.into()])).await?;
    billing::trials::give_back(tx, tenant_id).await?;
    // Everything of a tenant goes with it, by foreign key.
    tx.execute_raw(sql(tx, "delete from tenants where id = $1", [tenant_id.into()])).await?;
    let mut users_removed = 0;
    for member in &members {
        let user_id: Uuid = member.try_get("", "user_id")?;
        let text = "delete from users where id = $1 and not is_platform_admin \
                    and not exists (select 1 from memberships where user_id = $1)";
        users_removed += tx.execute_raw(sql(tx, text, [user_id.into()])).await?.rows_affected();
    }
    let mut batch = Batch::default();
    audit::append(
        &mut batch,
        now,
        audit::Event {
            actor: audit::Actor::System,
            tenant_id: Some(tenant_id),
            action: "tenant.abandoned",
            request_id: None,
            detail: json!({"slug": tenant.slug, "users_removed": users_removed}),
        },
    );
    batch.send(tx).await.map_err(|refused| refused.source)?;
    Ok(true)
}

async fn expire(tx: &Tx, now: &Now) -> Result<(), DbErr> {
    let answers = sql(tx, "delete from idempotency_keys where expires_at <= $1", [now.at.into()]);
    tx.execute_raw(answers).await?;
    // A key that no token can be verified with any more is published to nobody's use.
    for table in ["one_time_tokens", "signing_keys"] {
        let delete = format!("delete from {table} where expires_at <= $1");
        tx.execute_raw(sql(tx, &delete, [(now.at - KEPT).into()])).await?;
    }
    Ok(())
}
