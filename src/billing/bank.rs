//! Paying by bank transfer: an invoice is written, an operator marks it paid, and the tenant is on what it has bought.
//!
//! An invoice for the next period is written when the one before ends. One that is not paid when it is due makes the subscription past due; from
//! then on the grace time counts. Whatever is paid late still counts.

use axum::http::StatusCode;
use chrono::{DateTime, Months, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use uuid::Uuid;

use super::{
    Status,
    credits::{self, Grant},
    invoices::{self, NewInvoice},
    notices::{self, Receipt},
};
use crate::{
    clock::Now,
    db::{Batch, BatchError, Tx, for_update, sql},
    http::{FieldError, Problem},
    mail::Post,
    plans::{self, Money, PlanRow},
};

/// Why nothing is bought or paid.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such invoice, or tenant.
    #[error("not found")]
    NotFound,
    /// The invoice is void, or is not ours.
    #[error("the invoice cannot be paid here")]
    NotPayable,
    /// The plan is free, or sold by people.
    #[error("{0} is not sold by itself")]
    NotForSale(String),
    /// A subscription at Stripe pays already.
    #[error("the tenant pays by card")]
    PaysByCard,
    /// The plan is not sold by the year.
    #[error("{0} is not sold by the year")]
    NotByTheYear(String),
    /// Credits that cannot be granted.
    #[error(transparent)]
    Credits(#[from] credits::Error),
    /// Inserts that were refused.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The database.
    #[error(transparent)]
    Database(#[from] DbErr),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound => Self::not_found(),
            Error::NotPayable => Self::conflict("INVOICE_NOT_PAYABLE", "This invoice is void, or is paid at Stripe."),
            Error::NotForSale(name) => {
                let detail = format!("{name} cannot be bought by itself. Write to us.");
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "PLAN_NOT_SELF_SERVE", detail)
            }
            Error::PaysByCard => Self::conflict(
                "ALREADY_SUBSCRIBED",
                "The subscription is paid by card. Change its plan, or cancel it first.",
            ),
            Error::NotByTheYear(name) => {
                Self::invalid(vec![FieldError::new("interval", "NOT_SOLD", format!("{name} is not sold by the year."))])
            }
            Error::Credits(error) => error.into(),
            Error::Batch(refused) => Self::database(&refused.source),
            Error::Database(error) => Self::database(&error),
        }
    }
}

/// What a plan costs for an interval.
///
/// # Errors
/// [`Error::NotForSale`]; [`Error::NotByTheYear`].
pub fn price(plan: &PlanRow, interval: &str) -> Result<i64, Error> {
    if plan.contact_sales || plan.price_amount == 0 {
        return Err(Error::NotForSale(plan.name.clone()));
    }
    match interval {
        "year" if plan.price_interval != "year" => {
            plan.yearly_amount.ok_or_else(|| Error::NotByTheYear(plan.name.clone()))
        }
        _ => Ok(plan.price_amount),
    }
}

/// When a period that begins at `start` ends.
pub fn period_end(interval: &str, start: DateTime<Utc>) -> DateTime<Utc> {
    let months = if interval == "year" { 12 } else { 1 };
    start.checked_add_months(Months::new(months)).unwrap_or(start)
}

#[derive(FromQueryResult)]
struct Buyer {
    name: String,
    billing_email: String,
    billing_address: Option<serde_json::Value>,
}

/// The tenant as its next invoice is addressed: to where the last one went.
async fn buyer(tx: &Tx, tenant_id: Uuid) -> Result<Buyer, Error> {
    let query = "select t.name, t.billing_email, (select i.billing_address from invoices i where i.tenant_id = t.id \
                 order by i.issued_at desc limit 1) as billing_address from tenants t where t.id = $1";
    Buyer::find_by_statement(sql(tx, query, [tenant_id.into()])).one(tx).await?.ok_or(Error::NotFound)
}

/// Orders a plan: writes and mails an invoice in place of those that are open. Nothing else changes until it is paid. Answers its id.
///
/// # Errors
/// As [`price`]; [`Error::PaysByCard`]; [`Error::NotFound`].
pub async fn order(
    tx: &Tx,
    now: &Now,
    post: &Post,
    tenant_id: Uuid,
    (plan, interval): (&PlanRow, &str),
) -> Result<Uuid, Error> {
    let amount = price(plan, interval)?;
    let subscription = lock(tx, tenant_id).await?;
    if subscription.pays_by_card {
        return Err(Error::PaysByCard);
    }
    let void = "update invoices set status = 'void' where tenant_id = $1 and status = 'open' and issuer = 'tenantry' \
                and period_start is null";
    tx.execute_raw(sql(tx, void, [tenant_id.into()])).await?;
    let buyer = buyer(tx, tenant_id).await?;
    let number = invoices::next_number(tx, now).await?;
    let mut batch = Batch::default();
    if !subscription.pays_by_bank {
        let other = "update payment_methods set is_default = $2 where tenant_id = $1";
        tx.execute_raw(sql(tx, other, [tenant_id.into(), false.into()])).await?;
        batch.insert(super::store::bank_transfer(tenant_id, now));
    }
    let new = NewInvoice {
        tenant_id,
        number: &number,
        billing_name: &buyer.name,
        billing_email: &buyer.billing_email,
        billing_address: buyer.billing_address.as_ref(),
        plan,
        interval,
        amount,
        period: None,
    };
    let invoice_id = invoices::issue(&mut batch, now, &new);
    mail(&mut batch, now, post, &new, invoice_id);
    batch.send(tx).await?;
    Ok(invoice_id)
}

fn mail(batch: &mut Batch, now: &Now, post: &Post, new: &NewInvoice<'_>, invoice_id: Uuid) {
    let total = Money { amount: new.amount, currency: new.plan.price_currency.clone() };
    let issued =
        Receipt { tenant_id: new.tenant_id, billing_email: new.billing_email, invoice_id, number: new.number, total };
    notices::invoice(batch, now, post, &issued, now.at + invoices::DUE_AFTER);
}

#[derive(FromQueryResult)]
struct Subscription {
    plan_id: Uuid,
    status: Status,
    pays_by_bank: bool,
    pays_by_card: bool,
}

/// The subscription, held until the transaction ends.
async fn lock(tx: &Tx, tenant_id: Uuid) -> Result<Subscription, Error> {
    let query = format!(
        "select s.plan_id, s.status, exists (select 1 from payment_methods m where m.tenant_id = s.tenant_id and m.is_default \
         and m.method_type = 'bank_transfer') as pays_by_bank, s.stripe_subscription_id is not null \
         and s.status in ('trialing', 'active', 'past_due') as pays_by_card from subscriptions s where s.tenant_id = $1{}",
        for_update(tx)
    );
    Subscription::find_by_statement(sql(tx, &query, [tenant_id.into()])).one(tx).await?.ok_or(Error::NotFound)
}

/// Tenants without Stripe whose period is over at `$1`; at most `$2`.
pub const DUE: &str = "select tenant_id from subscriptions where status = 'active' and current_period_end <= $1 \
     and stripe_subscription_id is null order by current_period_end limit $2";

#[derive(FromQueryResult)]
struct Ended {
    current_period_end: DateTime<Utc>,
    billing_interval: String,
    cancel_at_period_end: bool,
    plan_id: Uuid,
}

/// Begins the next period of a tenant whose period is over, and writes its invoice where the plan costs something; ends the subscription where
/// that was asked for.
///
/// # Errors
/// The database; [`Error::NotFound`] for a plan that is gone.
pub async fn renew(tx: &Tx, now: &Now, post: &Post, tenant_id: Uuid) -> Result<(), Error> {
    let query = format!(
        "select current_period_end, billing_interval, cancel_at_period_end, plan_id from subscriptions where tenant_id = $1 \
         and status = 'active' and current_period_end <= $2 and stripe_subscription_id is null{}",
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
    let (start, end) = (ended.current_period_end, period_end(&ended.billing_interval, ended.current_period_end));
    let next = "update subscriptions set current_period_start = $2, current_period_end = $3, updated_at = $4 where tenant_id = $1";
    tx.execute_raw(sql(tx, next, [tenant_id.into(), start.into(), end.into(), now.at.into()])).await?;
    let plan = plans::by_id(tx, ended.plan_id).await?.ok_or(Error::NotFound)?;
    // Free plans, and those whose price is agreed on, go on without one.
    let Ok(amount) = price(&plan, &ended.billing_interval) else { return Ok(()) };
    let buyer = buyer(tx, tenant_id).await?;
    let number = invoices::next_number(tx, now).await?;
    let mut batch = Batch::default();
    let new = NewInvoice {
        tenant_id,
        number: &number,
        billing_name: &buyer.name,
        billing_email: &buyer.billing_email,
        billing_address: buyer.billing_address.as_ref(),
        plan: &plan,
        interval: &ended.billing_interval,
        amount,
        period: Some((start, end)),
    };
    let invoice_id = invoices::issue(&mut batch, now, &new);
    mail(&mut batch, now, post, &new, invoice_id);
    Ok(batch.send(tx).await?)
}

/// Tenants with an invoice of ours that was to be paid until `$1`; at most `$2`.
pub const OVERDUE: &str = "select distinct i.tenant_id from invoices i join subscriptions s on s.tenant_id = i.tenant_id \
     where i.status = 'open' and i.issuer = 'tenantry' and i.period_start is not null and i.due_at <= $1 and s.status = 'active' limit $2";

/// Makes a subscription past due since the first of its invoices was to be paid.
pub async fn fall_due(tx: &Tx, now: &Now, tenant_id: Uuid) -> Result<(), DbErr> {
    let update = "update subscriptions set status = 'past_due', past_due_since = (select min(i.due_at) from invoices i \
                  where i.tenant_id = $1 and i.status = 'open' and i.issuer = 'tenantry' and i.period_start is not null), updated_at = $2 \
                  where tenant_id = $1 and status = 'active'";
    tx.execute_raw(sql(tx, update, [tenant_id.into(), now.at.into()])).await.map(drop)
}

/// What a payment has done.
#[derive(Clone, Debug)]
pub struct Paid {
    /// Whose invoice it was.
    pub tenant_id: Uuid,
    /// Whether this was the time; else it had been paid before.
    pub is_new: bool,
    /// Whether the tenant waited for it, and is to be provisioned now.
    pub opens: bool,
}

#[derive(FromQueryResult)]
struct Taken {
    tenant_id: Uuid,
    plan_id: Option<Uuid>,
    billing_interval: Option<String>,
    period_start: Option<DateTime<Utc>>,
    period_end: Option<DateTime<Utc>>,
    number: String,
    billing_email: String,
    total: i64,
    currency: String,
}

/// Marks one of our invoices paid, and puts its tenant on what it has bought: the plan, the time, the credits. Of several who do so at once one
/// does; the others hear that it is paid.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::NotPayable`].
pub async fn mark_paid(
    tx: &Tx,
    now: &Now,
    post: &Post,
    (invoice_id, external_payment_id): (Uuid, Option<&str>),
) -> Result<Paid, Error> {
    let take = "update invoices set status = 'paid', paid_at = $2, external_payment_id = $3 \
                where id = $1 and status = 'open' and issuer = 'tenantry' \
                returning tenant_id, plan_id, billing_interval, period_start, period_end, number, billing_email, total, currency";
    let values = [invoice_id.into(), now.at.into(), external_payment_id.map(str::to_owned).into()];
    let Some(taken) = Taken::find_by_statement(sql(tx, take, values)).one(tx).await? else {
        return already(tx, invoice_id).await;
    };
    let tenant_id = taken.tenant_id;
    let before = lock(tx, tenant_id).await?;
    let plan = plans::by_id(tx, taken.plan_id.unwrap_or(before.plan_id)).await?.ok_or(Error::NotFound)?;
    let interval = taken.billing_interval.as_deref().unwrap_or("month");
    let start = taken.period_start.unwrap_or(now.at);
    let end = taken.period_end.unwrap_or_else(|| period_end(interval, start));
    // One that has ended at Stripe is done with: from here on the periods are ours to count.
    let update = "update subscriptions set status = 'active', plan_id = $2, billing_interval = $3, trial_ends_at = null, \
                  stripe_subscription_id = null, \
                  current_period_start = case when current_period_end > $5 then current_period_start else $4 end, \
                  current_period_end = case when current_period_end > $5 then current_period_end else $5 end, \
                  cancel_at_period_end = $6, canceled_at = null, past_due_since = null, next_grant_at = $7, \
                  plan_followed = plan_followed and plan_id = $2, updated_at = $8 where tenant_id = $1";
    let next_month = period_end("month", start);
    let values = [
        tenant_id.into(),
        plan.id.into(),
        interval.into(),
        start.into(),
        end.into(),
        false.into(),
        // The next invoice brings the next month; only within a year do months come by themselves.
        (next_month < end).then_some(next_month).into(),
        now.at.into(),
    ];
    tx.execute_raw(sql(tx, update, values)).await?;
    let opens = "update tenants set status = 'pending', updated_at = $2 where id = $1 and status = 'pending_payment' returning id";
    let opens = tx.query_one_raw(sql(tx, opens, [tenant_id.into(), now.at.into()])).await?.is_some();
    if opens {
        // Its run waits, and may have been laid out for another plan.
        let follow = "update subscriptions set plan_followed = $2 where tenant_id = $1";
        tx.execute_raw(sql(tx, follow, [tenant_id.into(), false.into()])).await?;
    }
    if before.status != Status::PendingPayment {
        let description = format!("Included with {}", plan.name);
        let metadata = serde_json::json!({"plan": plan.slug, "invoice_id": invoice_id});
        let key = credits::month_key(start);
        credits::grant(tx, now, tenant_id, &Grant { amount: plan.included_credits, key, description, metadata })
            .await?;
    }
    let mut batch = Batch::default();
    let total = Money { amount: taken.total, currency: taken.currency };
    let paid = Receipt { tenant_id, billing_email: &taken.billing_email, invoice_id, number: &taken.number, total };
    notices::receipt(&mut batch, now, post, &paid);
    batch.send(tx).await?;
    Ok(Paid { tenant_id, is_new: true, opens })
}

/// An invoice that is not open.
async fn already(tx: &Tx, invoice_id: Uuid) -> Result<Paid, Error> {
    #[derive(FromQueryResult)]
    struct Row {
        tenant_id: Uuid,
        status: String,
        issuer: String,
    }
    let query = "select tenant_id, status, issuer from invoices where id = $1";
    let row = Row::find_by_statement(sql(tx, query, [invoice_id.into()])).one(tx).await?.ok_or(Error::NotFound)?;
    if row.status == "paid" && row.issuer == "tenantry" {
        Ok(Paid { tenant_id: row.tenant_id, is_new: false, opens: false })
    } else {
        Err(Error::NotPayable)
    }
}
