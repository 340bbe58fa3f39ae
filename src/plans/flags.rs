//! Feature flags: the platform-wide defaults, among them the kill switch.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    clock::Now,
    db::{Tx, sql},
};

/// The kill switch: off closes every public sign-up door.
pub const SIGNUP_ENABLED: &str = "signup_enabled";

/// A flag and its default.
#[derive(Clone, Debug, FromQueryResult, Serialize, ToSchema)]
pub struct Flag {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// Whether it is on where nothing overrides it.
    pub enabled: bool,
}

/// All flags by name.
pub async fn list(db: &impl ConnectionTrait) -> Result<Vec<Flag>, DbErr> {
    Flag::find_by_statement(sql(db, "select name, description, enabled from feature_flags order by name", []))
        .all(db)
        .await
}

/// Whether a flag is on where nothing overrides it; nothing where there is none of that name.
pub async fn is_enabled(db: &impl ConnectionTrait, name: &str) -> Result<Option<bool>, DbErr> {
    let row = db.query_one_raw(sql(db, "select enabled from feature_flags where name = $1", [name.into()])).await?;
    row.map(|row| row.try_get("", "enabled")).transpose()
}

/// When a flag was switched the last time; nothing where it never was.
pub async fn switched_at(db: &impl ConnectionTrait, name: &str) -> Result<Option<DateTime<Utc>>, DbErr> {
    let query = "select updated_at from feature_flags where name = $1";
    let row = db.query_one_raw(sql(db, query, [name.into()])).await?;
    let at: Option<DateTime<Utc>> = row.map(|row| row.try_get("", "updated_at")).transpose()?;
    // As the first migration wrote it.
    Ok(at.filter(|at| *at > DateTime::UNIX_EPOCH))
}

/// Switches a flag. `None` where there is none of that name. The kill switch is made anew where its row was lost.
pub async fn set(tx: &Tx, now: &Now, name: &str, enabled: bool) -> Result<Option<Flag>, DbErr> {
    let update =
        "update feature_flags set enabled = $2, updated_at = $3 where name = $1 returning name, description, enabled";
    let insert = "insert into feature_flags (name, enabled, updated_at, description) \
                  values ($1, $2, $3, 'The kill switch: off closes every public sign-up door') \
                  on conflict (name) do update set enabled = excluded.enabled, updated_at = excluded.updated_at returning name, description, enabled";
    let text = if name == SIGNUP_ENABLED { insert } else { update };
    Flag::find_by_statement(sql(tx, text, [name.into(), enabled.into(), now.at.into()])).one(tx).await
}

/// Adds a flag; nothing where there is one of that name.
pub(super) async fn create(
    tx: &Tx,
    now: &Now,
    name: &str,
    description: &str,
    enabled: bool,
) -> Result<Option<Flag>, DbErr> {
    let insert = "insert into feature_flags (name, description, enabled, updated_at) values ($1, $2, $3, $4) \
                  on conflict (name) do nothing returning name, description, enabled";
    let values = [name.into(), description.into(), enabled.into(), now.at.into()];
    Flag::find_by_statement(sql(tx, insert, values)).one(tx).await
}

/// Adds a flag, or makes the one of that name so.
pub(super) async fn put(tx: &Tx, now: &Now, name: &str, description: &str, enabled: bool) -> Result<(), DbErr> {
    let upsert = "insert into feature_flags (name, description, enabled, updated_at) values ($1, $2, $3, $4) \
                  on conflict (name) do update set description = excluded.description, enabled = excluded.enabled, updated_at = excluded.updated_at";
    let values = [name.into(), description.into(), enabled.into(), now.at.into()];
    tx.execute_raw(sql(tx, upsert, values)).await.map(drop)
}
