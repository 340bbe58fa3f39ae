//! How a subscription stands, in words: what the billing page and the dashboard say alike.

use chrono::{DateTime, Utc};

use crate::{
    entitlements::{Entitlements, Facts, LockedReason, Source, Standing},
    plans::Money,
};

/// A subscription, as somebody of its tenant reads of it.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    facts: &'a Facts,
    now: &'a Entitlements,
    /// Whether they are the one to mend what is missing; anybody else is told whom to ask.
    may_pay: bool,
}

fn day(at: DateTime<Utc>) -> String {
    at.format("%-d %B %Y").to_string()
}

impl<'a> Shown<'a> {
    /// For somebody who may pay, or not.
    pub fn new(facts: &'a Facts, now: &'a Entitlements, may_pay: bool) -> Self {
        Self { facts, now, may_pay }
    }

    /// The plan's own name, whatever holds now.
    pub fn plan(&self) -> &'a str {
        &self.facts.billed.plan_name
    }

    /// How it stands, as a pill's state and words.
    pub fn pill(&self) -> (&'static str, &'static str) {
        match self.now.standing {
            Standing::Locked { reason, .. } => match reason {
                LockedReason::TrialEnded => ("pending", "Trial ended"),
                LockedReason::PastDue => ("failed", "Payment missing"),
                LockedReason::Canceled => ("pending", "Ended"),
                LockedReason::PaymentPending | LockedReason::Incomplete => ("pending", "Waits for its payment"),
            },
            Standing::Entitled { source: Source::Trial, .. } => ("complete", "Free trial"),
            Standing::Entitled { source: Source::Grace, .. } => ("failed", "Payment missing"),
            Standing::Entitled { source: Source::Complimentary, .. } => ("complete", "With our compliments"),
            Standing::Entitled { until: Some(_), .. } => ("pending", "Ends with its period"),
            Standing::Entitled { .. } => ("complete", "Active"),
        }
    }

    /// What holds until when, why, and what is to be done about it.
    pub fn says(&self) -> String {
        match self.now.standing {
            Standing::Locked { reason, since } => {
                let (why, todo) = (self.why(reason, since), self.todo(reason));
                format!("{why} {todo} Until then the limits of the free plan hold; nothing is lost.")
            }
            Standing::Entitled { source: Source::Trial, until: Some(end) } => {
                let (end, plan, rate) = (day(end), self.plan(), self.rate());
                format!("Free until {end}, and nothing is charged by itself. After that {plan} is {rate}.")
            }
            Standing::Entitled { source: Source::Trial, until: None } => "Free while the trial lasts.".to_owned(),
            Standing::Entitled { source: Source::Grace, until } => {
                let (why, todo) = (self.why(LockedReason::PastDue, None), self.todo(LockedReason::PastDue));
                let from = until.map(|end| format!(" From {} on the limits of the free plan hold.", day(end)));
                format!("{why} {todo}{}", from.unwrap_or_default())
            }
            Standing::Entitled { source: Source::Complimentary, .. } => "It costs you nothing.".to_owned(),
            Standing::Entitled { until: Some(end), .. } => {
                format!("It is paid for until {}, and ends then.", day(end))
            }
            Standing::Entitled { .. } if self.price().amount == 0 => "Free, for as long as you like.".to_owned(),
            Standing::Entitled { .. } => match self.facts.terms.current_period_end {
                Some(end) => format!("{}; it goes on after {}.", self.rate(), day(end)),
                None => format!("{}.", self.rate()),
            },
        }
    }

    fn why(&self, reason: LockedReason, since: Option<DateTime<Utc>>) -> String {
        let dated = |what: &str, since: Option<DateTime<Utc>>, undated: &str| match since {
            Some(since) => format!("{what} {}.", day(since)),
            None => undated.to_owned(),
        };
        match reason {
            LockedReason::TrialEnded => dated("The trial ended on", since, "The trial has ended."),
            LockedReason::PastDue => {
                dated("A payment is missing since", self.facts.terms.past_due_since, "A payment is missing.")
            }
            LockedReason::Canceled => dated("The subscription ended on", since, "The subscription has ended."),
            LockedReason::PaymentPending => "The first invoice has not been paid yet.".to_owned(),
            LockedReason::Incomplete => "The first payment has not been made yet.".to_owned(),
        }
    }

    fn todo(&self, reason: LockedReason) -> &'static str {
        match (reason, self.may_pay) {
            (LockedReason::TrialEnded | LockedReason::Canceled, true) => "Choose a plan to go on.",
            (LockedReason::TrialEnded | LockedReason::Canceled, false) => "Ask the owner to choose a plan.",
            (LockedReason::PastDue | LockedReason::PaymentPending, true) => "Pay it to go on.",
            (LockedReason::PastDue | LockedReason::PaymentPending, false) => "Ask the owner to pay it.",
            (LockedReason::Incomplete, true) => "Choose a plan and pay for it to go on.",
            (LockedReason::Incomplete, false) => "Ask the owner to make it.",
        }
    }

    /// What the way to the billing page is called, where something is to be done there by whoever looks.
    pub fn action(&self) -> Option<&'static str> {
        let action = match self.now.standing {
            Standing::Locked { reason, .. } => match reason {
                LockedReason::TrialEnded | LockedReason::Canceled | LockedReason::Incomplete => "Choose a plan",
                LockedReason::PastDue => "See what is open",
                LockedReason::PaymentPending => "See the invoice",
            },
            Standing::Entitled { source: Source::Grace, .. } => "See what is open",
            Standing::Entitled { .. } => return None,
        };
        Some(action).filter(|_| self.may_pay)
    }

    /// What an interval of the subscription costs.
    pub fn price(&self) -> Money {
        let billed = &self.facts.billed;
        let yearly = billed.yearly_amount.filter(|_| billed.billing_interval == "year");
        Money { amount: yearly.unwrap_or(billed.price_amount), currency: billed.price_currency.clone() }
    }

    /// `79 USD a month`.
    pub fn rate(&self) -> String {
        format!("{} a {}", self.price(), self.facts.billed.billing_interval)
    }
}
