//! Invoices.

use chrono::{DateTime, Utc, serde::ts_seconds_option};
use serde::Deserialize;

use super::{List, id, or_default, subscription::Price};

/// An invoice.
#[derive(Clone, Debug, Deserialize)]
pub struct Invoice {
    /// `in_…`
    pub id: String,
    /// Given when it is finalized.
    #[serde(default)]
    pub number: Option<String>,
    /// Where it stands.
    #[serde(default, deserialize_with = "or_default")]
    pub status: InvoiceStatus,
    /// ISO 4217, in small letters.
    #[serde(default, deserialize_with = "or_default")]
    pub currency: String,
    /// Minor units; below zero where it pays back.
    #[serde(default, deserialize_with = "or_default")]
    pub total: i64,
    /// Why it was made: `subscription_cycle` is the next period of one that went on.
    #[serde(default, deserialize_with = "or_default")]
    pub billing_reason: String,
    /// How often a payment was tried.
    #[serde(default, deserialize_with = "or_default")]
    pub attempt_count: i64,
    /// When it was made.
    #[serde(default, with = "ts_seconds_option")]
    pub created: Option<DateTime<Utc>>,
    /// When it has to be paid, where somebody pays it by hand.
    #[serde(default, with = "ts_seconds_option")]
    pub due_date: Option<DateTime<Utc>>,
    /// When it became what.
    #[serde(default, deserialize_with = "or_default")]
    pub status_transitions: Transitions,
    /// The customer's name on the day.
    #[serde(default)]
    pub customer_name: Option<String>,
    /// Its address for mail.
    #[serde(default)]
    pub customer_email: Option<String>,
    /// Its address.
    #[serde(default)]
    pub customer_address: Option<serde_json::Value>,
    /// Stripe's page of it.
    #[serde(default)]
    pub hosted_invoice_url: Option<String>,
    /// What is to be paid.
    #[serde(default, deserialize_with = "or_default")]
    pub lines: List<Line>,
    /// Before 2025-03-31: `sub_…`
    #[serde(default, deserialize_with = "id")]
    subscription: Option<String>,
    /// Before 2025-03-31: `pi_…`
    #[serde(default, deserialize_with = "id")]
    pub payment_intent: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    parent: InvoiceParent,
}

impl Invoice {
    /// The subscription that it is for.
    pub fn subscription(&self) -> Option<&str> {
        let of_parent = self.parent.subscription_details.as_ref().and_then(|details| details.subscription.as_deref());
        of_parent.or(self.subscription.as_deref())
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
struct InvoiceParent {
    #[serde(default)]
    subscription_details: Option<SubscriptionDetails>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct SubscriptionDetails {
    #[serde(default, deserialize_with = "id")]
    subscription: Option<String>,
}

/// Where an invoice stands at Stripe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InvoiceStatus {
    /// Not yet issued.
    Draft,
    /// To be paid.
    Open,
    /// Paid.
    Paid,
    /// Given up; it can still be paid.
    Uncollectible,
    /// Taken back.
    Void,
    /// A word that is new.
    #[default]
    #[serde(other)]
    Unknown,
}

/// When an invoice became what.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Transitions {
    /// Issued.
    #[serde(default, with = "ts_seconds_option")]
    pub finalized_at: Option<DateTime<Utc>>,
    /// Paid.
    #[serde(default, with = "ts_seconds_option")]
    pub paid_at: Option<DateTime<Utc>>,
}

/// One line of an invoice.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Line {
    /// Minor units; below zero where it pays back.
    #[serde(default, deserialize_with = "or_default")]
    pub amount: i64,
    /// For people.
    #[serde(default)]
    pub description: Option<String>,
    /// How many.
    #[serde(default)]
    pub quantity: Option<i64>,
    /// For which time.
    #[serde(default, deserialize_with = "or_default")]
    pub period: Period,
    #[serde(default, deserialize_with = "or_default")]
    parent: LineParent,
    #[serde(default, deserialize_with = "or_default")]
    pricing: Pricing,
    // Before 2025-03-31.
    #[serde(default)]
    price: Option<Price>,
    #[serde(default, deserialize_with = "or_default")]
    proration: bool,
    #[serde(default, rename = "type", deserialize_with = "or_default")]
    kind: String,
}

impl Line {
    /// Whether it is for a whole period of a subscription, and not for a part of one after a change.
    pub fn is_whole_period(&self) -> bool {
        match self.parent.kind.as_str() {
            "" => self.kind == "subscription" && !self.proration,
            kind => kind == "subscription_item_details" && !self.parent.subscription_item_details.proration,
        }
    }

    /// Whether it is for a part of a period: what is left of a plan that was changed, or what is used of the one in its place.
    pub fn is_proration(&self) -> bool {
        let LineParent { subscription_item_details, invoice_item_details, .. } = &self.parent;
        self.proration || subscription_item_details.proration || invoice_item_details.proration
    }

    /// The price that it is of.
    pub fn price_id(&self) -> Option<&str> {
        let details = self.pricing.price_details.price.as_deref();
        details.or_else(|| self.price.as_ref().map(|price| price.id.as_str()))
    }
}

/// A time.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Period {
    /// From.
    #[serde(default, with = "ts_seconds_option")]
    pub start: Option<DateTime<Utc>>,
    /// To.
    #[serde(default, with = "ts_seconds_option")]
    pub end: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct LineParent {
    #[serde(default, rename = "type", deserialize_with = "or_default")]
    kind: String,
    #[serde(default, deserialize_with = "or_default")]
    subscription_item_details: ItemDetails,
    #[serde(default, deserialize_with = "or_default")]
    invoice_item_details: ItemDetails,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct ItemDetails {
    #[serde(default, deserialize_with = "or_default")]
    proration: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Pricing {
    #[serde(default, deserialize_with = "or_default")]
    price_details: PriceDetails,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct PriceDetails {
    #[serde(default, deserialize_with = "id")]
    price: Option<String>,
}

/// How an invoice was paid.
#[derive(Clone, Debug, Deserialize)]
pub struct InvoicePayment {
    /// By what.
    #[serde(default, deserialize_with = "or_default")]
    pub payment: PaidBy,
}

/// What paid.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct PaidBy {
    /// `pi_…`
    #[serde(default, deserialize_with = "id")]
    pub payment_intent: Option<String>,
}
