//! The row of a subscription, as this slice reads and writes it.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Interval, prices::Sold};
use crate::{
    billing::Status,
    db::{Tx, for_update, sql},
};

/// A subscription, with its plan.
#[derive(Clone, Debug, PartialEq, Eq, FromQueryResult)]
pub(super) struct Row {
    pub plan_id: Uuid,
    pub plan: String,
    pub plan_name: String,
    pub included_credits: i64,
    pub status: Status,
    pub trial_ends_at: Option<DateTime<Utc>>,
    pub current_period_start: DateTime<Utc>,
    pub current_period_end: Option<DateTime<Utc>>,
    pub billing_interval: String,
    pub cancel_at_period_end: bool,
    pub canceled_at: Option<DateTime<Utc>>,
    pub past_due_since: Option<DateTime<Utc>>,
    pub next_grant_at: Option<DateTime<Utc>>,
    pub plan_followed: bool,
    pub stripe_customer_id: Option<String>,
    pub stripe_subscription_id: Option<String>,
    pub stripe_synced_at: Option<DateTime<Utc>>,
}

impl Row {
    /// The subscription at Stripe that the tenant is on, while it lives.
    pub fn live_at_stripe(&self) -> Option<&str> {
        let is_live = matches!(self.status, Status::Trialing | Status::Active | Status::PastDue);
        self.stripe_subscription_id.as_deref().filter(|_| is_live)
    }

    /// The plan, as it is sold.
    pub fn sold(&self) -> Sold {
        let (slug, name) = (self.plan.clone(), self.plan_name.clone());
        Sold { id: self.plan_id, slug, name, included_credits: self.included_credits }
    }

    /// As a member sees it.
    pub fn standing(self) -> Standing {
        Standing {
            status: self.status,
            plan: self.plan,
            interval: Interval::parse(&self.billing_interval).unwrap_or(Interval::Month),
            current_period_start: self.current_period_start,
            current_period_end: self.current_period_end,
            cancel_at_period_end: self.cancel_at_period_end,
        }
    }
}

/// Where a subscription stands after a change.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = SubscriptionStanding)]
pub struct Standing {
    /// Its status.
    pub status: Status,
    /// The plan's slug.
    pub plan: String,
    /// How often it is paid.
    pub interval: Interval,
    /// When the period of now began.
    pub current_period_start: DateTime<Utc>,
    /// When it ends.
    pub current_period_end: Option<DateTime<Utc>>,
    /// Whether it ends for good then.
    pub cancel_at_period_end: bool,
}

const SELECT: &str = "select s.plan_id, p.slug as plan, p.name as plan_name, p.included_credits, s.status, s.trial_ends_at, s.current_period_start, \
     s.current_period_end, s.billing_interval, s.cancel_at_period_end, s.canceled_at, s.past_due_since, s.next_grant_at, \
     s.plan_followed, s.stripe_customer_id, s.stripe_subscription_id, s.stripe_synced_at \
     from subscriptions s join plans p on p.id = s.plan_id where s.tenant_id = $1";

/// A tenant's subscription.
pub(super) async fn find(db: &impl ConnectionTrait, tenant_id: Uuid) -> Result<Option<Row>, DbErr> {
    Row::find_by_statement(sql(db, SELECT, [tenant_id.into()])).one(db).await
}

/// A tenant's subscription, held until the transaction ends.
pub(super) async fn lock(tx: &Tx, tenant_id: Uuid) -> Result<Option<Row>, DbErr> {
    let lock = format!("select tenant_id from subscriptions where tenant_id = $1{}", for_update(tx));
    tx.query_one_raw(sql(tx, &lock, [tenant_id.into()])).await?;
    find(tx, tenant_id).await
}

/// Writes a row that is locked.
pub(super) async fn write(tx: &Tx, at: DateTime<Utc>, tenant_id: Uuid, row: &Row) -> Result<(), DbErr> {
    let update = "update subscriptions set plan_id = $2, status = $3, trial_ends_at = $4, current_period_start = $5, \
                  current_period_end = $6, billing_interval = $7, cancel_at_period_end = $8, canceled_at = $9, past_due_since = $10, \
                  next_grant_at = $11, plan_followed = $12, stripe_subscription_id = $13, updated_at = $14, billing_anchor = $5 where tenant_id = $1";
    let values = [
        tenant_id.into(),
        row.plan_id.into(),
        row.status.into(),
        row.trial_ends_at.into(),
        row.current_period_start.into(),
        row.current_period_end.into(),
        row.billing_interval.as_str().into(),
        row.cancel_at_period_end.into(),
        row.canceled_at.into(),
        row.past_due_since.into(),
        row.next_grant_at.into(),
        row.plan_followed.into(),
        row.stripe_subscription_id.clone().into(),
        at.into(),
    ];
    tx.execute_raw(sql(tx, update, values)).await.map(drop)
}

/// Notes when Stripe was asked; it differs each time, so that whoever asked before can tell that somebody was faster.
pub(super) async fn synced(tx: &Tx, tenant_id: Uuid, at: DateTime<Utc>) -> Result<(), DbErr> {
    let update = "update subscriptions set stripe_synced_at = $2 where tenant_id = $1";
    tx.execute_raw(sql(tx, update, [tenant_id.into(), at.into()])).await.map(drop)
}

/// What a tenant is on, as a member sees it.
pub async fn standing(db: &impl ConnectionTrait, tenant_id: Uuid) -> Result<Option<Standing>, DbErr> {
    Ok(find(db, tenant_id).await?.map(Row::standing))
}

/// Whether a tenant has ever gone to Stripe, and so has a portal there.
pub async fn is_customer(db: &impl ConnectionTrait, tenant_id: Uuid) -> Result<bool, DbErr> {
    Ok(find(db, tenant_id).await?.is_some_and(|row| row.stripe_customer_id.is_some()))
}
