//! An operator's application reports how its step ended.

use sea_orm::{ConnectionTrait, DbErr};
use serde_json::Value;
use uuid::Uuid;

use super::{Error, StepStatus, steps::callback_token_hash, store::touched};
use crate::{
    clock::Now,
    db::{Tx, sql},
};

/// What is reported.
#[derive(Clone, Debug)]
pub enum Report {
    /// Done, with what is to be kept of it.
    Done(Option<Value>),
    /// It will not be done, for this reason.
    Failed(String),
}

impl Report {
    /// How the step stands after it.
    pub fn status(&self) -> StepStatus {
        match self {
            Self::Done(_) => StepStatus::Complete,
            Self::Failed(_) => StepStatus::Failed,
        }
    }
}

/// Takes a report. True where it is news, false for a repeat, which changes nothing. News make the run due at once, unless a
/// worker has it, which then finds them.
///
/// # Errors
/// [`Error::UnknownCallback`]; [`Error::StepEnded`] for a report that contradicts how the step or its run has ended.
pub async fn report(tx: &Tx, now: &Now, token: &str, report: &Report) -> Result<bool, Error> {
    let hash = callback_token_hash(token);
    let (tenant_id, run_id) = find(tx, &hash).await?.ok_or(Error::UnknownCallback)?;
    let text = "update provision_runs set version = version + 1, updated_at = $3, \
                due_at = case when status = 'processing' and lease_owner is null then $3 else due_at end \
                where tenant_id = $1 and id = $2 and status in ('pending', 'processing') and exists (select 1 \
                from provision_steps s where s.callback_hash = $4 and s.status in ('pending', 'processing')) \
                returning id, version";
    let values = [tenant_id.into(), run_id.into(), now.at.into(), hash.clone().into()];
    if let Some((_, version)) = touched(tx, text, values).await? {
        let (output, error) = match report {
            Report::Done(output) => (output.clone(), None),
            Report::Failed(reason) => (None, Some(reason.clone())),
        };
        let text = "update provision_steps set status = $2, output = $3, error = $4, finished_at = $5, version = $6 \
                    where callback_hash = $1 and status in ('pending', 'processing')";
        let status = report.status().as_str();
        let values = [hash.clone().into(), status.into(), output.into(), error.into(), now.at.into(), version.into()];
        if tx.execute_raw(sql(tx, text, values)).await?.rows_affected() == 1 {
            return Ok(true);
        }
    }
    // Not open any more, or somebody else's report came first.
    let status = status(tx, &hash).await?.ok_or(Error::UnknownCallback)?;
    if status == report.status() { Ok(false) } else { Err(Error::StepEnded) }
}

async fn find(tx: &Tx, hash: &[u8]) -> Result<Option<(Uuid, Uuid)>, DbErr> {
    let text = "select tenant_id, run_id from provision_steps where callback_hash = $1";
    let row = tx.query_one_raw(sql(tx, text, [hash.to_vec().into()])).await?;
    row.map(|row| Ok((row.try_get("", "tenant_id")?, row.try_get("", "run_id")?))).transpose()
}

async fn status(tx: &Tx, hash: &[u8]) -> Result<Option<StepStatus>, DbErr> {
    let text = "select status from provision_steps where callback_hash = $1";
    let row = tx.query_one_raw(sql(tx, text, [hash.to_vec().into()])).await?;
    row.map(|row| row.try_get("", "status")).transpose()
}
