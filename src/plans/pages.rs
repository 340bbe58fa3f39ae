//! What the plans cost and bring, as a page.

use askama::Template;
use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
    routing::get,
};

use super::{Money, PlanView, thousands};
use crate::{
    app::App,
    entitlements::{Entitlements, Facts, Status, guard},
    http::{Problem, Visit},
    identity::{self, CurrentUser},
    tenants::Role,
};

/// The limits that the page tells of each plan.
pub const SHOWN_LIMITS: [&str; 3] = [USERS, SITES, SECTORS];
const USERS: &str = "max_users";
const SITES: &str = "max_sites";
const SECTORS: &str = "max_sectors_per_site";

/// This slice's pages.
pub fn routes() -> Router<App> {
    Router::new().route("/pricing", get(pricing))
}

/// A plan, as the page offers it.
struct Offer {
    plan: PlanView,
    /// The one to look at first.
    is_first: bool,
}

impl Offer {
    /// `3`, or `Unlimited`; nothing where the plan does not say.
    fn limit(&self, name: &str) -> Option<String> {
        let limit = *self.plan.limits.get(name)?;
        Some(if limit == 0 { "Unlimited".to_owned() } else { thousands(limit) })
    }

    fn limit_or_dash(&self, name: &str) -> String {
        self.limit(name).unwrap_or_else(|| "–".to_owned())
    }

    /// What comes with it, in a few lines.
    fn ticks(&self) -> Vec<String> {
        let several = |name: &str, one: &str, many: &str| {
            let limit = self.limit(name)?;
            Some(format!("{limit} {}", if limit == "1" { one } else { many }))
        };
        let credits = if self.plan.contact_sales {
            "As many credits as you need".to_owned()
        } else {
            format!("{} credits", self.plan.credits())
        };
        let lines = [
            Some(credits),
            several(USERS, "user", "users"),
            several(SITES, "site", "sites"),
            several(SECTORS, "sector per site", "sectors per site"),
        ];
        lines.into_iter().flatten().collect()
    }

    /// In the table.
    fn price(&self) -> String {
        match self.plan.price.amount {
            _ if self.plan.contact_sales => "By contract".to_owned(),
            0 => "Free".to_owned(),
            _ => format!("{} a {}", self.plan.price, self.plan.interval),
        }
    }

    /// In the table, for those who pay by the year.
    fn yearly(&self) -> String {
        match &self.plan.price_yearly {
            _ if self.plan.contact_sales => "By contract".to_owned(),
            Some(price) if price.amount > 0 => format!("{price} a year"),
            _ => "–".to_owned(),
        }
    }

    /// What a year costs, where that is a choice.
    fn by_the_year(&self) -> Option<&Money> {
        self.plan.price_yearly.as_ref().filter(|price| price.amount > 0 && !self.plan.contact_sales)
    }

    fn trial(&self) -> String {
        match self.plan.trial_days {
            _ if self.plan.contact_sales => "By contract".to_owned(),
            0 if self.plan.price.amount == 0 => "Not needed".to_owned(),
            0 => "None".to_owned(),
            1 => "1 day".to_owned(),
            days => format!("{days} days"),
        }
    }

    fn credits(&self) -> String {
        if self.plan.contact_sales { "By contract".to_owned() } else { self.plan.credits() }
    }
}

/// Who looks at the page.
enum Viewer {
    /// Nobody that we know.
    Stranger,
    /// Somebody of a tenant that has a plan.
    Member(Member),
}

/// What decides which buttons a member sees.
struct Member {
    /// The plan's slug.
    plan: String,
    /// Whether it is theirs for good, and not on trial or waiting for a payment.
    is_held: bool,
    /// Whether they may choose another.
    may_choose: bool,
    /// Whether a choice leads to a page to pay on. Whoever pays already, or cannot pay by card, chooses on the billing page.
    buys_here: bool,
}

impl Member {
    fn of(app: &App, user: &CurrentUser, facts: &Facts, now: &Entitlements) -> Self {
        let is_paying = facts.billed.price_amount > 0
            && matches!(facts.terms.status, Status::Active | Status::PastDue | Status::Complimentary);
        let takes_cards = app.config.billing.sandbox || app.config.stripe.secret_key.is_some();
        Self {
            plan: facts.plan.slug.clone(),
            is_held: now.standing.is_entitled() && facts.terms.status != Status::Trialing,
            may_choose: matches!(user.role, Role::Owner | Role::Admin),
            buys_here: takes_cards && !is_paying,
        }
    }
}

#[derive(Template)]
#[template(path = "plans/pricing.html")]
struct Page<'a> {
    offers: Vec<Offer>,
    viewer: Viewer,
    visit: &'a Visit,
}

impl Page<'_> {
    /// Whether any plan is sold by the year beside the month.
    fn has_yearly(&self) -> bool {
        self.offers.iter().any(|offer| offer.by_the_year().is_some())
    }

    /// The days of trial that every plan which costs something begins with; nothing where they differ.
    fn trial_days(&self) -> Option<i64> {
        let mut days =
            self.offers.iter().filter(|offer| offer.plan.price.amount > 0).map(|offer| offer.plan.trial_days);
        let first = days.next().filter(|first| *first > 0)?;
        days.all(|others| others == first).then_some(first)
    }
}

async fn pricing(State(app): State<App>, headers: HeaderMap, visit: Visit) -> Result<Response, Problem> {
    let plans = super::offered(app.db.read(), &app.config.billing, false).await?;
    let mut offers: Vec<_> = plans.into_iter().map(|plan| Offer { plan, is_first: false }).collect();
    if let Some(first) = offers.iter_mut().find(|offer| offer.plan.price.amount > 0 && !offer.plan.contact_sales) {
        first.is_first = true;
    }
    let viewer = match identity::browser::user(&app, &headers).await? {
        None => Viewer::Stranger,
        Some(user) => {
            let (facts, now) = guard::of(&app, user.tenant_id).await?;
            Viewer::Member(Member::of(&app, &user, &facts, &now))
        }
    };
    visit.show(StatusCode::OK, &Page { offers, viewer, visit: &visit })
}
