//! Invoices: ours, for bank transfers, with numbers without gaps; and what Stripe has issued, as it says.
//!
//! An invoice keeps the billing details of its day. Ours says what is bought: paying it puts the tenant on that plan for that time.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::store::{invoice, invoice_line};
use crate::{
    clock::Now,
    db::{Batch, Tx, sql},
    http::Page,
    plans::{Money, PlanRow},
};

/// How long a bank transfer may take.
pub const DUE_AFTER: TimeDelta = TimeDelta::days(14);

/// One of ours to write.
pub struct NewInvoice<'a> {
    /// Whose.
    pub tenant_id: Uuid,
    /// Its number, drawn in the same transaction.
    pub number: &'a str,
    /// Whom it is addressed to.
    pub billing_name: &'a str,
    /// Where it goes.
    pub billing_email: &'a str,
    /// The postal address, as it was given.
    pub billing_address: Option<&'a serde_json::Value>,
    /// What is bought.
    pub plan: &'a PlanRow,
    /// For how long: `month` or `year`.
    pub interval: &'a str,
    /// What it costs.
    pub amount: i64,
    /// For which time; from the payment on where that is open.
    pub period: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// To be paid until then.
    pub due_at: DateTime<Utc>,
}

/// Writes an open invoice with its one line. Answers its id.
pub fn issue(batch: &mut Batch, now: &Now, new: &NewInvoice<'_>) -> Uuid {
    let (tenant_id, id) = (new.tenant_id, now.id());
    batch.insert(invoice::Model {
        tenant_id,
        id,
        number: new.number.to_owned(),
        status: "open".into(),
        currency: new.plan.price_currency.clone(),
        total: new.amount,
        billing_name: new.billing_name.to_owned(),
        billing_email: new.billing_email.to_owned(),
        billing_address: new.billing_address.cloned(),
        issued_at: now.at,
        due_at: new.due_at,
        paid_at: None,
        external_payment_id: None,
        issuer: "tenantry".into(),
        external_id: None,
        hosted_url: None,
        plan_id: Some(new.plan.id),
        billing_interval: Some(new.interval.to_owned()),
        period_start: new.period.map(|(start, _)| start),
        period_end: new.period.map(|(_, end)| end),
    });
    batch.insert(invoice_line::Model {
        tenant_id,
        id: now.id(),
        invoice_id: id,
        description: format!("{}, one {}", new.plan.name, new.interval),
        quantity: 1,
        unit_amount: new.amount,
        amount: new.amount,
        position: 1,
    });
    id
}

/// Draws the next invoice number. The counter's row stays locked until the transaction ends, so numbers have no gaps.
pub async fn next_number(tx: &Tx, now: &Now) -> Result<String, DbErr> {
    #[derive(FromQueryResult)]
    struct Drawn {
        last_number: i64,
    }
    let series = now.at.format("INV-%Y").to_string();
    let draw = "insert into invoice_counters (series, last_number) values ($1, 1) \
                on conflict (series) do update set last_number = invoice_counters.last_number + 1 returning last_number";
    let drawn = Drawn::find_by_statement(sql(tx, draw, [series.as_str().into()])).one(tx).await?;
    let number = drawn.map_or(1, |drawn| drawn.last_number);
    Ok(format!("{series}-{number:06}"))
}

/// An invoice.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Invoice {
    /// Its id.
    pub id: Uuid,
    /// Whose.
    pub tenant_id: Uuid,
    /// Ours or Stripe's.
    pub number: String,
    /// `open`, `paid` or `void`.
    pub status: String,
    /// ISO 4217.
    pub currency: String,
    /// Minor units.
    pub total: i64,
    /// Whom it was addressed to.
    pub billing_name: String,
    /// Where it went.
    pub billing_email: String,
    /// The postal address of that day.
    pub billing_address: Option<serde_json::Value>,
    /// When.
    pub issued_at: DateTime<Utc>,
    /// To be paid until then.
    pub due_at: DateTime<Utc>,
    /// When it was paid.
    pub paid_at: Option<DateTime<Utc>>,
    /// What the payment is called elsewhere.
    pub external_payment_id: Option<String>,
    /// `tenantry` or `stripe`.
    pub issuer: String,
    /// Stripe's page of it.
    pub hosted_url: Option<String>,
    /// The time that it is for.
    pub period_start: Option<DateTime<Utc>>,
    /// Its end.
    pub period_end: Option<DateTime<Utc>>,
}

impl Invoice {
    /// The postal address, line by line. What the operator's own form calls them is unknown; the usual names come in the usual order.
    pub fn address_lines(&self) -> Vec<String> {
        let Some(serde_json::Value::Object(address)) = &self.billing_address else { return Vec::new() };
        let usual = ["line1", "line2", "postal_code", "city", "state", "country"];
        let known = usual.iter().filter_map(|name| address.get(*name));
        let others = address.iter().filter(|(name, _)| !usual.contains(&name.as_str())).map(|(_, value)| value);
        let lines = known.chain(others).filter_map(|value| match value {
            serde_json::Value::String(text) => Some(text.trim().to_owned()),
            serde_json::Value::Number(number) => Some(number.to_string()),
            _ => None,
        });
        lines.filter(|line| !line.is_empty()).collect()
    }

    /// What is to be paid.
    pub fn total(&self) -> Money {
        Money { amount: self.total, currency: self.currency.clone() }
    }
}

/// A line of an invoice.
#[derive(Clone, Debug, Serialize, ToSchema, FromQueryResult)]
#[schema(as = InvoiceLine)]
pub struct Line {
    /// What.
    pub description: String,
    /// How many.
    pub quantity: i64,
    /// What one costs, in minor units of the invoice's currency.
    pub unit_amount: i64,
    /// What all cost.
    pub amount: i64,
}

const COLUMNS: &str = "id, tenant_id, number, status, currency, total, billing_name, billing_email, billing_address, issued_at, due_at, \
     paid_at, external_payment_id, issuer, hosted_url, period_start, period_end";

/// A page of a tenant's invoices, newest first.
pub async fn list(db: &impl ConnectionTrait, tenant_id: Uuid, page: Page) -> Result<Vec<Invoice>, DbErr> {
    let query = format!("select {COLUMNS} from invoices where tenant_id = $1 and id < $2 order by id desc limit $3");
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX).saturating_add(1);
    let values = [tenant_id.into(), page.before.into(), limit.into()];
    Invoice::find_by_statement(sql(db, &query, values)).all(db).await
}

/// A page of all tenants' invoices, newest first, for whoever runs the platform.
pub async fn all(db: &impl ConnectionTrait, status: Option<&str>, page: Page) -> Result<Vec<Invoice>, DbErr> {
    let query = format!(
        "select {COLUMNS} from invoices where id < $1 and (cast($2 as text) is null or status = $2) order by id desc limit $3"
    );
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX).saturating_add(1);
    let values = [page.before.into(), status.map(str::to_owned).into(), limit.into()];
    Invoice::find_by_statement(sql(db, &query, values)).all(db).await
}

/// One of a tenant's invoices with its lines.
pub async fn by_id(
    db: &impl ConnectionTrait,
    tenant_id: Uuid,
    id: Uuid,
) -> Result<Option<(Invoice, Vec<Line>)>, DbErr> {
    let query = format!("select {COLUMNS} from invoices where tenant_id = $1 and id = $2");
    let values = [tenant_id.into(), id.into()];
    let Some(invoice) = Invoice::find_by_statement(sql(db, &query, values)).one(db).await? else { return Ok(None) };
    let lines = "select description, quantity, unit_amount, amount from invoice_lines \
                 where tenant_id = $1 and invoice_id = $2 order by position";
    let lines = Line::find_by_statement(sql(db, lines, [tenant_id.into(), id.into()])).all(db).await?;
    Ok(Some((invoice, lines)))
}
