//! What a door has to know before it opens a transaction, in one query.

use std::collections::HashSet;

use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, Value};
use uuid::Uuid;

use crate::{
    db,
    plans::{PlanRow, flags::SIGNUP_ENABLED, store::COLUMNS},
    tenants::slugs::Slug,
};

/// How many slugs are tried for a name before one of chance is taken.
const CANDIDATES: usize = 9;

/// The slugs to try for a name, in order.
pub fn candidates(first: &Slug) -> impl Iterator<Item = Slug> + '_ {
    std::iter::once(first.clone()).chain(first.following()).take(CANDIDATES)
}

/// What was found.
pub struct LookedUp {
    /// The plan, where there is one of that slug.
    pub plan: Option<PlanRow>,
    /// Whether the kill switch lets sign-ups in; `None` where the flag could not be read.
    pub signup_enabled: Option<bool>,
    /// Who has the address.
    pub user: Option<ExistingUser>,
    /// Those of the slug's candidates that are taken.
    pub taken: HashSet<Slug>,
}

/// Somebody who already has the address, and the sign-up they have not finished.
pub struct ExistingUser {
    /// Who.
    pub id: Uuid,
    /// Their password's hash.
    pub password_hash: Option<String>,
    /// The tenant of a wizard that was not finished.
    pub unfinished_tenant: Option<Uuid>,
}

#[derive(FromQueryResult)]
struct Row {
    signup_enabled: Option<bool>,
    user_id: Option<Uuid>,
    password_hash: Option<String>,
    unfinished_tenant: Option<Uuid>,
    taken: Option<String>,
    plan_found: Option<Uuid>,
}

/// Looks up plan, kill switch, address and slug. `slug` is the one asked for, or the one that a name leads to.
pub async fn look_up(
    connection: &impl ConnectionTrait,
    plan: &str,
    email: &str,
    slug: &Slug,
) -> Result<LookedUp, DbErr> {
    let with_flag = format!("(select enabled from feature_flags where name = '{SIGNUP_ENABLED}')");
    match look_up_with(connection, &with_flag, plan, email, slug).await {
        // A flag that cannot be read must not close the door by accident: what then counts is the configured fallback.
        Err(error) if !db::is_unavailable(&error) => {
            tracing::warn!(feature = "signup", %error, "The kill switch could not be read");
            look_up_with(connection, "cast(null as boolean)", plan, email, slug).await
        }
        found => found,
    }
}

async fn look_up_with(
    connection: &impl ConnectionTrait,
    flag: &str,
    plan: &str,
    email: &str,
    slug: &Slug,
) -> Result<LookedUp, DbErr> {
    let candidates: Vec<Slug> = candidates(slug).collect();
    let places: Vec<String> = (3..3 + candidates.len()).map(|n| format!("${n}")).collect();
    let query = format!(
        "select {COLUMNS}, {flag} as signup_enabled, u.id as user_id, \
         case when u.disabled_at is null then u.password_hash end as password_hash, p.id as plan_found, \
         case when u.id is not null then (select t.id from tenants t \
          join memberships m on m.tenant_id = t.id and m.role = 'owner' where m.user_id = u.id and t.door = 'wizard' \
          and t.provisioned_at is null limit 1) end as unfinished_tenant, \
         (select string_agg(t.slug, ',') from tenants t where t.slug in ({})) as taken \
         from (select 1 as one) x left join plans p on p.slug = $1 left join users u on u.email = $2",
        places.join(", ")
    );
    let mut values: Vec<Value> = vec![plan.into(), email.into()];
    values.extend(candidates.iter().map(|candidate| candidate.as_str().into()));
    let statement = sea_orm::Statement::from_sql_and_values(connection.get_database_backend(), query, values);
    let Some(row) = connection.query_one_raw(statement).await? else {
        return Err(DbErr::RecordNotFound("a query without a condition".into()));
    };
    let found = Row::from_query_result(&row, "")?;
    let plan = found.plan_found.map(|_| PlanRow::from_query_result(&row, "")).transpose()?;
    let (password_hash, unfinished_tenant) = (found.password_hash, found.unfinished_tenant);
    Ok(LookedUp {
        plan,
        signup_enabled: found.signup_enabled,
        user: found.user_id.map(|id| ExistingUser { id, password_hash, unfinished_tenant }),
        taken: found.taken.unwrap_or_default().split(',').filter_map(|slug| Slug::parse(slug).ok()).collect(),
    })
}

/// Those of a slug's candidates that are taken.
pub async fn taken(connection: &impl ConnectionTrait, slug: &Slug) -> Result<HashSet<Slug>, DbErr> {
    let candidates: Vec<Slug> = candidates(slug).collect();
    let places: Vec<String> = (1..=candidates.len()).map(|n| format!("${n}")).collect();
    let query = format!("select slug from tenants where slug in ({})", places.join(", "));
    let values: Vec<Value> = candidates.iter().map(|candidate| candidate.as_str().into()).collect();
    let statement = sea_orm::Statement::from_sql_and_values(connection.get_database_backend(), query, values);
    let rows = connection.query_all_raw(statement).await?;
    let slugs = rows.iter().map(|row| row.try_get::<String>("", "slug"));
    Ok(slugs.collect::<Result<Vec<_>, _>>()?.iter().filter_map(|slug| Slug::parse(slug).ok()).collect())
}
