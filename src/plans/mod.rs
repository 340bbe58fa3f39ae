//! Plans: what is sold, as data.
//!
//! A plan has a price, limits, feature defaults and a blueprint (what a new tenant of it gets). The operator changes plans
//! through the admin API or as a file ([`book`], [`diff`]); nothing of them is written into code but the defaults of a new installation.

pub mod affected;
pub mod api;
pub mod book;
mod change;
pub mod diff;
pub mod edit;
pub mod flags;
pub mod overrides;
pub mod pages;
mod plan;
pub(crate) mod store;

use std::fmt;

pub use book::Book;
pub use change::{Patch, PlanChange, Yearly};
use iso_currency::Currency;
pub use plan::Plan;
use serde::{Deserialize, Serialize};
pub use store::{Features, Limits, PlanRow, all, by_id, by_slug, offered};
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
        let digits = currency(&self.currency).and_then(Currency::exponent).unwrap_or(2);
        let unit = 10_i64.pow(digits.into());
        let (whole, rest) = (self.amount / unit, (self.amount % unit).unsigned_abs());
        let sign = if self.amount < 0 && whole == 0 { "-" } else { "" };
        let point = if rest == 0 { String::new() } else { format!(".{rest:0width$}", width = usize::from(digits)) };
        format!("{sign}{}{point}", thousands(whole))
    }
}

/// For people: `19.90 USD`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number(), self.currency)
    }
}

/// The currency of an ISO 4217 code that people pay in: no metals, no units of account, none that another has replaced.
pub fn currency(code: &str) -> Option<Currency> {
    let is_money = |currency: &Currency| {
        !currency.is_special()
            && !currency.is_fund()
            && currency.is_superseded().is_none()
            && currency.exponent().is_some()
    };
    Currency::from_code(code).filter(is_money)
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
    /// What a year costs for those who pay by the year; null where the plan is not sold so.
    pub price_yearly: Option<Money>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_has_as_many_digits_as_its_currency() {
        let shown = |amount, currency: &str| Money { amount, currency: currency.into() }.to_string();
        assert_eq!(shown(2_900, "USD"), "29 USD");
        assert_eq!(shown(1_234_550, "EUR"), "12,345.50 EUR");
        assert_eq!(shown(5_000, "JPY"), "5,000 JPY");
        assert_eq!(shown(1_205, "KWD"), "1.205 KWD");
        assert_eq!(shown(-50, "USD"), "-0.50 USD");
        assert_eq!(shown(-1_950, "USD"), "-19.50 USD");
    }

    #[test]
    fn only_what_people_pay_in_is_a_currency() {
        assert!(["USD", "EUR", "JPY", "KWD"].iter().all(|code| currency(code).is_some()));
        assert!(["usd", "US", "ABC", "XAU", "XXX", "CLF", ""].iter().all(|code| currency(code).is_none()));
    }
}
