//! Events.

use chrono::{DateTime, Utc, serde::ts_seconds_option};
use serde::Deserialize;

use super::{id, or_default};

/// Something that has happened.
#[derive(Clone, Debug, Deserialize)]
pub struct Event {
    /// `evt_…`
    pub id: String,
    /// `customer.subscription.updated`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// When, by Stripe's clock.
    #[serde(default, with = "ts_seconds_option")]
    pub created: Option<DateTime<Utc>>,
    /// Whether real money moves.
    pub livemode: bool,
    /// The connected account that it happened in; with none it is our own.
    #[serde(default)]
    pub account: Option<String>,
    /// What it happened to.
    #[serde(default, deserialize_with = "or_default")]
    data: EventData,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct EventData {
    #[serde(default, deserialize_with = "or_default")]
    object: EventObject,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct EventObject {
    #[serde(default, deserialize_with = "id")]
    id: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    object: String,
    #[serde(default, deserialize_with = "id")]
    customer: Option<String>,
}

impl Event {
    /// What it happened to.
    pub fn object_id(&self) -> Option<&str> {
        self.data.object.id.as_deref()
    }

    /// Whose that is.
    pub fn customer(&self) -> Option<&str> {
        let object = &self.data.object;
        if object.object == "customer" { object.id.as_deref() } else { object.customer.as_deref() }
    }

    /// Whether it can have changed anything here.
    pub fn is_followed(&self) -> bool {
        const KINDS: [&str; 6] = [
            "checkout.session.",
            "customer.subscription.",
            "customer.deleted",
            "customer.updated",
            "invoice.",
            "payment_method.",
        ];
        KINDS.iter().any(|kind| self.kind.starts_with(kind)) && self.customer().is_some()
    }
}
