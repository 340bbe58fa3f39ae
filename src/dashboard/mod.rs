//! Where somebody who is signed in arrives: the tenant, its plan, how it was set up, and what to do next.

use askama::Template;
use axum::{
    Extension, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
    routing::{get, post},
};
use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    app::App,
    audit::Actor,
    billing::{self, Summary},
    entitlements::{Limit, guard},
    http::{Form, NoFields, Problem, RequestId, Visit, go_to},
    identity::{self, CurrentUser, SignedIn, users, users::UserView},
    provisioning::{self, RunStatus, Status, shown::Shown},
    tenants::{self, Door, Role, TenantRow},
    webhooks,
};

/// This slice's pages.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/dashboard", get(page))
        .route("/dashboard/resend", post(resend))
        .route("/dashboard/retry", post(retry))
}

/// What came of a button on the page.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    No,
    Yes,
    TooSoon,
}

#[derive(Template)]
#[template(path = "dashboard/page.html")]
struct Page<'a> {
    tenant: &'a TenantRow,
    user: &'a UserView,
    role: Role,
    run: Option<&'a Status>,
    steps: Vec<Shown>,
    plan: Summary,
    shown: billing::shown::Shown<'a>,
    users: Option<Limit>,
    host: &'a str,
    front_url: String,
    now: DateTime<Utc>,
    grace_ends: Option<DateTime<Utc>>,
    sent: Sent,
    visit: &'a Visit,
}

impl Page<'_> {
    fn greeting(&self) -> String {
        let first = self.user.name.as_deref().and_then(|name| name.split_whitespace().next());
        first.map_or_else(|| "Hello".to_owned(), |name| format!("Hello, {name}"))
    }

    fn is_open(&self) -> bool {
        self.tenant.status == tenants::Status::Active
    }

    /// Whether it is still to be opened for the first time.
    fn is_begun(&self) -> bool {
        matches!(self.tenant.status, tenants::Status::Pending | tenants::Status::PendingPayment)
    }

    /// Why it is not open, where that has nothing to do with its set-up.
    fn closed(&self) -> Option<&'static str> {
        match self.tenant.status {
            tenants::Status::PendingPayment => Some("It opens when its first invoice is paid."),
            tenants::Status::Suspended => Some("It has been suspended."),
            tenants::Status::Closed => Some("It has been closed."),
            tenants::Status::Pending | tenants::Status::Active => None,
        }
    }

    /// Whether there is something to retry, and whoever looks may do so.
    fn may_retry(&self) -> bool {
        let has_failed = self.run.is_some_and(|run| run.status == RunStatus::Failed);
        has_failed && matches!(self.role, Role::Owner | Role::Admin)
    }

    fn set_up_in(&self) -> Option<String> {
        let run = self.run.filter(|run| run.status == RunStatus::Complete)?;
        run.duration_ms.map(provisioning::shown::seconds)
    }

    /// The days of the trial, each used up or not, for the row of doors. A long trial has none.
    fn days(&self) -> Vec<bool> {
        match self.plan.trial(self.now) {
            Some((left, all)) if all <= 31 => (0..all).map(|day| day < left).collect(),
            _ => Vec::new(),
        }
    }

    /// How long the address may stay unproved.
    fn grace(&self) -> String {
        let left = self.grace_ends.map_or(TimeDelta::zero(), |ends| ends - self.now);
        match left.num_days() {
            _ if left <= TimeDelta::zero() => "Until you use it, some things are closed to you.".to_owned(),
            0 => "Less than a day is left to use it.".to_owned(),
            1 => "1 day is left to use it.".to_owned(),
            days => format!("{days} days are left to use it."),
        }
    }

    /// `1 of 3`, or the number alone where there is no limit.
    fn users(&self) -> String {
        match self.users {
            Some(Limit { limit, used, .. }) if limit > 0 => format!("{used} of {limit}"),
            Some(Limit { used, .. }) => used.to_string(),
            None => "–".to_owned(),
        }
    }
}

async fn render(app: &App, visit: &Visit, who: &CurrentUser, sent: Sent) -> Result<Response, Problem> {
    let db = app.db.read();
    let tenant = tenants::by_id(db, who.tenant_id).await?.ok_or_else(Problem::not_found)?;
    if tenant.provisioned_at.is_none() && tenant.door == Door::Wizard && who.role == Role::Owner {
        return Ok(go_to("/onboarding", []));
    }
    let user = users::by_id(db, who.user_id).await?;
    let run = provisioning::current(db, tenant.id).await?;
    let plan = billing::summary(db, tenant.id).await?.ok_or_else(Problem::not_found)?;
    let (facts, allowed) = guard::of(app, tenant.id).await?;
    let webhook = webhooks::signup_url(db, tenant.id).await?.unwrap_or_default();
    let host = format!("{}.{}", tenant.slug, app.config.base_domain);
    let steps = run.iter().flat_map(|run| &run.steps);
    let steps = steps.map(|step| Shown::of(step, &host, &webhook, &tenant.owner_email)).collect();
    let page = Page {
        front_url: tenants::page_url(&app.config, &tenant.slug),
        shown: billing::shown::Shown::new(&facts, &allowed, billing::subscription::may_pay(who).is_ok()),
        users: allowed.limits.get("max_users").copied(),
        run: run.as_ref(),
        tenant: &tenant,
        user: &user,
        role: who.role,
        host: &host,
        now: app.clock.now().at,
        grace_ends: users::grace_ends(db, who.user_id, app.config.identity.verification_grace).await?,
        steps,
        plan,
        sent,
        visit,
    };
    visit.show(StatusCode::OK, &page)
}

async fn page(State(app): State<App>, SignedIn(who): SignedIn, visit: Visit) -> Result<Response, Problem> {
    render(&app, &visit, &who, Sent::No).await
}

/// Sends the mail that proves the address again.
async fn resend(
    State(app): State<App>,
    SignedIn(who): SignedIn,
    visit: Visit,
    Form { key, .. }: Form<NoFields>,
) -> Result<Response, Problem> {
    let sent = match identity::api::send_verification(&app, &key, who.user_id, who.tenant_id).await {
        Ok(_) => Sent::Yes,
        Err(refused) if refused.code == "RATE_LIMITED" => Sent::TooSoon,
        Err(refused) => return Err(refused),
    };
    render(&app, &visit, &who, sent).await
}

/// Sets a failed run going again. One that is going already goes on.
async fn retry(
    State(app): State<App>,
    Extension(request_id): Extension<RequestId>,
    SignedIn(who): SignedIn,
    Form { key, .. }: Form<NoFields>,
) -> Result<Response, Problem> {
    if !matches!(who.role, Role::Owner | Role::Admin) {
        return Err(Problem::forbidden());
    }
    let (caller, actor) = (who.tenant_id.to_string(), Actor::User(who.user_id));
    match provisioning::api::again(&app, &key, &caller, who.tenant_id, actor, request_id).await {
        Err(refused) if refused.code != "PROVISION_NOT_FAILED" => Err(refused),
        _ => Ok(go_to("/dashboard", [])),
    }
}

/// The tenant of whoever is signed in, for its colours.
pub async fn tenant_of(app: &App, headers: &HeaderMap) -> Result<Option<TenantRow>, Problem> {
    let Some(user) = identity::browser::user(app, headers).await? else { return Ok(None) };
    Ok(tenants::by_id(app.db.read(), user.tenant_id).await?)
}
