//! What a tenant is on, what it could be on, and what it has paid.

use askama::Template;
use axum::{
    Extension,
    extract::{Query, State},
    http::StatusCode,
    response::Response,
};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::{
    app::App,
    audit::{self, Actor},
    billing::{
        Status, bank,
        change::Change,
        credits::{self, Line},
        invoices::{self, Invoice},
        stripe::{self, Access, Buyer, Interval, prices},
        subscription::{self, may_pay},
    },
    entitlements::{Entitlements, Facts, Limit, Source, Standing, guard},
    http::{Form, NoFields, Page as Rows, Problem, RequestId, Visit, go_to},
    identity::{CurrentUser, SignedIn},
    plans::{self, Money, PlanView, thousands},
};

/// What a form has done, or why it has not.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Done {
    done: Option<String>,
    /// Stripe's page sends people back with it.
    checkout: Option<String>,
}

/// What is said above everything else: how it went, a heading, and a sentence.
struct Said {
    is_good: bool,
    heading: String,
    text: String,
}

#[derive(Template)]
#[template(path = "billing/pages/overview.html")]
struct Page<'a> {
    facts: &'a Facts,
    now: &'a Entitlements,
    at: DateTime<Utc>,
    offers: Vec<PlanView>,
    invoices: Vec<Invoice>,
    lines: Vec<Line>,
    takes_cards: bool,
    is_customer: bool,
    may_pay: bool,
    said: Option<Said>,
    visit: &'a Visit,
}

impl Page<'_> {
    /// The plan's own name, and how it stands, in a few words.
    fn stands(&self) -> (&'static str, &'static str) {
        match (self.now.standing, self.facts.terms.status) {
            (Standing::Locked { .. }, Status::PendingPayment | Status::Incomplete) => {
                ("pending", "Waits for its payment")
            }
            (Standing::Locked { .. }, Status::Trialing) => ("pending", "Trial ended"),
            (Standing::Entitled { source: Source::Trial, .. }, _) => ("complete", "Free trial"),
            (_, Status::PastDue) => ("failed", "Payment missing"),
            (Standing::Locked { .. }, _) => ("pending", "Ended"),
            (Standing::Entitled { source: Source::Complimentary, .. }, _) => ("complete", "With our compliments"),
            (Standing::Entitled { until: Some(_), .. }, _) => ("pending", "Ends with its period"),
            (Standing::Entitled { .. }, _) => ("complete", "Active"),
        }
    }

    /// One sentence on what holds until when.
    fn until(&self) -> String {
        let day = |at: DateTime<Utc>| at.format("%-d %B %Y").to_string();
        match self.now.standing {
            Standing::Locked { reason, .. } => {
                format!("{} Until then the limits of the free plan hold; nothing is lost.", reason.says())
            }
            Standing::Entitled { source: Source::Trial, until: Some(end) } => format!("Free until {}.", day(end)),
            Standing::Entitled { source: Source::Grace, until: Some(end) } => {
                format!("Please pay what is open until {}; from then on the limits of the free plan hold.", day(end))
            }
            Standing::Entitled { until: Some(end), .. } => format!("It is paid for until {}, and ends then.", day(end)),
            Standing::Entitled { source: Source::Complimentary, .. } => "It costs you nothing.".to_owned(),
            Standing::Entitled { .. } => {
                match self.facts.terms.current_period_end.filter(|_| self.price().amount > 0) {
                    Some(end) => format!(
                        "{} a {}; it goes on after {}.",
                        self.price(),
                        self.facts.account.billing_interval,
                        day(end)
                    ),
                    None => "Free, for as long as you like.".to_owned(),
                }
            }
        }
    }

    fn price(&self) -> Money {
        let account = &self.facts.account;
        let yearly = account.yearly_amount.filter(|_| account.billing_interval == "year");
        Money { amount: yearly.unwrap_or(account.price_amount), currency: account.price_currency.clone() }
    }

    /// Whether there is something to cancel.
    fn runs(&self) -> bool {
        matches!(self.facts.terms.status, Status::Active | Status::PastDue) && self.price().amount > 0
    }

    /// What is limited, in words: `3 of 25`, or the number alone.
    fn usage(&self) -> Vec<(String, String)> {
        let words = |name: &str| match name {
            "max_users" => "Users".to_owned(),
            "max_sites" => "Sites".to_owned(),
            "max_sectors_per_site" => "Sectors per site".to_owned(),
            other => other.trim_start_matches("max_").replace('_', " "),
        };
        let used = |limit: &Limit| match limit.limit {
            0 => format!("{}, unlimited", thousands(limit.used)),
            limited => format!("{} of {}", thousands(limit.used), thousands(limited)),
        };
        self.now.limits.iter().map(|(name, limit)| (words(name), used(limit))).collect()
    }

    fn is_current(&self, offer: &PlanView) -> bool {
        offer.slug == self.facts.plan.slug
            && self.now.standing.is_entitled()
            && self.facts.terms.status != Status::Trialing
    }
}

async fn render(
    app: &App,
    visit: &Visit,
    who: &CurrentUser,
    said: Option<Said>,
    status: StatusCode,
) -> Result<Response, Problem> {
    let db = app.db.read();
    let (facts, now) = guard::of(app, who.tenant_id).await?;
    let newest = |limit| Rows { limit, before: uuid::Uuid::max() };
    let page = Page {
        offers: plans::offered(db, &app.config.billing, false)
            .await?
            .into_iter()
            .filter(|plan| !plan.contact_sales)
            .collect(),
        invoices: invoices::list(db, who.tenant_id, newest(11)).await?,
        lines: credits::lines(db, who.tenant_id, newest(4)).await?,
        takes_cards: Access::of(app).is_some(),
        is_customer: stripe::is_customer(db, who.tenant_id).await?,
        may_pay: may_pay(who).is_ok(),
        at: app.clock.now().at,
        facts: &facts,
        now: &now,
        said,
        visit,
    };
    visit.show(status, &page)
}

pub(super) async fn page(
    State(app): State<App>,
    SignedIn(who): SignedIn,
    visit: Visit,
    Query(done): Query<Done>,
) -> Result<Response, Problem> {
    let good = |heading: &str, text: &str| Some(Said { is_good: true, heading: heading.into(), text: text.into() });
    let said = match (done.done.as_deref(), done.checkout.as_deref()) {
        (_, Some("done")) => good("Thank you", "Your payment is being confirmed; this page shows it in a moment."),
        (Some("ordered"), _) => {
            good("The invoice is written", "Your plan changes when it is paid. It is below, and on its way by mail.")
        }
        (Some("changed"), _) => good("The plan is changed", "It holds from now on."),
        (Some("canceled"), _) => good(
            "The subscription ends with its period",
            "Until then everything stays as it is, and you can take it back.",
        ),
        (Some("resumed"), _) => good("The subscription goes on", "Nothing changes."),
        _ => None,
    };
    render(&app, &visit, &who, said, StatusCode::OK).await
}

/// A plan and how often it is to be paid.
#[derive(Deserialize)]
pub(super) struct Wanted {
    plan: String,
    #[serde(default)]
    interval: String,
}

/// Shows the page again with what is in the way.
async fn refuse(app: &App, visit: &Visit, who: &CurrentUser, refused: Problem) -> Result<Response, Problem> {
    if refused.status.is_server_error() && refused.status != StatusCode::SERVICE_UNAVAILABLE {
        return Err(refused);
    }
    let said = Said { is_good: false, heading: "That did not work".into(), text: refused.detail };
    render(app, visit, who, Some(said), refused.status).await
}

/// Leads to Stripe's page; a tenant that pays there already changes its plan instead.
pub(super) async fn buy(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    SignedIn(who): SignedIn,
    visit: Visit,
    Form { body: wanted, .. }: Form<Wanted>,
) -> Result<Response, Problem> {
    may_pay(&who)?;
    let bought = async {
        stripe::Client::of(&app)?;
        let interval = Interval::parse(&wanted.interval);
        let offer = prices::offer(app.db.read(), app.config.billing.sandbox, &wanted.plan, interval).await?;
        let buyer = Buyer { tenant_id: who.tenant_id, actor: Actor::User(who.user_id), request: &request };
        match stripe::open_checkout(&app, buyer, &offer).await {
            Ok(session) => Ok(session.url),
            Err(stripe::Error::AlreadySubscribed) => {
                stripe::change_plan(&app, who.tenant_id, &wanted.plan, interval).await?;
                Ok("/billing?done=changed".to_owned())
            }
            Err(error) => Err(error),
        }
    };
    match bought.await.map_err(Problem::from) {
        Ok(url) if url.starts_with('/') => Ok(go_to(&url, [])),
        Ok(url) => visit.show(StatusCode::OK, &Leaving { url }),
        Err(refused) => refuse(&app, &visit, &who, refused).await,
    }
}

/// The way to a page of Stripe's: a form may lead to our own pages alone (CSP, `form-action`).
#[derive(Template)]
#[template(path = "billing/pages/leaving.html")]
struct Leaving {
    url: String,
}

/// Writes an invoice for a bank transfer.
pub(super) async fn order(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    SignedIn(who): SignedIn,
    visit: Visit,
    Form { body: wanted, .. }: Form<Wanted>,
) -> Result<Response, Problem> {
    may_pay(&who)?;
    let ordered = async {
        let plan = plans::by_slug(app.db.read(), &wanted.plan).await?.filter(|plan| plan.is_public);
        let plan = plan.ok_or_else(Problem::not_found)?;
        let now = app.clock.now();
        let tx = app.db.begin().await?;
        let interval = Interval::parse(&wanted.interval).map_or("month", Interval::as_str);
        let invoice_id = bank::order(&tx, &now, &app.post, who.tenant_id, (&plan, interval)).await?;
        let detail = serde_json::json!({"plan": plan.slug, "invoice_id": invoice_id});
        audit::note(&tx, &now, &request, (Actor::User(who.user_id), Some(who.tenant_id)), "plan.ordered", detail)
            .await?;
        tx.commit().await?;
        app.wake.wake();
        Ok::<_, Problem>(())
    };
    match ordered.await {
        Ok(()) => Ok(go_to("/billing?done=ordered", [])),
        Err(refused) => refuse(&app, &visit, &who, refused).await,
    }
}

/// Puts the tenant on another plan: a trial, or the free plan, at once; at Stripe where it pays there.
pub(super) async fn change(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    SignedIn(who): SignedIn,
    visit: Visit,
    Form { body: wanted, .. }: Form<Wanted>,
) -> Result<Response, Problem> {
    may_pay(&who)?;
    match subscription::choose(&app, &who, &request, (&wanted.plan, Interval::parse(&wanted.interval))).await {
        Ok(Change::Now) => Ok(go_to("/billing?done=changed", [])),
        Ok(Change::AtPeriodEnd) => Ok(go_to("/billing?done=canceled", [])),
        Ok(Change::Ordered { .. }) => Ok(go_to("/billing?done=ordered", [])),
        Err(refused) => refuse(&app, &visit, &who, refused).await,
    }
}

pub(super) async fn cancel(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    SignedIn(who): SignedIn,
    visit: Visit,
    _: Form<NoFields>,
) -> Result<Response, Problem> {
    may_pay(&who)?;
    match subscription::end(&app, &who, &request, true).await {
        Ok(()) => Ok(go_to("/billing?done=canceled", [])),
        Err(refused) => refuse(&app, &visit, &who, refused).await,
    }
}

pub(super) async fn resume(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    SignedIn(who): SignedIn,
    visit: Visit,
    _: Form<NoFields>,
) -> Result<Response, Problem> {
    may_pay(&who)?;
    match subscription::end(&app, &who, &request, false).await {
        Ok(()) => Ok(go_to("/billing?done=resumed", [])),
        Err(refused) => refuse(&app, &visit, &who, refused).await,
    }
}

/// Leads to Stripe's portal.
pub(super) async fn portal(
    State(app): State<App>,
    SignedIn(who): SignedIn,
    visit: Visit,
    _: Form<NoFields>,
) -> Result<Response, Problem> {
    may_pay(&who)?;
    match stripe::portal(&app, who.tenant_id).await.map_err(Problem::from) {
        Ok(url) => visit.show(StatusCode::OK, &Leaving { url }),
        Err(refused) => refuse(&app, &visit, &who, refused).await,
    }
}
