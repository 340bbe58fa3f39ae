//! Which tenants a change of plans reaches. Who has what of a plan is what `entitlements` says.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use serde::Serialize;
use uuid::Uuid;

use super::diff::{Effect, What};
use crate::{
    db::sql,
    entitlements::{FREE, Status, Terms},
};

/// An effect, and whom it reaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Affected {
    /// What they gain or lose.
    #[serde(flatten)]
    pub effect: Effect,
    /// How many tenants.
    pub tenants: i64,
    /// Some of them by slug, those first that use the most.
    pub slugs: Vec<String>,
    /// How many of them use more than they may have then; nothing where nobody counts that.
    pub above: Option<i64>,
    /// Some of those.
    pub above_slugs: Vec<Above>,
    /// How many pay through a running subscription of Stripe's, which keeps its price.
    pub stripe_subscriptions: i64,
}

/// A tenant that uses more than it may have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Above {
    /// Its slug.
    pub slug: String,
    /// How many it uses.
    pub used: i64,
}

/// The most tenants that are named for one effect.
pub const NAMED: usize = 10;

/// The moment, and how long a payment may be missing at it (`billing.past_due_grace`).
#[derive(Clone, Copy, Debug)]
pub struct AsOf {
    /// The moment.
    pub at: DateTime<Utc>,
    /// How long a payment may be missing.
    pub grace: TimeDelta,
}

/// A tenant, as far as a change of plans may reach it.
#[derive(FromQueryResult)]
struct Tenant {
    id: Uuid,
    slug: String,
    plan: String,
    #[sea_orm(nested)]
    terms: Terms,
    at_stripe: bool,
    users: i64,
}

impl Tenant {
    /// The plan whose limits, features and credits it has.
    fn effective_plan(&self, as_of: AsOf) -> &str {
        if self.terms.standing(as_of.at, as_of.grace).is_entitled() { &self.plan } else { FREE }
    }

    /// How many it uses of what a limit counts, where that is known.
    fn used(&self, limit: &str) -> Option<i64> {
        (limit == "max_users").then_some(self.users)
    }

    fn pays_at_stripe(&self) -> bool {
        self.at_stripe && matches!(self.terms.status, Status::Trialing | Status::Active | Status::PastDue)
    }
}

/// Those with the most users first, which is the order that people want to see them in.
const TENANTS: &str = "select t.id, t.slug, p.slug as plan, s.status, s.trial_ends_at, s.current_period_start, s.current_period_end, \
     s.cancel_at_period_end, s.past_due_since, s.stripe_subscription_id is not null as at_stripe, \
     (select count(*) from memberships m where m.tenant_id = s.tenant_id) as users \
     from subscriptions s join tenants t on t.id = s.tenant_id join plans p on p.id = s.plan_id where t.status <> 'closed' \
     order by users desc, t.slug";

#[derive(FromQueryResult)]
struct Overridden {
    tenant_id: Uuid,
    flag: String,
}

/// Looks up whom each effect reaches.
pub async fn affected(
    db: &impl ConnectionTrait,
    as_of: AsOf,
    effects: impl IntoIterator<Item = Effect>,
) -> Result<Vec<Affected>, DbErr> {
    let effects: Vec<_> = effects.into_iter().collect();
    if effects.is_empty() {
        return Ok(Vec::new());
    }
    let tenants = Tenant::find_by_statement(sql(db, TENANTS, [])).all(db).await?;
    let overridden = "select tenant_id, flag from tenant_feature_overrides where expires_at is null or expires_at > $1";
    let overridden = Overridden::find_by_statement(sql(db, overridden, [as_of.at.into()])).all(db).await?;
    let overridden: HashSet<_> = overridden.into_iter().map(|row| (row.tenant_id, row.flag)).collect();
    let all = effects.into_iter().map(|effect| {
        let reached = tenants.iter().filter(|tenant| match &effect.what {
            // A price is paid by everybody on the plan. The rest is had by those who are entitled to it; others have what is free.
            What::Price { .. } => tenant.plan == effect.plan,
            What::Feature { flag } => {
                tenant.effective_plan(as_of) == effect.plan && !overridden.contains(&(tenant.id, flag.clone()))
            }
            What::Limit { .. } | What::Credits { .. } => tenant.effective_plan(as_of) == effect.plan,
        });
        let reached: Vec<_> = reached.collect();
        of(effect, &reached)
    });
    Ok(all.collect())
}

fn of(effect: Effect, reached: &[&Tenant]) -> Affected {
    let count = |tenants: usize| i64::try_from(tenants).unwrap_or(i64::MAX);
    // What a limit counts, where that is known here; and those who use more than there may be.
    let above: Option<Vec<Above>> = match &effect.what {
        What::Limit { name, after, .. } => {
            let most = after.filter(|after| *after > 0).unwrap_or(i64::MAX);
            let used = reached.iter().map(|tenant| Some((tenant, tenant.used(name)?))).collect::<Option<Vec<_>>>();
            used.map(|used| {
                let above = used.into_iter().filter(|(_, used)| *used > most);
                above.map(|(tenant, used)| Above { slug: tenant.slug.clone(), used }).collect()
            })
        }
        What::Feature { .. } | What::Credits { .. } | What::Price { .. } => None,
    };
    Affected {
        effect,
        tenants: count(reached.len()),
        slugs: reached.iter().take(NAMED).map(|tenant| tenant.slug.clone()).collect(),
        above: above.as_ref().map(|above| count(above.len())),
        above_slugs: above.into_iter().flatten().take(NAMED).collect(),
        stripe_subscriptions: count(reached.iter().filter(|tenant| tenant.pays_at_stripe()).count()),
    }
}
