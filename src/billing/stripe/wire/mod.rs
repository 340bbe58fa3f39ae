//! What we read of Stripe's objects (<https://docs.stripe.com/api>).
//!
//! Only what is used has a field; fields and words that we do not know never break reading. What moved between versions of the API is
//! read at both places, because an event is written in the version of the account.

mod event;
mod invoice;
mod subscription;
#[cfg(test)]
mod tests;

use std::fmt;

use chrono::{DateTime, Utc, serde::ts_seconds_option};
use serde::{Deserialize, Deserializer};

pub use event::Event;
pub use invoice::{Invoice, InvoicePayment, InvoiceStatus, Line};
pub use subscription::{Price, Subscription, SubscriptionStatus};

/// A page of a list.
#[derive(Clone, Debug, Deserialize)]
pub struct List<T> {
    /// Its rows.
    #[serde(default = "Vec::new")]
    pub data: Vec<T>,
    /// Whether there are more.
    #[serde(default)]
    pub has_more: bool,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { data: Vec::new(), has_more: false }
    }
}

/// What is null or missing is the default.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// An object that is named by its id, or is there itself.
fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Named {
        Id(String),
        Object { id: String },
    }
    let named = Option::<Named>::deserialize(deserializer)?;
    Ok(named.map(|named| match named {
        Named::Id(id) | Named::Object { id } => id,
    }))
}

/// The body of a refusal.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Refused {
    /// What was refused.
    #[serde(default, deserialize_with = "or_default")]
    pub error: Refusal,
}

/// Why Stripe refuses (<https://docs.stripe.com/api/errors>).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Refusal {
    /// `card_error`, `invalid_request_error`, …
    #[serde(default, rename = "type", deserialize_with = "or_default")]
    pub kind: String,
    /// Stable.
    #[serde(default)]
    pub code: Option<String>,
    /// The parameter that was refused.
    #[serde(default)]
    pub param: Option<String>,
    /// For people; a card's is fit to show.
    #[serde(default)]
    pub message: Option<String>,
}

impl Refusal {
    /// Whether there is no such thing as a parameter names.
    pub fn is_missing(&self, param: &str) -> bool {
        self.code.as_deref() == Some("resource_missing") && self.param.as_deref() == Some(param)
    }
}

/// For the log. A refused key is named in the message, so that is left out.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.kind.is_empty() { "no reason" } else { &self.kind })?;
        self.code.as_ref().map_or(Ok(()), |code| write!(f, ", {code}"))?;
        self.param.as_ref().map_or(Ok(()), |param| write!(f, " in {param}"))
    }
}

/// A customer: a tenant of ours.
#[derive(Clone, Debug, Deserialize)]
pub struct Customer {
    /// `cus_…`
    pub id: String,
    /// Whether it was deleted.
    #[serde(default)]
    pub deleted: bool,
    /// How its invoices are paid.
    #[serde(default, deserialize_with = "or_default")]
    pub invoice_settings: InvoiceSettings,
}

/// How a customer's invoices are paid.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct InvoiceSettings {
    /// `pm_…`
    #[serde(default, deserialize_with = "id")]
    pub default_payment_method: Option<String>,
}

/// A page to pay on.
#[derive(Clone, Debug, Deserialize)]
pub struct CheckoutSession {
    /// `cs_…`
    pub id: String,
    /// Where, while it is open.
    #[serde(default)]
    pub url: Option<String>,
    /// Where it stands.
    #[serde(default, deserialize_with = "or_default")]
    pub status: SessionStatus,
    /// When it ends by itself.
    #[serde(default, with = "ts_seconds_option")]
    pub expires_at: Option<DateTime<Utc>>,
}

/// Where a page to pay on stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    /// It can be paid on.
    Open,
    /// It was.
    Complete,
    /// It can no longer be.
    Expired,
    /// A word that is new.
    #[default]
    #[serde(other)]
    Unknown,
}

/// A page to manage a subscription on.
#[derive(Clone, Debug, Deserialize)]
pub struct PortalSession {
    /// Where.
    pub url: String,
}

/// What is read of an answer that is not looked at.
#[derive(Clone, Debug, Deserialize)]
pub struct Done {}

/// A payment method.
#[derive(Clone, Debug, Deserialize)]
pub struct PaymentMethod {
    /// `pm_…`
    pub id: String,
    /// `card`, …
    #[serde(default, rename = "type", deserialize_with = "or_default")]
    pub kind: String,
    /// Where it is one.
    #[serde(default)]
    pub card: Option<Card>,
}

/// What a card is known by.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Card {
    /// `visa`, …
    #[serde(default)]
    pub brand: Option<String>,
    /// Its last digits.
    #[serde(default)]
    pub last4: Option<String>,
    /// 1 to 12.
    #[serde(default)]
    pub exp_month: Option<i64>,
    /// With its century.
    #[serde(default)]
    pub exp_year: Option<i64>,
}
