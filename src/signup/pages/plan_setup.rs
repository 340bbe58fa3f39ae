//! Step 3 as a page: what the plan needs before its tenant is provisioned.

use askama::Template;
use axum::{
    extract::{Query, State},
    http::HeaderMap,
    response::Response,
};
use serde::Deserialize;

use super::{PLAN_SETUP, Refused, Wizard};
use crate::{
    app::App,
    http::{Form, Path, Problem, Visit, go_to},
    plans::{self, PlanView},
    signup::{
        api,
        wizard::{self, Ending, Next},
    },
    tenants::TenantRow,
    webhooks,
};

/// Another way to end the wizard than the plan's own.
#[derive(Deserialize)]
pub(super) struct Wanted {
    plan: Option<String>,
}

#[derive(Template)]
#[template(path = "signup/pages/plan_setup.html")]
struct Page<'a> {
    tenant: &'a TenantRow,
    /// The plan that this page sets up.
    plan: PlanView,
    /// The plan that it offers instead.
    other: Option<PlanView>,
    /// Whether this is the tenant's own plan.
    is_own: bool,
    ending: Next,
    webhook_url: String,
    refused: Refused,
    base_domain: &'a str,
    visit: &'a Visit,
}

async fn render(
    app: &App,
    visit: &Visit,
    wizard: &Wizard,
    (ending, webhook_url): (Next, String),
    refused: Refused,
) -> Result<Response, Problem> {
    let plans = plans::offered(app.db.read(), &app.config.billing, true).await?;
    let named = |slug: &str| plans.iter().find(|plan| plan.slug == slug).cloned();
    let own = wizard.tenant.plan.as_str();
    // What is set up here for a plan of another kind is the first plan of this kind; the way back leads to the tenant's own.
    let if_own = |kind, first| if wizard.next == kind { own } else { first };
    let (plan, other) = match ending {
        Next::Make => (if_own(Next::Make, "starter"), if_own(Next::Confirm, "pro")),
        Next::Confirm => (if_own(Next::Confirm, "pro"), if_own(Next::Make, "starter")),
        _ => (own, "starter"),
    };
    let plan = named(plan).ok_or_else(Problem::not_found)?;
    let status = refused.status;
    let (tenant, base_domain) = (&wizard.tenant, app.config.base_domain.as_str());
    visit.show(
        status,
        &Page {
            tenant,
            is_own: plan.slug == own,
            plan,
            other: named(other),
            ending,
            webhook_url,
            refused,
            base_domain,
            visit,
        },
    )
}

/// The plan's own set-up, or that of the plan that a link chose.
pub(super) async fn page(
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
    visit: Visit,
) -> Result<Response, Problem> {
    let wizard = match Wizard::at(&app, &headers, &PLAN_SETUP).await? {
        Ok(wizard) => wizard,
        Err(elsewhere) => return Ok(elsewhere),
    };
    let ending = match wanted.plan.as_deref() {
        Some(plan) => wizard::after_branding(plan),
        None => wizard.next,
    };
    let url = webhooks::signup_url(app.db.read(), wizard.tenant.id).await?.unwrap_or_default();
    render(&app, &visit, &wizard, (ending, url), Refused::default()).await
}

/// The form of step 3.
#[derive(Deserialize)]
pub(super) struct Sent {
    #[serde(default)]
    webhook_url: String,
}

/// The steps at which the wizard can be ended, again where its run has failed.
const OPEN: [Next; 4] = [PLAN_SETUP[0], PLAN_SETUP[1], PLAN_SETUP[2], Next::Status];

/// Ends the wizard in one of its three ways, by the same verb as the API, and queues provisioning.
pub(super) async fn end(
    State(app): State<App>,
    Path(ending): Path<String>,
    headers: HeaderMap,
    visit: Visit,
    Form { body: Sent { webhook_url: url }, key }: Form<Sent>,
) -> Result<Response, Problem> {
    let next = match ending.as_str() {
        "make" => Next::Make,
        "confirm" => Next::Confirm,
        "finish" => Next::Finish,
        _ => return Err(Problem::not_found()),
    };
    let wizard = match Wizard::at(&app, &headers, &OPEN).await? {
        Ok(wizard) => wizard,
        Err(elsewhere) => return Ok(elsewhere),
    };
    let checked = |url: &str| api::webhook(&app, url.trim());
    let ending = match next {
        Next::Make => checked(&url).map(Ending::Make),
        Next::Confirm if url.trim().is_empty() => Ok(Ending::Confirm(None)),
        Next::Confirm => checked(&url).map(|url| Ending::Confirm(Some(url))),
        _ => Ok(Ending::Finish),
    };
    let ended = match ending {
        Ok(ending) => api::end(&app, wizard.token.into(), &key, ending).await,
        Err(refused) => Err(refused),
    };
    match ended {
        Ok(_) => Ok(go_to("/onboarding/progress", [])),
        Err(refused) if refused.code == "PROVISION_ALREADY_STARTED" => Ok(go_to("/onboarding/progress", [])),
        Err(refused) if wizard.next == Next::Status => {
            super::progress::render(&app, &visit, wizard, Some(url), Refused::of(refused)?).await
        }
        Err(refused) => render(&app, &visit, &wizard, (next, url), Refused::of(refused)?).await,
    }
}
