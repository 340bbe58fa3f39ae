use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use super::{
    facts::{Billed, Grants, Override},
    *,
};

const GRACE: TimeDelta = TimeDelta::days(7);

fn day(day: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000 + day)
}

fn grants(slug: &str, users: i64, automations: Option<bool>) -> Grants {
    Grants {
        slug: slug.into(),
        limits: [("max_users".to_owned(), users)].into(),
        features: automations.map(|enabled| ("automations".to_owned(), enabled)).into_iter().collect(),
    }
}

fn pro(status: Status) -> Facts {
    Facts {
        terms: Terms {
            status,
            trial_ends_at: None,
            current_period_start: day(0),
            current_period_end: Some(day(30)),
            cancel_at_period_end: false,
            past_due_since: None,
        },
        plan: grants("pro", 25, Some(true)),
        free: Some(grants("free", 1, Some(false))),
        flags: [("automations".to_owned(), false), ("beta".to_owned(), false)].into(),
        overrides: BTreeMap::new(),
        usage: [("max_users".to_owned(), 3)].into(),
        credits: 0,
        billed: Billed {
            plan_name: "Pro".into(),
            price_amount: 14_900,
            price_currency: "USD".into(),
            yearly_amount: None,
            billing_interval: "month".into(),
            billing_email: "ada@example.com".into(),
            method_type: None,
            brand: None,
            last4: None,
            exp_month: None,
            exp_year: None,
        },
    }
}

fn at(facts: &Facts, now: DateTime<Utc>) -> Entitlements {
    resolve(facts, now, GRACE)
}

#[test]
fn each_status_gives_its_plan_as_long_as_the_contract_says() {
    let second = TimeDelta::seconds(1);
    let trial =
        Facts { terms: Terms { trial_ends_at: Some(day(14)), ..pro(Status::Trialing).terms }, ..pro(Status::Trialing) };
    let late =
        Facts { terms: Terms { past_due_since: Some(day(30)), ..pro(Status::PastDue).terms }, ..pro(Status::PastDue) };
    let leaving =
        Facts { terms: Terms { cancel_at_period_end: true, ..pro(Status::Active).terms }, ..pro(Status::Active) };
    for (facts, end, source, reason) in [
        (trial, day(14), Source::Trial, LockedReason::TrialEnded),
        (late, day(37), Source::Grace, LockedReason::PastDue),
        (leaving, day(30), Source::Plan, LockedReason::Canceled),
        (pro(Status::Canceled), day(30), Source::Plan, LockedReason::Canceled),
    ] {
        let before = at(&facts, end - second);
        assert_eq!(before.standing, Standing::Entitled { source, until: Some(end) });
        assert_eq!((before.effective_plan.as_str(), before.limits["max_users"].limit), ("pro", 25));
        let after = at(&facts, end);
        assert_eq!(after.standing, Standing::Locked { reason, since: Some(end) });
        assert_eq!((after.effective_plan.as_str(), after.limits["max_users"].limit), ("free", 1));
        assert_eq!(after.limits["max_users"].source, Source::Lapsed);
        assert!(!after.features["automations"].enabled);
    }
    for (status, source) in [(Status::Active, Source::Plan), (Status::Complimentary, Source::Complimentary)] {
        assert_eq!(at(&pro(status), day(9_999)).standing, Standing::Entitled { source, until: None });
    }
    for (status, reason) in
        [(Status::PendingPayment, LockedReason::PaymentPending), (Status::Incomplete, LockedReason::Incomplete)]
    {
        assert_eq!(at(&pro(status), day(1)).standing, Standing::Locked { reason, since: None });
    }
}

#[test]
fn an_override_goes_before_the_plan_while_it_lasts_and_a_default_comes_last() {
    let mut facts = pro(Status::Active);
    let feature = |facts: &Facts, flag: &str, now| at(facts, now).features[flag];
    assert_eq!(feature(&facts, "automations", day(1)).source, Source::Plan);
    assert_eq!(feature(&facts, "beta", day(1)), Feature { enabled: false, source: Source::Default, until: None });
    facts.overrides.insert("automations".into(), Override { enabled: false, expires_at: Some(day(5)) });
    facts.overrides.insert("beta".into(), Override { enabled: true, expires_at: None });
    assert_eq!(
        feature(&facts, "automations", day(4)),
        Feature { enabled: false, source: Source::Override, until: Some(day(5)) }
    );
    assert!(feature(&facts, "automations", day(5)).enabled);
    assert_eq!(feature(&facts, "beta", day(5)), Feature { enabled: true, source: Source::Override, until: None });
    facts.terms.status = Status::Incomplete;
    assert!(feature(&facts, "beta", day(5)).enabled, "what the operator gives does not lapse");
}

#[test]
fn nothing_is_unlimited_by_accident() {
    let mut facts = pro(Status::Incomplete);
    facts.free = None;
    let now = at(&facts, day(1));
    assert_eq!(now.limits["max_users"].limit, 1);
    assert!(!now.limits["max_users"].has_room_for(1));
    assert!(!now.features["automations"].enabled);
    let unlimited = Limit { limit: 0, used: i64::MAX, source: Source::Plan, until: None };
    assert!(unlimited.has_room_for(1));
    let full = Limit { limit: i64::MAX, used: i64::MAX, source: Source::Plan, until: None };
    assert!(!full.has_room_for(1), "and nothing overflows");
}

fn any_terms() -> impl Strategy<Value = Terms> {
    let status = prop_oneof![
        Just(Status::Trialing),
        Just(Status::Active),
        Just(Status::PastDue),
        Just(Status::Canceled),
        Just(Status::PendingPayment),
        Just(Status::Incomplete),
        Just(Status::Complimentary),
    ];
    let moment = || proptest::option::of((-60_i64..60).prop_map(day));
    (status, moment(), -60_i64..60, moment(), any::<bool>(), moment()).prop_map(
        |(status, trial_ends_at, start, current_period_end, cancel_at_period_end, past_due_since)| Terms {
            status,
            trial_ends_at,
            current_period_start: day(start),
            current_period_end,
            cancel_at_period_end,
            past_due_since,
        },
    )
}

proptest! {
    /// Over all statuses and dates: what is not entitled is on the free plan and says why; what is, is on its own and says until when; and
    /// the moment named is the moment that it changes.
    #[test]
    fn every_answer_explains_itself_and_holds_until_it_says(terms in any_terms(), now in -90_i64..90, grace in 0_i64..30) {
        let facts = Facts { terms, ..pro(terms.status) };
        let (now, grace) = (day(now), TimeDelta::days(grace));
        let answer = resolve(&facts, now, grace);
        match answer.standing {
            Standing::Entitled { source, until } => {
                prop_assert_eq!(&answer.effective_plan, "pro");
                prop_assert!(answer.features["automations"].enabled);
                prop_assert_eq!((answer.limits["max_users"].source, answer.limits["max_users"].until), (source, until));
                if let Some(until) = until {
                    prop_assert!(until > now);
                    let moment_before = until - TimeDelta::microseconds(1);
                    prop_assert_eq!(resolve(&facts, moment_before, grace).standing, answer.standing);
                    let lapsed = resolve(&facts, until, grace);
                    prop_assert!(!lapsed.standing.is_entitled());
                } else {
                    prop_assert!(resolve(&facts, day(100_000), grace).standing.is_entitled());
                }
            }
            Standing::Locked { since, .. } => {
                prop_assert_eq!(&answer.effective_plan, "free");
                prop_assert_eq!(answer.limits["max_users"].limit, 1);
                prop_assert!(since.is_none_or(|since| since <= now));
                prop_assert!(!resolve(&facts, day(100_000), grace).standing.is_entitled(), "nothing comes back by itself");
            }
        }
    }

    /// More grace never takes anything away, and time never gives anything back.
    #[test]
    fn grace_only_gives_and_time_only_takes(terms in any_terms(), now in -90_i64..90, later in 0_i64..90, grace in 0_i64..30, more in 0_i64..30) {
        let entitled = |now, grace| terms.standing(day(now), TimeDelta::days(grace)).is_entitled();
        prop_assert!(!entitled(now, grace) || entitled(now, grace + more));
        prop_assert!(!entitled(now + later, grace) || entitled(now, grace));
    }
}
