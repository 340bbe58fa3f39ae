//! The rules.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Entitlements, FREE, Facts, Feature, Limit, LockedReason, Source, Standing, Status, Terms};

impl Terms {
    /// Whether the subscription gives its plan at a moment. `grace` is how long one that is past due still does.
    pub fn standing(&self, now: DateTime<Utc>, grace: TimeDelta) -> Standing {
        let ends = |at: DateTime<Utc>, source, reason| {
            if at > now {
                Standing::Entitled { source, until: Some(at) }
            } else {
                Standing::Locked { reason, since: Some(at) }
            }
        };
        let never = |reason| Standing::Locked { reason, since: None };
        match (self.status, self.trial_ends_at, self.current_period_end) {
            (Status::Trialing, Some(end), _) => ends(end, Source::Trial, LockedReason::TrialEnded),
            (Status::Trialing, None, _) => Standing::Entitled { source: Source::Trial, until: None },
            // Nobody has to write anything down when the period is over.
            (Status::Active, _, Some(end)) if self.cancel_at_period_end => {
                ends(end, Source::Plan, LockedReason::Canceled)
            }
            (Status::Active, ..) => Standing::Entitled { source: Source::Plan, until: None },
            (Status::Complimentary, ..) => Standing::Entitled { source: Source::Complimentary, until: None },
            (Status::PastDue, ..) => {
                let since = self.past_due_since.unwrap_or(self.current_period_start);
                let end = since.checked_add_signed(grace).unwrap_or(DateTime::<Utc>::MAX_UTC);
                ends(end, Source::Grace, LockedReason::PastDue)
            }
            (Status::Canceled, _, Some(end)) => ends(end, Source::Plan, LockedReason::Canceled),
            (Status::Canceled, _, None) => never(LockedReason::Canceled),
            (Status::PendingPayment, ..) => never(LockedReason::PaymentPending),
            (Status::Incomplete, ..) => never(LockedReason::Incomplete),
        }
    }
}

/// What a tenant may do at a moment.
///
/// A limit is the plan's, and unlimited where the plan names none. A flag is the override's while that lasts, else the plan's, else its default
/// (B9). Where the subscription gives nothing, the free plan takes the plan's place; where there is no free plan, nothing is left.
pub fn resolve(facts: &Facts, now: DateTime<Utc>, grace: TimeDelta) -> Entitlements {
    let standing = facts.terms.standing(now, grace);
    let (grants, source, until) = match standing {
        Standing::Entitled { source, until } => (Some(&facts.plan), source, until),
        Standing::Locked { .. } => (facts.free.as_ref(), Source::Lapsed, None),
    };
    let names = facts.plan.limits.keys().chain(grants.iter().flat_map(|grants| grants.limits.keys()));
    let limits = names.map(|name| {
        let limit = match grants {
            Some(grants) => grants.limits.get(name).copied().unwrap_or(0),
            // One is the least that can be said: 0 is unlimited.
            None => 1,
        };
        let used = facts.usage.get(name).copied().unwrap_or(0);
        (name.clone(), Limit { limit, used, source, until })
    });
    let limits: BTreeMap<_, _> = limits.collect();
    let features = facts.flags.iter().map(|(flag, default)| {
        let own = facts.overrides.get(flag).filter(|own| own.expires_at.is_none_or(|end| end > now));
        let by_plan = grants.and_then(|grants| grants.features.get(flag));
        let feature = match (own, by_plan) {
            (Some(own), _) => Feature { enabled: own.enabled, source: Source::Override, until: own.expires_at },
            (None, Some(enabled)) => Feature { enabled: *enabled, source, until },
            (None, None) => Feature { enabled: *default, source: Source::Default, until: None },
        };
        (flag.clone(), feature)
    });
    let effective_plan = if standing.is_entitled() { facts.plan.slug.clone() } else { FREE.to_owned() };
    Entitlements { standing, effective_plan, limits, features: features.collect() }
}
