//! Which tenants a change of plans reaches, by one query for each effect.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use serde::Serialize;

use super::diff::{Effect, What};
use crate::db::sql;

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

/// Who decides which tenants have what: the moment, and since when a payment may be missing at most.
#[derive(Clone, Copy, Debug)]
pub struct AsOf {
    /// The moment.
    pub at: DateTime<Utc>,
    /// `billing.past_due_grace` before it.
    pub grace: DateTime<Utc>,
}

#[derive(FromQueryResult)]
struct Row {
    slug: String,
    used: i64,
    tenants: i64,
    above: i64,
    stripe_subscriptions: i64,
}

/// Looks up whom each effect reaches.
pub async fn affected(
    db: &impl ConnectionTrait,
    as_of: AsOf,
    effects: impl IntoIterator<Item = Effect>,
) -> Result<Vec<Affected>, DbErr> {
    let mut all = Vec::new();
    for effect in effects {
        all.push(of(db, as_of, effect).await?);
    }
    Ok(all)
}

async fn of(db: &impl ConnectionTrait, as_of: AsOf, effect: Effect) -> Result<Affected, DbErr> {
    // What a limit counts, where that is known here; the most that there may be; the flag that an override speaks of.
    let (used, most, flag) = match &effect.what {
        What::Limit { name, after, .. } => (usage(name), after.filter(|after| *after > 0), ""),
        What::Feature { flag } => (None, None, flag.as_str()),
        What::Credits { .. } | What::Price { .. } => (None, None, ""),
    };
    // A price is paid by everybody on the plan. The rest is had by those who are entitled to it; others have what is free.
    let plan = if matches!(effect.what, What::Price { .. }) { "s.plan_id" } else { EFFECTIVE_PLAN };
    let used_now = used.unwrap_or("0");
    let query = format!(
        "with reached as (select t.slug, cast(({used_now}) as bigint) as used, \
         case when s.stripe_subscription_id is not null and s.status in ('trialing', 'active', 'past_due') then 1 else 0 end as by_stripe \
         from subscriptions s join tenants t on t.id = s.tenant_id \
         where ({plan}) = (select id from plans where slug = $1) and t.status <> 'closed' and $2 = $2 and $3 = $3 \
         and not exists (select 1 from tenant_feature_overrides o where o.tenant_id = s.tenant_id and o.flag = $4 \
         and (o.expires_at is null or o.expires_at > $2))) \
         select slug, used, (select count(*) from reached) as tenants, (select count(*) from reached where used > $5) as above, \
         (select count(*) from reached where by_stripe = 1) as stripe_subscriptions from reached order by used desc, slug limit $6"
    );
    let values = [
        effect.plan.clone().into(),
        as_of.at.into(),
        as_of.grace.into(),
        flag.into(),
        most.unwrap_or(i64::MAX).into(),
        i64::try_from(NAMED).unwrap_or(i64::MAX).into(),
    ];
    let rows = Row::find_by_statement(sql(db, &query, values)).all(db).await?;
    let is_above = |row: &&Row| most.is_some_and(|most| row.used > most);
    let above = |row: &Row| Above { slug: row.slug.clone(), used: row.used };
    let counts = rows.first().map_or((0, 0, 0), |row| (row.tenants, row.above, row.stripe_subscriptions));
    Ok(Affected {
        effect,
        tenants: counts.0,
        above: used.map(|_| counts.1),
        stripe_subscriptions: counts.2,
        above_slugs: rows.iter().filter(is_above).map(above).collect(),
        slugs: rows.into_iter().map(|row| row.slug).collect(),
    })
}

/// The id of the plan whose limits and features a tenant has now, as `entitlements` decides it: what it subscribed to while it is entitled to
/// that, else the free one. `$2` is the moment, `$3` the grace's beginning.
const EFFECTIVE_PLAN: &str = "case when s.status in ('active', 'complimentary') or (s.status = 'trialing' and s.trial_ends_at > $2) \
     or (s.status = 'past_due' and coalesce(s.past_due_since, s.updated_at) > $3) or (s.status = 'canceled' and s.current_period_end > $2) \
     then s.plan_id else (select id from plans where slug = 'free') end";

/// How many a tenant uses of what a limit counts.
fn usage(limit: &str) -> Option<&'static str> {
    match limit {
        "max_users" => Some("select count(*) from memberships m where m.tenant_id = s.tenant_id"),
        _ => None,
    }
}
