//! Changing plans. Each change is checked, written and noted in the audit log in one transaction, by whichever edge it comes.

use axum::http::StatusCode;
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, SqlErr};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Book, Plan, PlanChange,
    book::{FlagEntry, flag_faults, shared},
    diff::{Diff, Facts, Kind, differing, flag_facts},
    flags,
    plan::slug_fault,
};
use crate::{
    audit::{self, Actor},
    clock::Now,
    db::{Batch, Tx, for_update, sql},
    http::{FieldError, Problem},
};

/// Why plans were not changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such plan.
    #[error("no such plan")]
    NotFound,
    /// There is a plan, or a flag, of that name already.
    #[error("the name is taken")]
    Taken {
        /// `PLAN_EXISTS` or `FLAG_EXISTS`
        code: &'static str,
    },
    /// Somebody is on it.
    #[error("the plan is in use")]
    InUse,
    /// It cannot be so.
    #[error("refused: {0:?}")]
    Invalid(Vec<FieldError>),
    /// The database refused.
    #[error("the database refused")]
    Database(#[from] DbErr),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound => Self::not_found(),
            Error::Taken { code } => Self::new(StatusCode::CONFLICT, code, "There is one of this name already."),
            Error::InUse => {
                let detail = "Tenants are on this plan, or the product itself falls back on it. Hide it instead: is_public = false.";
                Self::conflict("PLAN_IN_USE", detail)
            }
            Error::Invalid(errors) => Self::invalid(errors),
            Error::Database(source) => Self::database(&source),
        }
    }
}

/// Who changes plans, and by which request.
#[derive(Clone, Debug)]
pub struct By {
    /// Who.
    pub actor: Actor,
    /// The request.
    pub request_id: Option<String>,
}

impl By {
    /// Notes what was done.
    pub(super) async fn note(
        self,
        tx: &Tx,
        now: &Now,
        tenant_id: Option<Uuid>,
        action: &'static str,
        detail: Value,
    ) -> Result<(), DbErr> {
        let mut batch = Batch::default();
        let (actor, request_id) = (self.actor, self.request_id);
        audit::append(&mut batch, now, audit::Event { actor, tenant_id, action, request_id, detail });
        batch.send(tx).await.map_err(|refused| refused.source)
    }
}

/// The plans that the product itself names: what a lapsed tenant falls to, and what the doors take where no plan is given.
const NAMED: [&str; 3] = ["free", "starter", "pro"];

/// Holds every plan until the transaction ends, so that two changes come one after the other.
pub async fn hold(tx: &Tx) -> Result<(), DbErr> {
    let query = format!("select id from plans order by id{}", for_update(tx));
    tx.query_all_raw(sql(tx, &query, [])).await.map(drop)
}

/// Adds a plan after the others; `blueprint` is for one that comes without. Blueprints have been checked by those who know the steps.
pub async fn create(tx: &Tx, now: &Now, change: PlanChange, blueprint: Value, by: By) -> Result<(String, Plan), Error> {
    hold(tx).await?;
    let book = Book::read(tx).await?;
    let mut faults = Vec::new();
    if change.price.is_none() {
        faults.push(FieldError::new("price", "REQUIRED", "This is needed."));
    }
    let slug = change.slug.clone().unwrap_or_default();
    if change.slug.is_none() {
        faults.push(FieldError::new("slug", "REQUIRED", "This is needed."));
    } else {
        faults.extend(slug_fault("slug", &slug));
    }
    if book.plans.contains_key(&slug) {
        return Err(Error::Taken { code: "PLAN_EXISTS" });
    }
    let last = book.plans.values().map(|plan| plan.position).max().unwrap_or_default();
    match change.of(Plan::blank(last.saturating_add(1), blueprint)) {
        Err(fault) => faults.push(fault),
        Ok(plan) => {
            faults.extend(self::faults(&book, &slug, &plan));
            if faults.is_empty() {
                put(tx, now, &slug, None, &plan, by).await?;
                return Ok((slug, plan));
            }
        }
    }
    Err(Error::Invalid(faults))
}

/// Changes a plan; what is as it was already is not written again.
pub async fn change(tx: &Tx, now: &Now, slug: &str, change: PlanChange, by: By) -> Result<Plan, Error> {
    hold(tx).await?;
    let book = Book::read(tx).await?;
    let before = book.plans.get(slug).ok_or(Error::NotFound)?;
    if change.slug.as_ref().is_some_and(|other| other != slug) {
        let message = "A plan keeps its slug for ever. Make another plan, and hide this one.";
        return Err(Error::Invalid(vec![FieldError::new("slug", "FIXED", message)]));
    }
    let after = change.of(before.clone()).map_err(|fault| Error::Invalid(vec![fault]))?;
    // What was wrong before is not this change's fault.
    let known = faults(&book, slug, before);
    let faults: Vec<_> = faults(&book, slug, &after).into_iter().filter(|fault| !known.contains(fault)).collect();
    if !faults.is_empty() {
        return Err(Error::Invalid(faults));
    }
    put(tx, now, slug, Some(before), &after, by).await?;
    Ok(after)
}

fn faults(book: &Book, slug: &str, plan: &Plan) -> Vec<FieldError> {
    let mut faults = plan.faults(|flag| book.flags.contains_key(flag));
    let others = |other: &&Plan, id: &str| {
        [&other.stripe_price_monthly, &other.stripe_price_yearly].into_iter().flatten().any(|taken| taken == id)
    };
    let ids =
        [("stripe_price_monthly", &plan.stripe_price_monthly), ("stripe_price_yearly", &plan.stripe_price_yearly)];
    for (field, id) in ids.into_iter().filter_map(|(field, id)| Some((field, id.as_deref()?))) {
        if book.plans.iter().any(|(other, plan)| other != slug && others(&plan, id)) {
            faults.push(shared(field));
        }
    }
    faults
}

/// Takes a plan away that nobody is on, was billed for, or is about to pay.
pub async fn remove(tx: &Tx, now: &Now, slug: &str, by: By) -> Result<(), Error> {
    hold(tx).await?;
    let book = Book::read(tx).await?;
    let before = book.plans.get(slug).ok_or(Error::NotFound)?;
    if NAMED.contains(&slug) {
        return Err(Error::InUse);
    }
    let delete = "delete from plans where slug = $1 and not exists \
                  (select 1 from invoices i where i.plan_id = plans.id and i.status = 'open')";
    let deleted = match tx.execute_raw(sql(tx, delete, [slug.into()])).await {
        // A subscription or a checkout refers to it.
        Err(error) if matches!(error.sql_err(), Some(SqlErr::ForeignKeyConstraintViolation(_))) => {
            return Err(Error::InUse);
        }
        deleted => deleted?.rows_affected(),
    };
    if deleted == 0 {
        return Err(Error::InUse);
    }
    let detail = json!({"plan": slug, "before": before.facts(), "after": null});
    Ok(by.note(tx, now, None, "plan.deleted", detail).await?)
}

/// Adds a flag.
pub async fn create_flag(
    tx: &Tx,
    now: &Now,
    name: &str,
    description: &str,
    enabled: bool,
    by: By,
) -> Result<flags::Flag, Error> {
    let description = description.trim();
    let mut faults = flag_faults("name", name, description);
    for fault in &mut faults {
        if fault.field == "name.description" {
            "description".clone_into(&mut fault.field);
        }
    }
    if !faults.is_empty() {
        return Err(Error::Invalid(faults));
    }
    let flag = flags::create(tx, now, name, description, enabled).await?.ok_or(Error::Taken { code: "FLAG_EXISTS" })?;
    by.note(tx, now, None, "flag.created", json!({"flag": name, "description": description, "enabled": enabled}))
        .await?;
    Ok(flag)
}

/// Makes the plans and flags of the database what a diff of [`Book`]s says. Whoever calls this holds the plans and has read `before` since.
pub async fn apply(tx: &Tx, now: &Now, before: &Book, after: &Book, diff: &Diff, by: &By) -> Result<(), DbErr> {
    for change in &diff.changes {
        match change.kind {
            Kind::Plan => {
                if let Some(plan) = after.plans.get(&change.name) {
                    put(tx, now, &change.name, before.plans.get(&change.name), plan, by.clone()).await?;
                }
            }
            Kind::Flag => {
                if let Some(flag) = after.flags.get(&change.name) {
                    put_flag(tx, now, &change.name, before.flags.get(&change.name), flag, by.clone()).await?;
                }
            }
        }
    }
    Ok(())
}

async fn put_flag(
    tx: &Tx,
    now: &Now,
    name: &str,
    before: Option<&FlagEntry>,
    after: &FlagEntry,
    by: By,
) -> Result<(), DbErr> {
    flags::put(tx, now, name, &after.description, after.enabled).await?;
    let facts = differing(&before.map(flag_facts).unwrap_or_default(), &flag_facts(after));
    let action = if before.is_some() { "flag.changed" } else { "flag.created" };
    by.note(tx, now, None, action, told("flag", name, &facts)).await
}

#[derive(FromQueryResult)]
struct Id {
    id: Uuid,
}

/// Writes a plan, and notes what is different then.
async fn put(tx: &Tx, now: &Now, slug: &str, before: Option<&Plan>, after: &Plan, by: By) -> Result<(), DbErr> {
    let facts = differing(&before.map(Plan::facts).unwrap_or_default(), &after.facts());
    if facts.is_empty() {
        return Ok(());
    }
    let plan_id = put_plan(tx, now, slug, after).await?;
    let billing = "insert into plan_billing (plan_id, stripe_price_monthly, stripe_price_yearly) values ($1, $2, $3) \
                   on conflict (plan_id) do update set stripe_price_monthly = excluded.stripe_price_monthly, \
                   stripe_price_yearly = excluded.stripe_price_yearly";
    let prices = [after.stripe_price_monthly.clone(), after.stripe_price_yearly.clone()];
    let [monthly, yearly] = prices.map(sea_orm::Value::from);
    tx.execute_raw(sql(tx, billing, [plan_id.into(), monthly, yearly])).await?;
    for table in ["plan_limits", "plan_feature_defaults"] {
        let clear = format!("delete from {table} where plan_id = $1");
        tx.execute_raw(sql(tx, &clear, [plan_id.into()])).await?;
    }
    for (name, value) in &after.limits {
        let insert = "insert into plan_limits (plan_id, name, value) values ($1, $2, $3)";
        tx.execute_raw(sql(tx, insert, [plan_id.into(), name.as_str().into(), (*value).into()])).await?;
    }
    for (flag, enabled) in &after.features {
        let insert = "insert into plan_feature_defaults (plan_id, flag, enabled) values ($1, $2, $3)";
        tx.execute_raw(sql(tx, insert, [plan_id.into(), flag.as_str().into(), (*enabled).into()])).await?;
    }
    let action = if before.is_some() { "plan.changed" } else { "plan.created" };
    by.note(tx, now, None, action, told("plan", slug, &facts)).await
}

async fn put_plan(tx: &Tx, now: &Now, slug: &str, plan: &Plan) -> Result<Uuid, DbErr> {
    let upsert = "insert into plans (id, slug, name, description, price_amount, price_currency, price_interval, yearly_amount, \
                  included_credits, trial_days, is_public, contact_sales, blueprint, position, created_at, updated_at) \
                  values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15) on conflict (slug) do update set \
                  name = excluded.name, description = excluded.description, price_amount = excluded.price_amount, \
                  price_currency = excluded.price_currency, price_interval = excluded.price_interval, \
                  yearly_amount = excluded.yearly_amount, included_credits = excluded.included_credits, \
                  trial_days = excluded.trial_days, is_public = excluded.is_public, contact_sales = excluded.contact_sales, \
                  blueprint = excluded.blueprint, position = excluded.position, updated_at = excluded.updated_at returning id";
    let values = [
        now.id().into(),
        slug.into(),
        plan.name.as_str().into(),
        plan.description.as_str().into(),
        plan.price.into(),
        plan.currency.as_str().into(),
        plan.interval.as_str().into(),
        plan.price_yearly.into(),
        plan.included_credits.into(),
        plan.trial_days.into(),
        plan.is_public.into(),
        plan.contact_sales.into(),
        plan.blueprint.clone().into(),
        plan.position.into(),
        now.at.into(),
    ];
    let row = Id::find_by_statement(sql(tx, upsert, values)).one(tx).await?;
    row.map(|row| row.id).ok_or_else(|| DbErr::RecordNotFound(format!("plan {slug}, just written")))
}

/// What the audit log keeps: what was, and what is, of all that differs.
fn told(kind: &str, name: &str, facts: &Facts) -> Value {
    let side = |of: fn(&super::diff::Fact) -> &Option<Value>| -> Value {
        facts.iter().map(|(name, fact)| (name.clone(), json!(of(fact)))).collect::<serde_json::Map<_, _>>().into()
    };
    json!({kind: name, "before": side(|fact| &fact.before), "after": side(|fact| &fact.after)})
}
