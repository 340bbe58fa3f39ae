//! Typing a card in.

use chrono::{DateTime, Datelike, Utc};
use serde::Deserialize;

use crate::{
    billing::sandbox::cards::{Holder, TestCard},
    http::{FieldError, Problem, Refused},
};

/// What was typed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Typed {
    /// For the receipt.
    pub email: String,
    /// On the card.
    pub name: String,
    /// The card's.
    pub number: String,
    /// `MM / YY`
    pub expiry: String,
    /// The card's check number; nobody keeps it.
    pub cvc: String,
    /// The last digits of the test card to fill in, where that button was pressed.
    pub fill: String,
}

impl Typed {
    /// With a test card filled in, where somebody asked for one; what was typed beside it stays.
    pub fn filled(mut self, now: DateTime<Utc>) -> Option<Self> {
        let card = TestCard::all().iter().find(|card| card.last4() == self.fill)?;
        self.number = card.grouped();
        self.expiry = format!("12 / {:02}", (now.year() + 2) % 100);
        "123".clone_into(&mut self.cvc);
        if self.name.trim().is_empty() {
            "Test Person".clone_into(&mut self.name);
        }
        Some(self)
    }

    /// The card, or what is wrong with each field.
    pub fn read(&self, now: DateTime<Utc>, wants_email: bool) -> Result<(&'static TestCard, Holder), Refused> {
        let mut errors = Vec::new();
        let mut refuse = |field: &str, text: &str, invalid: &str| {
            let code = if text.trim().is_empty() { "REQUIRED" } else { "INVALID" };
            let message = if code == "REQUIRED" { "This is needed." } else { invalid };
            errors.push(FieldError::new(field, code, message));
        };
        let email = self.email.trim();
        if wants_email && !(email.contains('@') && email.len() <= 254) {
            refuse("email", email, "This is not an email address.");
        }
        if self.name.trim().is_empty() || self.name.chars().count() > 100 {
            refuse("name", &self.name, "This is too long.");
        }
        let card = TestCard::by_number(&self.number);
        if card.is_none() {
            refuse("number", &self.number, "Only the test cards below work here. Never type in a real one.");
        }
        let expiry = expiry(&self.expiry).filter(|expiry| *expiry >= (i64::from(now.year()), i64::from(now.month())));
        if expiry.is_none() {
            refuse("expiry", &self.expiry, "Type a month and year to come, such as 12 / 34.");
        }
        if !((3..=4).contains(&self.cvc.len()) && self.cvc.bytes().all(|digit| digit.is_ascii_digit())) {
            refuse("cvc", &self.cvc, "Three digits, or four.");
        }
        match (card, expiry) {
            (Some(card), Some((exp_year, exp_month))) if errors.is_empty() => {
                let email = Some(email.to_owned()).filter(|email| !email.is_empty());
                Ok((card, Holder { exp_month, exp_year, name: Some(self.name.trim().to_owned()), email }))
            }
            _ => Err(Refused::usual(Problem::invalid(errors)).unwrap_or_default()),
        }
    }
}

/// Year and month of `MM / YY` or `MM / YYYY`.
fn expiry(typed: &str) -> Option<(i64, i64)> {
    let (month, year) = typed.split_once('/')?;
    let (month, year) = (month.trim().parse().ok()?, year.trim());
    let short = year.len() == 2;
    let year: i64 = year.parse().ok().filter(|year| (0..10_000).contains(year))?;
    (1..=12).contains(&month).then_some((if short { 2000 + year } else { year }, month))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_read_and_each_refusal_is_beside_its_field() {
        let now = "2026-03-10T00:00:00Z".parse().unwrap();
        let typed = Typed { fill: "4242".into(), email: " ada@example.com ".into(), ..Typed::default() };
        let filled = typed.filled(now).expect("a test card");
        let (card, holder) = filled.read(now, true).expect("good");
        assert_eq!((card.last4(), holder.exp_month, holder.exp_year), ("4242", 12, 2028));
        assert_eq!(holder.email.as_deref(), Some("ada@example.com"));
        let refused = Typed { number: "4111 1111 1111 1111".into(), ..Typed::default() }.read(now, true).unwrap_err();
        let fields: Vec<_> = refused.errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["email", "name", "number", "expiry", "cvc"]);
    }

    #[test]
    fn the_past_is_over() {
        assert_eq!(expiry("3/26"), Some((2026, 3)));
        assert_eq!(expiry(" 12 / 2034 "), Some((2034, 12)));
        for bad in ["13/30", "0/30", "12", "a/b", "12/-5", "12/99999"] {
            assert_eq!(expiry(bad), None, "{bad}");
        }
        let now = "2026-03-10T00:00:00Z".parse().unwrap();
        let typed = Typed { fill: "4242".into(), ..Typed::default() }.filled(now).unwrap();
        let late = |expiry: &str| Typed { expiry: expiry.into(), ..typed.clone() }.read(now, false).is_err();
        assert!(late("02/26"));
        assert!(!late("03/26"));
    }
}
