//! A plan whole, as the operator reads and writes it, and what can be said of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Features, Limits, Money, currency, flags::SIGNUP_ENABLED};
use crate::http::{FieldError, line};

/// All that is said of a plan, but its slug.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Its name for people.
    pub name: String,
    /// Whom it is for.
    pub description: String,
    /// What one interval costs, in minor units.
    pub price: i64,
    /// What a year costs, in minor units; nothing where the plan is not sold by the year.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_yearly: Option<i64>,
    /// ISO 4217.
    pub currency: String,
    /// `month` or `year`.
    pub interval: String,
    /// Credits granted with each month.
    pub included_credits: i64,
    /// Days of trial; 0 is none.
    pub trial_days: i64,
    /// Shown to everybody.
    pub is_public: bool,
    /// Sold by people rather than by itself.
    pub contact_sales: bool,
    /// Its place among the others.
    pub position: i64,
    /// Stripe's price of a month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stripe_price_monthly: Option<String>,
    /// Stripe's price of a year.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stripe_price_yearly: Option<String>,
    /// How many of what; 0 is unlimited.
    #[serde(default)]
    pub limits: Limits,
    /// What is switched on or off; of what is absent the flag's own default holds.
    #[serde(default)]
    pub features: Features,
    /// What a new tenant of it gets; `provisioning::Blueprint` reads it.
    pub blueprint: Value,
}

/// The most that amounts, credits and limits can be: whole numbers that every reader of JSON keeps, with room to add them up.
const MOST: i64 = 1_000_000_000_000;

/// As `billing.trial_days` has it.
const LONGEST_TRIAL: i64 = 36_500;

impl Plan {
    /// A plan that nothing is known of yet: hidden, free, for nobody.
    pub fn blank(position: i64, blueprint: Value) -> Self {
        Self {
            name: String::new(),
            description: String::new(),
            price: 0,
            price_yearly: None,
            currency: "USD".into(),
            interval: "month".into(),
            included_credits: 0,
            trial_days: 0,
            is_public: false,
            contact_sales: false,
            position,
            stripe_price_monthly: None,
            stripe_price_yearly: None,
            limits: Limits::new(),
            features: Features::new(),
            blueprint,
        }
    }

    /// What one interval costs.
    pub fn money(&self) -> Money {
        self.of(self.price)
    }

    /// An amount in its currency.
    pub fn of(&self, amount: i64) -> Money {
        Money { amount, currency: self.currency.clone() }
    }

    /// All that is said, each by its name: `price`, `limits.max_users`, `features.automations`. What is not said is not there.
    pub fn facts(&self) -> BTreeMap<String, Value> {
        let Ok(Value::Object(members)) = serde_json::to_value(self) else { return BTreeMap::new() };
        let mut facts = BTreeMap::new();
        for (name, value) in members {
            match value {
                Value::Object(inner) if name == "limits" || name == "features" => {
                    facts.extend(inner.into_iter().map(|(key, value)| (format!("{name}.{key}"), value)));
                }
                value => drop(facts.insert(name, value)),
            }
        }
        facts
    }

    /// What is wrong with it, where `is_flag` knows the flags. Its blueprint is for those to check who know the steps.
    pub fn faults(&self, is_flag: impl Fn(&str) -> bool) -> Vec<FieldError> {
        let mut faults = Vec::new();
        faults.extend(line("name", &self.name, 100).err());
        faults.extend(line("description", &self.description, 300).err());
        let numbers = [
            ("price", self.price, MOST),
            ("price_yearly", self.price_yearly.unwrap_or_default(), MOST),
            ("included_credits", self.included_credits, MOST),
            ("trial_days", self.trial_days, LONGEST_TRIAL),
            ("position", self.position, 1_000_000),
        ];
        faults.extend(numbers.into_iter().filter_map(|(field, value, most)| within(field, value, most)));
        if currency(&self.currency).is_none() {
            let message = "This has to be the code of a currency, such as USD (ISO 4217).";
            faults.push(FieldError::new("currency", "UNKNOWN_CURRENCY", message));
        }
        if !["month", "year"].contains(&self.interval.as_str()) {
            faults.push(FieldError::new("interval", "UNKNOWN_INTERVAL", "This has to be month or year."));
        }
        if self.interval == "year" && self.price_yearly.is_some() {
            let message = "The plan's own price is that of a year already.";
            faults.push(FieldError::new("price_yearly", "YEARLY_ALREADY", message));
        }
        let stripe =
            [("stripe_price_monthly", &self.stripe_price_monthly), ("stripe_price_yearly", &self.stripe_price_yearly)];
        for (field, id) in stripe {
            if id.as_ref().is_some_and(|id| !is_stripe_id(id)) {
                let message = "This has to be the id of one of Stripe's prices, such as price_1AbC.";
                faults.push(FieldError::new(field, "INVALID", message));
            }
        }
        if self.stripe_price_monthly.is_some() && self.stripe_price_monthly == self.stripe_price_yearly {
            faults.push(FieldError::new(
                "stripe_price_yearly",
                "TAKEN",
                "A month and a year need prices of their own.",
            ));
        }
        for (name, value) in &self.limits {
            let field = format!("limits.{name}");
            match within(&field, *value, MOST) {
                _ if !is_name(name) => faults.push(bad_name(field)),
                fault => faults.extend(fault),
            }
        }
        for flag in self.features.keys() {
            let field = format!("features.{flag}");
            if flag == SIGNUP_ENABLED {
                faults.push(FieldError::new(field, "NOT_A_FEATURE", "The kill switch is the platform's alone."));
            } else if !is_flag(flag) {
                faults.push(FieldError::new(field, "UNKNOWN_FLAG", "There is no feature flag of this name."));
            }
        }
        faults
    }
}

fn within(field: &str, value: i64, most: i64) -> Option<FieldError> {
    let message = || format!("This has to be a whole number from 0 to {}.", super::thousands(most));
    (!(0..=most).contains(&value)).then(|| FieldError::new(field, "OUT_OF_RANGE", message()))
}

fn is_stripe_id(id: &str) -> bool {
    (1..=255).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether a limit or a flag can be called so.
pub(super) fn is_name(name: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.len() <= 64 && name.starts_with(|first: char| first.is_ascii_lowercase()) && name.bytes().all(rest)
}

pub(super) fn bad_name(field: impl Into<String>) -> FieldError {
    let message = "Small letters, digits and underscores, please, 64 at most, and a letter first.";
    FieldError::new(field, "INVALID_NAME", message)
}

/// What is wrong with a new plan's slug.
pub(super) fn slug_fault(field: &str, slug: &str) -> Option<FieldError> {
    let rest = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_slug =
        slug.len() <= 50 && slug.starts_with(|first: char| first.is_ascii_lowercase()) && slug.bytes().all(rest);
    let message = "Small letters, digits and hyphens, please, 50 at most, and a letter first.";
    (!is_slug).then(|| FieldError::new(field, "INVALID_SLUG", message))
}

/// How a limit's value is ordered: 0, and a limit that is not there, is more than any other.
pub(super) fn reach(limit: Option<i64>) -> i64 {
    limit.filter(|limit| *limit > 0).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::plans::PlanChange;

    pub fn growth() -> Plan {
        let plan = json!({
            "name": "Growth", "description": "For teams", "price": 7_900, "price_yearly": 79_000, "currency": "USD", "interval": "month",
            "included_credits": 20_000, "trial_days": 14, "is_public": true, "contact_sales": false, "position": 3,
            "limits": {"max_users": 10, "max_sites": 10}, "features": {"automations": false}, "blueprint": {"steps": []},
        });
        serde_json::from_value(plan).unwrap()
    }

    fn faults(change: Value) -> Vec<(String, String)> {
        let faults = serde_json::from_value::<PlanChange>(change)
            .unwrap()
            .of(growth())
            .unwrap()
            .faults(|flag| flag == "automations");
        faults.into_iter().map(|fault| (fault.field, fault.code)).collect()
    }

    #[test]
    fn each_fault_names_its_field() {
        assert_eq!(faults(json!({})), []);
        for (change, field, code) in [
            (json!({"name": " "}), "name", "REQUIRED"),
            (json!({"price": {"amount": -1, "currency": "USD"}}), "price", "OUT_OF_RANGE"),
            (json!({"price": {"amount": 1, "currency": "XAU"}}), "currency", "UNKNOWN_CURRENCY"),
            (json!({"price_yearly": -1}), "price_yearly", "OUT_OF_RANGE"),
            (json!({"interval": "week"}), "interval", "UNKNOWN_INTERVAL"),
            (json!({"interval": "year"}), "price_yearly", "YEARLY_ALREADY"),
            (json!({"included_credits": i64::MAX}), "included_credits", "OUT_OF_RANGE"),
            (json!({"trial_days": 36_501}), "trial_days", "OUT_OF_RANGE"),
            (json!({"limits": {"max_users": -1}}), "limits.max_users", "OUT_OF_RANGE"),
            (json!({"limits": {"Max users": 1}}), "limits.Max users", "INVALID_NAME"),
            (json!({"features": {"teleport": true}}), "features.teleport", "UNKNOWN_FLAG"),
            (json!({"features": {"signup_enabled": true}}), "features.signup_enabled", "NOT_A_FEATURE"),
            (json!({"stripe_price_monthly": "price 1"}), "stripe_price_monthly", "INVALID"),
            (json!({"stripe_price_monthly": "p", "stripe_price_yearly": "p"}), "stripe_price_yearly", "TAKEN"),
        ] {
            assert_eq!(faults(change), [(field.to_owned(), code.to_owned())]);
        }
    }

    #[test]
    fn facts_are_flat_and_leave_out_what_is_not_said() {
        let facts = growth().facts();
        assert_eq!(facts["limits.max_users"], 10);
        assert_eq!(facts["features.automations"], false);
        assert_eq!(facts["blueprint"], json!({"steps": []}));
        assert!(!facts.contains_key("stripe_price_monthly") && !facts.contains_key("limits"));
    }
}
