//! What would change if one book of plans took another's place, and for whom.

use std::{cmp::Ordering, collections::BTreeMap, fmt::Write};

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Book, Money, Plan, book::FlagEntry, plan::reach};

/// Something that is said now, and then; null is not said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// Now.
    pub before: Option<Value>,
    /// Then.
    pub after: Option<Value>,
}

/// Facts that differ, by name.
pub type Facts = BTreeMap<String, Fact>;

/// What a change is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A plan.
    Plan,
    /// A feature flag.
    Flag,
}

/// A plan or a flag that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// Which of both.
    pub kind: Kind,
    /// The plan's slug, or the flag's name.
    pub name: String,
    /// Whether there is none of it yet.
    pub is_new: bool,
    /// What differs.
    pub facts: Facts,
}

/// What a change means to the tenants of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Effect {
    /// The plan's slug.
    pub plan: String,
    /// What they gain or lose.
    #[serde(flatten)]
    pub what: What,
    /// Gain, rather than lose.
    pub is_gain: bool,
}

/// What can be gained or lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What {
    /// How many of something; 0 and null are unlimited.
    Limit {
        /// The limit's name.
        name: String,
        /// Now.
        before: Option<i64>,
        /// Then.
        after: Option<i64>,
    },
    /// Something that is on or off.
    Feature {
        /// The flag's name.
        flag: String,
    },
    /// Credits that come with each month.
    Credits {
        /// Now.
        before: i64,
        /// Then.
        after: i64,
    },
    /// What it costs; null is not sold so.
    Price {
        /// `month` or `year`.
        interval: &'static str,
        /// Now.
        before: Option<Money>,
        /// Then.
        after: Option<Money>,
    },
}

/// All that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Flags, then plans.
    pub changes: Vec<Changed>,
    /// What that means to tenants.
    pub effects: Vec<Effect>,
    /// Plans that the new book does not name. They stay.
    pub unlisted_plans: Vec<String>,
    /// Flags that the new book does not name. They stay.
    pub unlisted_flags: Vec<String>,
}

impl Diff {
    /// What changes when `after` is laid over `before`.
    pub fn between(before: &Book, after: &Book) -> Self {
        let mut changes = Vec::new();
        for (name, flag) in &after.flags {
            let known = before.flags.get(name);
            changes.extend(changed(Kind::Flag, name, known.map(flag_facts), &flag_facts(flag)));
        }
        for (slug, plan) in after.in_order() {
            let known = before.plans.get(slug);
            changes.extend(changed(Kind::Plan, slug, known.map(Plan::facts), &plan.facts()));
        }
        let then = after.over(before);
        // A new plan has no tenants yet.
        let plans = before.in_order().into_iter().filter_map(|(slug, plan)| Some((slug, plan, then.plans.get(slug)?)));
        let effects = plans.flat_map(|(slug, now, new)| effects(before, &then, slug, now, new)).collect();
        let unlisted = |there: Vec<&String>| there.into_iter().cloned().collect();
        Self {
            changes,
            effects,
            unlisted_plans: unlisted(before.plans.keys().filter(|slug| !after.plans.contains_key(*slug)).collect()),
            unlisted_flags: unlisted(before.flags.keys().filter(|name| !after.flags.contains_key(*name)).collect()),
        }
    }

    /// Names these changes and no others: whoever agreed to them agreed to nothing else.
    pub fn digest(&self) -> String {
        let text = serde_json::to_string(&self.changes).unwrap_or_default();
        Sha256::digest(text)[..8].iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

/// What differs between two sets of facts.
pub fn differing(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> Facts {
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    let fact = |name: &String| Fact { before: before.get(name).cloned(), after: after.get(name).cloned() };
    names.map(|name| (name.clone(), fact(name))).filter(|(_, fact)| fact.before != fact.after).collect()
}

/// What is said of a flag.
pub(super) fn flag_facts(flag: &FlagEntry) -> BTreeMap<String, Value> {
    [("description", Value::from(flag.description.clone())), ("enabled", flag.enabled.into())]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

fn changed(
    kind: Kind,
    name: &str,
    before: Option<BTreeMap<String, Value>>,
    after: &BTreeMap<String, Value>,
) -> Option<Changed> {
    let is_new = before.is_none();
    let facts = differing(&before.unwrap_or_default(), after);
    (is_new || !facts.is_empty()).then(|| Changed { kind, name: name.to_owned(), is_new, facts })
}

fn effects(before: &Book, after: &Book, slug: &str, now: &Plan, then: &Plan) -> Vec<Effect> {
    let mut effects = Vec::new();
    let mut add = |what, order: Ordering| {
        if order != Ordering::Equal {
            effects.push(Effect { plan: slug.to_owned(), what, is_gain: order == Ordering::Greater });
        }
    };
    for name in now.limits.keys().chain(then.limits.keys().filter(|name| !now.limits.contains_key(*name))) {
        let (before, after) = (now.limits.get(name).copied(), then.limits.get(name).copied());
        add(What::Limit { name: name.clone(), before, after }, reach(after).cmp(&reach(before)));
    }
    for flag in after.flags.keys() {
        let (before, after) = (is_on(before, now, flag), is_on(after, then, flag));
        add(What::Feature { flag: flag.clone() }, after.cmp(&before));
    }
    let (before, after) = (now.included_credits, then.included_credits);
    add(What::Credits { before, after }, after.cmp(&before));
    for interval in ["month", "year"] {
        let (before, after) = (price(now, interval), price(then, interval));
        let order = match (&before, &after) {
            (Some(before), Some(after)) if before.currency == after.currency => before.amount.cmp(&after.amount),
            // Dearer or cheaper cannot be told, and who had a choice has it no longer.
            (Some(before), after) if after.as_ref() != Some(before) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            _ => Ordering::Equal,
        };
        add(What::Price { interval, before, after }, order);
    }
    effects
}

/// Whether a plan has a feature: by its own word, else by the flag's default.
fn is_on(book: &Book, plan: &Plan, flag: &str) -> bool {
    let default = || book.flags.get(flag).is_some_and(|flag| flag.enabled);
    plan.features.get(flag).copied().unwrap_or_else(default)
}

fn price(plan: &Plan, interval: &str) -> Option<Money> {
    if plan.interval == interval {
        Some(plan.money())
    } else {
        plan.price_yearly.filter(|_| interval == "year").map(|amount| plan.of(amount))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan(position: i64) -> Value {
        json!({
            "name": "Plan", "description": "For teams", "price": 7_900, "price_yearly": 79_000, "currency": "USD", "interval": "month",
            "included_credits": 20_000, "trial_days": 14, "is_public": true, "contact_sales": false, "position": position,
            "limits": {"max_users": 10, "max_sites": 0}, "features": {"automations": true}, "blueprint": {"steps": []},
        })
    }

    fn book() -> Value {
        let flag = |enabled: bool| json!({"description": "A feature", "enabled": enabled});
        json!({"flags": {"automations": flag(false), "exports": flag(false)}, "plans": {"growth": plan(1), "pro": plan(2)}})
    }

    /// What changes when this is set in the book.
    fn change(path: &str, value: Value) -> Diff {
        let mut after = book();
        *after.pointer_mut(path).unwrap() = value;
        between(&after)
    }

    fn between(after: &Value) -> Diff {
        let read = |book: &Value| serde_json::from_value::<Book>(book.clone()).unwrap();
        Diff::between(&read(&book()), &read(after))
    }

    fn limit(before: Option<i64>, after: Option<i64>) -> What {
        What::Limit { name: "max_users".into(), before, after }
    }

    #[test]
    fn the_same_book_changes_nothing() {
        let diff = between(&book());
        assert_eq!((diff.changes.len(), diff.effects.len(), diff.unlisted_plans.len()), (0, 0, 0));
    }

    #[test]
    fn a_limit_is_gained_or_lost_and_0_is_the_most() {
        for (after, is_gain) in [(8, Some(false)), (12, Some(true)), (0, Some(true)), (10, None)] {
            let diff = change("/plans/growth/limits/max_users", json!(after));
            let expected =
                is_gain.map(|is_gain| Effect { plan: "growth".into(), what: limit(Some(10), Some(after)), is_gain });
            assert_eq!(diff.effects, expected.into_iter().collect::<Vec<_>>(), "{after}");
        }
        let lost = change("/plans/pro/limits/max_sites", json!(3));
        assert!(!lost.effects[0].is_gain, "from unlimited to three");
        let gone = change("/plans/growth/limits", json!({"max_sites": 0}));
        assert_eq!(gone.effects, [Effect { plan: "growth".into(), what: limit(Some(10), None), is_gain: true }]);
        assert_eq!(gone.changes[0].facts["limits.max_users"], Fact { before: Some(json!(10)), after: None });
    }

    #[test]
    fn a_feature_is_what_the_plan_says_or_else_the_flag() {
        let feature = |plan: &str, flag: &str, is_gain| Effect {
            plan: plan.into(),
            what: What::Feature { flag: flag.into() },
            is_gain,
        };
        assert_eq!(
            change("/plans/pro/features", json!({"automations": false})).effects,
            [feature("pro", "automations", false)]
        );
        assert_eq!(change("/plans/pro/features", json!({})).effects, [feature("pro", "automations", false)]);
        // No plan speaks of exports; both have said themselves that they have automations.
        let on = json!({"description": "A feature", "enabled": true});
        assert_eq!(
            change("/flags/exports", on.clone()).effects,
            [feature("growth", "exports", true), feature("pro", "exports", true)]
        );
        assert_eq!(change("/flags/automations", on).effects, []);
    }

    #[test]
    fn prices_are_compared_by_interval() {
        let usd = |amount| Some(Money { amount, currency: "USD".into() });
        let price = |interval, before, after, is_gain| Effect {
            plan: "growth".into(),
            what: What::Price { interval, before, after },
            is_gain,
        };
        assert_eq!(
            change("/plans/growth/price", json!(8_900)).effects,
            [price("month", usd(7_900), usd(8_900), false)]
        );
        assert_eq!(
            change("/plans/growth/price_yearly", json!(70_000)).effects,
            [price("year", usd(79_000), usd(70_000), true)]
        );
        assert_eq!(
            change("/plans/growth/price_yearly", Value::Null).effects,
            [price("year", usd(79_000), None, false)]
        );
        let other = change("/plans/growth/currency", json!("EUR")).effects;
        assert!(other.len() == 2 && other.iter().all(|effect| !effect.is_gain), "{other:?}");
    }

    #[test]
    fn a_new_plan_has_nobody_and_one_that_is_not_listed_stays() {
        let mut after = book();
        after["plans"] = json!({"growth": plan(1), "team": plan(3)});
        let diff = between(&after);
        assert_eq!(diff.unlisted_plans, ["pro"]);
        assert_eq!((diff.changes.len(), diff.changes[0].is_new, diff.changes[0].name.as_str()), (1, true, "team"));
        assert_eq!(diff.changes[0].facts["limits.max_users"], Fact { before: None, after: Some(json!(10)) });
        assert_eq!(diff.effects, []);
    }

    #[test]
    fn a_digest_names_the_changes_alone() {
        let one = change("/plans/growth/limits/max_users", json!(8)).digest();
        assert_eq!(one, change("/plans/growth/limits/max_users", json!(8)).digest());
        assert_ne!(one, change("/plans/growth/limits/max_users", json!(9)).digest());
        assert_ne!(one, change("/plans/pro/limits/max_users", json!(8)).digest());
        assert_eq!(one.len(), 16);
    }
}
