//! Step 1 as a page.

use askama::Template;
use axum::{
    Extension,
    extract::{Query, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use secrecy::SecretString;
use serde::Deserialize;

use super::{COOKIE, COOKIE_LIFE, Refused, Standing, closed, page_of, stand};
use crate::{
    app::App,
    http::{Form, Problem, RequestId, Visit, go_to},
    identity::{Client, browser, signup_token::SignupClaims, users},
    plans::{self, PlanView},
    signup::{
        api::{self, Start, Started},
        start,
    },
    tenants,
};

/// The plan that a link chose.
#[derive(Deserialize)]
pub(super) struct Wanted {
    plan: Option<String>,
}

/// What was typed, to show again.
#[derive(Clone, Debug, Default)]
struct Typed {
    email: String,
    tenant_name: String,
    slug: String,
    name: String,
    plan: String,
}

#[derive(Template)]
#[template(path = "signup/pages/basics.html")]
struct Page<'a> {
    typed: Typed,
    refused: Refused,
    has_expired: bool,
    min_password: usize,
    base_domain: &'a str,
    plans: Vec<PlanView>,
    visit: &'a Visit,
}

impl Page<'_> {
    fn address(&self) -> String {
        let slug = if self.typed.slug.is_empty() { "your-company" } else { &self.typed.slug };
        format!("{slug}.{}", self.base_domain)
    }
}

async fn render(
    app: &App,
    visit: &Visit,
    typed: Typed,
    refused: Refused,
    has_expired: bool,
) -> Result<Response, Problem> {
    let mut plans = plans::all(app.db.read(), false).await?;
    plans.retain(|plan| !plan.contact_sales);
    let status = if refused.is_some() { refused.status } else { StatusCode::OK };
    let min_password = app.config.password.min_length;
    let base_domain = &app.config.base_domain;
    visit.show(status, &Page { typed, refused, has_expired, min_password, base_domain, plans, visit })
}

/// The first step, or the one that a wizard under way has come to.
pub(super) async fn page(
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
    visit: Visit,
) -> Result<Response, Problem> {
    let mut typed = match stand(&app, &headers).await? {
        Standing::At(wizard) => return Ok(go_to(wizard.next_page(), [])),
        Standing::Nobody if browser::user(&app, &headers).await?.is_some() => return Ok(go_to("/dashboard", [])),
        Standing::Nobody => None,
        Standing::Expired(claims) => Some(kept(&app, &claims).await?),
    };
    let open = match start::doors_open(&app) {
        Ok(()) => start::kill_switch(&app).await,
        closed => closed,
    };
    if let Err(shut) = open {
        let shut = Problem::from(shut);
        return closed(&shut).unwrap_or(Err(shut));
    }
    let has_expired = typed.is_some();
    let typed = typed.get_or_insert_default();
    if let Some(plan) = wanted.plan {
        typed.plan = plan;
    } else if typed.plan.is_empty() {
        typed.plan = "starter".into();
    }
    render(&app, &visit, typed.clone(), Refused::default(), has_expired).await
}

/// What somebody had typed whose token has expired since; nothing where the janitor has removed it.
async fn kept(app: &App, claims: &SignupClaims) -> Result<Typed, Problem> {
    let db = app.db.read();
    let Some(tenant) = tenants::by_id(db, claims.tid).await?.filter(|tenant| tenant.owner_id == claims.sub) else {
        return Ok(Typed::default());
    };
    let owner = users::by_id(db, claims.sub).await?;
    Ok(Typed {
        email: owner.email,
        tenant_name: tenant.name,
        slug: tenant.slug,
        name: owner.name.unwrap_or_default(),
        plan: tenant.plan,
    })
}

/// The form of step 1.
#[derive(Deserialize)]
pub(super) struct Sent {
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: SecretString,
    #[serde(default)]
    tenant_name: String,
    #[serde(default)]
    slug: String,
    /// A suggested slug's button.
    use_slug: Option<String>,
    #[serde(default)]
    name: String,
    plan: Option<String>,
}

/// Does step 1, by the same verb as the API.
pub(super) async fn submit(
    State(app): State<App>,
    Extension(request_id): Extension<RequestId>,
    client: Client,
    visit: Visit,
    Form { body: sent, key }: Form<Sent>,
) -> Result<Response, Problem> {
    let filled = |text: &str| (!text.trim().is_empty()).then(|| text.trim().to_owned());
    let slug = sent.use_slug.unwrap_or(sent.slug);
    let body = Start {
        email: sent.email,
        password: sent.password,
        tenant_name: sent.tenant_name,
        slug: filled(&slug),
        name: filled(&sent.name),
        plan: sent.plan,
    };
    let origin = start::Origin { request_id: request_id.0, session: Some(client.kept()) };
    let refused = match api::step_one(&app, &key, &body, origin).await {
        Ok(reply) => {
            let started: Started = reply.read()?;
            let token = COOKIE.set(&app.config, &started.token, COOKIE_LIFE);
            let session = started.session_id.map(|id| browser::cookie(&app, id));
            return Ok(go_to(page_of(started.next), session.into_iter().chain([token])));
        }
        Err(refused) => refused,
    };
    if let Some(page) = closed(&refused) {
        return page;
    }
    let refused = Refused::of(refused)?;
    let typed = Typed {
        email: body.email,
        tenant_name: body.tenant_name,
        slug,
        name: sent.name,
        plan: body.plan.unwrap_or_default(),
    };
    render(&app, &visit, typed, refused, false).await
}

/// Nothing but the button.
#[derive(Deserialize)]
pub(super) struct Nothing {}

/// Forgets the wizard under way in this browser, so that another can begin. What was signed up stays and can be resumed.
pub(super) async fn start_over(State(app): State<App>, Form { body: Nothing {}, .. }: Form<Nothing>) -> Response {
    go_to("/onboarding", [COOKIE.clear(&app.config), browser::no_cookie(&app)])
}
