//! Subscriptions.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc, serde::ts_seconds_option};
use serde::Deserialize;

use super::{List, id, or_default};

/// A subscription.
#[derive(Clone, Debug, Deserialize)]
pub struct Subscription {
    /// `sub_…`
    pub id: String,
    /// Where it stands.
    #[serde(default, deserialize_with = "or_default")]
    pub status: SubscriptionStatus,
    /// When it was made.
    #[serde(default, with = "ts_seconds_option")]
    pub created: Option<DateTime<Utc>>,
    /// What is subscribed to.
    #[serde(default, deserialize_with = "or_default")]
    pub items: List<Item>,
    /// Before 2025-03-31: when the period began.
    #[serde(default, with = "ts_seconds_option")]
    current_period_start: Option<DateTime<Utc>>,
    /// Before 2025-03-31: when it ends.
    #[serde(default, with = "ts_seconds_option")]
    current_period_end: Option<DateTime<Utc>>,
    /// Whether it ends with its period.
    #[serde(default, deserialize_with = "or_default")]
    pub cancel_at_period_end: bool,
    /// When it will end.
    #[serde(default, with = "ts_seconds_option")]
    pub cancel_at: Option<DateTime<Utc>>,
    /// When it was told to end.
    #[serde(default, with = "ts_seconds_option")]
    pub canceled_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[serde(default, with = "ts_seconds_option")]
    pub ended_at: Option<DateTime<Utc>>,
    /// When Stripe's own trial ends.
    #[serde(default, with = "ts_seconds_option")]
    pub trial_end: Option<DateTime<Utc>>,
    /// `pm_…`
    #[serde(default, deserialize_with = "id")]
    pub default_payment_method: Option<String>,
    /// Ours.
    #[serde(default, deserialize_with = "or_default")]
    pub metadata: BTreeMap<String, String>,
}

impl Subscription {
    /// The period of now; on the item since 2025-03-31.
    pub fn period(&self) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
        let item = self.items.data.first();
        let start = item.and_then(|item| item.current_period_start).or(self.current_period_start);
        (start, item.and_then(|item| item.current_period_end).or(self.current_period_end))
    }

    /// What it costs.
    pub fn price(&self) -> Option<&Price> {
        self.items.data.first()?.price.as_ref()
    }

    /// Whether it has begun and not ended.
    pub fn is_live(&self) -> bool {
        match self.status {
            SubscriptionStatus::Trialing
            | SubscriptionStatus::Active
            | SubscriptionStatus::PastDue
            | SubscriptionStatus::Unpaid
            | SubscriptionStatus::Paused => true,
            SubscriptionStatus::Canceled
            | SubscriptionStatus::Incomplete
            | SubscriptionStatus::IncompleteExpired
            | SubscriptionStatus::Unknown => false,
        }
    }
}

/// Where a subscription stands at Stripe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubscriptionStatus {
    /// Free until the trial ends.
    Trialing,
    /// Paid.
    Active,
    /// A payment failed, and is tried again.
    PastDue,
    /// A payment failed, and is no longer tried.
    Unpaid,
    /// Its trial ended without a payment method.
    Paused,
    /// Ended.
    Canceled,
    /// Its first payment is missing.
    Incomplete,
    /// Its first payment never came.
    IncompleteExpired,
    /// A word that is new.
    #[default]
    #[serde(other)]
    Unknown,
}

/// One line of a subscription.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Item {
    /// `si_…`
    pub id: String,
    /// What it costs.
    #[serde(default)]
    pub price: Option<Price>,
    #[serde(default, with = "ts_seconds_option")]
    current_period_start: Option<DateTime<Utc>>,
    #[serde(default, with = "ts_seconds_option")]
    current_period_end: Option<DateTime<Utc>>,
}

/// A price.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Price {
    /// `price_…`
    pub id: String,
    /// How often.
    #[serde(default)]
    pub recurring: Option<Recurring>,
}

/// How often a price is paid.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Recurring {
    /// `month`, `year`, and what we do not sell.
    #[serde(default, deserialize_with = "or_default")]
    pub interval: String,
}
