//! Credits: a balance, and a ledger of everything that changed it.
//!
//! Both change in one transaction or not at all ([`post`]), under the balance's lock. The balance never falls below zero, which the database
//! checks once more. A line's key makes it happen once: a month is granted once, however often that is tried.

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    clock::Now,
    db::{Tx, for_update, sql},
    http::{Page, Problem},
};

/// What changes a balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Came with the plan.
    Grant,
    /// Was bought.
    Purchase,
    /// Was used.
    Consume,
    /// Was given back.
    Refund,
    /// Was put right by hand.
    Adjustment,
}

impl Kind {
    /// As in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Purchase => "purchase",
            Self::Consume => "consume",
            Self::Refund => "refund",
            Self::Adjustment => "adjustment",
        }
    }
}

/// A line to write.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// How many credits; charges are negative.
    pub amount: i64,
    /// What makes it happen once for a tenant.
    pub key: String,
    /// For people.
    pub description: String,
    /// A JSON object.
    pub metadata: serde_json::Value,
}

/// A line of the ledger.
#[derive(Clone, Debug, Serialize, ToSchema, FromQueryResult)]
#[schema(as = CreditTransaction)]
pub struct Line {
    /// Its id.
    pub id: Uuid,
    /// `grant`, `purchase`, `consume`, `refund` or `adjustment`.
    #[schema(example = "consume")]
    pub transaction_type: String,
    /// How many credits; charges are negative.
    pub amount: i64,
    /// The balance after it.
    pub balance_after: i64,
    /// For people.
    pub description: String,
    /// As it was given.
    #[schema(value_type = Object)]
    pub metadata: serde_json::Value,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// Why a line is not written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There are not enough credits.
    #[error("{balance} credits are not enough for {wanted}")]
    Insufficient {
        /// What there is.
        balance: i64,
        /// What was asked for.
        wanted: i64,
    },
    /// More credits than can be counted.
    #[error("too many credits")]
    TooMany,
    /// There is no such tenant.
    #[error("no such tenant")]
    NotFound,
    /// The database.
    #[error(transparent)]
    Database(#[from] DbErr),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Insufficient { balance, wanted } => {
                let detail = format!("{balance} credits are left, and this takes {wanted}.");
                Self::conflict("INSUFFICIENT_CREDITS", detail).with("balance", balance)
            }
            Error::TooMany => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "TOO_MANY_CREDITS",
                "A balance cannot hold so many credits.",
            ),
            Error::NotFound => Self::not_found(),
            Error::Database(error) => Self::database(&error),
        }
    }
}

/// Writes a line and its balance. Nothing where a line of that key is there already.
///
/// # Errors
/// [`Error::Insufficient`], [`Error::TooMany`]: nothing is written; [`Error::NotFound`].
pub async fn post(tx: &Tx, now: &Now, tenant_id: Uuid, entry: &Entry) -> Result<Option<Line>, Error> {
    match hold(tx, tenant_id, &entry.key).await? {
        Some(balance) => write(tx, now, tenant_id, balance, entry).await.map(Some),
        None => Ok(None),
    }
}

/// The balance, held until the transaction ends. Nothing where a line of that key is there already.
async fn hold(tx: &Tx, tenant_id: Uuid, key: &str) -> Result<Option<i64>, Error> {
    let held = format!("select balance from credit_balances where tenant_id = $1{}", for_update(tx));
    let held = tx.query_one_raw(sql(tx, &held, [tenant_id.into()])).await?.ok_or(Error::NotFound)?;
    let known = "select 1 as one from credit_transactions where tenant_id = $1 and idempotency_key = $2";
    let known = tx.query_one_raw(sql(tx, known, [tenant_id.into(), key.into()])).await?;
    Ok(if known.is_none() { Some(held.try_get("", "balance")?) } else { None })
}

/// Writes a line after the balance that is held.
async fn write(tx: &Tx, now: &Now, tenant_id: Uuid, balance: i64, entry: &Entry) -> Result<Line, Error> {
    let after = balance.checked_add(entry.amount).ok_or(Error::TooMany)?;
    if after < 0 {
        return Err(Error::Insufficient { balance, wanted: entry.amount.saturating_neg() });
    }
    let set = "update credit_balances set balance = $2, updated_at = $3 where tenant_id = $1";
    tx.execute_raw(sql(tx, set, [tenant_id.into(), after.into(), now.at.into()])).await?;
    let line = Line {
        id: now.id(),
        transaction_type: entry.kind.as_str().to_owned(),
        amount: entry.amount,
        balance_after: after,
        description: entry.description.clone(),
        metadata: entry.metadata.clone(),
        created_at: now.at,
    };
    let insert = "insert into credit_transactions (tenant_id, id, transaction_type, amount, balance_after, description, metadata, \
                  idempotency_key, created_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let values = [
        tenant_id.into(),
        line.id.into(),
        entry.kind.as_str().into(),
        entry.amount.into(),
        after.into(),
        entry.description.as_str().into(),
        entry.metadata.clone().into(),
        entry.key.as_str().into(),
        now.at.into(),
    ];
    tx.execute_raw(sql(tx, insert, values)).await?;
    Ok(line)
}

/// Credits that come with a plan.
#[derive(Clone, Debug)]
pub struct Grant {
    /// How many.
    pub amount: i64,
    /// What makes it happen once, such as `period:2026-12-01`.
    pub key: String,
    /// For people.
    pub description: String,
    /// A JSON object.
    pub metadata: serde_json::Value,
}

/// Grants credits, once. Whether this was the time.
///
/// # Errors
/// As [`post`].
pub async fn grant(tx: &Tx, now: &Now, tenant_id: Uuid, grant: &Grant) -> Result<bool, Error> {
    let Grant { amount, key, description, metadata } = grant.clone();
    let entry = Entry { kind: Kind::Grant, amount, key, description, metadata };
    Ok(post(tx, now, tenant_id, &entry).await?.is_some())
}

/// Grants what was paid for less what was given in advance of it. Where that was more, or `grant` is below zero, what is left of it is taken
/// back, and what is spent already is set off against the next payment. Whether this changed anything. The caller holds the subscription, and
/// comes once: where all of it was given in advance there is no line to tell a second time by.
///
/// # Errors
/// As [`post`].
pub async fn settle(tx: &Tx, now: &Now, tenant_id: Uuid, grant: &Grant) -> Result<bool, Error> {
    let Some(balance) = hold(tx, tenant_id, &grant.key).await? else { return Ok(false) };
    let advanced = "select credits_advanced from subscriptions where tenant_id = $1";
    let advanced = tx.query_one_raw(sql(tx, advanced, [tenant_id.into()])).await?.ok_or(Error::NotFound)?;
    let advanced: i64 = advanced.try_get("", "credits_advanced")?;
    let due = grant.amount.checked_sub(advanced).ok_or(Error::TooMany)?;
    let (amount, rest) = if due >= 0 { (due, 0) } else { (due.max(-balance), due.max(-balance) - due) };
    if rest != advanced {
        let keep = "update subscriptions set credits_advanced = $2 where tenant_id = $1";
        tx.execute_raw(sql(tx, keep, [tenant_id.into(), rest.into()])).await?;
    }
    if amount == 0 {
        return Ok(rest != advanced);
    }
    let Grant { key, description, metadata, .. } = grant.clone();
    let kind = if amount > 0 { Kind::Grant } else { Kind::Adjustment };
    write(tx, now, tenant_id, balance, &Entry { kind, amount, key, description, metadata }).await?;
    Ok(true)
}

/// What names a month's grant.
pub fn month_key(start: DateTime<Utc>) -> String {
    start.format("period:%Y-%m-%d").to_string()
}

/// Credits that are left.
pub async fn balance(db: &impl ConnectionTrait, tenant_id: Uuid) -> Result<i64, Error> {
    let query = "select balance from credit_balances where tenant_id = $1";
    let row = db.query_one_raw(sql(db, query, [tenant_id.into()])).await?.ok_or(Error::NotFound)?;
    Ok(row.try_get("", "balance")?)
}

/// A page of the ledger, newest first.
pub async fn lines(db: &impl ConnectionTrait, tenant_id: Uuid, page: Page) -> Result<Vec<Line>, DbErr> {
    let query = "select id, transaction_type, amount, balance_after, description, metadata, created_at \
                 from credit_transactions where tenant_id = $1 and id < $2 order by id desc limit $3";
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX).saturating_add(1);
    let values = [tenant_id.into(), page.before.into(), limit.into()];
    Line::find_by_statement(sql(db, query, values)).all(db).await
}

/// What a tenant's own systems are told when few credits are left.
pub const LOW: &str = "credits.low";
/// Few are left when less than this part of what a period brings is: a tenth.
const LOW_PART: i64 = 10;

/// Whether a line took the balance below what is few: it happens once on the way down.
pub fn becomes_low(line: &Line, included: i64) -> bool {
    let few = included / LOW_PART;
    line.amount < 0 && line.balance_after < few && line.balance_after.saturating_sub(line.amount) >= few
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(amount: i64, balance_after: i64) -> Line {
        Line {
            id: Uuid::nil(),
            transaction_type: "consume".into(),
            amount,
            balance_after,
            description: String::new(),
            metadata: serde_json::json!({}),
            created_at: DateTime::UNIX_EPOCH,
        }
    }

    proptest! {
        #[test]
        fn a_balance_becomes_low_once_on_its_way_down(included in 0_i64..1_000_000, charges in prop::collection::vec(1_i64..100_000, 1..50)) {
            let mut balance = included;
            let mut times = 0;
            for charge in charges {
                if charge > balance {
                    continue;
                }
                balance -= charge;
                times += u32::from(becomes_low(&line(-charge, balance), included));
            }
            prop_assert_eq!(times, u32::from(balance < included / LOW_PART));
        }
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        assert!(!becomes_low(&line(i64::MIN, i64::MAX), i64::MAX));
        assert!(!becomes_low(&line(i64::MAX, i64::MAX), 10));
    }
}
