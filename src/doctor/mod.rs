//! What must hold in a live database, counted.
//!
//! Every invariant reads 0 in a healthy product; a warning may not, and wants a look.

mod api;
pub mod promises;

pub use api::routes;
use chrono::TimeDelta;
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use serde::Serialize;

use crate::{clock::Now, db::sql};

/// One thing that was counted.
#[derive(Clone, Debug, Serialize)]
pub struct Count {
    /// Its name in metrics.
    pub name: &'static str,
    /// What it counts.
    pub meaning: &'static str,
    /// How many there are.
    pub count: i64,
    /// Whether any count but 0 is wrong.
    pub is_invariant: bool,
}

struct Check {
    name: &'static str,
    meaning: &'static str,
    is_invariant: bool,
    /// Counts as `n`; `$1` is a moment before which nothing should still be as it is.
    query: &'static str,
    patience: TimeDelta,
}

/// A run whose lease ran out should have been claimed again long ago.
const STUCK_AFTER: TimeDelta = TimeDelta::minutes(5);

const CHECKS: [Check; 8] = [
    Check {
        name: "tenants_without_one_owner",
        meaning: "tenants without exactly one owner",
        is_invariant: true,
        query: "select count(*) as n from tenants t where t.created_at <= $1 and 1 <> \
                (select count(*) from memberships m where m.tenant_id = t.id and m.role = 'owner')",
        patience: TimeDelta::zero(),
    },
    Check {
        name: "users_without_membership",
        meaning: "users who are in no tenant, and neither left their last one nor are platform administrators",
        is_invariant: true,
        query: "select count(*) as n from users u where u.created_at <= $1 and u.left_last_tenant_at is null \
                and not u.is_platform_admin and not exists (select 1 from memberships m where m.user_id = u.id)",
        patience: TimeDelta::zero(),
    },
    Check {
        name: "tenants_without_subscription",
        meaning: "tenants without a subscription",
        is_invariant: true,
        query: "select count(*) as n from tenants t where t.created_at <= $1 \
                and not exists (select 1 from subscriptions s where s.tenant_id = t.id)",
        patience: TimeDelta::zero(),
    },
    Check {
        name: "balances_off_ledger",
        meaning: "tenants whose credit balance is missing or not the sum of their ledger",
        is_invariant: true,
        query: "select count(*) as n from tenants t left join credit_balances b on b.tenant_id = t.id \
                where t.created_at <= $1 and (b.balance is null or b.balance <> \
                (select coalesce(sum(c.amount), 0) from credit_transactions c where c.tenant_id = t.id))",
        patience: TimeDelta::zero(),
    },
    Check {
        name: "runs_stuck",
        meaning: "runs in processing whose lease ran out five minutes ago and that nobody took up",
        is_invariant: true,
        query: "select count(*) as n from provision_runs r where r.status = 'processing' \
                and coalesce(r.lease_expires_at, r.due_at, r.updated_at) <= $1",
        patience: STUCK_AFTER,
    },
    Check {
        name: "subscriptions_without_plan",
        meaning: "subscriptions without a plan",
        is_invariant: true,
        query: "select count(*) as n from subscriptions s left join plans p on p.id = s.plan_id \
                where s.created_at <= $1 and p.id is null",
        patience: TimeDelta::zero(),
    },
    Check {
        name: "tenants_without_run",
        meaning: "tenants without a provisioning run",
        is_invariant: true,
        query: "select count(*) as n from tenants t where t.created_at <= $1 \
                and not exists (select 1 from provision_runs r where r.tenant_id = t.id)",
        patience: TimeDelta::zero(),
    },
    Check {
        name: "catalogues_empty",
        meaning: "tenants with nothing to offer an hour after sign-up",
        is_invariant: false,
        query: "select count(*) as n from tenants t where t.created_at <= $1 \
                and not exists (select 1 from packages p where p.tenant_id = t.id)",
        patience: TimeDelta::hours(1),
    },
];

#[derive(FromQueryResult)]
struct N {
    n: i64,
}

/// Counts everything.
pub async fn examine(db: &impl ConnectionTrait, now: &Now) -> Result<Vec<Count>, DbErr> {
    let mut counts = Vec::with_capacity(CHECKS.len());
    for check in CHECKS {
        let found = N::find_by_statement(sql(db, check.query, [(now.at - check.patience).into()])).one(db).await?;
        let Check { name, meaning, is_invariant, .. } = check;
        counts.push(Count { name, meaning, is_invariant, count: found.map_or(0, |row| row.n) });
    }
    Ok(counts)
}

/// How much work waits, by queue.
#[derive(Clone, Copy, Debug, Serialize, FromQueryResult, utoipa::ToSchema)]
pub struct Queues {
    /// Provisioning runs that are queued or under way.
    pub provisioning: i64,
    /// Mails and webhooks that were not delivered yet.
    pub outbox: i64,
}

/// Counts the queues.
pub async fn queues(db: &impl ConnectionTrait) -> Result<Queues, DbErr> {
    let query = "select (select count(*) from provision_runs where status in ('pending', 'processing') and queued_at is not null) as provisioning, \
                 (select count(*) from outbox where status = 'pending') as outbox";
    let queues = Queues::find_by_statement(sql(db, query, [])).one(db).await?;
    Ok(queues.unwrap_or(Queues { provisioning: 0, outbox: 0 }))
}
