//! Step 1 as a page.

use askama::Template;
use axum::{
    Extension,
    extract::{Query, State},
    http::HeaderMap,
    response::Response,
};
use secrecy::SecretString;
use serde::Deserialize;

use super::{COOKIE, COOKIE_LIFE, Refused, Standing, closed, page_of, stand};
use crate::{
    app::App,
    http::{Form, NoFields, Problem, RequestId, Visit, go_to},
    identity::{self, Client, browser, users},
    plans::{self, PlanView},
    signup::{
        api::{self, Start, Started},
        start,
    },
    tenants::TenantRow,
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

/// What became of the sign-up that this browser had begun.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Expired,
    Removed,
}

#[derive(Template)]
#[template(path = "signup/pages/basics.html")]
struct Page<'a> {
    typed: Typed,
    refused: Refused,
    before: Before,
    min_password: usize,
    base_domain: &'a str,
    plans: Vec<PlanView>,
    /// Names and labels.
    providers: Vec<(String, String)>,
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
    mut typed: Typed,
    refused: Refused,
    before: Before,
) -> Result<Response, Problem> {
    let mut plans = plans::offered(app.db.read(), &app.config.billing, false).await?;
    plans.retain(|plan| !plan.contact_sales);
    if !plans.iter().any(|plan| plan.slug == typed.plan) {
        typed.plan = "starter".into();
    }
    let status = refused.status;
    let min_password = app.config.password.min_length;
    let base_domain = &app.config.base_domain;
    let providers = app.providers.labels();
    visit.show(status, &Page { typed, refused, before, min_password, base_domain, plans, providers, visit })
}

/// The first step, or the one that a wizard under way has come to.
pub(super) async fn page(
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
    visit: Visit,
) -> Result<Response, Problem> {
    let (mut typed, before) = match stand(&app, &headers).await? {
        Standing::At(wizard) => return Ok(go_to(wizard.next_page(), [])),
        Standing::SignedIn => return Ok(go_to("/dashboard", [])),
        Standing::Nobody => (Typed::default(), Before::Nothing),
        Standing::Removed => (Typed::default(), Before::Removed),
        Standing::Expired(tenant) => (kept(&app, *tenant).await?, Before::Expired),
    };
    let open = match start::doors_open(&app) {
        Ok(()) => start::kill_switch(&app).await,
        closed => closed,
    };
    if let Err(shut) = open {
        let shut = Problem::from(shut);
        return closed(&shut).unwrap_or(Err(shut));
    }
    if let Some(plan) = wanted.plan {
        typed.plan = plan;
    }
    render(&app, &visit, typed, Refused::default(), before).await
}

/// What somebody had typed whose token has expired since.
async fn kept(app: &App, tenant: TenantRow) -> Result<Typed, Problem> {
    let owner = users::by_id(app.db.read(), tenant.owner_id).await?;
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
    let origin = start::Origin { request_id: request_id.0, network: client.network(), session: Some(client.kept()) };
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
    render(&app, &visit, typed, refused, Before::Nothing).await
}

/// Forgets the wizard under way in this browser, so that another can begin. What was signed up stays and can be resumed.
pub(super) async fn start_over(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    headers: HeaderMap,
    _: Form<NoFields>,
) -> Result<Response, Problem> {
    Ok(go_to("/onboarding", identity::pages::leave(&app, &headers, &request).await?))
}
