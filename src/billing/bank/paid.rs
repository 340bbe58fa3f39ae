//! What a payment does.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use uuid::Uuid;

use super::{Error, lock, open_tenant};
use crate::{
    billing::{
        credits::{self, Grant},
        months::period_end,
        notices::{self, Receipt},
    },
    clock::Now,
    db::{Batch, Tx, sql},
    mail::Post,
    plans::{self, Money, PlanRow},
};

/// What a payment has done.
#[derive(Clone, Debug)]
pub struct Paid {
    /// Whose invoice it was.
    pub tenant_id: Uuid,
    /// Whether this was the time; else it had been paid before.
    pub is_new: bool,
    /// Whether the tenant waited for it, and is to be provisioned now.
    pub opens: bool,
}

#[derive(FromQueryResult)]
struct Taken {
    tenant_id: Uuid,
    plan_id: Option<Uuid>,
    billing_interval: Option<String>,
    period_start: Option<DateTime<Utc>>,
    period_end: Option<DateTime<Utc>>,
    number: String,
    billing_email: String,
    total: i64,
    currency: String,
    issued_at: DateTime<Utc>,
}

/// Marks one of our invoices paid, and puts its tenant on what it has bought: the plan, the time, the credits. Of several who do so at once one
/// does; the others hear that it is paid.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::NotPayable`].
pub async fn mark_paid(
    tx: &Tx,
    now: &Now,
    post: &Post,
    (invoice_id, external_payment_id): (Uuid, Option<&str>),
) -> Result<Paid, Error> {
    let whose = "select tenant_id from invoices where id = $1";
    let whose = tx.query_one_raw(sql(tx, whose, [invoice_id.into()])).await?.ok_or(Error::NotFound)?;
    // First, as everybody who orders and renews does.
    let tenant_id: Uuid = whose.try_get("", "tenant_id")?;
    let before = lock(tx, tenant_id).await?;
    let take = "update invoices set status = 'paid', paid_at = $2, external_payment_id = $3 \
                where id = $1 and status = 'open' and issuer = 'tenantry' \
                returning tenant_id, plan_id, billing_interval, period_start, period_end, number, billing_email, total, currency, issued_at";
    let values = [invoice_id.into(), now.at.into(), external_payment_id.map(str::to_owned).into()];
    let Some(taken) = Taken::find_by_statement(sql(tx, take, values)).one(tx).await? else {
        return already(tx, invoice_id).await;
    };
    let plan = plans::by_id(tx, taken.plan_id.unwrap_or(before.plan_id)).await?.ok_or(Error::NotFound)?;
    let opens = if before.pays_by_card {
        // What is due by card goes on; this was for the time before.
        false
    } else {
        let bought = bought(tx, now, invoice_id, &taken, before.billing_anchor).await?;
        // Months within a year come by themselves; any other comes with its invoice.
        let goes_on = bought.interval == "year" || (bought.is_carried && before.next_grant_at.is_some());
        let next_month = period_end("month", bought.anchor, bought.start);
        let next_grant_at = (goes_on && next_month < bought.end).then_some(next_month);
        enter(tx, now, tenant_id, &plan, &bought, next_grant_at).await?
    };
    let grant = Grant {
        amount: plan.included_credits,
        key: format!("invoice:{invoice_id}"),
        description: format!("Included with {}", plan.name),
        metadata: serde_json::json!({"plan": plan.slug, "invoice_id": invoice_id}),
    };
    credits::settle(tx, now, tenant_id, &grant).await?;
    let mut batch = Batch::default();
    let total = Money { amount: taken.total, currency: taken.currency };
    let paid = Receipt { tenant_id, billing_email: &taken.billing_email, invoice_id, number: &taken.number, total };
    notices::receipt(&mut batch, now, post, &paid);
    batch.send(tx).await?;
    Ok(Paid { tenant_id, is_new: true, opens })
}

/// The time that was bought.
struct Bought {
    interval: String,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    /// What the days of the periods after it count from.
    anchor: DateTime<Utc>,
    /// Whether time of a plan before went into it.
    is_carried: bool,
    /// Since when somebody who has told it to end is still heard: since the invoice of a period that follows another. Who has ordered has changed
    /// their mind.
    heard_since: Option<DateTime<Utc>>,
}

/// An order's time begins now, and is longer by what is left of the time that was paid before. A period's is its own, or as much from now on where it
/// is over.
async fn bought(tx: &Tx, now: &Now, invoice_id: Uuid, taken: &Taken, anchor: DateTime<Utc>) -> Result<Bought, Error> {
    let interval = taken.billing_interval.clone().unwrap_or_else(|| "month".to_owned());
    let whole = period_end(&interval, now.at, now.at);
    let heard_since = taken.period_start.map(|_| taken.issued_at);
    let (start, end, anchor, is_carried) = match (taken.period_start, taken.period_end) {
        (Some(start), Some(end)) if end > now.at => (start, end, anchor, false),
        (Some(_), _) => (now.at, whole, now.at, false),
        (None, _) => {
            let carried = carried(tx, now, invoice_id, taken, whole - now.at).await?;
            let end = whole.checked_add_signed(carried).unwrap_or(whole);
            (now.at, end, if carried.is_zero() { now.at } else { end }, !carried.is_zero())
        }
    };
    let keep = "update invoices set period_start = $3, period_end = $4 where tenant_id = $1 and id = $2";
    let values = [taken.tenant_id.into(), invoice_id.into(), start.into(), end.into()];
    tx.execute_raw(sql(tx, keep, values)).await?;
    Ok(Bought { interval, start, end, anchor, is_carried, heard_since })
}

#[derive(FromQueryResult)]
struct Before {
    total: i64,
    billing_interval: Option<String>,
    period_start: DateTime<Utc>,
    period_end: DateTime<Utc>,
}

/// What is left of the time that was paid last, as time of what is bought now. What was left of those before is in it already.
async fn carried(tx: &Tx, now: &Now, invoice_id: Uuid, taken: &Taken, whole: TimeDelta) -> Result<TimeDelta, DbErr> {
    let query = "select i.total, i.billing_interval, i.period_start, i.period_end from invoices i \
                 join subscriptions s on s.tenant_id = i.tenant_id and s.status = 'active' and s.stripe_subscription_id is null \
                 where i.tenant_id = $1 and i.currency = $3 and i.period_end > $4 and i.id = (select l.id from invoices l \
                 where l.tenant_id = $1 and l.id <> $2 and l.issuer = 'tenantry' and l.status = 'paid' and l.period_start is not null \
                 order by l.paid_at desc, l.id desc limit 1)";
    let values = [taken.tenant_id.into(), invoice_id.into(), taken.currency.as_str().into(), now.at.into()];
    let Some(before) = Before::find_by_statement(sql(tx, query, values)).one(tx).await? else {
        return Ok(TimeDelta::zero());
    };
    let start = before.period_start;
    let interval = before.billing_interval.as_deref().unwrap_or("month");
    let paid = Rate { amount: before.total, time: period_end(interval, start, start) - start };
    let left = before.period_end - now.at.max(start);
    Ok(paid.as_time_of(left, &Rate { amount: taken.total, time: whole }))
}

/// What a time costs.
struct Rate {
    amount: i64,
    time: TimeDelta,
}

impl Rate {
    /// How much time of something else a time of this is worth, in whole seconds.
    fn as_time_of(&self, left: TimeDelta, other: &Rate) -> TimeDelta {
        let (left, paid, costs) = (left.num_seconds(), self.time.num_seconds(), other.amount);
        let worth = i128::from(left.max(0)) * i128::from(self.amount) * i128::from(other.time.num_seconds());
        let price = i128::from(paid.max(1)) * i128::from(costs.max(1));
        i64::try_from(worth / price).ok().and_then(TimeDelta::try_seconds).unwrap_or_else(TimeDelta::zero)
    }
}

/// Puts a tenant on what it has bought. Whether it waited for that.
async fn enter(
    tx: &Tx,
    now: &Now,
    tenant_id: Uuid,
    plan: &PlanRow,
    bought: &Bought,
    next_grant_at: Option<DateTime<Utc>>,
) -> Result<bool, DbErr> {
    // One that has ended at Stripe is done with: from here on the periods are ours to count.
    let update = "update subscriptions set status = 'active', plan_id = $2, billing_interval = $3, trial_ends_at = null, \
                  stripe_subscription_id = null, current_period_start = $4, current_period_end = $5, billing_anchor = $6, \
                  cancel_at_period_end = cancel_at_period_end and $7 and coalesce(canceled_at >= $10, true), \
                  canceled_at = case when $7 and canceled_at >= $10 then canceled_at end, \
                  past_due_since = null, next_grant_at = $8, \
                  plan_followed = plan_followed and plan_id = $2, updated_at = $9 where tenant_id = $1";
    let values = [
        tenant_id.into(),
        plan.id.into(),
        bought.interval.as_str().into(),
        bought.start.into(),
        bought.end.into(),
        bought.anchor.into(),
        bought.heard_since.is_some().into(),
        next_grant_at.into(),
        now.at.into(),
        bought.heard_since.unwrap_or(now.at).into(),
    ];
    tx.execute_raw(sql(tx, update, values)).await?;
    open_tenant(tx, now, tenant_id).await
}

/// An invoice that is not open.
async fn already(tx: &Tx, invoice_id: Uuid) -> Result<Paid, Error> {
    #[derive(FromQueryResult)]
    struct Row {
        tenant_id: Uuid,
        status: String,
        issuer: String,
    }
    let query = "select tenant_id, status, issuer from invoices where id = $1";
    let row = Row::find_by_statement(sql(tx, query, [invoice_id.into()])).one(tx).await?.ok_or(Error::NotFound)?;
    if row.status == "paid" && row.issuer == "tenantry" {
        Ok(Paid { tenant_id: row.tenant_id, is_new: false, opens: false })
    } else {
        Err(Error::NotPayable)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn month(amount: i64) -> Rate {
        Rate { amount, time: TimeDelta::days(30) }
    }

    #[test]
    fn what_is_left_of_a_plan_buys_less_of_a_dearer_one() {
        let left = TimeDelta::days(15);
        assert_eq!(month(7_900).as_time_of(left, &month(7_900)), left);
        assert_eq!(month(7_900).as_time_of(left, &month(15_800)), TimeDelta::hours(180));
        assert_eq!(month(15_800).as_time_of(left, &month(7_900)), TimeDelta::days(30));
        assert_eq!(month(7_900).as_time_of(-left, &month(7_900)), TimeDelta::zero());
    }

    proptest! {
        /// Time is not made by going to and fro.
        #[test]
        fn what_is_carried_is_never_worth_more(left in 0_i64..400 * 86_400, one in 1_i64..10_000_000, other in 1_i64..10_000_000) {
            let left = TimeDelta::seconds(left);
            let there = month(one).as_time_of(left, &month(other));
            prop_assert!(month(other).as_time_of(there, &month(one)) <= left);
        }
    }
}
