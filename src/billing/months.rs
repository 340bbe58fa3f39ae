//! The month's credits, for whoever has them by the month without an invoice for each: free and complimentary plans, trials, and the months within
//! a year that is paid.

use chrono::{DateTime, Months, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use uuid::Uuid;

use super::credits::{self, Grant};
use crate::{
    clock::Now,
    db::{Tx, for_update, sql},
    entitlements::Terms,
};

/// Whose month is over at `$1`; at most `$2`.
pub const DUE: &str = "select tenant_id from subscriptions where next_grant_at <= $1 order by next_grant_at limit $2";

#[derive(FromQueryResult)]
struct Row {
    #[sea_orm(nested)]
    terms: Terms,
    next_grant_at: Option<DateTime<Utc>>,
    plan_id: Uuid,
}

/// Grants the month that is due, once, if the subscription gave its plan when it fell due; else no more months come until it is paid.
pub async fn grant(tx: &Tx, now: &Now, grace: TimeDelta, tenant_id: Uuid) -> Result<(), credits::Error> {
    let query = format!(
        "select status, trial_ends_at, current_period_start, current_period_end, cancel_at_period_end, past_due_since, next_grant_at, \
         plan_id from subscriptions where tenant_id = $1{}",
        for_update(tx)
    );
    let row = Row::find_by_statement(sql(tx, &query, [tenant_id.into()])).one(tx).await?;
    let Some((row, due)) = row.and_then(|row| row.next_grant_at.filter(|due| *due <= now.at).map(|due| (row, due)))
    else {
        return Ok(());
    };
    let is_entitled = row.terms.standing(due, grace).is_entitled();
    if is_entitled {
        let plan = plan(tx, row.plan_id).await?;
        let description = format!("Included with {}", plan.name);
        let metadata = serde_json::json!({"plan": plan.slug});
        let grant = Grant { amount: plan.included_credits, key: credits::month_key(due), description, metadata };
        credits::grant(tx, now, tenant_id, &grant).await?;
    }
    let next = is_entitled.then(|| after(row.terms.current_period_start, due));
    let update = "update subscriptions set next_grant_at = $2 where tenant_id = $1";
    tx.execute_raw(sql(tx, update, [tenant_id.into(), next.into()])).await?;
    Ok(())
}

#[derive(FromQueryResult)]
struct Plan {
    slug: String,
    name: String,
    included_credits: i64,
}

async fn plan(tx: &Tx, id: Uuid) -> Result<Plan, DbErr> {
    let query = "select slug, name, included_credits from plans where id = $1";
    let plan = Plan::find_by_statement(sql(tx, query, [id.into()])).one(tx).await?;
    plan.ok_or_else(|| DbErr::RecordNotFound(format!("plan {id}")))
}

/// The month after `due`, counted from `anchor`, so that what began on a 31st comes back to it.
fn after(anchor: DateTime<Utc>, due: DateTime<Utc>) -> DateTime<Utc> {
    let months = (1..).map_while(|months| anchor.checked_add_months(Months::new(months)));
    let next = months.take_while(|month| *month <= due + TimeDelta::days(32)).find(|month| *month > due);
    next.unwrap_or_else(|| due.checked_add_months(Months::new(1)).unwrap_or(DateTime::<Utc>::MAX_UTC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_come_back_to_the_day_that_they_began_on() {
        let day = |text: &str| format!("{text}T10:00:00Z").parse::<DateTime<Utc>>().unwrap();
        let anchor = day("2026-01-31");
        let mut due = anchor;
        for expected in ["2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"] {
            due = after(anchor, due);
            assert_eq!(due, day(expected));
        }
        assert_eq!(after(day("2030-01-15"), day("2026-03-10")), day("2026-04-10"), "an anchor that is still to come");
        assert_eq!(after(day("2024-02-29"), day("2028-01-29")), day("2028-02-29"));
    }
}
