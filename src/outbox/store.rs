//! The outbox in the database.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbErr, DeriveActiveEnum, EnumIter, FromQueryResult};
use uuid::Uuid;

use crate::{
    clock::Now,
    db::{Tx, skip_locked, sql},
};

pub(crate) mod row {
    use sea_orm::entity::prelude::*;

    use super::{Kind, Status};

    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "outbox")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub tenant_id: Option<Uuid>,
        pub kind: Kind,
        pub payload: Option<Vec<u8>>,
        pub status: Status,
        pub attempts: i64,
        pub due_at: DateTimeUtc,
        pub fence: i64,
        pub lease_expires_at: Option<DateTimeUtc>,
        pub last_error: Option<String>,
        pub created_at: DateTimeUtc,
        pub finished_at: Option<DateTimeUtc>,
    }

    crate::db::plain_entity!();
}

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum Kind {
    /// A letter to a person.
    #[sea_orm(string_value = "mail")]
    Mail,
    /// A delivery to a tenant's webhook endpoint.
    #[sea_orm(string_value = "webhook")]
    Webhook,
    /// An event of Stripe's that is to be processed.
    #[sea_orm(string_value = "stripe_event")]
    StripeEvent,
    /// An event of the sandbox's that is to be delivered.
    #[sea_orm(string_value = "sandbox_event")]
    SandboxEvent,
}

impl Kind {
    /// As in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Webhook => "webhook",
            Self::StripeEvent => "stripe_event",
            Self::SandboxEvent => "sandbox_event",
        }
    }
}

/// Where a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum Status {
    /// To be tried, now or later.
    #[sea_orm(string_value = "pending")]
    Pending,
    /// The other side has it.
    #[sea_orm(string_value = "done")]
    Done,
    /// Given up.
    #[sea_orm(string_value = "failed")]
    Failed,
}

impl Status {
    /// As in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// A row that this worker holds until its lease expires.
#[derive(Clone, Debug, FromQueryResult)]
pub(super) struct Claimed {
    pub id: Uuid,
    pub kind: Kind,
    pub payload: Option<Vec<u8>>,
    /// This try's number, from 1.
    pub attempts: i64,
    pub fence: i64,
}

#[derive(FromQueryResult)]
struct Due {
    due_at: DateTime<Utc>,
}

/// When the next row is due. Mails count only where they can be sent.
pub(super) async fn next_due(db: &impl ConnectionTrait, mails: bool) -> Result<Option<DateTime<Utc>>, DbErr> {
    let query = "select due_at from outbox where status = 'pending' and (kind <> 'mail' or $1) order by due_at limit 1";
    let due = Due::find_by_statement(sql(db, query, [mails.into()])).one(db).await?;
    Ok(due.map(|due| due.due_at))
}

/// Claims at most `limit` due rows. A claimed row is due again when its lease expires, so a worker's death and a failed try
/// are found by one query.
pub(super) async fn claim(
    tx: &Tx,
    now: &Now,
    mails: bool,
    limit: i64,
    lease: TimeDelta,
) -> Result<Vec<Claimed>, DbErr> {
    let query = format!(
        "with due as materialized (select id from outbox where status = 'pending' and due_at <= $1 \
             and (kind <> 'mail' or $2) order by due_at limit $3{}) \
         update outbox set fence = fence + 1, attempts = attempts + 1, due_at = $4, lease_expires_at = $4 \
         where id in (select id from due) returning id, kind, payload, attempts, fence",
        skip_locked(tx)
    );
    let values = [now.at.into(), mails.into(), limit.into(), (now.at + lease).into()];
    Claimed::find_by_statement(sql(tx, &query, values)).all(tx).await
}

/// How a try is recorded.
pub(super) struct Settled {
    pub status: Status,
    pub keeps_payload: bool,
    /// When a pending row is tried again.
    pub due_at: DateTime<Utc>,
    pub error: Option<String>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// Records a try, if the row is still this worker's. False: the lease was lost, or the row is gone.
pub(super) async fn settle(tx: &Tx, claimed: &Claimed, settled: Settled) -> Result<bool, DbErr> {
    let query = "update outbox set status = $3, payload = case when $4 then payload end, due_at = $5, last_error = $6, \
             finished_at = $7, lease_expires_at = null where id = $1 and fence = $2 and status = 'pending'";
    let values = [
        claimed.id.into(),
        claimed.fence.into(),
        settled.status.as_str().into(),
        settled.keeps_payload.into(),
        settled.due_at.into(),
        settled.error.into(),
        settled.finished_at.into(),
    ];
    Ok(tx.execute_raw(sql(tx, query, values)).await?.rows_affected() == 1)
}

/// Gives a row back untried: due at once, its try not counted.
pub(super) async fn release(tx: &Tx, now: &Now, claimed: &Claimed) -> Result<bool, DbErr> {
    let query = "update outbox set attempts = attempts - 1, due_at = $3, lease_expires_at = null \
             where id = $1 and fence = $2 and status = 'pending'";
    let values = [claimed.id.into(), claimed.fence.into(), now.at.into()];
    Ok(tx.execute_raw(sql(tx, query, values)).await?.rows_affected() == 1)
}

/// A mail whose payload is still there.
#[derive(Clone, Debug, FromQueryResult)]
pub struct SealedMail {
    /// Its id.
    pub id: Uuid,
    /// For [`super::open`].
    pub payload: Vec<u8>,
    /// When it was queued.
    pub created_at: DateTime<Utc>,
}

/// The newest mails whose payload is still there, newest first.
pub async fn mails(db: &impl ConnectionTrait, limit: i64) -> Result<Vec<SealedMail>, DbErr> {
    let query = "select id, payload, created_at from outbox where kind = 'mail' and payload is not null \
             order by created_at desc, id desc limit $1";
    SealedMail::find_by_statement(sql(db, query, [limit.into()])).all(db).await
}

/// Deletes every mail, sent or not: what emptying the development mailbox means.
pub async fn erase_mails(tx: &Tx) -> Result<(), DbErr> {
    tx.execute_raw(sql(tx, "delete from outbox where kind = 'mail'", [])).await.map(drop)
}
