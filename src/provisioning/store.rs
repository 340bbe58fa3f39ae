//! Runs and steps as they are kept.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, DeriveActiveEnum, EnumIter, FromQueryResult};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::StepName;
use crate::{
    clock::Now,
    db::{Tx, sql},
};

/// Where a run stands; also `tenants.provision_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Waits to be queued, or to be claimed.
    Pending,
    /// A worker has it, or it waits for its next try or for a callback.
    Processing,
    /// Every step is done; the tenant is open.
    Complete,
    /// Given up, with a reason; a retry is possible.
    Failed,
}

impl RunStatus {
    /// The name in the database and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Complete => "complete",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing more happens by itself.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Complete | Self::Failed)
    }
}

/// Where a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// Not begun, waiting for its next try, or undone.
    Pending,
    /// Begun.
    Processing,
    /// Done.
    Complete,
    /// Given up.
    Failed,
    /// There was nothing to do.
    Skipped,
}

impl StepStatus {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    /// Whether it need not be run (again).
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Complete | Self::Skipped)
    }
}

pub(crate) mod run {
    use sea_orm::entity::prelude::*;

    use super::RunStatus;

    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "provision_runs")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub plan: String,
        pub status: RunStatus,
        pub reason: Option<String>,
        pub dry_run: bool,
        pub queued_at: Option<DateTimeUtc>,
        pub started_at: Option<DateTimeUtc>,
        pub finished_at: Option<DateTimeUtc>,
        pub due_at: Option<DateTimeUtc>,
        pub fence: i64,
        pub lease_owner: Option<String>,
        pub lease_expires_at: Option<DateTimeUtc>,
        pub version: i64,
        pub created_at: DateTimeUtc,
        pub updated_at: DateTimeUtc,
    }

    crate::db::plain_entity!();
}

pub(crate) mod step {
    use sea_orm::entity::prelude::*;

    use super::{StepName, StepStatus};

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "provision_steps")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub run_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub position: i64,
        pub name: StepName,
        pub status: StepStatus,
        pub attempts: i64,
        pub started_at: Option<DateTimeUtc>,
        pub finished_at: Option<DateTimeUtc>,
        pub error: Option<String>,
        pub output: Option<Json>,
        pub callback_hash: Option<Vec<u8>>,
        pub version: i64,
    }

    crate::db::plain_entity!();
}

/// A tenant's last run, in short.
#[derive(Clone, Debug, FromQueryResult)]
pub(super) struct Last {
    pub id: Uuid,
    pub plan: String,
    pub status: RunStatus,
    pub version: i64,
}

/// A tenant's last run. Versions go up from run to run, so the last one has the highest.
pub(super) async fn last(connection: &impl ConnectionTrait, tenant_id: Uuid) -> Result<Option<Last>, DbErr> {
    let text =
        "select id, plan, status, version from provision_runs where tenant_id = $1 order by version desc limit 1";
    let row = connection.query_one_raw(sql(connection, text, [tenant_id.into()])).await?;
    row.map(|row| Last::from_query_result(&row, "")).transpose()
}

/// The id and version that an `update … returning id, version` of one run answers.
pub(super) async fn touched<const N: usize>(
    tx: &Tx,
    text: &str,
    values: [sea_orm::Value; N],
) -> Result<Option<(Uuid, i64)>, DbErr> {
    let row = tx.query_one_raw(sql(tx, text, values)).await?;
    row.map(|row| Ok((row.try_get("", "id")?, row.try_get("", "version")?))).transpose()
}

/// Mirrors a run's state onto its tenant.
pub(super) async fn mirror(
    tx: &Tx,
    now: &Now,
    tenant_id: Uuid,
    state: RunStatus,
    reason: Option<&str>,
) -> Result<(), DbErr> {
    let text = "update tenants set provision_state = $2, provision_reason = $3, provision_updated_at = $4, updated_at = $4 where id = $1";
    let values = [tenant_id.into(), state.as_str().into(), reason.into(), now.at.into()];
    tx.execute_raw(sql(tx, text, values)).await.map(drop)
}

/// Mirrors a completed run onto its tenant. The first completion opens a pending tenant.
pub(super) async fn open_tenant(tx: &Tx, now: &Now, tenant_id: Uuid) -> Result<(), DbErr> {
    let text = "update tenants set provision_state = 'complete', provision_reason = null, provision_updated_at = $2, \
                updated_at = $2, provisioned_at = coalesce(provisioned_at, $2), \
                status = case when status = 'pending' then 'active' else status end where id = $1";
    tx.execute_raw(sql(tx, text, [tenant_id.into(), now.at.into()])).await.map(drop)
}

/// What the tenant has had in earlier runs: steps that were completed, or had nothing to do.
pub(super) async fn had(tx: &Tx, tenant_id: Uuid) -> Result<Vec<StepName>, DbErr> {
    let text = "select distinct name from provision_steps where tenant_id = $1 and status in ('complete', 'skipped')";
    let rows = tx.query_all_raw(sql(tx, text, [tenant_id.into()])).await?;
    rows.iter().map(|row| row.try_get("", "name")).collect()
}

/// The tenant that a run is for, as its steps need it.
#[derive(Clone, Debug, FromQueryResult)]
pub(super) struct Subject {
    pub tenant_id: Uuid,
    pub slug: String,
    pub name: String,
    pub created_at: DateTime<Utc>,
    pub owner_id: Uuid,
    pub owner_email: String,
    /// The endpoint that the wizard asked for.
    pub webhook_url: Option<String>,
}

#[cfg(test)]
impl Subject {
    pub fn sample() -> Self {
        Self {
            tenant_id: Uuid::nil(),
            slug: "acme".into(),
            name: "Acme".into(),
            created_at: DateTime::UNIX_EPOCH,
            owner_id: Uuid::nil(),
            owner_email: "ada@example.com".into(),
            webhook_url: None,
        }
    }
}

/// The time between two moments in whole milliseconds, at least 1.
pub(super) fn millis(from: DateTime<Utc>, to: DateTime<Utc>) -> i64 {
    (to - from).num_milliseconds().max(1)
}
