//! A tenant's provisioning as its owner sees it.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{RunStatus, StepName, StepStatus, store::millis};
use crate::db::sql;

/// A tenant's last run.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ProvisionStatus)]
pub struct Status {
    /// Whose.
    pub tenant_id: Uuid,
    /// The run.
    pub run_id: Uuid,
    /// The slug of the plan that the run is for.
    pub plan: String,
    /// Where it stands.
    pub status: RunStatus,
    /// Why it failed, in words for a person.
    pub reason: Option<String>,
    /// When it was queued; null while the wizard is not finished.
    pub queued_at: Option<DateTime<Utc>>,
    /// The last change.
    pub updated_at: DateTime<Utc>,
    /// From the first start to the end, at least 1; null before.
    pub duration_ms: Option<i64>,
    /// Whether steps that leave the house only pretend to.
    pub dry_run: bool,
    /// Its steps, in order.
    pub steps: Vec<StepState>,
    /// Goes up with each change, and from run to run.
    #[serde(skip)]
    pub version: i64,
}

/// One step of a run.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ProvisionStep)]
pub struct StepState {
    /// Its name.
    pub name: StepName,
    /// Where it stands.
    pub status: StepStatus,
    /// How often it was begun.
    pub attempts: i64,
    /// When it was first begun.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// From the first start to the end, at least 1; null before.
    pub duration_ms: Option<i64>,
    /// What went wrong at the last try.
    pub error: Option<String>,
    /// The run's version when it last changed.
    #[serde(skip)]
    pub version: i64,
}

#[derive(FromQueryResult)]
struct RunRow {
    tenant_id: Uuid,
    id: Uuid,
    plan: String,
    status: RunStatus,
    reason: Option<String>,
    dry_run: bool,
    queued_at: Option<DateTime<Utc>>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    updated_at: DateTime<Utc>,
    version: i64,
}

#[derive(FromQueryResult)]
struct StepRow {
    name: Option<StepName>,
    status: Option<StepStatus>,
    attempts: Option<i64>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    error: Option<String>,
    version: Option<i64>,
}

const CURRENT: &str = "select r.tenant_id, r.id, r.plan, r.status, r.reason, r.dry_run, r.queued_at, r.started_at, \
    r.finished_at, r.updated_at, r.version, s.name as s_name, s.status as s_status, s.attempts as s_attempts, \
    s.started_at as s_started_at, s.finished_at as s_finished_at, s.error as s_error, s.version as s_version \
    from provision_runs r left join provision_steps s on s.tenant_id = r.tenant_id and s.run_id = r.id \
    where r.tenant_id = $1 and r.version = (select max(version) from provision_runs where tenant_id = $1) \
    order by s.position";

/// The tenant's last run with its steps, in one query; nothing where there is no such tenant.
pub async fn current(connection: &impl ConnectionTrait, tenant_id: Uuid) -> Result<Option<Status>, DbErr> {
    let rows = connection.query_all_raw(sql(connection, CURRENT, [tenant_id.into()])).await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let run = RunRow::from_query_result(first, "")?;
    let steps = rows.iter().map(|row| StepRow::from_query_result(row, "s_").map(StepRow::state));
    let steps = steps.filter_map(Result::transpose).collect::<Result<_, _>>()?;
    Ok(Some(run.status(steps)))
}

impl RunRow {
    fn status(self, steps: Vec<StepState>) -> Status {
        Status {
            tenant_id: self.tenant_id,
            run_id: self.id,
            plan: self.plan,
            status: self.status,
            reason: self.reason,
            queued_at: self.queued_at,
            updated_at: self.updated_at,
            duration_ms: duration(self.started_at, self.finished_at),
            dry_run: self.dry_run,
            steps,
            version: self.version,
        }
    }
}

impl StepRow {
    /// Nothing for a run without steps, of which the outer join makes a row of nulls.
    fn state(self) -> Option<StepState> {
        Some(StepState {
            name: self.name?,
            status: self.status?,
            attempts: self.attempts?,
            started_at: self.started_at,
            finished_at: self.finished_at,
            duration_ms: duration(self.started_at, self.finished_at),
            error: self.error,
            version: self.version?,
        })
    }
}

fn duration(from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>) -> Option<i64> {
    Some(millis(from?, to?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_status_reads_as_the_contract_says() {
        let at = |micros: i64| DateTime::from_timestamp_micros(1_700_000_000_000_000 + micros);
        let step = StepRow {
            name: Some(StepName::SeedDefaults),
            status: Some(StepStatus::Complete),
            attempts: Some(1),
            started_at: at(100),
            finished_at: at(300),
            error: None,
            version: Some(3),
        };
        let run = RunRow {
            tenant_id: Uuid::nil(),
            id: Uuid::max(),
            plan: "starter".into(),
            status: RunStatus::Complete,
            reason: None,
            dry_run: true,
            queued_at: at(0),
            started_at: at(100),
            finished_at: at(25_100),
            updated_at: at(25_100).unwrap(),
            version: 7,
        };
        let status = run.status(step.state().into_iter().collect());
        let expected = json!({
            "tenant_id": "00000000-0000-0000-0000-000000000000", "run_id": "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "plan": "starter", "status": "complete", "reason": null, "queued_at": "2023-11-14T22:13:20Z",
            "updated_at": "2023-11-14T22:13:20.025100Z", "duration_ms": 25, "dry_run": true,
            "steps": [{
                "name": "seed_defaults", "status": "complete", "attempts": 1, "started_at": "2023-11-14T22:13:20.000100Z",
                "finished_at": "2023-11-14T22:13:20.000300Z", "duration_ms": 1, "error": null,
            }],
        });
        assert_eq!(json!(status), expected);
    }
}
