//! What Stripe says, as rows of ours.

use chrono::{DateTime, Months, TimeDelta, Utc};
use sea_orm::ConnectionTrait;
use serde_json::json;
use uuid::Uuid;

use super::{
    Error,
    current::Current,
    invoices::{self, Paid},
    prices::{Sold, sold_as, sold_at},
    subscriptions::{self, Row},
    wire::{PaymentMethod, Subscription, SubscriptionStatus},
};
use crate::{
    audit,
    billing::{
        Status, bank,
        credits::{self, Grant},
    },
    clock::Now,
    db::{Batch, Tx, sql},
};

/// What applying changed, for who goes on from there.
#[derive(Clone, Debug)]
pub struct Applied {
    /// Whether anything did.
    pub changed: bool,
    /// The status before.
    pub was: Status,
    /// The status after.
    pub is: Status,
    /// The plan's slug after.
    pub plan: String,
    /// Whether it is on a subscription at Stripe.
    pub is_live: bool,
    /// Invoices of ours that were paid with it.
    pub paid: Vec<Uuid>,
}

/// Applies what Stripe was asked, under a lock of the subscription. Nothing where somebody has applied theirs since `seen`.
pub(super) async fn apply(
    tx: &Tx,
    now: &Now,
    tenant_id: Uuid,
    seen: Option<DateTime<Utc>>,
    current: &Current,
    cause: &str,
) -> Result<Option<Applied>, Error> {
    let before = subscriptions::lock(tx, tenant_id).await?.ok_or(Error::NoSubscription)?;
    if before.stripe_synced_at != seen {
        return Ok(None);
    }
    let at = seen.map_or(now.at, |seen| now.at.max(seen + TimeDelta::microseconds(1)));
    subscriptions::synced(tx, tenant_id, at).await?;
    let (mut after, mut plan) = (before.clone(), None);
    let subscription = current.subscription.as_ref().filter(|subscription| counts(&before, subscription));
    if let Some(subscription) = subscription {
        let sold = sold(tx, &before, subscription).await?;
        let unpaid_since = current.unpaid_since().or(before.past_due_since).unwrap_or(now.at);
        after = next(&before, subscription, sold.as_ref(), unpaid_since);
        plan = sold;
    }
    let plan = plan.unwrap_or_else(|| before.sold());
    let issued = invoices::apply(tx, now, tenant_id, current, &plan).await?;
    let granted = grant(tx, now, tenant_id, &issued.paid).await?;
    let card = match current.payment_method.as_ref().filter(|_| subscription.is_some()) {
        Some(method) => keep_method(tx, now, tenant_id, method).await?,
        None => false,
    };
    if after != before {
        subscriptions::write(tx, now.at, tenant_id, &after).await?;
    }
    if after.live_at_stripe().is_some() {
        opened(tx, now, tenant_id).await?;
    }
    let terms = |row: &Row| (row.status, row.plan_id, row.billing_interval.clone(), row.cancel_at_period_end);
    if terms(&before) != terms(&after) {
        let detail = json!({
            "from": {"status": before.status, "plan": before.plan, "interval": before.billing_interval, "cancel_at_period_end": before.cancel_at_period_end},
            "to": {"status": after.status, "plan": plan.slug, "interval": after.billing_interval, "cancel_at_period_end": after.cancel_at_period_end},
            "cause": cause,
        });
        let mut batch = Batch::default();
        let (actor, action) = (audit::Actor::System, "subscription.changed");
        audit::append(
            &mut batch,
            now,
            audit::Event { actor, tenant_id: Some(tenant_id), action, request_id: None, detail },
        );
        batch.send(tx).await?;
    }
    Ok(Some(Applied {
        changed: after != before || issued.changed || granted || card,
        was: before.status,
        is: after.status,
        plan: plan.slug,
        is_live: after.live_at_stripe().is_some(),
        paid: issued.paid.into_iter().map(|paid| paid.id).collect(),
    }))
}

/// Whether a subscription at Stripe is what the tenant is on. One that has ended is not, where other terms were agreed on since.
fn counts(row: &Row, subscription: &Subscription) -> bool {
    if subscription.is_live() {
        return true;
    }
    let on_other_terms = matches!(row.status, Status::Complimentary | Status::PendingPayment)
        || subscription.ended_at.is_some_and(|ended| row.current_period_start > ended);
    subscription.status == SubscriptionStatus::Canceled && !on_other_terms
}

/// The plan that is paid for: by its price, else what it was, else what our checkout wrote down.
async fn sold(tx: &Tx, row: &Row, subscription: &Subscription) -> Result<Option<Sold>, Error> {
    if let Some(price) = subscription.price()
        && let Some(sold) = sold_at(tx, &price.id).await?
    {
        return Ok(Some(sold));
    }
    if row.stripe_subscription_id.as_deref() == Some(&subscription.id) {
        // A price that was replaced since: who pays the old one stays where they are.
        return Ok(None);
    }
    let named = subscription.metadata.get("plan");
    tracing::warn!(
        feature = "stripe",
        subscription = subscription.id,
        plan = named,
        "No plan has this subscription's price"
    );
    match named {
        Some(slug) => Ok(sold_as(tx, slug).await?),
        None => Ok(None),
    }
}

/// The row after it.
fn next(before: &Row, subscription: &Subscription, plan: Option<&Sold>, unpaid_since: DateTime<Utc>) -> Row {
    let mut after = before.clone();
    after.status = status(subscription.status).unwrap_or(before.status);
    after.stripe_subscription_id = Some(subscription.id.clone());
    if let Some(plan) = plan {
        after.plan_id = plan.id;
        // Provisioning looks whether the new plan adds steps.
        after.plan_followed &= before.plan_id == plan.id;
    }
    let (start, end) = subscription.period();
    after.current_period_start = start.unwrap_or(before.current_period_start);
    after.current_period_end = end.or(before.current_period_end);
    if after.status == Status::Canceled {
        // What was never paid for opens nothing.
        let ended = [subscription.ended_at, after.current_period_end].into_iter().flatten().min();
        after.current_period_end = ended.or(after.current_period_end);
    }
    let recurring = subscription.price().and_then(|price| price.recurring.as_ref());
    if let Some(interval) = recurring.and_then(|recurring| super::Interval::parse(&recurring.interval)) {
        interval.as_str().clone_into(&mut after.billing_interval);
    }
    after.cancel_at_period_end =
        subscription.is_live() && (subscription.cancel_at_period_end || subscription.cancel_at.is_some());
    after.canceled_at = subscription.canceled_at;
    after.past_due_since = (after.status == Status::PastDue).then_some(unpaid_since);
    after.trial_ends_at = subscription.trial_end.filter(|_| subscription.status == SubscriptionStatus::Trialing);
    after.next_grant_at = next_grant(before, &after);
    after
}

/// Stripe's word in ours; nothing for one that is new.
fn status(status: SubscriptionStatus) -> Option<Status> {
    Some(match status {
        SubscriptionStatus::Trialing => Status::Trialing,
        SubscriptionStatus::Active => Status::Active,
        SubscriptionStatus::PastDue | SubscriptionStatus::Unpaid | SubscriptionStatus::Paused => Status::PastDue,
        SubscriptionStatus::Canceled => Status::Canceled,
        SubscriptionStatus::Incomplete | SubscriptionStatus::IncompleteExpired => Status::Incomplete,
        SubscriptionStatus::Unknown => return None,
    })
}

/// When credits come between two payments: those of the first month come with the payment, so by the month never.
fn next_grant(before: &Row, after: &Row) -> Option<DateTime<Utc>> {
    if after.status != Status::Active || after.billing_interval != "year" {
        return None;
    }
    let is_same = before.status == after.status
        && before.billing_interval == after.billing_interval
        && before.current_period_start == after.current_period_start;
    let first = after.current_period_start.checked_add_months(Months::new(1));
    if is_same { before.next_grant_at } else { first }
}

/// Grants the credits of each period that was paid for, and settles those of parts of one.
async fn grant(tx: &Tx, now: &Now, tenant_id: Uuid, paid: &[Paid]) -> Result<bool, Error> {
    let mut granted = false;
    for paid in paid {
        for period in &paid.periods {
            let grant = Grant {
                amount: period.plan.included_credits,
                key: period.key.clone(),
                description: format!("Included with {}", period.plan.name),
                metadata: json!({"plan": period.plan.slug, "period_start": period.start, "period_end": period.end}),
            };
            granted |= credits::settle(tx, now, tenant_id, &grant).await?;
        }
        if paid.part != 0 {
            let grant = Grant {
                amount: paid.part,
                key: format!("change:{}", paid.external_id),
                description: "Change of plan".to_owned(),
                metadata: json!({"invoice_id": paid.id}),
            };
            granted |= credits::settle(tx, now, tenant_id, &grant).await?;
        }
    }
    Ok(granted)
}

/// Keeps what the tenant pays with; there is one. True where it is news.
async fn keep_method(tx: &Tx, now: &Now, tenant_id: Uuid, method: &PaymentMethod) -> Result<bool, Error> {
    let card = method.card.clone().unwrap_or_default();
    let known = "select 1 as one from payment_methods where tenant_id = $1 and external_id = $2 and is_default \
                 and coalesce(brand, '') = $3 and coalesce(last4, '') = $4 and coalesce(exp_month, 0) = $5 and coalesce(exp_year, 0) = $6";
    let brand = card.brand.or_else(|| (method.kind != "card").then(|| method.kind.clone()));
    let values = [
        tenant_id.into(),
        method.id.as_str().into(),
        brand.clone().unwrap_or_default().into(),
        card.last4.clone().unwrap_or_default().into(),
        card.exp_month.unwrap_or_default().into(),
        card.exp_year.unwrap_or_default().into(),
    ];
    if tx.query_one_raw(sql(tx, known, values)).await?.is_some() {
        return Ok(false);
    }
    let others = "delete from payment_methods where tenant_id = $1 and method_type = 'stripe' and (external_id is null or external_id <> $2)";
    tx.execute_raw(sql(tx, others, [tenant_id.into(), method.id.as_str().into()])).await?;
    let others = "update payment_methods set is_default = false where tenant_id = $1 and is_default";
    tx.execute_raw(sql(tx, others, [tenant_id.into()])).await?;
    let keep = "insert into payment_methods (tenant_id, id, method_type, is_default, external_id, brand, last4, exp_month, exp_year, created_at) \
                values ($1, $2, 'stripe', true, $3, $4, $5, $6, $7, $8) on conflict (tenant_id, external_id) do update set is_default = true, \
                brand = excluded.brand, last4 = excluded.last4, exp_month = excluded.exp_month, exp_year = excluded.exp_year";
    let values = [
        tenant_id.into(),
        now.id().into(),
        method.id.as_str().into(),
        brand.into(),
        card.last4.into(),
        card.exp_month.into(),
        card.exp_year.into(),
        now.at.into(),
    ];
    tx.execute_raw(sql(tx, keep, values)).await?;
    Ok(true)
}

/// What a live subscription ends: its checkout, and waiting for a bank transfer.
async fn opened(tx: &Tx, now: &Now, tenant_id: Uuid) -> Result<(), Error> {
    tx.execute_raw(sql(tx, "delete from checkouts where tenant_id = $1", [tenant_id.into()])).await?;
    // Its run waits for the first payment, whatever paid.
    bank::open_tenant(tx, now, tenant_id).await?;
    // What is open with us is not bought twice.
    Ok(bank::void(tx, tenant_id).await?)
}
