//! Stripe's idempotency keys: a repeat is answered what the first call was (<https://docs.stripe.com/api/idempotent_requests>).

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, FromQueryResult};

use super::{api::Answer, error::Error};
use crate::db::{Tx, sql};

/// How long an answer is kept.
const KEPT: TimeDelta = TimeDelta::hours(24);

/// A key, and a hash of what was sent under it.
pub struct Key<'a> {
    /// As it was sent.
    pub key: &'a str,
    /// Of method, address and parameters.
    pub fingerprint: Vec<u8>,
}

#[derive(FromQueryResult)]
struct First {
    fingerprint: Vec<u8>,
    status_code: i64,
    response: String,
}

impl Key<'_> {
    /// What the first call under the key was answered.
    pub async fn find(&self, db: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<Option<Answer>, Error> {
        let query = "select fingerprint, status_code, response from sandbox_idempotency_keys where key = $1 and created_at > $2";
        let statement = sql(db, query, [self.key.into(), (now - KEPT).into()]);
        let Some(first) = First::find_by_statement(statement).one(db).await? else { return Ok(None) };
        if first.fingerprint != self.fingerprint {
            return Err(Error::KeyReused);
        }
        let status = u16::try_from(first.status_code).unwrap_or(500);
        Ok(Some(Answer { status, body: first.response, replayed: true }))
    }

    /// Keeps an answer; one that is there already stays.
    pub async fn keep(&self, tx: &Tx, now: DateTime<Utc>, answer: &Answer) -> Result<(), Error> {
        let forget = "delete from sandbox_idempotency_keys where created_at <= $1";
        tx.execute_raw(sql(tx, forget, [(now - KEPT).into()])).await?;
        let insert = "insert into sandbox_idempotency_keys (key, fingerprint, status_code, response, created_at) \
                      values ($1, $2, $3, $4, $5) on conflict (key) do nothing";
        let values = [
            self.key.into(),
            self.fingerprint.clone().into(),
            i64::from(answer.status).into(),
            answer.body.as_str().into(),
            now.into(),
        ];
        tx.execute_raw(sql(tx, insert, values)).await?;
        Ok(())
    }
}
