//! Periods that follow each other: the next invoice, and what becomes of one that is not paid.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use uuid::Uuid;

use super::{Error, Ordered, bill, open, price};
use crate::{
    billing::{invoices::DUE_AFTER, months::period_end},
    clock::Now,
    db::{Batch, Tx, for_update, sql},
    mail::Post,
    plans,
};

/// Tenants without Stripe whose period is over at `$1`; at most `$2`.
pub const DUE: &str = "select tenant_id from subscriptions where (status = 'active' or (status = 'past_due' and cancel_at_period_end)) \
     and current_period_end <= $1 and stripe_subscription_id is null order by current_period_end limit $2";

#[derive(FromQueryResult)]
struct Ended {
    current_period_end: DateTime<Utc>,
    billing_anchor: DateTime<Utc>,
    billing_interval: String,
    cancel_at_period_end: bool,
    plan_id: Uuid,
}

/// Begins the next period of a tenant whose period is over, and writes its invoice where the plan costs something; ends the subscription where
/// that was asked for. An order that nobody has paid is the new period's invoice. Where nobody looked for so long that the next period is over too,
/// one begins now: what was missed is not charged.
///
/// # Errors
/// The database; [`Error::NotFound`] for a plan that is gone.
pub async fn renew(tx: &Tx, now: &Now, post: &Post, tenant_id: Uuid) -> Result<(), Error> {
    let query = format!(
        "select current_period_end, coalesce(billing_anchor, current_period_start) as billing_anchor, billing_interval, cancel_at_period_end, plan_id from subscriptions \
         where tenant_id = $1 and (status = 'active' or (status = 'past_due' and cancel_at_period_end)) \
         and current_period_end <= $2 and stripe_subscription_id is null{}",
        for_update(tx)
    );
    let ended = Ended::find_by_statement(sql(tx, &query, [tenant_id.into(), now.at.into()])).one(tx).await?;
    let Some(ended) = ended else { return Ok(()) };
    if ended.cancel_at_period_end {
        let end =
            "update subscriptions set status = 'canceled', next_grant_at = null, updated_at = $2 where tenant_id = $1";
        tx.execute_raw(sql(tx, end, [tenant_id.into(), now.at.into()])).await?;
        return Ok(());
    }
    let mut interval = ended.billing_interval.as_str();
    let plan = plans::by_id(tx, ended.plan_id).await?.ok_or(Error::NotFound)?;
    let amount = match price(&plan, interval) {
        Ok(amount) => Some(amount),
        // Free plans, and those whose price is agreed on, go on without an invoice.
        Err(Error::NotForSale(_)) => None,
        // It is sold for another time now.
        Err(_) => {
            interval = &plan.price_interval;
            Some(plan.price_amount)
        }
    };
    let mut anchor = ended.billing_anchor;
    let (mut start, mut end) = (ended.current_period_end, period_end(interval, anchor, ended.current_period_end));
    if end <= now.at {
        (start, end, anchor) = (now.at, period_end(interval, now.at, now.at), now.at);
    }
    let next = "update subscriptions set current_period_start = $2, current_period_end = $3, billing_anchor = $4, billing_interval = $5, \
                updated_at = $6 where tenant_id = $1";
    let values = [tenant_id.into(), start.into(), end.into(), anchor.into(), interval.into(), now.at.into()];
    tx.execute_raw(sql(tx, next, values)).await?;
    let Some(amount) = amount else { return Ok(()) };
    if let Some(ordered) = open(tx, tenant_id).await? {
        let end = period_end(ordered.billing_interval.as_deref().unwrap_or(interval), anchor, start);
        let take =
            "update invoices set period_start = $3, period_end = $4, due_at = $5 where tenant_id = $1 and id = $2";
        let due_at = ordered.due_at.max(now.at + DUE_AFTER);
        let values = [tenant_id.into(), ordered.id.into(), start.into(), end.into(), due_at.into()];
        tx.execute_raw(sql(tx, take, values)).await?;
        return Ok(());
    }
    let due_at = now.at + DUE_AFTER;
    let what = Ordered { plan: &plan, interval, amount, period: Some((start, end)), due_at };
    bill(tx, now, post, Batch::default(), tenant_id, &what).await.map(drop)
}

/// Tenants with an invoice of ours that was to be paid until `$1`; at most `$2`.
pub const OVERDUE: &str = "select i.tenant_id from invoices i join subscriptions s on s.tenant_id = i.tenant_id \
     where i.status = 'open' and i.issuer = 'tenantry' and i.period_start is not null and i.due_at <= $1 and s.status = 'active' \
     and s.stripe_subscription_id is null limit $2";

/// Makes a subscription past due since its invoice was to be paid.
pub async fn fall_due(tx: &Tx, now: &Now, tenant_id: Uuid) -> Result<(), DbErr> {
    // In a statement of its own: what was paid while this waited is seen by the next one.
    let hold = format!("select 1 as one from subscriptions where tenant_id = $1{}", for_update(tx));
    tx.query_one_raw(sql(tx, &hold, [tenant_id.into()])).await?;
    let update = "update subscriptions set status = 'past_due', updated_at = $2, past_due_since = (select min(i.due_at) from invoices i \
                  where i.tenant_id = $1 and i.status = 'open' and i.issuer = 'tenantry' and i.period_start is not null) \
                  where tenant_id = $1 and status = 'active' and stripe_subscription_id is null and exists (select 1 from invoices i \
                  where i.tenant_id = $1 and i.status = 'open' and i.issuer = 'tenantry' and i.period_start is not null and i.due_at <= $2)";
    tx.execute_raw(sql(tx, update, [tenant_id.into(), now.at.into()])).await.map(drop)
}
