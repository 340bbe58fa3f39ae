//! Onboarding somebody, as a page.

use askama::Template;
use axum::{Extension, extract::State, response::Response};
use serde::Deserialize;

use crate::{
    admin::tenants::{Onboard, take_in},
    app::App,
    http::{Form, Problem, Refused, RequestId, Visit, go_to},
    identity::SignedInAdmin,
    plans::{self, PlanView},
    tenants::TenantView,
};

/// What was typed.
#[derive(Deserialize)]
#[serde(default)]
pub(super) struct Typed {
    email: String,
    tenant_name: String,
    plan: String,
    slug: String,
    /// A suggested slug's button.
    use_slug: Option<String>,
    name: String,
}

impl Default for Typed {
    fn default() -> Self {
        let empty = String::new;
        let plan = "starter".to_owned();
        Self { email: empty(), tenant_name: empty(), plan, slug: empty(), use_slug: None, name: empty() }
    }
}

#[derive(Template)]
#[template(path = "admin/pages/onboard.html")]
struct Page<'a> {
    typed: Typed,
    refused: Refused,
    plans: Vec<PlanView>,
    base_domain: &'a str,
    visit: &'a Visit,
}

async fn render(app: &App, visit: &Visit, typed: Typed, refused: Refused) -> Result<Response, Problem> {
    let plans = plans::all(app.db.read(), true).await?;
    let status = refused.status;
    visit.show(status, &Page { typed, refused, plans, base_domain: &app.config.base_domain, visit })
}

/// The form.
pub(super) async fn page(State(app): State<App>, _: SignedInAdmin, visit: Visit) -> Result<Response, Problem> {
    render(&app, &visit, Typed::default(), Refused::default()).await
}

/// Only what the answer's page needs.
#[derive(Deserialize)]
struct Onboarded {
    tenant: TenantView,
}

/// Makes the tenant.
pub(super) async fn submit(
    State(app): State<App>,
    SignedInAdmin(admin): SignedInAdmin,
    Extension(request_id): Extension<RequestId>,
    visit: Visit,
    Form { body: mut typed, key }: Form<Typed>,
) -> Result<Response, Problem> {
    if let Some(slug) = typed.use_slug.take() {
        typed.slug = slug;
    }
    let filled = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let body = Onboard {
        email: typed.email.clone(),
        tenant_name: typed.tenant_name.clone(),
        plan: typed.plan.clone(),
        slug: filled(&typed.slug),
        name: filled(&typed.name),
    };
    match take_in(&app, &key, admin, request_id, &body).await {
        Ok(reply) => {
            let Onboarded { tenant } = reply.read()?;
            Ok(go_to(&format!("/admin/tenants/{}?done=created", tenant.slug), []))
        }
        Err(problem) => render(&app, &visit, typed, refused(problem)?).await,
    }
}

fn refused(problem: Problem) -> Result<Refused, Problem> {
    let at = |field, heading, message| Ok(Refused::at(field, &problem, heading, message));
    match problem.code {
        "EMAIL_TAKEN" => at("email", "We know this person", "A user with this address is there already. Use another."),
        "SLUG_TAKEN" => at(
            "slug",
            "That address is taken",
            "Another tenant has this address. Choose one of these, or type another.",
        ),
        _ => Refused::usual(problem),
    }
}
