//! What the rules go by, in one round trip.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use uuid::Uuid;

use super::{FREE, Terms};
use crate::db::sql;

/// What a plan gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Its slug.
    pub slug: String,
    /// Its limits by name; 0 is unlimited.
    pub limits: BTreeMap<String, i64>,
    /// What it says of feature flags.
    pub features: BTreeMap<String, bool>,
}

/// The operator's word for one tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Override {
    /// On or off.
    pub enabled: bool,
    /// From when on the plan says again.
    pub expires_at: Option<DateTime<Utc>>,
}

/// All that decides what a tenant may do, and what its billing page says besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The subscription.
    pub terms: Terms,
    /// Its plan.
    pub plan: Grants,
    /// The free plan, where there is one.
    pub free: Option<Grants>,
    /// Every feature flag and its default.
    pub flags: BTreeMap<String, bool>,
    /// Overrides, expired ones too.
    pub overrides: BTreeMap<String, Override>,
    /// How many there are of what is limited.
    pub usage: BTreeMap<String, i64>,
    /// Credits left.
    pub credits: i64,
    /// Money and addresses.
    pub billed: Billed,
}

/// What does not decide anything.
#[derive(Clone, Debug, PartialEq, Eq, FromQueryResult)]
pub struct Billed {
    /// The plan's name for people.
    pub plan_name: String,
    /// What a month costs, in minor units.
    pub price_amount: i64,
    /// ISO 4217.
    pub price_currency: String,
    /// What a year costs, where it is sold so.
    pub yearly_amount: Option<i64>,
    /// How it is paid: `month` or `year`.
    pub billing_interval: String,
    /// Where invoices go.
    pub billing_email: String,
    /// Of the payment method: `bank_transfer` or `stripe`.
    pub method_type: Option<String>,
    /// The card's brand.
    pub brand: Option<String>,
    /// Its last four digits.
    pub last4: Option<String>,
    /// The month that it expires in.
    pub exp_month: Option<i64>,
    /// The year that it expires in.
    pub exp_year: Option<i64>,
}

#[derive(FromQueryResult)]
struct Row {
    #[sea_orm(nested)]
    terms: Terms,
    plan: String,
    credits: i64,
    #[sea_orm(nested)]
    billed: Billed,
    #[sea_orm(nested)]
    detail: Detail,
}

/// One line of what a plan, a flag, an override or the use says.
#[derive(FromQueryResult)]
struct Detail {
    kind: String,
    name: Option<String>,
    number: Option<i64>,
    enabled: Option<bool>,
    until: Option<DateTime<Utc>>,
}

/// The subscription is repeated in each line, because one query is one round trip. The first detail is always there.
const QUERY: &str = "select s.status, s.trial_ends_at, s.current_period_start, s.current_period_end, s.cancel_at_period_end, s.past_due_since, \
     p.slug as plan, c.balance as credits, p.name as plan_name, p.price_amount, p.price_currency, p.yearly_amount, s.billing_interval, \
     t.billing_email, m.method_type, m.brand, m.last4, m.exp_month, m.exp_year, \
     d.kind, d.name, d.number, d.enabled, d.until \
     from subscriptions s join tenants t on t.id = s.tenant_id join plans p on p.id = s.plan_id \
     join credit_balances c on c.tenant_id = s.tenant_id \
     left join payment_methods m on m.tenant_id = s.tenant_id and m.is_default \
     cross join (\
       select 'limit' as kind, l.name as name, l.value as number, cast(null as boolean) as enabled, cast(null as timestamptz) as until \
         from subscriptions x join plan_limits l on l.plan_id = x.plan_id where x.tenant_id = $1 \
       union all select 'feature', f.flag, null, f.enabled, null \
         from subscriptions x join plan_feature_defaults f on f.plan_id = x.plan_id where x.tenant_id = $1 \
       union all select 'free', null, null, null, null from plans x where x.slug = $2 \
       union all select 'free_limit', l.name, l.value, null, null from plans x join plan_limits l on l.plan_id = x.id where x.slug = $2 \
       union all select 'free_feature', f.flag, null, f.enabled, null \
         from plans x join plan_feature_defaults f on f.plan_id = x.id where x.slug = $2 \
       union all select 'flag', f.name, null, f.enabled, null from feature_flags f where f.name <> 'signup_enabled' \
       union all select 'override', o.flag, null, o.enabled, o.expires_at from tenant_feature_overrides o where o.tenant_id = $1 \
       union all select 'usage', 'max_users', count(*), null, null from memberships x where x.tenant_id = $1\
     ) d where s.tenant_id = $1";

/// What decides what a tenant may do; nothing where there is no such tenant.
pub async fn facts(db: &impl ConnectionTrait, tenant_id: Uuid) -> Result<Option<Facts>, DbErr> {
    let rows = Row::find_by_statement(sql(db, QUERY, [tenant_id.into(), FREE.into()])).all(db).await?;
    let mut facts: Option<Facts> = None;
    for row in rows {
        facts.get_or_insert_with(|| Facts::begin(&row)).learn(row.detail);
    }
    Ok(facts)
}

impl Facts {
    fn begin(row: &Row) -> Self {
        Self {
            terms: row.terms,
            plan: Grants { slug: row.plan.clone(), ..Grants::default() },
            free: None,
            flags: BTreeMap::new(),
            overrides: BTreeMap::new(),
            usage: BTreeMap::new(),
            credits: row.credits,
            billed: row.billed.clone(),
        }
    }

    fn learn(&mut self, Detail { kind, name, number, enabled, until }: Detail) {
        let free = || Grants { slug: FREE.to_owned(), ..Grants::default() };
        match (kind.as_str(), name, number, enabled) {
            ("limit", Some(name), Some(limit), _) => drop(self.plan.limits.insert(name, limit)),
            ("feature", Some(flag), _, Some(enabled)) => drop(self.plan.features.insert(flag, enabled)),
            ("free", ..) => drop(self.free.get_or_insert_with(free)),
            ("free_limit", Some(name), Some(limit), _) => {
                self.free.get_or_insert_with(free).limits.insert(name, limit);
            }
            ("free_feature", Some(flag), _, Some(enabled)) => {
                self.free.get_or_insert_with(free).features.insert(flag, enabled);
            }
            ("flag", Some(flag), _, Some(enabled)) => drop(self.flags.insert(flag, enabled)),
            ("override", Some(flag), _, Some(enabled)) => {
                self.overrides.insert(flag, Override { enabled, expires_at: until });
            }
            ("usage", Some(name), Some(used), _) => drop(self.usage.insert(name, used)),
            _ => {}
        }
    }
}
