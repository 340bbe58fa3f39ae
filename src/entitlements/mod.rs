//! Entitlements: what a tenant may do now.
//!
//! [`resolve`] is one pure function of the subscription, its plan, the operator's overrides, what is used, and the moment. Every guard, page,
//! token and answer asks it, so they cannot disagree, and nothing has to be written down when a trial ends. Each answer explains itself: where it
//! comes from, and until when it holds.
//!
//! A subscription that lapses falls to the free plan; what was stored stays, and comes back with the next payment.

pub mod api;
mod facts;
pub mod guard;
pub mod limits;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sea_orm::{DeriveActiveEnum, EnumIter, FromQueryResult};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use facts::{Facts, facts};
pub use rules::resolve;

/// What a lapsed subscription falls to.
pub const FREE: &str = "free";

/// Where a subscription stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[schema(as = SubscriptionStatus)]
pub enum Status {
    /// Free until the trial ends.
    Trialing,
    /// Paid, or free of charge.
    Active,
    /// A payment failed.
    PastDue,
    /// Ended, or ending with its period.
    Canceled,
    /// Waits for its first bank transfer.
    PendingPayment,
    /// Waits for its first checkout.
    Incomplete,
    /// A gift of the operator.
    Complimentary,
}

/// What a subscription says of itself, as far as it decides what a tenant may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromQueryResult)]
pub struct Terms {
    /// Where it stands.
    pub status: Status,
    /// When the trial ends, where there is one.
    pub trial_ends_at: Option<DateTime<Utc>>,
    /// When the period began.
    pub current_period_start: DateTime<Utc>,
    /// When it ends; without one it goes on.
    pub current_period_end: Option<DateTime<Utc>>,
    /// Whether it ends with its period.
    pub cancel_at_period_end: bool,
    /// Since when a payment is missing.
    pub past_due_since: Option<DateTime<Utc>>,
}

/// Why a subscription gives nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LockedReason {
    /// The trial is over.
    TrialEnded,
    /// A payment is missing, and the grace time is over.
    PastDue,
    /// It was canceled, and its last period is over.
    Canceled,
    /// The first invoice is not paid yet.
    PaymentPending,
    /// The first checkout is not done yet.
    Incomplete,
}

/// Where an answer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The plan that is paid for, or costs nothing.
    Plan,
    /// The plan, on trial.
    Trial,
    /// The plan, although a payment is missing.
    Grace,
    /// The plan, as a gift of the operator.
    Complimentary,
    /// The operator's word for this tenant.
    Override,
    /// The free plan, because the subscription has lapsed.
    Lapsed,
    /// The flag's default: no plan says anything of it.
    Default,
}

/// Whether a subscription gives its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Entitled {
        /// By what right.
        source: Source,
        /// Until when, as things stand; without an end where nothing ends it.
        until: Option<DateTime<Utc>>,
    },
    /// It does not.
    Locked {
        /// Why.
        reason: LockedReason,
        /// Since when, where it ever did.
        since: Option<DateTime<Utc>>,
    },
}

impl Standing {
    /// Whether it gives its plan.
    pub fn is_entitled(&self) -> bool {
        matches!(self, Self::Entitled { .. })
    }
}

/// A limit, and how much of it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Limit {
    /// How many; 0 is unlimited.
    pub limit: i64,
    /// How many there are.
    pub used: i64,
    /// Where the limit comes from.
    pub source: Source,
    /// Until when it holds, as things stand.
    pub until: Option<DateTime<Utc>>,
}

impl Limit {
    /// Whether `quantity` more fit in.
    pub fn has_room_for(&self, quantity: i64) -> bool {
        self.limit == 0 || self.used.checked_add(quantity).is_some_and(|then| then <= self.limit)
    }
}

/// A feature flag, as it is for one tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Feature {
    /// Whether it is on.
    pub enabled: bool,
    /// Where that comes from.
    pub source: Source,
    /// Until when it holds, as things stand.
    pub until: Option<DateTime<Utc>>,
}

/// What a tenant may do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entitlements {
    /// Whether the subscription gives its plan.
    pub standing: Standing,
    /// The plan that holds now: the subscription's own, or the free one.
    pub effective_plan: String,
    /// All limits by name.
    pub limits: BTreeMap<String, Limit>,
    /// All feature flags by name.
    pub features: BTreeMap<String, Feature>,
}
