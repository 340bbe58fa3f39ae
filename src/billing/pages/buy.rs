//! The buttons of the billing page. Each form does its work once, however often it is sent; a checkout and the portal are one page a tenant anyhow.

use askama::Template;
use axum::{Extension, extract::State, http::StatusCode, response::Response};
use serde::Deserialize;
use serde_json::json;

use super::overview::refuse;
use crate::{
    app::App,
    audit::Actor,
    billing::{
        change::Change,
        stripe::{self, Buyer, Interval, prices},
        subscription::{self, Choice, may_pay},
    },
    http::{Form, IdempotencyKey, NoFields, Once, Problem, Reply, RequestId, Visit, go_to},
    identity::{CurrentUser, SignedIn},
};

/// A plan and how often it is to be paid.
#[derive(Deserialize)]
pub(super) struct Wanted {
    pub plan: String,
    #[serde(default)]
    pub interval: String,
}

impl Wanted {
    pub fn interval(&self) -> Option<Interval> {
        Interval::parse(&self.interval)
    }
}

/// Where a form leads to, as it is kept for its repeats.
fn led(to: &str) -> Reply {
    Reply::new(StatusCode::OK, &json!({"to": to}))
}

/// Goes where a form has led to, or shows the page again with what is in the way.
async fn arrive(
    app: &App,
    visit: &Visit,
    who: &CurrentUser,
    led: Result<Reply, Problem>,
    asked: Option<Interval>,
) -> Result<Response, Problem> {
    match led {
        Ok(reply) => Ok(go_to(reply.member("to").as_str().unwrap_or("/billing"), [])),
        Err(refused) => refuse(app, visit, who, (refused, asked)).await,
    }
}

fn once<'a>(app: &'a App, key: &IdempotencyKey, who: &CurrentUser) -> Once<'a> {
    Once::new(app, key, &who.tenant_id.to_string())
}

/// Leads to Stripe's page. A tenant that pays there already is shown first what a change comes to.
pub(super) async fn check_out(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    SignedIn(who): SignedIn,
    visit: Visit,
    Form { body: wanted, .. }: Form<Wanted>,
) -> Result<Response, Problem> {
    may_pay(&who)?;
    let opened = async {
        stripe::Client::of(&app)?;
        let offer = prices::offer(app.db.read(), app.config.billing.sandbox, &wanted.plan, wanted.interval()).await?;
        let buyer = Buyer { tenant_id: who.tenant_id, actor: Actor::User(who.user_id), request: &request };
        stripe::open_checkout(&app, buyer, &offer).await
    };
    match opened.await {
        Ok(session) => visit.show(StatusCode::OK, &Leaving { url: session.url }),
        Err(stripe::Error::AlreadySubscribed) => {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            let query = query.append_pair("plan", &wanted.plan).append_pair("interval", &wanted.interval).finish();
            Ok(go_to(&format!("/billing/change?{query}"), []))
        }
        Err(error) => refuse(&app, &visit, &who, (error.into(), wanted.interval())).await,
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
    form: Form<Wanted>,
) -> Result<Response, Problem> {
    choose(&app, &request, &who, &visit, form, true).await
}

/// Puts the tenant on another plan: a trial, or the free plan, at once; at Stripe where it pays there.
pub(super) async fn change(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    SignedIn(who): SignedIn,
    visit: Visit,
    form: Form<Wanted>,
) -> Result<Response, Problem> {
    choose(&app, &request, &who, &visit, form, false).await
}

async fn choose(
    app: &App,
    request: &RequestId,
    who: &CurrentUser,
    visit: &Visit,
    Form { body: wanted, key }: Form<Wanted>,
    by_bank: bool,
) -> Result<Response, Problem> {
    may_pay(who)?;
    let once = once(app, &key, who);
    let changed = once.run(async {
        let choice = Choice { plan_slug: &wanted.plan, interval: wanted.interval(), by_bank };
        let (tx, now, changed) = subscription::choose(app, who, request, choice).await?;
        let to = match changed {
            Change::Now => "/billing?done=changed",
            Change::AtPeriodEnd => "/billing?done=canceled",
            Change::Ordered { .. } => "/billing?done=ordered",
        };
        Ok(once.commit(tx, &now, led(to)).await?)
    });
    arrive(app, visit, who, changed.await, wanted.interval()).await
}

pub(super) async fn cancel(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    SignedIn(who): SignedIn,
    visit: Visit,
    form: Form<NoFields>,
) -> Result<Response, Problem> {
    end(&app, &request, &who, &visit, form, true).await
}

pub(super) async fn resume(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    SignedIn(who): SignedIn,
    visit: Visit,
    form: Form<NoFields>,
) -> Result<Response, Problem> {
    end(&app, &request, &who, &visit, form, false).await
}

async fn end(
    app: &App,
    request: &RequestId,
    who: &CurrentUser,
    visit: &Visit,
    Form { key, .. }: Form<NoFields>,
    at_period_end: bool,
) -> Result<Response, Problem> {
    may_pay(who)?;
    let once = once(app, &key, who);
    let ended = once.run(async {
        let (tx, now) = subscription::end(app, who, request, at_period_end).await?;
        let to = if at_period_end { "/billing?done=canceled" } else { "/billing?done=resumed" };
        Ok(once.commit(tx, &now, led(to)).await?)
    });
    arrive(app, visit, who, ended.await, None).await
}

/// Leads to Stripe's portal: cards, receipts.
pub(super) async fn portal(
    State(app): State<App>,
    SignedIn(who): SignedIn,
    visit: Visit,
    _: Form<NoFields>,
) -> Result<Response, Problem> {
    may_pay(&who)?;
    match stripe::portal(&app, who.tenant_id).await.map_err(Problem::from) {
        Ok(url) => visit.show(StatusCode::OK, &Leaving { url }),
        Err(refused) => refuse(&app, &visit, &who, (refused, None)).await,
    }
}
