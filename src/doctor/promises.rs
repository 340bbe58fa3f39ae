//! What the pages promise, against what the database grants and the configuration can do.

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait, DbErr};

use crate::{
    config::Config,
    plans::{Book, Plan, currency, pages::SHOWN_LIMITS},
    provisioning::{Blueprint, StepName},
};

/// What of the configuration promises rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Means {
    /// Whether plans are sold through the real Stripe.
    pub stripe: bool,
    /// `billing.trial_days`, which stands in for the plans' own.
    pub trial_days: Option<i64>,
    /// Whether invoices say where to pay them; in development nobody has to.
    pub bank: bool,
    /// Whether they say who issues them.
    pub issuer: bool,
}

impl Means {
    /// As it is configured.
    pub fn of(config: &Config) -> Self {
        let stripe = !config.billing.sandbox && config.stripe.secret_key.is_some();
        let is_said = |lines: &[String]| config.environment.is_development() || !lines.is_empty();
        let (bank, issuer) = (is_said(&config.billing.bank_details), is_said(&config.billing.issuer));
        Self { stripe, trial_days: config.billing.trial_days, bank, issuer }
    }
}

/// The promises that do not hold, each in a sentence for the operator.
pub async fn broken(db: &impl ConnectionTrait, config: &Config) -> Result<Vec<String>, DbErr> {
    Ok(against(&Book::read(db).await?, Means::of(config)))
}

/// What a plan's step makes is of no use without the feature of this name.
const NEEDS: [(StepName, &str); 2] =
    [(StepName::DeployAutomations, "automations"), (StepName::DeployAppsScript, "apps_script")];

fn against(book: &Book, means: Means) -> Vec<String> {
    let mut broken = Vec::new();
    let public: Vec<_> = book.in_order().into_iter().filter(|(_, plan)| plan.is_public).collect();
    let mut promised: BTreeSet<&str> = SHOWN_LIMITS.into();
    promised.extend(public.iter().flat_map(|(_, plan)| plan.limits.keys().map(String::as_str)));
    let sold: Vec<_> = public.iter().copied().filter(|(_, plan)| is_sold(plan)).collect();
    let currencies: BTreeSet<_> = sold.iter().map(|(_, plan)| plan.currency.as_str()).collect();
    if currencies.len() > 1 {
        let listed = currencies.into_iter().collect::<Vec<_>>().join(", ");
        broken.push(format!("the pricing page shows prices in several currencies: {listed}"));
    }
    if !sold.is_empty() {
        let unsaid = [
            (means.bank, "billing.bank_details", "where to pay them"),
            (means.issuer, "billing.issuer", "who issues them"),
        ];
        let unsaid = unsaid.into_iter().filter(|(is_said, ..)| !is_said);
        broken.extend(unsaid.map(|(_, key, what)| {
            format!("plans can be paid by bank transfer, but {key} is not set: invoices do not say {what}")
        }));
    }
    for (slug, plan) in &public {
        for name in promised.iter().filter(|name| !plan.limits.contains_key(**name)) {
            broken.push(format!("plan {slug} is public and has no limit {name}, which others have"));
        }
        if currency(&plan.currency).is_none() {
            broken.push(format!("plan {slug} has a price in {}, which is no currency of ISO 4217", plan.currency));
        }
    }
    for (slug, plan) in sold {
        broken.extend(unsold(slug, plan, means));
        if let Some(days) = means.trial_days.filter(|days| *days != plan.trial_days) {
            let own = plan.trial_days;
            broken.push(format!("plan {slug} has {own} days of trial, but billing.trial_days gives everybody {days}"));
        }
    }
    // Hidden plans too: a tenant can be put on one.
    for (slug, plan) in book.in_order() {
        broken.extend(unusable(book, slug, plan));
    }
    broken
}

/// Whether people can buy it by themselves.
fn is_sold(plan: &Plan) -> bool {
    plan.price > 0 && !plan.contact_sales
}

/// Intervals that are offered and cannot be bought.
fn unsold(slug: &str, plan: &Plan, means: Means) -> Vec<String> {
    let monthly = (plan.interval == "month", "month", &plan.stripe_price_monthly);
    let yearly = (plan.interval == "year" || plan.price_yearly.is_some(), "year", &plan.stripe_price_yearly);
    let missing =
        [monthly, yearly].into_iter().filter(|(offered, _, price)| means.stripe && *offered && price.is_none());
    missing
        .map(|(_, interval, _)| format!("plan {slug} is sold by the {interval}, but has no price of Stripe's for it"))
        .collect()
}

/// What a run would stumble over, or make for nothing.
fn unusable(book: &Book, slug: &str, plan: &Plan) -> Vec<String> {
    let blueprint = match Blueprint::check(&plan.blueprint) {
        Ok(blueprint) => blueprint,
        Err(fault) => return vec![format!("plan {slug} has a blueprint that no run can follow: {fault}")],
    };
    let default = |flag: &str| book.flags.get(flag).is_some_and(|flag| flag.enabled);
    let is_on = |flag: &str| plan.features.get(flag).copied().unwrap_or_else(|| default(flag));
    let wasted = NEEDS.iter().filter(|(step, flag)| blueprint.steps.contains(step) && !is_on(flag));
    wasted
        .map(|(step, flag)| format!("plan {slug} has the step {}, but nothing grants it {flag}", step.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const MEANS: Means = Means { stripe: false, trial_days: None, bank: true, issuer: true };

    fn plan(position: i64) -> Value {
        json!({
            "name": "Plan", "description": "For teams", "price": 7_900, "price_yearly": 79_000, "currency": "USD", "interval": "month",
            "included_credits": 20_000, "trial_days": 14, "is_public": true, "contact_sales": false, "position": position,
            "stripe_price_monthly": "price_m", "stripe_price_yearly": "price_y",
            "limits": {"max_users": 10, "max_sites": 0, "max_sectors_per_site": 0}, "features": {"automations": true},
            "blueprint": {"steps": ["deploy_automations"]},
        })
    }

    /// What is broken when this is set in a book in order.
    fn told(path: &str, value: Value, means: Means) -> Vec<String> {
        let flag = json!({"description": "A feature", "enabled": false});
        let mut book = json!({"flags": {"automations": flag}, "plans": {"growth": plan(1), "pro": plan(2)}});
        if !path.is_empty() {
            *book.pointer_mut(path).unwrap() = value;
        }
        against(&serde_json::from_value(book).unwrap(), means)
    }

    #[test]
    fn plans_in_order_break_no_promise() {
        let stripe = Means { stripe: true, trial_days: Some(14), ..MEANS };
        assert!(told("", Value::Null, MEANS).is_empty());
        assert!(told("", Value::Null, stripe).is_empty());
    }

    #[test]
    fn each_promise_that_does_not_hold_is_told_once() {
        let stripe = Means { stripe: true, ..MEANS };
        for (path, value, means, expected) in [
            (
                "/plans/pro/limits",
                json!({"max_users": 1, "max_sectors_per_site": 0}),
                MEANS,
                "plan pro is public and has no limit max_sites",
            ),
            (
                "/plans/pro/limits/max_users",
                json!(1),
                Means { trial_days: Some(7), ..MEANS },
                "plan growth has 14 days of trial",
            ),
            ("/plans/pro/currency", json!("EUR"), MEANS, "several currencies: EUR, USD"),
            (
                "/plans/pro/stripe_price_monthly",
                Value::Null,
                stripe,
                "plan pro is sold by the month, but has no price of Stripe's",
            ),
            (
                "/plans/pro/stripe_price_yearly",
                Value::Null,
                stripe,
                "plan pro is sold by the year, but has no price of Stripe's",
            ),
            (
                "/plans/pro/blueprint",
                json!({"steps": ["make_coffee"]}),
                MEANS,
                "plan pro has a blueprint that no run can follow",
            ),
            (
                "/plans/pro/features",
                json!({}),
                MEANS,
                "plan pro has the step deploy_automations, but nothing grants it automations",
            ),
        ] {
            let told = told(path, value, means);
            assert!(told[0].contains(expected), "{told:?}");
            // Trial days are those of every plan.
            assert_eq!(told.len(), if means.trial_days.is_some() { 2 } else { 1 }, "{told:?}");
        }
    }

    #[test]
    fn invoices_that_do_not_say_where_to_pay_are_told() {
        let told = told("", Value::Null, Means { bank: false, issuer: false, ..MEANS });
        assert!(
            told.len() == 2 && told[0].contains("billing.bank_details") && told[1].contains("billing.issuer"),
            "{told:?}"
        );
    }

    #[test]
    fn what_is_hidden_free_or_sold_by_people_needs_no_price_at_stripe() {
        let stripe = Means { stripe: true, trial_days: Some(7), ..MEANS };
        for (name, value) in [("is_public", json!(false)), ("contact_sales", json!(true)), ("price", json!(0))] {
            let mut pro = plan(2);
            pro[name] = value;
            pro["stripe_price_monthly"] = Value::Null;
            let told = told("/plans/pro", pro, stripe);
            assert!(told.iter().all(|line| line.contains("growth")), "{told:?}");
        }
    }
}
