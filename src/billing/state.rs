//! `billing/state`: what a tenant is on, what it may do, and why, in one answer.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use url::Url;
use utoipa::ToSchema;

use crate::{
    entitlements::{Entitlements, Facts, Feature, Limit, LockedReason, Source, Standing, Status, guard},
    plans::Money,
};

/// All that a tenant's application needs to know of plan, limits, features and credits.
#[derive(Serialize, ToSchema)]
pub struct BillingState {
    subscription: Subscribed,
    /// The plan that holds now: the subscription's own, or `free` where that has lapsed.
    effective_plan: String,
    /// Every limit by name, with how much of it is used.
    limits: BTreeMap<String, Limit>,
    /// Every feature flag by name.
    features: BTreeMap<String, bool>,
    explain: Explained,
    credits: Credits,
    billing: Billing,
    urls: Urls,
}

/// The subscription.
#[derive(Serialize, ToSchema)]
#[schema(as = BilledSubscription)]
struct Subscribed {
    status: Status,
    /// Its plan's slug.
    plan: String,
    /// `month` or `year`.
    interval: String,
    trial_ends_at: Option<DateTime<Utc>>,
    current_period_start: DateTime<Utc>,
    current_period_end: Option<DateTime<Utc>>,
    cancel_at_period_end: bool,
    /// Whether it gives its plan now.
    entitled: bool,
    /// Why it does not.
    locked_reason: Option<LockedReason>,
    /// Since when it does not.
    ended_at: Option<DateTime<Utc>>,
}

/// Where each answer comes from, and until when it holds.
#[derive(Serialize, ToSchema)]
struct Explained {
    plan: PlanExplained,
    /// Every feature flag by name; limits carry theirs with them.
    features: BTreeMap<String, Feature>,
}

/// Why the effective plan holds.
#[derive(Serialize, ToSchema)]
struct PlanExplained {
    source: Source,
    /// Until when, as things stand.
    until: Option<DateTime<Utc>>,
}

/// The credits that are left.
#[derive(Serialize, ToSchema)]
#[schema(as = CreditBalance)]
struct Credits {
    balance: i64,
}

/// Where invoices go, and how they are paid.
#[derive(Serialize, ToSchema)]
struct Billing {
    email: String,
    payment_method: Option<PaymentMethod>,
    prices: Prices,
}

/// The payment method.
#[derive(Serialize, ToSchema)]
struct PaymentMethod {
    /// `bank_transfer` or `stripe`.
    #[serde(rename = "type")]
    method: String,
    /// The card's brand.
    brand: Option<String>,
    /// Its last four digits.
    last4: Option<String>,
    /// The month that it expires in.
    exp_month: Option<i64>,
    /// The year that it expires in.
    exp_year: Option<i64>,
}

/// What the subscription's plan costs now.
#[derive(Serialize, ToSchema)]
struct Prices {
    month: Money,
    /// Null where it is not sold by the year.
    year: Option<Money>,
}

/// Pages for people.
#[derive(Serialize, ToSchema)]
struct Urls {
    #[schema(value_type = String)]
    billing: Url,
    #[schema(value_type = String)]
    pricing: Url,
    #[schema(value_type = String)]
    contact_sales: Url,
}

impl BillingState {
    /// The answer for these facts.
    pub fn of(facts: &Facts, now: &Entitlements, public_url: &Url) -> Self {
        let (terms, billed) = (&facts.terms, &facts.billed);
        let (locked_reason, ended_at, plan) = match now.standing {
            Standing::Entitled { source, until } => (None, None, PlanExplained { source, until }),
            Standing::Locked { reason, since } => {
                (Some(reason), since, PlanExplained { source: Source::Lapsed, until: None })
            }
        };
        let money = |amount| Money { amount, currency: billed.price_currency.clone() };
        let page = |path: &str| {
            let mut url = public_url.clone();
            url.set_path(path);
            url
        };
        Self {
            subscription: Subscribed {
                status: terms.status,
                plan: facts.plan.slug.clone(),
                interval: billed.billing_interval.clone(),
                trial_ends_at: terms.trial_ends_at,
                current_period_start: terms.current_period_start,
                current_period_end: terms.current_period_end,
                cancel_at_period_end: terms.cancel_at_period_end,
                entitled: now.standing.is_entitled(),
                locked_reason,
                ended_at,
            },
            effective_plan: now.effective_plan.clone(),
            limits: now.limits.clone(),
            features: now.features.iter().map(|(flag, feature)| (flag.clone(), feature.enabled)).collect(),
            explain: Explained { plan, features: now.features.clone() },
            credits: Credits { balance: facts.credits },
            billing: Billing {
                email: billed.billing_email.clone(),
                payment_method: billed.method_type.clone().map(|method| PaymentMethod {
                    method,
                    brand: billed.brand.clone(),
                    last4: billed.last4.clone(),
                    exp_month: billed.exp_month,
                    exp_year: billed.exp_year,
                }),
                prices: Prices { month: money(billed.price_amount), year: billed.yearly_amount.map(money) },
            },
            urls: Urls {
                billing: guard::billing_url(public_url),
                pricing: page("/pricing"),
                contact_sales: page("/contact-sales"),
            },
        }
    }
}
