//! Plan limits, inside the write that has to stay below them.

use axum::http::StatusCode;
use chrono::TimeDelta;
use sea_orm::{ConnectionTrait, DbErr};
use uuid::Uuid;

use super::{Limit, facts, resolve};
use crate::{
    clock::Now,
    db::{Tx, for_update, sql},
    http::Problem,
};

/// Why a write may not add to what is limited.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It would pass the limit.
    #[error("the limit {name} is reached")]
    Reached {
        /// The limit's name.
        name: &'static str,
        /// What it says, and how much of it is used.
        limit: Limit,
        /// The plan that says so.
        plan: String,
    },
    /// The database.
    #[error(transparent)]
    Database(#[from] DbErr),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Reached { name, limit, plan } => {
                let detail = format!("Your plan allows {} here, and {} are used.", limit.limit, limit.used);
                Self::new(StatusCode::FORBIDDEN, "PLAN_LIMIT_REACHED", detail)
                    .with("limit", name)
                    .with("allowed", limit.limit)
                    .with("used", limit.used)
                    .with("plan", plan)
            }
            Error::Database(error) => Self::database(&error),
        }
    }
}

/// Makes sure that one more fits below a limit. Holds the tenant's subscription until the transaction ends, so that of several who add at once
/// each sees what those before have added. `grace` is how long a subscription that is past due keeps its plan.
///
/// # Errors
/// [`Error::Reached`], after which the caller rolls back.
pub async fn room_for_one(
    tx: &Tx,
    now: &Now,
    grace: TimeDelta,
    tenant_id: Uuid,
    name: &'static str,
) -> Result<(), Error> {
    let hold = format!("select 1 as one from subscriptions where tenant_id = $1{}", for_update(tx));
    tx.query_one_raw(sql(tx, &hold, [tenant_id.into()])).await?;
    let Some(facts) = facts(tx, tenant_id).await? else { return Ok(()) };
    let entitlements = resolve(&facts, now.at, grace);
    match entitlements.limits.get(name).copied().filter(|limit| !limit.has_room_for(1)) {
        Some(limit) => Err(Error::Reached { name, limit, plan: entitlements.effective_plan }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Source, *};

    #[test]
    fn a_reached_limit_says_which_and_how_much_of_it_is_used() {
        let limit = Limit { limit: 3, used: 3, source: Source::Plan, until: None };
        let problem = Problem::from(Error::Reached { name: "max_users", limit, plan: "starter".into() });
        let body = problem.body("/api/v1/invites/accept");
        assert_eq!((problem.status, problem.code), (StatusCode::FORBIDDEN, "PLAN_LIMIT_REACHED"));
        let said = ["limit", "allowed", "used", "plan"].map(|field| body[field].to_string());
        assert_eq!(said, ["\"max_users\"", "3", "3", "\"starter\""]);
    }
}
