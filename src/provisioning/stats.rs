//! How provisioning goes, counted.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};

use super::RunStatus;
use crate::db::{millis_between, sql};

/// How provisioning goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Tenants.
    pub tenants: i64,
    /// Those whose last run is complete.
    pub complete: i64,
    /// Those whose last run has failed.
    pub failed: i64,
    /// Runs that ended in the time asked for.
    pub ended: i64,
    /// Those of them that are complete.
    pub succeeded: i64,
    /// Of these, the duration in milliseconds that 95 % do not exceed (nearest rank); nothing where there is none.
    pub p95_ms: Option<i64>,
}

impl Stats {
    /// Tenants whose run waits or is being worked on.
    pub fn under_way(&self) -> i64 {
        self.tenants - self.complete - self.failed
    }

    /// The share of runs that succeeded, in tenths of a percent, rounded down; nothing where none ended.
    pub fn success_permille(&self) -> Option<i64> {
        (self.ended > 0).then(|| self.succeeded * 1000 / self.ended)
    }
}

#[derive(FromQueryResult)]
struct Counted {
    status: RunStatus,
    n: i64,
}

/// Counts tenants as they are, and runs that ended since then. A run that was put aside before it began counts as none.
pub async fn stats(db: &impl ConnectionTrait, since: DateTime<Utc>) -> Result<Stats, DbErr> {
    let mut stats = Stats::default();
    let query = "select provision_state as status, count(*) as n from tenants group by provision_state";
    for Counted { status, n } in Counted::find_by_statement(sql(db, query, [])).all(db).await? {
        stats.tenants += n;
        match status {
            RunStatus::Complete => stats.complete = n,
            RunStatus::Failed => stats.failed = n,
            RunStatus::Pending | RunStatus::Processing => {}
        }
    }
    let query = "select status, count(*) as n from provision_runs \
                 where finished_at >= $1 and started_at is not null group by status";
    for Counted { status, n } in Counted::find_by_statement(sql(db, query, [since.into()])).all(db).await? {
        stats.ended += n;
        stats.succeeded += if status == RunStatus::Complete { n } else { 0 };
    }
    if stats.succeeded > 0 {
        let query = format!(
            "select {} as ms from provision_runs where finished_at >= $1 and started_at is not null \
             and status = 'complete' order by ms limit 1 offset $2",
            millis_between(db, "started_at", "finished_at")
        );
        let rank = (stats.succeeded * 95 + 99) / 100;
        let row = db.query_one_raw(sql(db, &query, [since.into(), (rank - 1).into()])).await?;
        let millis: Option<i64> = row.map(|row| row.try_get("", "ms")).transpose()?;
        stats.p95_ms = millis.map(|millis| millis.max(1));
    }
    Ok(stats)
}
