//! What becomes of a plan, as somebody asks for it: what is not named stays.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Money, Plan};
use crate::http::FieldError;

/// What becomes of a field: absent, it stays; null clears it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Patch<T> {
    /// It stays.
    #[default]
    Keep,
    /// It becomes this.
    Set(Option<T>),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(field: D) -> Result<Self, D::Error> {
        Option::deserialize(field).map(Self::Set)
    }
}

/// What a year costs: an amount in the plan's currency, alone or with its currency.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Yearly {
    /// Minor units of the plan's currency.
    Amount(i64),
    /// As answers have it.
    Money(Money),
}

/// What becomes of a plan. An absent field stays as it is.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanChange {
    /// Names it, for ever: a new plan needs one, and another plan's can only be what it is.
    #[schema(example = "team", min_length = 1, max_length = 50)]
    pub slug: Option<String>,
    /// Its name for people.
    #[schema(min_length = 1, max_length = 100)]
    pub name: Option<String>,
    /// Whom it is for.
    #[schema(min_length = 1, max_length = 300)]
    pub description: Option<String>,
    /// What one interval costs.
    pub price: Option<Money>,
    /// What a year costs; null where the plan is not sold by the year.
    #[serde(default)]
    #[schema(value_type = Option<Yearly>)]
    pub price_yearly: Patch<Yearly>,
    /// `month` or `year`.
    #[schema(example = "month")]
    pub interval: Option<String>,
    /// Credits granted with each month.
    #[schema(minimum = 0)]
    pub included_credits: Option<i64>,
    /// Days of trial; 0 is none.
    #[schema(minimum = 0)]
    pub trial_days: Option<i64>,
    /// Shown to everybody.
    pub is_public: Option<bool>,
    /// Sold by people rather than by itself.
    pub contact_sales: Option<bool>,
    /// Its place among the others.
    #[schema(minimum = 0)]
    pub position: Option<i64>,
    /// Stripe's price of a month; null where there is none.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "price_1AbC")]
    pub stripe_price_monthly: Patch<String>,
    /// Stripe's price of a year; null where there is none.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "price_2AbC")]
    pub stripe_price_yearly: Patch<String>,
    /// Limits to set; 0 is unlimited, null takes one away, and those that are not named stay.
    #[serde(default)]
    #[schema(inline)]
    pub limits: BTreeMap<String, Option<i64>>,
    /// Features to switch; null leaves one to its flag's default, and those that are not named stay.
    #[serde(default)]
    #[schema(inline)]
    pub features: BTreeMap<String, Option<bool>>,
    /// What a new tenant of it gets: `{"steps": […], "automations": […]}`.
    #[schema(value_type = Option<Object>)]
    pub blueprint: Option<Value>,
}

impl PlanChange {
    /// The plan as it is then; whether it may be so, [`Plan::faults`] says.
    ///
    /// # Errors
    /// A yearly price in another currency than the plan's.
    pub fn of(self, mut plan: Plan) -> Result<Plan, FieldError> {
        if let Some(price) = self.price {
            (plan.price, plan.currency) = (price.amount, price.currency);
        }
        match self.price_yearly {
            Patch::Keep => (),
            Patch::Set(None) => plan.price_yearly = None,
            Patch::Set(Some(Yearly::Amount(amount))) => plan.price_yearly = Some(amount),
            Patch::Set(Some(Yearly::Money(money))) if money.currency == plan.currency => {
                plan.price_yearly = Some(money.amount);
            }
            Patch::Set(Some(Yearly::Money(_))) => {
                let message = "A plan has one currency for the month and the year.";
                return Err(FieldError::new("price_yearly.currency", "OTHER_CURRENCY", message));
            }
        }
        set(&mut plan.name, self.name);
        set(&mut plan.description, self.description);
        set(&mut plan.interval, self.interval);
        set(&mut plan.included_credits, self.included_credits);
        set(&mut plan.trial_days, self.trial_days);
        set(&mut plan.is_public, self.is_public);
        set(&mut plan.contact_sales, self.contact_sales);
        set(&mut plan.position, self.position);
        set(&mut plan.blueprint, self.blueprint);
        patch(&mut plan.stripe_price_monthly, self.stripe_price_monthly);
        patch(&mut plan.stripe_price_yearly, self.stripe_price_yearly);
        merge(&mut plan.limits, self.limits);
        merge(&mut plan.features, self.features);
        (plan.name, plan.description) = (plan.name.trim().to_owned(), plan.description.trim().to_owned());
        Ok(plan)
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn patch<T>(field: &mut Option<T>, value: Patch<T>) {
    if let Patch::Set(value) = value {
        *field = value;
    }
}

fn merge<T>(into: &mut BTreeMap<String, T>, named: BTreeMap<String, Option<T>>) {
    for (name, value) in named {
        match value {
            Some(value) => into.insert(name, value),
            None => into.remove(&name),
        };
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plans::{Limits, plan::tests::growth};

    fn changed(change: Value) -> Result<Plan, FieldError> {
        serde_json::from_value::<PlanChange>(change).unwrap().of(growth())
    }

    #[test]
    fn what_is_not_named_stays_and_null_clears() {
        assert_eq!(changed(json!({})).unwrap(), growth());
        let change = json!({"price": {"amount": 8_900, "currency": "EUR"}, "price_yearly": null, "limits": {"max_users": 0, "max_sites": null, "max_bots": 2}, "features": {"automations": null}});
        let plan = changed(change).unwrap();
        assert_eq!((plan.price, plan.currency.as_str(), plan.price_yearly), (8_900, "EUR", None));
        assert_eq!(plan.limits, Limits::from([("max_bots".into(), 2), ("max_users".into(), 0)]));
        assert!(plan.features.is_empty());
        assert_eq!(plan.name, "Growth");
    }

    #[test]
    fn a_year_is_paid_in_the_currency_of_the_month() {
        assert_eq!(changed(json!({"price_yearly": 80_000})).unwrap().price_yearly, Some(80_000));
        let money = |currency| changed(json!({"price_yearly": {"amount": 1, "currency": currency}}));
        assert_eq!(money("USD").unwrap().price_yearly, Some(1));
        assert_eq!(money("EUR").unwrap_err().code, "OTHER_CURRENCY");
    }
}
