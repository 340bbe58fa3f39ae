//! Changing plans, canceling and resuming, for tenants that do not pay by Stripe.
//!
//! A trial changes its plan and keeps its end. To the free plan anybody may go at once. What costs something is ordered against an invoice ([`bank`]),
//! and holds from its payment on.

use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use uuid::Uuid;

use super::{Status, bank};
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
            Error::Database(error) => Self::database(&error),
        }
    }
}

/// What a change has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    trial_ends_at: Option<chrono::DateTime<chrono::Utc>>,
}

async fn lock(tx: &Tx, tenant_id: Uuid) -> Result<Subscription, Error> {
    let query = format!(
        "select plan_id, status, billing_interval, trial_ends_at from subscriptions where tenant_id = $1{}",
        for_update(tx)
    );
    let found = Subscription::find_by_statement(sql(tx, &query, [tenant_id.into()])).one(tx).await?;
    Ok(found.ok_or(bank::Error::NotFound)?)
}

/// Puts a tenant on another plan, or orders it.
///
/// # Errors
/// [`Error::Unchanged`]; as [`bank::price`].
pub async fn plan(
    tx: &Tx,
    now: &Now,
    post: &Post,
    tenant_id: Uuid,
    (plan, interval): (&PlanRow, &str),
) -> Result<Change, Error> {
    let before = lock(tx, tenant_id).await?;
    let on_trial = before.status == Status::Trialing && before.trial_ends_at.is_some_and(|ends| ends > now.at);
    let is_paid = matches!(before.status, Status::Active | Status::PastDue | Status::Complimentary);
    if before.plan_id == plan.id && (on_trial || is_paid) && before.billing_interval == interval {
        return Err(Error::Unchanged);
    }
    if plan.price_amount == 0 && !plan.contact_sales {
        adopt(tx, now, tenant_id, plan, Status::Active).await?;
        return Ok(Change::Now);
    }
    bank::price(plan, interval)?;
    if on_trial {
        adopt(tx, now, tenant_id, plan, Status::Trialing).await?;
        return Ok(Change::Now);
    }
    let invoice_id = bank::order(tx, now, post, tenant_id, (plan, interval)).await?;
    Ok(Change::Ordered { invoice_id })
}

/// On a plan from now on: a trial goes on as long as it would, a free plan begins its first month.
async fn adopt(tx: &Tx, now: &Now, tenant_id: Uuid, plan: &PlanRow, status: Status) -> Result<(), DbErr> {
    let update = if status == Status::Trialing {
        "update subscriptions set plan_id = $2, plan_followed = $3, updated_at = $4 where tenant_id = $1"
    } else {
        "update subscriptions set plan_id = $2, plan_followed = $3, updated_at = $4, status = 'active', trial_ends_at = null, \
         stripe_subscription_id = null, \
         current_period_start = $4, current_period_end = $5, next_grant_at = $5, cancel_at_period_end = $3, canceled_at = null, \
         past_due_since = null, billing_interval = 'month' where tenant_id = $1"
    };
    let end = bank::period_end("month", now.at);
    let mut values = vec![tenant_id.into(), plan.id.into(), false.into(), now.at.into()];
    if status != Status::Trialing {
        values.push(end.into());
    }
    let statement = sea_orm::Statement::from_sql_and_values(tx.get_database_backend(), update, values);
    tx.execute_raw(statement).await.map(drop)
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
    let update =
        "update subscriptions set cancel_at_period_end = $2, canceled_at = $3, updated_at = $4 where tenant_id = $1";
    let values = [tenant_id.into(), at_period_end.into(), at_period_end.then_some(now.at).into(), now.at.into()];
    tx.execute_raw(sql(tx, update, values)).await?;
    Ok(())
}
