//! What a tenant is on, what it could be on, and what it has paid.

use askama::Template;
use axum::{
    extract::{Query, State},
    http::StatusCode,
    response::Response,
};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::offers::{Buyer, Offer, Way};
use crate::{
    app::App,
    billing::{
        Status,
        credits::{self, Line},
        invoices::{self, Invoice},
        shown::Shown,
        store,
        stripe::{self, Access, Interval},
        subscription::may_pay,
    },
    entitlements::{Facts, Limit, guard},
    http::{Listing, Page as Rows, Problem, Visit},
    identity::{CurrentUser, SignedIn},
    plans::{self, thousands},
};

/// How prices are to be shown, and what a form has done.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    interval: String,
    done: Option<String>,
    /// Stripe's page sends people back with it.
    checkout: Option<String>,
}

/// What is said above everything else: how it went, a heading, and a sentence.
pub(super) struct Said {
    is_good: bool,
    heading: String,
    text: String,
}

#[derive(Template)]
#[template(path = "billing/pages/overview.html")]
struct Page<'a> {
    facts: &'a Facts,
    limits: Vec<(String, String)>,
    shown: Shown<'a>,
    at: DateTime<Utc>,
    interval: Interval,
    offers: Vec<Offer>,
    invoices: Listing<Invoice>,
    lines: Vec<Line>,
    is_customer: bool,
    may_pay: bool,
    said: Option<Said>,
    visit: &'a Visit,
}

impl Page<'_> {
    /// Whether there is something to cancel.
    fn runs(&self) -> bool {
        matches!(self.facts.terms.status, Status::Active | Status::PastDue) && self.shown.price().amount > 0
    }

    /// Whether there are two prices to choose from.
    fn has_choice(&self) -> bool {
        self.offers.iter().any(|offer| offer.other.is_some())
    }
}

/// A limit in words: `3 of 25`, or the number alone.
fn usage((name, limit): (&String, &Limit)) -> (String, String) {
    let words = match name.as_str() {
        "max_users" => "Users".to_owned(),
        "max_sites" => "Sites".to_owned(),
        "max_sectors_per_site" => "Sectors per site".to_owned(),
        other => other.trim_start_matches("max_").replace('_', " "),
    };
    let used = match limit.limit {
        0 => format!("{}, unlimited", thousands(limit.used)),
        limited => format!("{} of {}", thousands(limit.used), thousands(limited)),
    };
    (words, used)
}

/// The page, with prices by an interval: the subscription's own where none is asked for.
pub(super) async fn render(
    app: &App,
    visit: &Visit,
    who: &CurrentUser,
    asked: Option<Interval>,
    (status, said): (StatusCode, impl FnOnce(&Facts) -> Option<Said>),
) -> Result<Response, Problem> {
    let db = app.db.read();
    let (facts, now) = guard::of(app, who.tenant_id).await?;
    let interval = asked.or_else(|| Interval::parse(&facts.billed.billing_interval)).unwrap_or(Interval::Month);
    let buyer = Buyer {
        facts: &facts,
        now: &now,
        takes_cards: Access::of(app).is_some(),
        pays_by_card: store::pays_by_card(db, who.tenant_id).await?,
    };
    let offered = plans::offered(db, &app.config.billing, false).await?;
    let offered = offered.into_iter().filter(|plan| !plan.contact_sales);
    let newest = |limit| Rows { limit, before: uuid::Uuid::max() };
    let twelve = newest(12);
    let invoices = invoices::list(db, who.tenant_id, twelve).await?;
    let may_pay = may_pay(who).is_ok();
    let page = Page {
        offers: offered.map(|plan| Offer::of(plan, interval, &buyer)).collect(),
        invoices: Listing::of(invoices, twelve, |invoice| invoice.id),
        lines: credits::lines(db, who.tenant_id, newest(4)).await?,
        limits: now.limits.iter().map(usage).collect(),
        shown: Shown::new(&facts, &now, may_pay),
        is_customer: stripe::is_customer(db, who.tenant_id).await?,
        at: app.clock.now().at,
        said: said(&facts),
        facts: &facts,
        interval,
        may_pay,
        visit,
    };
    visit.show(status, &page)
}

pub(super) async fn page(
    State(app): State<App>,
    SignedIn(who): SignedIn,
    visit: Visit,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let said = |facts: &Facts| {
        let good = |heading: &str, text: &str| Some(Said { is_good: true, heading: heading.into(), text: text.into() });
        // What an address from yesterday says need not hold any more.
        match (asked.done.as_deref(), asked.checkout.as_deref(), facts.terms.cancel_at_period_end) {
            (_, Some("done"), _) => {
                good("Thank you", "Your payment is being confirmed; this page shows it in a moment.")
            }
            (Some("ordered"), ..) => good(
                "The invoice is written",
                "Your plan changes when it is paid. It is below, and on its way by mail.",
            ),
            (Some("changed"), ..) => good("The plan is changed", "It holds from now on."),
            (Some("canceled"), _, true) => good(
                "The subscription ends with its period",
                "Until then everything stays as it is, and you can take it back.",
            ),
            (Some("resumed"), _, false) => good("The subscription goes on", "Nothing changes."),
            _ => None,
        }
    };
    render(&app, &visit, &who, Interval::parse(&asked.interval), (StatusCode::OK, said)).await
}

/// The page again, with what is in the way.
pub(super) async fn refuse(
    app: &App,
    visit: &Visit,
    who: &CurrentUser,
    (refused, asked): (Problem, Option<Interval>),
) -> Result<Response, Problem> {
    if refused.status.is_server_error() && refused.status != StatusCode::SERVICE_UNAVAILABLE {
        return Err(refused);
    }
    let said = Said { is_good: false, heading: "That did not work".into(), text: refused.detail };
    render(app, visit, who, asked, (refused.status, |_: &Facts| Some(said))).await
}
