//! Stripe's invoices, as rows of ours.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use uuid::Uuid;

use super::{
    Error,
    current::Current,
    prices::{Sold, sold_at},
    wire::{Invoice, InvoiceStatus, Line},
};
use crate::{
    billing::{
        credits,
        months::left_of_month,
        store::{invoice, invoice_line},
    },
    clock::Now,
    db::{Batch, Tx, sql},
};

/// What became of a customer's invoices.
#[derive(Debug, Default)]
pub(super) struct Issued {
    /// Whether anything is news.
    pub changed: bool,
    /// Those that are paid since the last look, the oldest first.
    pub paid: Vec<Paid>,
}

/// An invoice that was paid.
#[derive(Debug)]
pub(super) struct Paid {
    /// Ours.
    pub id: Uuid,
    /// Stripe's id of it.
    pub external_id: String,
    /// What was bought with it.
    pub periods: Vec<Bought>,
    /// The credits of parts of a period, after a change of plan; below zero where more was paid back.
    pub part: i64,
}

/// A period of a plan that was paid for.
#[derive(Clone, Debug)]
pub(super) struct Bought {
    pub plan: Sold,
    /// What makes its credits come once.
    pub key: String,
    pub start: DateTime<Utc>,
    pub end: Option<DateTime<Utc>>,
}

#[derive(FromQueryResult)]
struct Known {
    id: Uuid,
    external_id: String,
    status: String,
}

#[derive(FromQueryResult)]
struct Billed {
    name: String,
    billing_email: String,
}

/// Writes what is new, and what has come to an end. What is paid or void stays so, whatever is said later. `plan` is what the tenant is on: who
/// pays a price that no plan has any more pays for that.
pub(super) async fn apply(
    tx: &Tx,
    now: &Now,
    tenant_id: Uuid,
    current: &Current,
    plan: &Sold,
) -> Result<Issued, Error> {
    let mut issued = Issued::default();
    if current.invoices.is_empty() {
        return Ok(issued);
    }
    let known = "select id, external_id, status from invoices where tenant_id = $1 and issuer = 'stripe' and external_id is not null";
    let known = Known::find_by_statement(sql(tx, known, [tenant_id.into()])).all(tx).await?;
    let known: HashMap<_, _> = known.into_iter().map(|row| (row.external_id.clone(), row)).collect();
    let billed = "select name, billing_email from tenants where id = $1";
    let billed = Billed::find_by_statement(sql(tx, billed, [tenant_id.into()])).one(tx).await?;
    let Some(billed) = billed else { return Ok(issued) };
    let mut batch = Batch::default();
    for invoice in &current.invoices {
        let Some(status) = status(invoice.status) else { continue };
        let known = known.get(&invoice.id);
        if known.is_some_and(|known| known.status == status || known.status != "open") {
            continue;
        }
        issued.changed = true;
        let bought = bought(tx, invoice, plan).await?;
        let id = match known {
            Some(known) => {
                settle(tx, tenant_id, known.id, status, invoice).await?;
                known.id
            }
            None => insert(&mut batch, now, tenant_id, &billed, invoice, status, bought.first()),
        };
        if status == "paid" {
            let is_duplicate = current.is_duplicate(invoice);
            let periods = if is_duplicate { Vec::new() } else { bought };
            let part = if is_duplicate { 0 } else { part(tx, invoice).await? };
            issued.paid.push(Paid { id, external_id: invoice.id.clone(), periods, part });
        }
    }
    batch.send(tx).await?;
    Ok(issued)
}

/// Stripe's word in ours; nothing for what is not issued yet.
fn status(status: InvoiceStatus) -> Option<&'static str> {
    match status {
        InvoiceStatus::Draft | InvoiceStatus::Unknown => None,
        // What was given up can still be paid.
        InvoiceStatus::Open | InvoiceStatus::Uncollectible => Some("open"),
        InvoiceStatus::Paid => Some("paid"),
        InvoiceStatus::Void => Some("void"),
    }
}

/// The periods that begin with an invoice.
async fn bought(tx: &Tx, invoice: &Invoice, plan: &Sold) -> Result<Vec<Bought>, DbErr> {
    let mut bought = Vec::new();
    let Some(subscription) = invoice.subscription() else { return Ok(bought) };
    for line in invoice.lines.data.iter().filter(|line| line.is_whole_period() && line.amount > 0) {
        let (Some(start), Some(price)) = (line.period.start, line.price_id()) else { continue };
        let plan = sold_at(tx, price).await?.unwrap_or_else(|| plan.clone());
        // A period that follows another has the key of its month, for a year's months may have come to it by themselves. What is bought anew
        // has one of its own: the month that a trial, or another interval, began on the same day is another.
        let month = credits::month_key(start);
        let key = match invoice.billing_reason.as_str() {
            "subscription_cycle" => month,
            "subscription_update" => format!("{month}:{}", invoice.id),
            _ => format!("{month}:{subscription}"),
        };
        bought.push(Bought { plan, key, start, end: line.period.end });
    }
    Ok(bought)
}

/// The credits of the rest of a month, of plans that an invoice charges it for, or pays it back: changing to and fro mints none.
async fn part(tx: &Tx, invoice: &Invoice) -> Result<i64, DbErr> {
    let mut credits = 0_i64;
    for line in invoice.lines.data.iter().filter(|line| line.is_proration()) {
        let (Some(price), Some(from), Some(to)) = (line.price_id(), line.period.start, line.period.end) else {
            continue;
        };
        let Some(plan) = sold_at(tx, price).await? else { continue };
        let (left, whole) = left_of_month(from, to);
        let part = i128::from(plan.included_credits) * i128::from(left) / i128::from(whole);
        let part = i64::try_from(part).unwrap_or_default() * line.amount.signum();
        credits = credits.saturating_add(part);
    }
    Ok(credits)
}

async fn settle(tx: &Tx, tenant_id: Uuid, id: Uuid, status: &str, invoice: &Invoice) -> Result<(), DbErr> {
    let update = "update invoices set status = $3, paid_at = $4, hosted_url = coalesce($5, hosted_url) where tenant_id = $1 and id = $2";
    let values = [
        tenant_id.into(),
        id.into(),
        status.into(),
        invoice.status_transitions.paid_at.into(),
        invoice.hosted_invoice_url.clone().into(),
    ];
    tx.execute_raw(sql(tx, update, values)).await.map(drop)
}

/// Adds an invoice with the billing details that Stripe wrote on it. Answers its id here.
fn insert(
    batch: &mut Batch,
    now: &Now,
    tenant_id: Uuid,
    billed: &Billed,
    invoice: &Invoice,
    status: &str,
    bought: Option<&Bought>,
) -> Uuid {
    let id = now.id();
    let issued_at = invoice.status_transitions.finalized_at.or(invoice.created).unwrap_or(now.at);
    let address = invoice.customer_address.clone().filter(|address| !address.is_null());
    batch.insert(invoice::Model {
        tenant_id,
        id,
        number: invoice.number.clone().unwrap_or_else(|| invoice.id.clone()),
        status: status.to_owned(),
        currency: invoice.currency.to_uppercase(),
        // What pays back is kept for the next one by Stripe, and asks for nothing.
        total: invoice.total.max(0),
        billing_name: invoice.customer_name.clone().unwrap_or_else(|| billed.name.clone()),
        billing_email: invoice.customer_email.clone().unwrap_or_else(|| billed.billing_email.clone()),
        billing_address: address,
        issued_at,
        due_at: invoice.due_date.unwrap_or(issued_at),
        paid_at: invoice.status_transitions.paid_at,
        external_payment_id: invoice.payment_intent.clone(),
        issuer: "stripe".into(),
        external_id: Some(invoice.id.clone()),
        hosted_url: invoice.hosted_invoice_url.clone(),
        plan_id: bought.map(|bought| bought.plan.id),
        billing_interval: None,
        period_start: bought.map(|bought| bought.start),
        period_end: bought.and_then(|bought| bought.end),
    });
    batch.insert_all((1..).zip(&invoice.lines.data).map(|(position, line)| row(tenant_id, now, id, position, line)));
    id
}

fn row(tenant_id: Uuid, now: &Now, invoice_id: Uuid, position: i64, line: &Line) -> invoice_line::Model {
    // Where a quantity does not divide the amount, the line is one thing.
    let quantity = line.quantity.filter(|quantity| *quantity > 0 && line.amount % quantity == 0).unwrap_or(1);
    invoice_line::Model {
        tenant_id,
        id: now.id(),
        invoice_id,
        description: line.description.clone().unwrap_or_default(),
        quantity,
        unit_amount: line.amount / quantity,
        amount: line.amount,
        position,
    }
}
