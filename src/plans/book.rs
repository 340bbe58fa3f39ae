//! Everything that is sold, in one piece: as the database has it, and as a file that is kept with the code.
//!
//! The kill switch is not in it: applying a file must neither open nor close the doors.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{
    Plan,
    flags::{self, SIGNUP_ENABLED},
    plan::{bad_name, is_name, slug_fault},
    store::{COLUMNS, PlanRow, features, limits},
};
use crate::{
    db::sql,
    http::{FieldError, line},
};

/// All plans and flags.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Book {
    /// Flags by name.
    #[serde(default)]
    pub flags: BTreeMap<String, FlagEntry>,
    /// Plans by slug.
    #[serde(default)]
    pub plans: BTreeMap<String, Plan>,
}

/// A flag, but its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlagEntry {
    /// What it does.
    pub description: String,
    /// Whether it is on where neither plan nor tenant says otherwise.
    pub enabled: bool,
}

#[derive(FromQueryResult)]
struct StripePrices {
    plan_id: Uuid,
    stripe_price_monthly: Option<String>,
    stripe_price_yearly: Option<String>,
}

#[derive(FromQueryResult)]
struct Position {
    id: Uuid,
    position: i64,
}

impl Book {
    /// As the database has it, hidden plans too.
    pub async fn read(db: &impl ConnectionTrait) -> Result<Self, DbErr> {
        let plans = format!("select {COLUMNS} from plans p");
        let plans = PlanRow::find_by_statement(sql(db, &plans, [])).all(db).await?;
        let positions = Position::find_by_statement(sql(db, "select id, position from plans", [])).all(db).await?;
        let billing = "select plan_id, stripe_price_monthly, stripe_price_yearly from plan_billing";
        let billing = StripePrices::find_by_statement(sql(db, billing, [])).all(db).await?;
        let (limits, features) = (limits(db).await?, features(db).await?);
        let whole = |row: PlanRow| {
            let stripe = billing.iter().find(|prices| prices.plan_id == row.id);
            let position = positions.iter().find(|position| position.id == row.id);
            let limits = limits.iter().filter(|limit| limit.plan_id == row.id);
            let features = features.iter().filter(|feature| feature.plan_id == row.id);
            let plan = Plan {
                name: row.name,
                description: row.description,
                price: row.price_amount,
                price_yearly: row.yearly_amount,
                currency: row.price_currency,
                interval: row.price_interval,
                included_credits: row.included_credits,
                trial_days: row.trial_days,
                is_public: row.is_public,
                contact_sales: row.contact_sales,
                position: position.map_or(0, |row| row.position),
                stripe_price_monthly: stripe.and_then(|prices| prices.stripe_price_monthly.clone()),
                stripe_price_yearly: stripe.and_then(|prices| prices.stripe_price_yearly.clone()),
                limits: limits.map(|limit| (limit.name.clone(), limit.value)).collect(),
                features: features.map(|feature| (feature.flag.clone(), feature.enabled)).collect(),
                blueprint: row.blueprint,
            };
            (row.slug, plan)
        };
        let flags = flags::list(db).await?.into_iter().filter(|flag| flag.name != SIGNUP_ENABLED);
        let flags = flags.map(|flag| (flag.name, FlagEntry { description: flag.description, enabled: flag.enabled }));
        Ok(Self { flags: flags.collect(), plans: plans.into_iter().map(whole).collect() })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// Not TOML, or not of this shape: a message that names the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())
    }

    /// As a file: flags by name, then plans in their order.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        let mut pieces = Vec::new();
        for (name, flag) in &self.flags {
            let flags = BTreeMap::from([(name.clone(), flag.clone())]);
            pieces.push(toml::to_string(&Piece { flags, plans: BTreeMap::new() })?);
        }
        for (slug, plan) in self.in_order() {
            let plans = BTreeMap::from([(slug.to_owned(), plan.clone())]);
            pieces.push(toml::to_string(&Piece { flags: BTreeMap::new(), plans })?);
        }
        Ok(pieces.join("\n"))
    }

    /// The plans in the order in which they are offered.
    pub fn in_order(&self) -> Vec<(&str, &Plan)> {
        let mut plans: Vec<_> = self.plans.iter().map(|(slug, plan)| (slug.as_str(), plan)).collect();
        plans.sort_by_key(|(slug, plan)| (plan.position, *slug));
        plans
    }

    /// What there is when this is laid over another: whatever only the other has stays.
    #[must_use]
    pub fn over(&self, other: &Self) -> Self {
        let mut all = other.clone();
        all.flags.extend(self.flags.clone());
        all.plans.extend(self.plans.clone());
        all
    }

    /// What is wrong with it, where `known` is what there is already, and `blueprint` tells what is wrong with one.
    pub fn faults(&self, known: &Self, blueprint: impl Fn(&Value) -> Result<(), String>) -> Vec<FieldError> {
        let mut faults = Vec::new();
        for (name, flag) in &self.flags {
            faults.extend(flag_faults(&format!("flags.{name}"), name, &flag.description));
        }
        for (slug, plan) in &self.plans {
            let at = format!("plans.{slug}");
            faults.extend(slug_fault(&at, slug));
            let own = plan.faults(|flag| self.flags.contains_key(flag) || known.flags.contains_key(flag));
            faults.extend(own.into_iter().map(|fault| FieldError { field: format!("{at}.{}", fault.field), ..fault }));
            if let Err(fault) = blueprint(&plan.blueprint) {
                faults.push(FieldError::new(format!("{at}.blueprint"), "INVALID_BLUEPRINT", fault));
            }
        }
        let all = self.over(known);
        for (slug, field) in all.shared_prices() {
            faults.push(shared(format!("plans.{slug}.{field}")));
        }
        faults
    }

    /// Plans whose price at Stripe is another plan's too, with the field: from a payment nobody could tell what was bought.
    pub fn shared_prices(&self) -> Vec<(String, &'static str)> {
        let mut seen = BTreeMap::new();
        let mut shared = Vec::new();
        for (slug, plan) in self.in_order() {
            let ids = [
                ("stripe_price_monthly", &plan.stripe_price_monthly),
                ("stripe_price_yearly", &plan.stripe_price_yearly),
            ];
            for (field, id) in ids.into_iter().filter_map(|(field, id)| Some((field, id.as_ref()?))) {
                if *seen.entry(id).or_insert(slug) != slug {
                    shared.push((slug.to_owned(), field));
                }
            }
        }
        shared
    }
}

/// [`Book`], without the tables that it lacks.
#[derive(Serialize)]
struct Piece {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    flags: BTreeMap<String, FlagEntry>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    plans: BTreeMap<String, Plan>,
}

/// What is wrong with a flag.
pub(super) fn flag_faults(at: &str, name: &str, description: &str) -> Vec<FieldError> {
    let mut faults = Vec::new();
    if !is_name(name) {
        faults.push(bad_name(at));
    }
    if name == SIGNUP_ENABLED {
        let message = "The kill switch is set by itself, not with the plans.";
        faults.push(FieldError::new(at, "NOT_A_FEATURE", message));
    }
    faults.extend(line(&format!("{at}.description"), description, 300).err());
    faults
}

pub(super) fn shared(field: impl Into<String>) -> FieldError {
    FieldError::new(field, "TAKEN", "Another plan has this price at Stripe.")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn book() -> Book {
        let plan = |position: i64, price: &str| {
            json!({
                "name": "A \"name\"", "description": "For teams", "price": 7_900, "price_yearly": 79_000, "currency": "USD", "interval": "month",
                "included_credits": 20_000, "trial_days": 14, "is_public": true, "contact_sales": false, "position": position,
                "stripe_price_monthly": price, "limits": {"max_users": 10}, "features": {"automations": true},
                "blueprint": {"steps": ["seed_defaults"], "automations": [{"name": "Welcome", "event_type": "member.joined"}]},
            })
        };
        let flags = json!({"automations": {"description": "Outbound automations", "enabled": false}});
        serde_json::from_value(
            json!({"flags": flags, "plans": {"alpha": plan(2, "price_a"), "beta": plan(1, "price_b")}}),
        )
        .unwrap()
    }

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let text = book().to_toml().unwrap();
        assert_eq!(Book::parse(&text).unwrap(), book());
        assert!(text.find("[plans.beta]").unwrap() < text.find("[plans.alpha]").unwrap(), "in their order: {text}");
        assert!(text.contains("[[plans.alpha.blueprint.automations]]\n"), "{text}");
        assert_eq!(Book::parse("").unwrap(), Book::default());
        assert_eq!(Book::default().to_toml().unwrap(), "");
    }

    #[test]
    fn a_file_that_cannot_be_read_names_the_line() {
        let text = book().to_toml().unwrap().replace("price = 7900", "prize = 7900");
        let refused = Book::parse(&text).unwrap_err();
        assert!(refused.contains("prize") && refused.contains("line "), "{refused}");
    }

    #[test]
    fn faults_name_their_place_in_the_file() {
        let fine = |_: &Value| Ok(());
        assert_eq!(book().faults(&Book::default(), fine), []);
        let mut wrong = book();
        wrong.plans.get_mut("alpha").unwrap().currency = "usd".into();
        wrong.plans.get_mut("beta").unwrap().features.insert("teleport".into(), true);
        wrong.flags.insert("signup_enabled".into(), FlagEntry { description: "x".into(), enabled: false });
        let faults = wrong.faults(&Book::default(), |_| Err("no steps".into()));
        let told: Vec<_> = faults.iter().map(|fault| (fault.field.as_str(), fault.code.as_str())).collect();
        assert_eq!(
            told,
            [
                ("flags.signup_enabled", "NOT_A_FEATURE"),
                ("plans.alpha.currency", "UNKNOWN_CURRENCY"),
                ("plans.alpha.blueprint", "INVALID_BLUEPRINT"),
                ("plans.beta.features.teleport", "UNKNOWN_FLAG"),
                ("plans.beta.blueprint", "INVALID_BLUEPRINT"),
            ]
        );
    }

    #[test]
    fn two_plans_cannot_share_a_price_at_stripe() {
        let mut other = book();
        other.plans.remove("alpha");
        other.plans.get_mut("beta").unwrap().stripe_price_yearly = Some("price_a".into());
        // `alpha` is known already, and has it.
        let faults = other.faults(&book(), |_| Ok(()));
        assert_eq!(faults, [shared("plans.alpha.stripe_price_monthly")]);
    }
}
