//! Periods, and the month's credits, for whoever has them by the month without an invoice for each: free and complimentary plans, trials, and the months within
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

/// When a period that begins at `start` ends. `anchor` is when the first of them began: what began on a 31st comes back to it.
pub fn period_end(interval: &str, anchor: DateTime<Utc>, start: DateTime<Utc>) -> DateTime<Utc> {
    let (step, longest) = if interval == "year" { (12, TimeDelta::days(366)) } else { (1, TimeDelta::days(32)) };
    let ends = (1..).map_while(|periods| anchor.checked_add_months(Months::new(step * periods)));
    let next = ends.take_while(|end| *end <= start + longest).find(|end| *end > start);
    next.or_else(|| start.checked_add_months(Months::new(step))).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// What is left at `at` of its month, of those that a period ending at `end` is made of: seconds, and how many that month has.
pub fn left_of_month(at: DateTime<Utc>, end: DateTime<Utc>) -> (i64, i64) {
    let ends = (0..).map_while(|months| end.checked_sub_months(Months::new(months)));
    let starts = (1..).map_while(|months| end.checked_sub_months(Months::new(months)));
    let month = starts.zip(ends).find(|(start, _)| *start <= at).filter(|(_, end)| *end > at);
    month.map_or((0, 1), |(start, end)| ((end - at).num_seconds(), (end - start).num_seconds()))
}

/// Whose month is over at `$1`; at most `$2`.
pub const DUE: &str = "select tenant_id from subscriptions where next_grant_at <= $1 order by next_grant_at limit $2";

#[derive(FromQueryResult)]
struct Row {
    #[sea_orm(nested)]
    terms: Terms,
    next_grant_at: Option<DateTime<Utc>>,
    anchor: DateTime<Utc>,
    plan_id: Uuid,
}

/// Grants the month that is due, once, if the subscription gave its plan when it fell due; else no more months come until it is paid.
pub async fn grant(tx: &Tx, now: &Now, grace: TimeDelta, tenant_id: Uuid) -> Result<(), credits::Error> {
    let query = format!(
        "select status, trial_ends_at, current_period_start, current_period_end, cancel_at_period_end, past_due_since, next_grant_at, \
         coalesce(billing_anchor, current_period_start) as anchor, plan_id from subscriptions where tenant_id = $1{}",
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
    let next = is_entitled.then(|| period_end("month", row.anchor, due));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_come_back_to_the_day_that_they_began_on() {
        let day = |text: &str| format!("{text}T10:00:00Z").parse::<DateTime<Utc>>().unwrap();
        let anchor = day("2026-01-31");
        let mut due = anchor;
        for expected in ["2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"] {
            due = period_end("month", anchor, due);
            assert_eq!(due, day(expected));
        }
        assert_eq!(
            period_end("month", day("2030-01-15"), day("2026-03-10")),
            day("2026-04-10"),
            "an anchor that is still to come"
        );
        assert_eq!(period_end("month", day("2024-02-29"), day("2028-01-29")), day("2028-02-29"));
        assert_eq!(period_end("year", day("2024-02-29"), day("2027-02-28")), day("2028-02-29"));
        assert_eq!(period_end("year", day("2026-05-01"), day("2026-05-01")), day("2027-05-01"));
    }

    #[test]
    fn a_month_is_left_in_part_or_whole() {
        let day = |text: &str| format!("{text}T10:00:00Z").parse::<DateTime<Utc>>().unwrap();
        let days = |at: &str, end: &str| {
            let (left, whole) = left_of_month(day(at), day(end));
            (left / 86_400, whole / 86_400)
        };
        assert_eq!(days("2026-04-15", "2026-05-01"), (16, 30));
        assert_eq!(days("2026-05-01", "2027-05-01"), (31, 31), "the first month of a year has just begun");
        assert_eq!(days("2027-02-15", "2027-05-01"), (14, 28));
        assert_eq!(days("2026-02-28", "2026-03-31"), (31, 31));
        assert_eq!(left_of_month(day("2026-05-01"), day("2026-05-01")), (0, 1), "nothing is left at the end");
        assert_eq!(left_of_month(day("2026-05-02"), day("2026-05-01")), (0, 1));
    }
}
