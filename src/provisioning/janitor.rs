//! Removes what nobody will come back for: sign-ups abandoned half-way (S8), answers and tokens whose time is over.
//!
//! An abandoned sign-up is a *pending* tenant of the wizard whose run was never queued, or has failed, and that nobody has
//! touched for `signup.abandoned_after`. It goes whole, with its user where that user has nothing else, so slug and address are free
//! again. Whoever goes on with it at that moment wins, or finds nothing: the rows are locked, and looked at again under the lock.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    app::App,
    audit, billing,
    clock::Now,
    db::{Tx, skip_locked, sql},
    http::chain,
    schedule, tenants,
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
            match remove(&tx, &now, tenant.id, untouched_since).await {
                Ok(true) => {
                    tx.commit().await?;
                    progress += 1;
                    tracing::info!(feature = "janitor", tenant_id = %tenant.id, slug = tenant.slug, "Abandoned sign-up removed");
                }
                Ok(false) => tx.rollback().await?,
                // One holds nobody else up; where everything fails, so does this.
                Err(error) => {
                    tx.rollback().await?;
                    tracing::error!(feature = "janitor", tenant_id = %tenant.id, slug = tenant.slug, error = %chain(&error), "Could not remove an abandoned sign-up");
                }
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

/// `$1` is the moment since when nobody has touched it. Who has an invoice, or is a customer of Stripe's, has not abandoned anything.
const ABANDONED: &str = "select t.id, t.slug from tenants t join provision_runs r on r.tenant_id = t.id \
    where t.door = 'wizard' and t.status = 'pending' and t.updated_at <= $1 and r.updated_at <= $1 \
    and (r.status = 'failed' or (r.status = 'pending' and r.queued_at is null)) \
    and not exists (select 1 from invoices i where i.tenant_id = t.id) \
    and not exists (select 1 from subscriptions s where s.tenant_id = t.id and s.stripe_customer_id is not null) \
    and r.version = (select max(o.version) from provision_runs o where o.tenant_id = t.id)";

impl Abandoned {
    async fn find(db: &impl ConnectionTrait, untouched_since: DateTime<Utc>) -> Result<Vec<Self>, DbErr> {
        let text = format!("{ABANDONED} order by t.created_at limit $2");
        Self::find_by_statement(sql(db, &text, [untouched_since.into(), LIMIT.into()])).all(db).await
    }
}

/// Removes one abandoned sign-up. False where somebody has touched it in the meantime, or is just about to.
async fn remove(tx: &Tx, now: &Now, tenant_id: Uuid, untouched_since: DateTime<Utc>) -> Result<bool, DbErr> {
    let users = tenants::hold_users(tx, tenant_id, skip_locked(tx)).await?;
    let members = "(select count(*) from memberships m where m.tenant_id = t.id)";
    let text = format!("{ABANDONED} and t.id = $2 and {members} = $3{}", skip_locked(tx));
    let held = i64::try_from(users.len()).unwrap_or(i64::MAX);
    let values = [untouched_since.into(), tenant_id.into(), held.into()];
    let Some(tenant) = Abandoned::find_by_statement(sql(tx, &text, values)).one(tx).await? else { return Ok(false) };
    billing::trials::give_back(tx, tenant_id).await?;
    let gone = (audit::Actor::System, "tenant.abandoned");
    tenants::erase(tx, now, (tenant_id, &tenant.slug), &users, gone).await?;
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
