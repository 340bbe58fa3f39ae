//! What a tenant could be on, and the ways that lead there from where it is.

use crate::{
    billing::stripe::Interval,
    entitlements::{Entitlements, Facts, LockedReason, Source, Standing},
    plans::{Money, PlanView},
};

/// A plan by the month or by the year.
pub(super) struct Offer {
    pub plan: PlanView,
    pub interval: Interval,
    /// What that interval costs.
    pub price: Money,
    /// What the other one costs, where the plan is sold by both.
    pub other: Option<(Interval, Money)>,
    pub way: Way,
}

/// How a tenant gets on a plan.
pub(super) enum Way {
    /// It is on it.
    Mine,
    /// It changes what it has, after a look at what that means.
    Change,
    /// It buys: by card, or against an invoice.
    Buy { by_card: bool, by_bank: bool },
}

/// Whom offers are for.
pub(super) struct Buyer<'a> {
    pub facts: &'a Facts,
    pub now: &'a Entitlements,
    pub takes_cards: bool,
    /// Whether a subscription at Stripe pays now.
    pub pays_by_card: bool,
}

/// How a plan is paid: as it is asked for where it is sold so, and otherwise as it is.
fn priced(plan: &PlanView, asked: Interval) -> (Interval, Money) {
    let own = Interval::parse(&plan.interval).unwrap_or(Interval::Month);
    match &plan.price_yearly {
        Some(yearly) if asked == Interval::Year && own == Interval::Month => (Interval::Year, yearly.clone()),
        _ => (own, plan.price.clone()),
    }
}

impl Offer {
    pub fn of(plan: PlanView, asked: Interval, buyer: &Buyer<'_>) -> Self {
        let (interval, price) = priced(&plan, asked);
        let others = [Interval::Month, Interval::Year].map(|other| priced(&plan, other));
        let other = others.into_iter().find(|(other, price)| *other != interval && price.amount > 0);
        let way = buyer.way(&plan, interval);
        Self { plan, interval, price, other, way }
    }

    pub fn is_free(&self) -> bool {
        self.plan.price.amount == 0
    }
}

impl Buyer<'_> {
    fn way(&self, plan: &PlanView, interval: Interval) -> Way {
        let is_own = plan.slug == self.facts.plan.slug;
        let is_as_paid = plan.price.amount == 0 || self.facts.billed.billing_interval == interval.as_str();
        match self.now.standing {
            Standing::Entitled { source: Source::Complimentary, .. } if is_own => Way::Mine,
            Standing::Entitled { source, .. } if is_own && is_as_paid && source != Source::Trial => Way::Mine,
            _ if self.pays_by_card || plan.price.amount == 0 => Way::Change,
            // Its invoice is open already.
            Standing::Locked { reason: LockedReason::PaymentPending, .. } if is_own && is_as_paid => {
                Way::Buy { by_card: self.takes_cards, by_bank: false }
            }
            _ => Way::Buy { by_card: self.takes_cards, by_bank: true },
        }
    }
}
