//! One tenant at the console, with its run step by step.

use askama::Template;
use axum::{Extension, extract::State, http::StatusCode, response::Response};
use serde::Deserialize;

use super::status_word;
use crate::{
    app::App,
    billing,
    http::{Form, NoFields, Path, Problem, Query, RequestId, Visit, go_to},
    identity::{SignedInAdmin, users},
    provisioning::{self, RunStatus, Status, StepState, StepStatus, shown},
    tenants::{self, TenantRow},
};

/// What has just been done.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Done {
    Created,
    Retried,
}

/// What the way here says.
#[derive(Deserialize)]
pub(super) struct Wanted {
    done: Option<Done>,
}

#[derive(Template)]
#[template(path = "admin/pages/tenant.html")]
struct Page<'a> {
    tenant: &'a TenantRow,
    status: &'static str,
    run: &'a Status,
    steps: Vec<Step<'a>>,
    plan: billing::Summary,
    owner: users::UserView,
    host: String,
    front_url: String,
    done: Option<Done>,
    visit: &'a Visit,
}

impl Page<'_> {
    fn took(&self) -> Option<String> {
        let is_complete = self.run.status == RunStatus::Complete;
        self.run.duration_ms.filter(|_| is_complete).map(shown::seconds)
    }
}

/// A step, as its operator sees it.
struct Step<'a> {
    state: &'static str,
    name: &'static str,
    about: String,
    outcome: String,
    error: Option<&'a str>,
}

impl<'a> Step<'a> {
    fn of(step: &'a StepState) -> Self {
        let about = match (step.attempts, step.finished_at) {
            (0, _) if step.status == StepStatus::Skipped => "Nothing to do".to_owned(),
            (0, _) => "Not begun".to_owned(),
            (1, _) => "First attempt".to_owned(),
            (several, Some(at)) => format!("{several} attempts, the last until {} UTC", at.format("%H:%M:%S")),
            (several, None) => format!("Attempt {several}"),
        };
        let (state, name) = (step.status.as_str(), step.name.as_str());
        Self { state, name, about, outcome: shown::outcome(step), error: step.error.as_deref() }
    }
}

/// The page.
pub(super) async fn page(
    State(app): State<App>,
    _: SignedInAdmin,
    Path(slug): Path<String>,
    Query(wanted): Query<Wanted>,
    visit: Visit,
) -> Result<Response, Problem> {
    let db = app.db.read();
    let tenant = tenants::by_slug(db, &slug).await?.ok_or_else(Problem::not_found)?;
    let run = provisioning::current(db, tenant.id).await?.ok_or_else(Problem::not_found)?;
    let page = Page {
        plan: billing::summary(db, tenant.id).await?.ok_or_else(Problem::not_found)?,
        owner: users::by_id(db, tenant.owner_id).await?,
        host: format!("{}.{}", tenant.slug, app.config.base_domain),
        front_url: tenants::page_url(&app.config, &tenant.slug),
        done: wanted.done,
        status: status_word(tenant.status),
        steps: run.steps.iter().map(Step::of).collect(),
        tenant: &tenant,
        run: &run,
        visit: &visit,
    };
    visit.show(StatusCode::OK, &page)
}

/// Sets a failed run going again. One that is going already goes on.
pub(super) async fn retry(
    State(app): State<App>,
    SignedInAdmin(admin): SignedInAdmin,
    Extension(request_id): Extension<RequestId>,
    Path(slug): Path<String>,
    Form { key, .. }: Form<NoFields>,
) -> Result<Response, Problem> {
    let tenant = tenants::by_slug(app.db.read(), &slug).await?.ok_or_else(Problem::not_found)?;
    match provisioning::api::again(&app, &key, "platform", tenant.id, admin.actor(), request_id).await {
        Ok(_) => Ok(go_to(&format!("/admin/tenants/{slug}?done=retried"), [])),
        Err(refused) if refused.code == "PROVISION_NOT_FAILED" => Ok(go_to(&format!("/admin/tenants/{slug}"), [])),
        Err(refused) => Err(refused),
    }
}
