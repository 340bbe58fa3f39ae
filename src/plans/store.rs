//! Plans in the database.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use uuid::Uuid;

use super::{Money, PlanView};
use crate::{config, db::sql};

/// Limits by name; 0 is unlimited.
pub type Limits = BTreeMap<String, i64>;
/// Feature defaults by flag.
pub type Features = BTreeMap<String, bool>;

/// A row of `plans`.
#[derive(Clone, Debug, FromQueryResult)]
pub struct PlanRow {
    /// Its id.
    pub id: Uuid,
    /// Its slug.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// Whom it is for.
    pub description: String,
    /// Minor units.
    pub price_amount: i64,
    /// ISO 4217.
    pub price_currency: String,
    /// `month` or `year`.
    pub price_interval: String,
    /// What a year costs, in minor units; nothing where the plan is not sold by the year.
    pub yearly_amount: Option<i64>,
    /// Credits granted with it.
    pub included_credits: i64,
    /// Days of trial.
    pub trial_days: i64,
    /// Shown to everybody.
    pub is_public: bool,
    /// Sold by people.
    pub contact_sales: bool,
    /// What a new tenant of it gets.
    pub blueprint: serde_json::Value,
}

/// The columns of a [`PlanRow`], in a query that calls `plans` `p`.
pub const COLUMNS: &str = "p.id, p.slug, p.name, p.description, p.price_amount, p.price_currency, p.price_interval, \
     p.yearly_amount, p.included_credits, p.trial_days, p.is_public, p.contact_sales, p.blueprint";

#[derive(FromQueryResult)]
pub(super) struct LimitRow {
    pub plan_id: Uuid,
    pub name: String,
    pub value: i64,
}

#[derive(FromQueryResult)]
pub(super) struct FeatureRow {
    pub plan_id: Uuid,
    pub flag: String,
    pub enabled: bool,
}

/// The limits of all plans.
pub(super) async fn limits(db: &impl ConnectionTrait) -> Result<Vec<LimitRow>, DbErr> {
    LimitRow::find_by_statement(sql(db, "select plan_id, name, value from plan_limits", [])).all(db).await
}

/// The feature defaults of all plans.
pub(super) async fn features(db: &impl ConnectionTrait) -> Result<Vec<FeatureRow>, DbErr> {
    FeatureRow::find_by_statement(sql(db, "select plan_id, flag, enabled from plan_feature_defaults", [])).all(db).await
}

/// One plan.
pub async fn by_slug(db: &impl ConnectionTrait, slug: &str) -> Result<Option<PlanRow>, DbErr> {
    let query = format!("select {COLUMNS} from plans p where p.slug = $1");
    PlanRow::find_by_statement(sql(db, &query, [slug.into()])).one(db).await
}

/// One plan, by its id.
pub async fn by_id(db: &impl ConnectionTrait, id: Uuid) -> Result<Option<PlanRow>, DbErr> {
    let query = format!("select {COLUMNS} from plans p where p.id = $1");
    PlanRow::find_by_statement(sql(db, &query, [id.into()])).one(db).await
}

/// All plans in their order; those that are not public too where `hidden`.
pub async fn all(db: &impl ConnectionTrait, hidden: bool) -> Result<Vec<PlanView>, DbErr> {
    let query = format!("select {COLUMNS} from plans p where p.is_public or $1 order by p.position, p.slug");
    let plans = PlanRow::find_by_statement(sql(db, &query, [hidden.into()])).all(db).await?;
    let (limits, features) = (limits(db).await?, features(db).await?);
    Ok(plans.into_iter().map(|plan| view(plan, &limits, &features)).collect())
}

/// The plans as somebody gets them who signs up now, as [`all`] has them: with the trial that the operator has configured in place of the plans'
/// own. Free plans have none.
pub async fn offered(
    db: &impl ConnectionTrait,
    billing: &config::Billing,
    hidden: bool,
) -> Result<Vec<PlanView>, DbErr> {
    let mut plans = all(db, hidden).await?;
    for plan in &mut plans {
        plan.trial_days = if plan.price.amount == 0 { 0 } else { billing.trial_days.unwrap_or(plan.trial_days) };
    }
    Ok(plans)
}

fn view(plan: PlanRow, limits: &[LimitRow], features: &[FeatureRow]) -> PlanView {
    let limits = limits.iter().filter(|row| row.plan_id == plan.id).map(|row| (row.name.clone(), row.value));
    let features = features.iter().filter(|row| row.plan_id == plan.id).map(|row| (row.flag.clone(), row.enabled));
    let yearly = plan.yearly_amount.map(|amount| Money { amount, currency: plan.price_currency.clone() });
    PlanView {
        price_yearly: yearly,
        slug: plan.slug,
        name: plan.name,
        description: plan.description,
        price: Money { amount: plan.price_amount, currency: plan.price_currency },
        interval: plan.price_interval,
        included_credits: plan.included_credits,
        trial_days: plan.trial_days,
        limits: limits.collect(),
        features: features.collect(),
        contact_sales: plan.contact_sales,
    }
}
