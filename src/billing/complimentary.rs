//! Giving a plan as a gift: many tenants at once, batch by batch.
//!
//! Who is open, provisioned, and active or in a trial gets it. Who pays through Stripe, has not paid, has canceled, or was given a plan
//! before is left alone.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::{Status, bank, months::period_end};
use crate::{
    audit::{self, Actor},
    clock::Now,
    db::{Batch, Tx, for_update, sql},
    plans::PlanRow,
};

/// A tenant, as it was before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, FromQueryResult)]
pub struct Candidate {
    /// Its id.
    pub tenant_id: Uuid,
    /// Its slug.
    pub slug: String,
    /// Its plan's slug.
    pub plan: String,
    /// Its subscription's status.
    pub status: Status,
}

/// How many a transaction takes.
pub const BATCH: i64 = 500;

/// Whom a gift reaches.
const REACHED: &str = "s.status in ('active', 'trialing') and s.stripe_subscription_id is null \
     and s.tenant_id in (select t.id from tenants t where t.status = 'active' and t.provisioned_at is not null)";

/// The next tenants that a gift reaches, by id, after one of them; held until the transaction ends where `is_held`.
pub async fn candidates(db: &impl ConnectionTrait, after: Uuid, is_held: bool) -> Result<Vec<Candidate>, DbErr> {
    let query = format!(
        "select s.tenant_id, (select t.slug from tenants t where t.id = s.tenant_id) as slug, \
         (select p.slug from plans p where p.id = s.plan_id) as plan, s.status from subscriptions s \
         where s.tenant_id > $1 and {REACHED} order by s.tenant_id limit $2{}",
        if is_held { for_update(db) } else { "" }
    );
    Candidate::find_by_statement(sql(db, &query, [after.into(), BATCH.into()])).all(db).await
}

/// Gives the plan to the next tenants after one of them, and tells to whom. A transaction for each call.
pub async fn give(tx: &Tx, now: &Now, plan: &PlanRow, after: Uuid) -> Result<Vec<Candidate>, DbErr> {
    let reached = candidates(tx, after, true).await?;
    let mut batch = Batch::default();
    for tenant in &reached {
        let update = "update subscriptions set plan_id = $2, status = 'complimentary', billing_interval = 'month', trial_ends_at = null, \
                      current_period_start = $3, billing_anchor = $3, current_period_end = null, cancel_at_period_end = false, canceled_at = null, \
                      past_due_since = null, next_grant_at = $4, plan_followed = false, updated_at = $3 where tenant_id = $1";
        let values =
            [tenant.tenant_id.into(), plan.id.into(), now.at.into(), period_end("month", now.at, now.at).into()];
        tx.execute_raw(sql(tx, update, values)).await?;
        bank::void(tx, tenant.tenant_id).await?;
        let detail = json!({"plan": plan.slug, "before": {"plan": tenant.plan, "status": tenant.status}});
        let (actor, tenant_id, action) = (Actor::Cli, Some(tenant.tenant_id), "subscription.complimentary");
        audit::append(&mut batch, now, audit::Event { actor, tenant_id, action, request_id: None, detail });
    }
    batch.send(tx).await.map_err(|refused| refused.source)?;
    Ok(reached)
}

/// How many tenants a gift does not reach, by the reason: `stripe_subscription`, a status, or `not_open`.
pub async fn left_alone(db: &impl ConnectionTrait) -> Result<BTreeMap<String, i64>, DbErr> {
    #[derive(FromQueryResult)]
    struct Reason {
        reason: String,
        n: i64,
    }
    let query = format!(
        "select reason, count(*) as n from (select case when s.status not in ('active', 'trialing') then s.status \
         when s.stripe_subscription_id is not null then 'stripe_subscription' else 'not_open' end as reason \
         from subscriptions s where not ({REACHED})) as others group by reason"
    );
    let reasons = Reason::find_by_statement(sql(db, &query, [])).all(db).await?;
    Ok(reasons.into_iter().map(|row| (row.reason, row.n)).collect())
}
