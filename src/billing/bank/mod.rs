//! Paying by bank transfer: an invoice is written, an operator marks it paid, and the tenant is on what it has bought.
//!
//! A tenant has at most one open invoice of ours. It is for an order, whose time begins when it is paid, or for a period that has begun: the next
//! one's invoice is written when the one before ends ([`renew`]). A period that is not paid when it is due makes the subscription past due; from then
//! on the grace time counts. Whatever is paid late still buys as much ([`paid`]).

mod paid;
mod renew;

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use uuid::Uuid;

pub use paid::{Paid, mark_paid};
pub use renew::{DUE, OVERDUE, fall_due, renew};

use super::{
    credits,
    invoices::{self, NewInvoice},
    months::period_end,
    notices::{self, Receipt},
    store::PAYS_BY_CARD,
};
use crate::{
    clock::Now,
    db::{Batch, BatchError, Tx, for_update, sql},
    http::{FieldError, Problem},
    mail::Post,
    plans::{Money, PlanRow},
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
    /// The plan is not sold for that time.
    #[error("{0} is not sold by the {1}")]
    NotSoldBy(String, String),
    /// The tenant has paid for just that, and its time is not over.
    #[error("the tenant has that already")]
    Unchanged,
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
            Error::NotSoldBy(name, interval) => {
                let message = format!("{name} is not sold by the {interval}.");
                Self::invalid(vec![FieldError::new("interval", "NOT_SOLD", message)])
            }
            Error::Unchanged => Self::conflict("PLAN_UNCHANGED", "You are on this plan already."),
            Error::Credits(error) => error.into(),
            Error::Batch(refused) => Self::database(&refused.source),
            Error::Database(error) => Self::database(&error),
        }
    }
}

/// What a plan costs for an interval.
///
/// # Errors
/// [`Error::NotForSale`]; [`Error::NotSoldBy`].
pub fn price(plan: &PlanRow, interval: &str) -> Result<i64, Error> {
    if plan.contact_sales || plan.price_amount == 0 {
        return Err(Error::NotForSale(plan.name.clone()));
    }
    let by_the_year = plan.yearly_amount.filter(|_| interval == "year");
    let by_its_own = (plan.price_interval == interval).then_some(plan.price_amount);
    by_its_own.or(by_the_year).ok_or_else(|| Error::NotSoldBy(plan.name.clone(), interval.to_owned()))
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

/// An invoice of ours that waits to be paid.
#[derive(FromQueryResult)]
struct Open {
    id: Uuid,
    plan_id: Option<Uuid>,
    billing_interval: Option<String>,
    total: i64,
    currency: String,
    due_at: DateTime<Utc>,
    period_start: Option<DateTime<Utc>>,
}

async fn open(tx: &Tx, tenant_id: Uuid) -> Result<Option<Open>, DbErr> {
    let query = "select id, plan_id, billing_interval, total, currency, due_at, period_start from invoices \
                 where tenant_id = $1 and status = 'open' and issuer = 'tenantry'";
    Open::find_by_statement(sql(tx, query, [tenant_id.into()])).one(tx).await
}

/// Takes back what is open of ours.
pub(super) async fn void(tx: &Tx, tenant_id: Uuid) -> Result<(), DbErr> {
    let void = "update invoices set status = 'void' where tenant_id = $1 and status = 'open' and issuer = 'tenantry'";
    tx.execute_raw(sql(tx, void, [tenant_id.into()])).await.map(drop)
}

/// Until when a tenant has paid by bank transfer for what it is on; nothing where it has not.
pub(super) async fn paid_until(
    db: &impl ConnectionTrait,
    at: DateTime<Utc>,
    tenant_id: Uuid,
) -> Result<Option<DateTime<Utc>>, DbErr> {
    #[derive(FromQueryResult)]
    struct Row {
        current_period_end: DateTime<Utc>,
    }
    let query = "select s.current_period_end from subscriptions s join plans p on p.id = s.plan_id where s.tenant_id = $1 \
                 and s.status = 'active' and s.stripe_subscription_id is null and p.price_amount > 0 and s.current_period_end > $2 \
                 and not exists (select 1 from invoices i where i.tenant_id = s.tenant_id and i.status = 'open' \
                 and i.issuer = 'tenantry' and i.period_start is not null)";
    let row = Row::find_by_statement(sql(db, query, [tenant_id.into(), at.into()])).one(db).await?;
    Ok(row.map(|row| row.current_period_end))
}

/// Orders a plan: writes and mails an invoice in place of the open one, and takes over the period that is not paid yet. Nothing else changes until it
/// is paid. What is ordered already is not ordered again. Answers the invoice's id.
///
/// # Errors
/// As [`price`]; [`Error::PaysByCard`]; [`Error::Unchanged`]; [`Error::NotFound`].
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
    let open = open(tx, tenant_id).await?;
    if let Some(open) = &open
        && (open.plan_id, open.billing_interval.as_deref()) == (Some(plan.id), Some(interval))
        && (open.total, &open.currency) == (amount, &plan.price_currency)
    {
        return Ok(open.id);
    }
    let is_same = subscription.plan_id == plan.id && subscription.billing_interval == interval;
    if is_same && paid_until(tx, now.at, tenant_id).await?.is_some() {
        return Err(Error::Unchanged);
    }
    void(tx, tenant_id).await?;
    let mut batch = Batch::default();
    if !subscription.pays_by_bank {
        let other = "update payment_methods set is_default = $2 where tenant_id = $1";
        tx.execute_raw(sql(tx, other, [tenant_id.into(), false.into()])).await?;
        batch.insert(super::store::bank_transfer(tenant_id, now));
    }
    let begun = open.and_then(|open| Some((open.period_start?, open.due_at)));
    let due_at = begun.map_or(now.at + invoices::DUE_AFTER, |(_, due_at)| due_at);
    let period = begun.map(|(start, _)| (start, period_end(interval, subscription.billing_anchor, start)));
    let invoice_id = bill(tx, now, post, batch, tenant_id, &Ordered { plan, interval, amount, period, due_at }).await?;
    Ok(invoice_id)
}

/// What an invoice is about.
struct Ordered<'a> {
    plan: &'a PlanRow,
    interval: &'a str,
    amount: i64,
    period: Option<(DateTime<Utc>, DateTime<Utc>)>,
    due_at: DateTime<Utc>,
}

/// Writes and mails an invoice.
async fn bill(
    tx: &Tx,
    now: &Now,
    post: &Post,
    mut batch: Batch,
    tenant_id: Uuid,
    what: &Ordered<'_>,
) -> Result<Uuid, Error> {
    let buyer = buyer(tx, tenant_id).await?;
    let number = invoices::next_number(tx, now).await?;
    let new = NewInvoice {
        tenant_id,
        number: &number,
        billing_name: &buyer.name,
        billing_email: &buyer.billing_email,
        billing_address: buyer.billing_address.as_ref(),
        plan: what.plan,
        interval: what.interval,
        amount: what.amount,
        period: what.period,
        due_at: what.due_at,
    };
    let invoice_id = issue(&mut batch, now, post, &new);
    batch.send(tx).await?;
    Ok(invoice_id)
}

/// Adds an invoice, and the letter that brings it. Answers its id.
pub(super) fn issue(batch: &mut Batch, now: &Now, post: &Post, new: &NewInvoice<'_>) -> Uuid {
    let invoice_id = invoices::issue(batch, now, new);
    let total = Money { amount: new.amount, currency: new.plan.price_currency.clone() };
    let issued =
        Receipt { tenant_id: new.tenant_id, billing_email: new.billing_email, invoice_id, number: new.number, total };
    notices::invoice(batch, now, post, &issued, new.due_at);
    invoice_id
}

#[derive(FromQueryResult)]
struct Subscription {
    plan_id: Uuid,
    billing_interval: String,
    billing_anchor: DateTime<Utc>,
    next_grant_at: Option<DateTime<Utc>>,
    pays_by_bank: bool,
    pays_by_card: bool,
}

/// The subscription, held until the transaction ends.
async fn lock(tx: &Tx, tenant_id: Uuid) -> Result<Subscription, Error> {
    let hold = format!("select 1 as one from subscriptions where tenant_id = $1{}", for_update(tx));
    tx.query_one_raw(sql(tx, &hold, [tenant_id.into()])).await?;
    let query = format!(
        "select plan_id, billing_interval, coalesce(billing_anchor, current_period_start) as billing_anchor, next_grant_at, \
         exists (select 1 from payment_methods m where m.tenant_id = $1 and m.is_default \
         and m.method_type = 'bank_transfer') as pays_by_bank, {PAYS_BY_CARD} as pays_by_card \
         from subscriptions where tenant_id = $1"
    );
    Subscription::find_by_statement(sql(tx, &query, [tenant_id.into()])).one(tx).await?.ok_or(Error::NotFound)
}

/// Lets a tenant in that waited for its first payment: its set-up follows the plan that it is on now. Whether it waited.
pub(super) async fn open_tenant(tx: &Tx, now: &Now, tenant_id: Uuid) -> Result<bool, DbErr> {
    let open = "update tenants set status = 'pending', updated_at = $2 where id = $1 and status = 'pending_payment' returning id";
    let waited = tx.query_one_raw(sql(tx, open, [tenant_id.into(), now.at.into()])).await?.is_some();
    if waited {
        // Its run waits, and may have been laid out for another plan.
        let follow = "update subscriptions set plan_followed = $2 where tenant_id = $1";
        tx.execute_raw(sql(tx, follow, [tenant_id.into(), false.into()])).await?;
    }
    Ok(waited)
}
