//! A difference of plans in words.

use serde_json::Value;

use super::plan_file::Shown;
use crate::plans::{
    affected::Affected,
    diff::{Changed, Fact, Kind, What},
    thousands,
};

/// What changes, who gains or loses by it, and what stays.
pub(super) fn of(shown: &Shown) -> String {
    let mut lines = Vec::new();
    if shown.changes.is_empty() {
        lines.push("The plans are what the file says.".to_owned());
    }
    for change in &shown.changes {
        lines.extend(changed(change));
    }
    if !shown.effects.is_empty() {
        lines.extend([String::new(), "Who gains or loses:".to_owned()]);
        lines.extend(shown.effects.iter().map(|affected| format!("  {}", effect(affected))));
    }
    let only_later = |change: &Changed| {
        !change.is_new && ["blueprint", "trial_days"].iter().any(|name| change.facts.contains_key(*name))
    };
    if shown.changes.iter().any(only_later) {
        lines.extend([
            String::new(),
            "Blueprints and trials are for those who sign up, or change their plan, from then on.".to_owned(),
        ]);
    }
    for (what, names) in [("plans", &shown.unlisted_plans), ("flags", &shown.unlisted_flags)] {
        if !names.is_empty() {
            let hide = if what == "plans" { " (is_public = false hides one)" } else { "" };
            lines.extend([
                String::new(),
                format!("Not in the file, these {what} stay as they are: {}{hide}", names.join(", ")),
            ]);
        }
    }
    if !shown.changes.is_empty() {
        lines.extend([String::new(), format!("Digest: {}", shown.digest)]);
    }
    lines.join("\n")
}

fn changed(change: &Changed) -> Vec<String> {
    let kind = match change.kind {
        Kind::Plan => "plan",
        Kind::Flag => "flag",
    };
    let mut lines = vec![format!("{}{kind} {}", if change.is_new { "new " } else { "" }, change.name)];
    let fact = |(name, Fact { before, after }): (&String, &Fact)| match before {
        None if change.is_new => format!("  {name}: {}", value(after.as_ref())),
        before => format!("  {name}: {} → {}", value(before.as_ref()), value(after.as_ref())),
    };
    lines.extend(change.facts.iter().map(fact));
    lines
}

fn value(value: Option<&Value>) -> String {
    value.map_or_else(|| "–".to_owned(), Value::to_string)
}

fn effect(affected: &Affected) -> String {
    let plan = &affected.effect.plan;
    let verb = if affected.effect.is_gain { "gain" } else { "lose" };
    match &affected.effect.what {
        What::Limit { name, before, after } => {
            let from_to = format!("{} → {}", limit(*before), limit(*after));
            format!("{plan}: {name} {from_to}: {}{}", tenants(affected, verb), above(affected))
        }
        What::Feature { flag } => {
            let state = if affected.effect.is_gain { "on" } else { "off" };
            format!("{plan}: {flag} {state}: {}", tenants(affected, verb))
        }
        What::Credits { before, after } => {
            let from_to = format!("{} → {}", thousands(*before), thousands(*after));
            format!("{plan}: credits {from_to} with each month: {}", tenants(affected, verb))
        }
        What::Price { interval, before, after } => {
            let price = |price: &Option<crate::plans::Money>| {
                price.as_ref().map_or_else(|| "–".to_owned(), ToString::to_string)
            };
            let on_it = match affected.tenants {
                0 => "no tenant is on it".to_owned(),
                1 => format!("1 tenant is on it{}", some(affected)),
                several => format!("{several} tenants are on it{}", some(affected)),
            };
            let kept = match affected.stripe_subscriptions {
                0 => String::new(),
                1 => "; 1 running Stripe subscription keeps its price".to_owned(),
                several => format!("; {several} running Stripe subscriptions keep their price"),
            };
            format!("{plan}: price {} → {} a {interval}: {on_it}{kept}", price(before), price(after))
        }
    }
}

fn limit(limit: Option<i64>) -> String {
    limit.filter(|limit| *limit > 0).map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string())
}

/// `3 tenants lose (acme, bolt and 1 more)`
fn tenants(affected: &Affected, verb: &str) -> String {
    match affected.tenants {
        0 => format!("no tenant {verb}s"),
        1 => format!("1 tenant {verb}s{}", some(affected)),
        several => format!("{several} tenants {verb}{}", some(affected)),
    }
}

fn some(affected: &Affected) -> String {
    listed(&affected.slugs, affected.tenants)
}

/// `, 1 of them (acme: 9 used) is above the new limit`
fn above(affected: &Affected) -> String {
    let Some(count) = affected.above.filter(|count| *count > 0) else { return String::new() };
    let named: Vec<_> =
        affected.above_slugs.iter().map(|above| format!("{}: {} used", above.slug, above.used)).collect();
    let verb = if count == 1 { "is" } else { "are" };
    format!(", {count} of them{} {verb} above the new limit", listed(&named, count))
}

/// Some of so many, in brackets.
fn listed(named: &[String], of: i64) -> String {
    let more = of - i64::try_from(named.len()).unwrap_or(of);
    let more = if more > 0 { format!(" and {} more", thousands(more)) } else { String::new() };
    format!(" ({}{more})", named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plans::{Money, affected::Above, diff::Effect};

    fn affected(what: What, is_gain: bool, slugs: &[&str], tenants: i64) -> Affected {
        Affected {
            effect: Effect { plan: "growth".into(), what, is_gain },
            tenants,
            slugs: slugs.iter().map(ToString::to_string).collect(),
            above: None,
            above_slugs: Vec::new(),
            stripe_subscriptions: 0,
        }
    }

    fn users(before: Option<i64>, after: Option<i64>) -> What {
        What::Limit { name: "max_users".into(), before, after }
    }

    #[test]
    fn a_limit_tells_who_is_above_it() {
        let mut lost = affected(users(Some(10), Some(8)), false, &["acme", "bolt", "cord"], 3);
        (lost.above, lost.above_slugs) = (Some(1), vec![Above { slug: "acme".into(), used: 9 }]);
        let told = "growth: max_users 10 → 8: 3 tenants lose (acme, bolt, cord), 1 of them (acme: 9 used) is above the new limit";
        assert_eq!(effect(&lost), told);
        let gained = affected(users(Some(10), Some(0)), true, &["acme"], 1);
        assert_eq!(effect(&gained), "growth: max_users 10 → unlimited: 1 tenant gains (acme)");
        let many = affected(users(None, Some(1)), false, &["a", "b"], 1_002);
        assert_eq!(effect(&many), "growth: max_users unlimited → 1: 1002 tenants lose (a, b and 1,000 more)");
        assert_eq!(
            effect(&affected(users(Some(1), Some(2)), true, &[], 0)),
            "growth: max_users 1 → 2: no tenant gains"
        );
    }

    #[test]
    fn a_price_tells_who_keeps_the_old_one() {
        let usd = |amount| Some(Money { amount, currency: "USD".into() });
        let mut dearer =
            affected(What::Price { interval: "month", before: usd(7_900), after: usd(8_900) }, false, &["a", "b"], 2);
        dearer.stripe_subscriptions = 2;
        let told = "growth: price 79 USD → 89 USD a month: 2 tenants are on it (a, b); 2 running Stripe subscriptions keep their price";
        assert_eq!(effect(&dearer), told);
        let none = affected(What::Price { interval: "year", before: usd(79_000), after: None }, false, &[], 0);
        assert_eq!(effect(&none), "growth: price 790 USD → – a year: no tenant is on it");
    }

    #[test]
    fn features_and_credits_have_their_sentences() {
        let feature = affected(What::Feature { flag: "automations".into() }, false, &["a"], 1);
        assert_eq!(effect(&feature), "growth: automations off: 1 tenant loses (a)");
        let credits = affected(What::Credits { before: 20_000, after: 25_000 }, true, &["a", "b"], 2);
        assert_eq!(effect(&credits), "growth: credits 20,000 → 25,000 with each month: 2 tenants gain (a, b)");
    }
}
