//! Changing plans, canceling and resuming, for tenants that do not pay by Stripe.
//!
//! A trial changes its plan and keeps its end. To the free plan anybody may go: at once, or when what is paid for ends. What costs something is
//! ordered against an invoice ([`bank`]), and holds from its payment on.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::{
    Status, bank,
    credits::{self, Grant},
    months::period_end,
    store::PAYS_BY_CARD,
};
use crate::{
    clock::Now,
    db::{Tx, for_update, sql},
    http::Problem,
    mail::Post,
    plans::PlanRow,
};

/// Why nothing is changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tenant is on that plan, paid in that way, already.
    #[error("nothing to change")]
    Unchanged,
    /// The subscription cannot be canceled or resumed as it stands.
    #[error("the subscription is {0:?}")]
    Standing(Status),
    /// An order that is not possible.
    #[error(transparent)]
    Bank(#[from] bank::Error),
    /// Credits that cannot be settled.
    #[error(transparent)]
    Credits(#[from] credits::Error),
    /// The database.
    #[error(transparent)]
    Database(#[from] DbErr),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Unchanged => Self::conflict("PLAN_UNCHANGED", "You are on this plan already."),
            Error::Standing(_) => {
                Self::conflict("SUBSCRIPTION_NOT_ACTIVE", "There is no running subscription that this could change.")
            }
            Error::Bank(error) => error.into(),
            Error::Credits(error) => error.into(),
            Error::Database(error) => Self::database(&error),
        }
    }
}

/// What a change has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The tenant is on the plan.
    Now,
    /// It is when what is paid for ends.
    AtPeriodEnd,
    /// It is once this invoice is paid.
    Ordered {
        /// The invoice.
        invoice_id: Uuid,
    },
}

#[derive(FromQueryResult)]
struct Subscription {
    plan_id: Uuid,
    status: Status,
    billing_interval: String,
    trial_ends_at: Option<DateTime<Utc>>,
    pays_by_card: bool,
}

async fn lock(tx: &Tx, tenant_id: Uuid) -> Result<Subscription, Error> {
    let query = format!(
        "select plan_id, status, billing_interval, trial_ends_at, {PAYS_BY_CARD} as pays_by_card from subscriptions where tenant_id = $1{}",
        for_update(tx)
    );
    let found = Subscription::find_by_statement(sql(tx, &query, [tenant_id.into()])).one(tx).await?;
    let found = found.ok_or(bank::Error::NotFound)?;
    // It has become so since the caller asked Stripe.
    if found.pays_by_card { Err(bank::Error::PaysByCard.into()) } else { Ok(found) }
}

/// What somebody wants.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The plan.
    pub plan: &'a PlanRow,
    /// `month` or `year`; as the subscription is, or as the plan is sold, where absent.
    pub interval: Option<&'a str>,
    /// Whether it is ordered by bank transfer at once, and not tried out first.
    pub by_bank: bool,
}

/// Puts a tenant on another plan, or orders it.
///
/// # Errors
/// [`Error::Unchanged`]; as [`bank::price`] and [`bank::order`].
pub async fn plan(tx: &Tx, now: &Now, post: &Post, tenant_id: Uuid, wanted: Wanted<'_>) -> Result<Change, Error> {
    let plan = wanted.plan;
    let before = lock(tx, tenant_id).await?;
    let interval = match wanted.interval {
        Some(interval) => interval,
        None if bank::price(plan, &before.billing_interval).is_ok() => &before.billing_interval,
        None => &plan.price_interval,
    };
    let on_trial = before.status == Status::Trialing && before.trial_ends_at.is_some_and(|ends| ends > now.at);
    if plan.price_amount == 0 && !plan.contact_sales {
        return leave(tx, now, tenant_id, &before, plan).await;
    }
    bank::price(plan, interval)?;
    let is_paid = matches!(before.status, Status::Active | Status::PastDue | Status::Complimentary);
    let is_same = before.plan_id == plan.id && before.billing_interval == interval;
    if is_same && (on_trial || is_paid) && !wanted.by_bank {
        return Err(Error::Unchanged);
    }
    if on_trial && !wanted.by_bank {
        let update = "update subscriptions set plan_id = $2, plan_followed = $3, billing_interval = $4, updated_at = $5 where tenant_id = $1";
        let values = [tenant_id.into(), plan.id.into(), false.into(), interval.into(), now.at.into()];
        tx.execute_raw(sql(tx, update, values)).await?;
        return Ok(Change::Now);
    }
    let invoice_id = bank::order(tx, now, post, tenant_id, (plan, interval)).await?;
    Ok(Change::Ordered { invoice_id })
}

/// To the free plan: with the end of what is paid, else at once. What is open is not to be paid any more, and what was given in advance of it goes.
async fn leave(tx: &Tx, now: &Now, tenant_id: Uuid, before: &Subscription, free: &PlanRow) -> Result<Change, Error> {
    if before.plan_id == free.id && before.status == Status::Active {
        return Err(Error::Unchanged);
    }
    if bank::paid_until(tx, now.at, tenant_id).await?.is_some() {
        end_with_period(tx, now, tenant_id, true).await?;
        return Ok(Change::AtPeriodEnd);
    }
    bank::void(tx, tenant_id).await?;
    let update = "update subscriptions set plan_id = $2, plan_followed = $3, updated_at = $4, status = 'active', trial_ends_at = null, \
                  stripe_subscription_id = null, current_period_start = $4, billing_anchor = $4, current_period_end = $5, \
                  next_grant_at = $5, cancel_at_period_end = $3, canceled_at = null, past_due_since = null, billing_interval = 'month' \
                  where tenant_id = $1";
    let end = period_end("month", now.at, now.at);
    let values = [tenant_id.into(), free.id.into(), false.into(), now.at.into(), end.into()];
    tx.execute_raw(sql(tx, update, values)).await?;
    bank::open_tenant(tx, now, tenant_id).await?;
    if matches!(before.status, Status::PendingPayment | Status::Incomplete) {
        let included = Grant {
            amount: free.included_credits,
            key: format!("free:{}", now.id()),
            description: format!("Changed to {}", free.name),
            metadata: json!({"plan": free.slug}),
        };
        credits::settle(tx, now, tenant_id, &included).await?;
    }
    Ok(Change::Now)
}

/// Ends a subscription with its period, or takes that back.
///
/// # Errors
/// [`Error::Standing`] where nothing runs.
pub async fn cancel(tx: &Tx, now: &Now, tenant_id: Uuid, at_period_end: bool) -> Result<(), Error> {
    let before = lock(tx, tenant_id).await?;
    if !matches!(before.status, Status::Active | Status::PastDue) {
        return Err(Error::Standing(before.status));
    }
    Ok(end_with_period(tx, now, tenant_id, at_period_end).await?)
}

async fn end_with_period(tx: &Tx, now: &Now, tenant_id: Uuid, at_period_end: bool) -> Result<(), DbErr> {
    let update =
        "update subscriptions set cancel_at_period_end = $2, canceled_at = $3, updated_at = $4 where tenant_id = $1";
    let values = [tenant_id.into(), at_period_end.into(), at_period_end.then_some(now.at).into(), now.at.into()];
    tx.execute_raw(sql(tx, update, values)).await.map(drop)
}
