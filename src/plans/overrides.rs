//! What one tenant has or lacks, whatever its plan says.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    edit::{By, Error},
    flags::{self, SIGNUP_ENABLED},
};
use crate::{
    clock::Now,
    db::{Tx, sql},
    http::{FieldError, line},
};

/// A feature that is switched for one tenant.
#[derive(Clone, Debug, Serialize, ToSchema, FromQueryResult)]
pub struct Override {
    /// The feature's flag.
    pub flag: String,
    /// On or off.
    pub enabled: bool,
    /// Why, for the operator's own people.
    pub reason: Option<String>,
    /// From when on the plan says again; null is for ever.
    pub expires_at: Option<DateTime<Utc>>,
    /// Since when.
    pub created_at: DateTime<Utc>,
}

const COLUMNS: &str = "flag, enabled, reason, expires_at, created_at";

/// The longest that an override may be for.
const LONGEST: TimeDelta = TimeDelta::days(36_525);

/// A tenant's overrides by flag, expired ones too.
pub async fn list(db: &impl ConnectionTrait, tenant_id: Uuid) -> Result<Vec<Override>, DbErr> {
    let query = format!("select {COLUMNS} from tenant_feature_overrides where tenant_id = $1 order by flag");
    Override::find_by_statement(sql(db, &query, [tenant_id.into()])).all(db).await
}

/// Switches a feature for a tenant, which has to exist, in place of what was said before.
///
/// # Errors
/// [`Error::NotFound`] where there is no such flag.
pub async fn put(
    tx: &Tx,
    now: &Now,
    tenant_id: Uuid,
    flag: &str,
    (enabled, expires_at, reason): (bool, Option<DateTime<Utc>>, Option<&str>),
    by: By,
) -> Result<Override, Error> {
    if flags::is_enabled(tx, flag).await?.is_none() {
        return Err(Error::NotFound);
    }
    let mut faults = Vec::new();
    if flag == SIGNUP_ENABLED {
        faults.push(FieldError::new("flag", "NOT_A_FEATURE", "The kill switch is the platform's alone."));
    }
    if expires_at.is_some_and(|at| at <= now.at || at > now.at + LONGEST) {
        faults.push(FieldError::new("expires_at", "OUT_OF_RANGE", "This has to be in the next hundred years."));
    }
    let reason =
        reason.map(|reason| line("reason", reason, 300)).transpose().map_err(|fault| faults.push(fault)).ok().flatten();
    if !faults.is_empty() {
        return Err(Error::Invalid(faults));
    }
    let before = list(tx, tenant_id).await?.into_iter().find(|each| each.flag == flag);
    let expires_at = expires_at.map(|at| at.trunc_subsecs(6));
    let upsert = format!(
        "insert into tenant_feature_overrides (tenant_id, flag, enabled, reason, expires_at, created_at) values ($1, $2, $3, $4, $5, $6) \
         on conflict (tenant_id, flag) do update set enabled = excluded.enabled, reason = excluded.reason, \
         expires_at = excluded.expires_at, created_at = excluded.created_at returning {COLUMNS}"
    );
    let values = [tenant_id.into(), flag.into(), enabled.into(), reason.into(), expires_at.into(), now.at.into()];
    let written = Override::find_by_statement(sql(tx, &upsert, values)).one(tx).await?;
    let written = written.ok_or(Error::NotFound)?;
    let detail = json!({"flag": flag, "before": before, "after": written});
    by.note(tx, now, Some(tenant_id), "feature_override.set", detail).await?;
    Ok(written)
}

/// Leaves a feature to the tenant's plan again. Twice is once.
///
/// # Errors
/// [`Error::NotFound`] where there is no such flag.
pub async fn remove(tx: &Tx, now: &Now, tenant_id: Uuid, flag: &str, by: By) -> Result<(), Error> {
    if flags::is_enabled(tx, flag).await?.is_none() {
        return Err(Error::NotFound);
    }
    let delete = format!("delete from tenant_feature_overrides where tenant_id = $1 and flag = $2 returning {COLUMNS}");
    let removed = Override::find_by_statement(sql(tx, &delete, [tenant_id.into(), flag.into()])).one(tx).await?;
    if let Some(before) = removed {
        let detail = json!({"flag": flag, "before": before, "after": null});
        by.note(tx, now, Some(tenant_id), "feature_override.removed", detail).await?;
    }
    Ok(())
}
