//! Plans: what is sold, as data.
//!
//! A plan has a price, limits, feature defaults and a blueprint (what a new tenant of it gets). The operator changes plans
//! in the database or through the admin API; nothing of them is written into code but the defaults of a new installation.

pub mod api;
pub mod flags;
pub mod pages;
pub(crate) mod store;

use std::fmt;

use serde::{Deserialize, Serialize};
pub use store::{Features, Limits, PlanRow, all, by_slug, offered};
use utoipa::ToSchema;

/// An amount of money.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Money {
    /// Minor units of the currency.
    pub amount: i64,
    /// ISO 4217.
    #[schema(example = "USD")]
    pub currency: String,
}

impl Money {
    /// The amount alone, for people: `19.90`, `29`; currencies without minor units have no point.
    pub fn number(&self) -> String {
        let amount = self.amount;
        match self.currency.as_str() {
            "JPY" | "KRW" | "VND" | "CLP" | "ISK" => thousands(amount),
            _ if amount % 100 == 0 => thousands(amount / 100),
            _ => format!("{}.{:02}", thousands(amount / 100), amount % 100),
        }
    }
}

/// For people: `19.90 USD`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number(), self.currency)
    }
}

/// A number for people: `20,000`.
pub fn thousands(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let grouped: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    format!("{}{}", if number < 0 { "-" } else { "" }, grouped.join(","))
}

/// A plan as it is shown.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PlanView {
    /// Names it, for ever.
    pub slug: String,
    /// Its name for people.
    pub name: String,
    /// Whom it is for.
    pub description: String,
    /// What one interval costs.
    pub price: Money,
    /// `month` or `year`.
    pub interval: String,
    /// Credits granted with it.
    pub included_credits: i64,
    /// Days of trial; 0 is none.
    pub trial_days: i64,
    /// How many of what; 0 is unlimited.
    #[schema(inline)]
    pub limits: Limits,
    /// What is switched on.
    #[schema(inline)]
    pub features: Features,
    /// Sold by people rather than by itself.
    pub contact_sales: bool,
}

impl PlanView {
    /// The included credits, for people.
    pub fn credits(&self) -> String {
        thousands(self.included_credits)
    }
}
