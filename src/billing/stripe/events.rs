//! Stripe's events in the database: each is kept once.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Error, wire};
use crate::{
    clock::Now,
    db::{Batch, Tx, sql},
    outbox,
    seal::Sealer,
};

/// What the outbox carries for an event: the rest is in its row.
#[derive(Serialize, Deserialize)]
pub(super) struct Queued {
    pub event_id: String,
}

/// What became of an event that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = StripeEventReceived)]
pub(super) enum Received {
    /// It is kept, and will be processed.
    Queued,
    /// It came before.
    Replayed,
    /// It is kept, and says nothing that matters here.
    Ignored,
}

/// Keeps an event, and queues it where it may have changed something. Wake the workers after the commit.
pub(super) async fn receive(
    tx: &Tx,
    now: &Now,
    sealer: &Sealer,
    event: &wire::Event,
    payload: &str,
) -> Result<Received, Error> {
    let status = if event.is_followed() { "pending" } else { "ignored" };
    let insert = "insert into stripe_events (id, event_type, object_id, tenant_id, livemode, payload, status, attempts, created_at, received_at) \
                  values ($1, $2, $3, (select s.tenant_id from subscriptions s where s.stripe_customer_id = $4), $5, $6, $7, 0, $8, $9) \
                  on conflict (id) do nothing";
    let values = [
        event.id.as_str().into(),
        event.kind.as_str().into(),
        event.object_id().into(),
        event.customer().into(),
        event.livemode.into(),
        payload.into(),
        status.into(),
        event.created.unwrap_or(now.at).into(),
        now.at.into(),
    ];
    if tx.execute_raw(sql(tx, insert, values)).await?.rows_affected() == 0 {
        return Ok(Received::Replayed);
    }
    if status == "ignored" {
        return Ok(Received::Ignored);
    }
    enqueue(tx, now, sealer, &event.id).await?;
    Ok(Received::Queued)
}

async fn enqueue(tx: &Tx, now: &Now, sealer: &Sealer, event_id: &str) -> Result<(), Error> {
    let mut batch = Batch::default();
    let queued = Queued { event_id: event_id.to_owned() };
    outbox::enqueue(&mut batch, sealer, now, None, outbox::Kind::StripeEvent, &queued);
    Ok(batch.send(tx).await?)
}

/// Whether an event is kept already.
pub(super) async fn is_known(db: &impl ConnectionTrait, event_id: &str) -> Result<bool, DbErr> {
    let query = "select 1 as one from stripe_events where id = $1";
    Ok(db.query_one_raw(sql(db, query, [event_id.into()])).await?.is_some())
}

/// An event that waits to be processed.
#[derive(FromQueryResult)]
pub(super) struct Waiting {
    pub status: String,
    pub payload: String,
}

/// One event.
pub(super) async fn find(db: &impl ConnectionTrait, event_id: &str) -> Result<Option<Waiting>, DbErr> {
    let query = "select status, payload from stripe_events where id = $1";
    Waiting::find_by_statement(sql(db, query, [event_id.into()])).one(db).await
}

/// Records how processing an event ended.
pub(super) async fn settle(
    tx: &Tx,
    now: &Now,
    event_id: &str,
    status: &'static str,
    tenant_id: Option<Uuid>,
    error: Option<&str>,
) -> Result<(), DbErr> {
    // What is processed stays so: a late failure of another try is no news.
    let update = "update stripe_events set status = $2, tenant_id = coalesce($3, tenant_id), last_error = $4, \
                  attempts = attempts + 1, processed_at = $5 where id = $1 and status in ('pending', 'failed')";
    let processed_at = (status != "failed").then_some(now.at);
    let values = [event_id.into(), status.into(), tenant_id.into(), error.into(), processed_at.into()];
    tx.execute_raw(sql(tx, update, values)).await.map(drop)
}

/// Queues an event again, whatever became of it: processing one twice leads to the same. False: there is no such event.
pub(super) async fn replay(tx: &Tx, now: &Now, sealer: &Sealer, event_id: &str) -> Result<bool, Error> {
    let update = "update stripe_events set status = 'pending', processed_at = null where id = $1";
    let is_known = tx.execute_raw(sql(tx, update, [event_id.into()])).await?.rows_affected() == 1;
    if is_known {
        enqueue(tx, now, sealer, event_id).await?;
    }
    Ok(is_known)
}

/// An event as administrators see it.
#[derive(Clone, Debug, Serialize, ToSchema, FromQueryResult)]
pub struct StripeEvent {
    /// Stripe's id of it.
    pub id: String,
    /// Such as `customer.subscription.updated`.
    pub event_type: String,
    /// What it happened to.
    pub object_id: Option<String>,
    /// Whose that is, where it is a tenant's.
    pub tenant_id: Option<Uuid>,
    /// `pending`, `processed`, `ignored` or `failed`. What failed is tried again for three days.
    pub status: String,
    /// How often it was tried.
    pub attempts: i64,
    /// Why the last try failed.
    pub last_error: Option<String>,
    /// When it happened, by Stripe's clock.
    pub created_at: DateTime<Utc>,
    /// When it came here.
    pub received_at: DateTime<Utc>,
    /// When it was done with.
    pub processed_at: Option<DateTime<Utc>>,
}

/// A page of events, those that came last first; `before` is where the page before ended.
pub(super) async fn list(
    db: &impl ConnectionTrait,
    status: Option<&str>,
    before: (DateTime<Utc>, String),
    limit: i64,
) -> Result<Vec<StripeEvent>, DbErr> {
    let query = "select id, event_type, object_id, tenant_id, status, attempts, last_error, created_at, received_at, processed_at \
                 from stripe_events where (received_at < $1 or (received_at = $1 and id < $2)) and ($3 = '' or status = $3) \
                 order by received_at desc, id desc limit $4";
    let values = [before.0.into(), before.1.into(), status.unwrap_or_default().into(), limit.into()];
    StripeEvent::find_by_statement(sql(db, query, values)).all(db).await
}
