//! What a plan costs at Stripe.

use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::Error;
use crate::{
    billing::sandbox::price_id,
    db::sql,
    plans::{PlanRow, by_slug, store::COLUMNS},
};

/// How often a plan is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = BillingInterval)]
pub enum Interval {
    /// By the month.
    Month,
    /// By the year.
    Year,
}

impl Interval {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    /// As it is written; nothing for what we do not sell.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Month, Self::Year].into_iter().find(|interval| interval.as_str() == text)
    }
}

/// A plan that somebody wants to buy, and its price at Stripe.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The plan.
    pub plan: PlanRow,
    /// How often it is paid.
    pub interval: Interval,
    /// Minor units, for each interval.
    pub amount: i64,
    /// Stripe's id of the price.
    pub price_id: String,
}

impl Offer {
    /// Whether it is charged at once to who changes to it from another plan: it costs more a year, or begins a period of another length. Where
    /// nobody knows what is paid now, it is.
    ///
    /// # Errors
    /// The database.
    pub async fn is_more_than(
        &self,
        db: &impl ConnectionTrait,
        in_sandbox: bool,
        (slug, interval): (&str, &str),
    ) -> Result<bool, Error> {
        let Some(plan) = by_slug(db, slug).await? else { return Ok(true) };
        match offer_of(db, in_sandbox, plan, Interval::parse(interval)).await {
            Ok(now) => Ok(self.interval != now.interval || self.a_year() > now.a_year()),
            Err(Error::Database(error)) => Err(error.into()),
            Err(_) => Ok(true),
        }
    }

    /// What a year of it costs.
    fn a_year(&self) -> i64 {
        match self.interval {
            Interval::Month => self.amount.saturating_mul(12),
            Interval::Year => self.amount,
        }
    }
}

#[derive(FromQueryResult)]
struct Costs {
    yearly_amount: Option<i64>,
    monthly: Option<String>,
    yearly: Option<String>,
}

/// The price of a plan that anybody may buy.
///
/// # Errors
/// What is wrong with the plan; [`Error::NotConfigured`] where the real Stripe has no price of it.
pub async fn offer(
    db: &impl ConnectionTrait,
    in_sandbox: bool,
    slug: &str,
    interval: Option<Interval>,
) -> Result<Offer, Error> {
    let plan = by_slug(db, slug).await?.filter(|plan| plan.is_public).ok_or(Error::UnknownPlan)?;
    offer_of(db, in_sandbox, plan, interval).await
}

/// The price of a plan that is at hand.
///
/// # Errors
/// As [`offer`].
pub async fn offer_of(
    db: &impl ConnectionTrait,
    in_sandbox: bool,
    plan: PlanRow,
    interval: Option<Interval>,
) -> Result<Offer, Error> {
    if plan.contact_sales || plan.price_amount == 0 {
        return Err(Error::NotSelfServe);
    }
    let query = "select p.yearly_amount, b.stripe_price_monthly as monthly, b.stripe_price_yearly as yearly \
                 from plans p left join plan_billing b on b.plan_id = p.id where p.id = $1";
    let costs = Costs::find_by_statement(sql(db, query, [plan.id.into()])).one(db).await?.ok_or(Error::UnknownPlan)?;
    let own = Interval::parse(&plan.price_interval).unwrap_or(Interval::Month);
    let interval = interval.unwrap_or(own);
    let amount = if interval == own {
        Some(plan.price_amount)
    } else {
        costs.yearly_amount.filter(|_| interval == Interval::Year)
    };
    let amount = amount.ok_or(Error::NotSoldBy(interval))?;
    let configured = match interval {
        Interval::Month => costs.monthly,
        Interval::Year => costs.yearly,
    };
    let configured = configured.filter(|id| !id.is_empty());
    let price_id = match configured {
        Some(id) => id,
        None if in_sandbox => price_id(&plan.slug, interval.as_str(), amount),
        None => return Err(Error::NotConfigured),
    };
    Ok(Offer { plan, interval, amount, price_id })
}

/// A plan as the rows of a subscription need it.
#[derive(Clone, Debug, PartialEq, Eq, FromQueryResult)]
pub(super) struct Sold {
    pub id: Uuid,
    pub slug: String,
    pub name: String,
    pub included_credits: i64,
}

/// The plan that a price of Stripe's is of.
pub(super) async fn sold_at(db: &impl ConnectionTrait, price_id: &str) -> Result<Option<Sold>, DbErr> {
    let query = format!(
        "select {COLUMNS} from plans p join plan_billing b on b.plan_id = p.id \
         where b.stripe_price_monthly = $1 or b.stripe_price_yearly = $1"
    );
    if let Some(sold) = Sold::find_by_statement(sql(db, &query, [price_id.into()])).one(db).await? {
        return Ok(Some(sold));
    }
    match slug_of(price_id) {
        Some(slug) => sold_as(db, slug).await,
        None => Ok(None),
    }
}

/// The plan that the name of a price of the sandbox says.
fn slug_of(price_id: &str) -> Option<&str> {
    let (name, _amount) = price_id.strip_prefix("price_")?.rsplit_once('_')?;
    Some(name.rsplit_once('_')?.0)
}

/// The plan of a slug.
pub(super) async fn sold_as(db: &impl ConnectionTrait, slug: &str) -> Result<Option<Sold>, DbErr> {
    let query = "select id, slug, name, included_credits from plans where slug = $1";
    Sold::find_by_statement(sql(db, query, [slug.into()])).one(db).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_of_the_sandbox_says_what_it_is() {
        assert_eq!(slug_of(&price_id("pro_max", "month", 14_900)), Some("pro_max"));
        assert_eq!(slug_of("price_1MoBy5LkdIwHu7ixZhnattbh"), None);
        assert_eq!(Interval::parse("week"), None);
    }
}
