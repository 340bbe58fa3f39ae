//! Provisioning as it happens, as a page: watched by events, by looking again, or by loading the page again.

use askama::Template;
use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};

use super::{Refused, Standing, Wizard, stand};
use crate::{
    app::App,
    audit::Actor,
    billing,
    http::{Form, NoFields, Problem, RequestId, Visit, go_to},
    provisioning::{self, RunStatus, Status, StepName, shown::Shown},
    signup::wizard::Next,
    tenants::{self, TenantRow},
    webhooks,
};

const OPEN: [Next; 2] = [Next::Status, Next::Done];

#[derive(Template)]
#[template(path = "signup/pages/progress.html")]
struct Page<'a> {
    tenant: &'a TenantRow,
    run: &'a Status,
    steps: Vec<Shown>,
    failure: Option<Failure>,
    webhook_url: String,
    plan: billing::Summary,
    front_url: String,
    refused: Refused,
    base_domain: &'a str,
    visit: &'a Visit,
}

/// What failed, in words for the owner.
struct Failure {
    heading: String,
    advice: &'static str,
    /// What was seen, for whoever can make something of it.
    seen: String,
    /// Whether another webhook may put it right.
    is_webhook: bool,
}

impl Failure {
    fn of(run: &Status, steps: &[Shown]) -> Option<Self> {
        if run.status != RunStatus::Failed {
            return None;
        }
        let failed = steps.iter().find(|step| step.state == "failed");
        let is_webhook = failed.is_some_and(|step| step.name == StepName::ValidateWebhook);
        let heading = match failed {
            _ if is_webhook => "Your webhook did not answer as it should".to_owned(),
            Some(step) => format!("{}: this did not work", step.label),
            None => "The set-up did not get through".to_owned(),
        };
        let advice = if is_webhook {
            "Check that the scenario behind it is switched on and that this is the address it shows. Then retry, or use another."
        } else {
            "We tried several times. Please retry now; if it fails once more, write to us."
        };
        Some(Self { heading, advice, seen: run.reason.clone().unwrap_or_default(), is_webhook })
    }
}

impl Page<'_> {
    /// In a word, for the stylesheet and the script.
    fn state(&self) -> &'static str {
        self.run.status.as_str()
    }

    fn seconds(&self) -> String {
        provisioning::shown::seconds(self.run.duration_ms.unwrap_or(1))
    }

    /// What a screen reader is told when it changes.
    fn news(&self) -> String {
        let working = self.steps.iter().find(|step| step.state == "processing").map(|step| step.label);
        let done = self.steps.iter().filter(|step| step.state == "complete" || step.state == "skipped").count();
        match (self.run.status, working) {
            (RunStatus::Complete, _) => format!("{} is open.", self.tenant.name),
            (RunStatus::Failed, _) => "The set-up has stopped and needs your help.".to_owned(),
            (_, Some(label)) => format!("{done} of {} steps done. Now: {label}.", self.steps.len()),
            (_, None) => format!("{done} of {} steps done.", self.steps.len()),
        }
    }
}

/// The page; again with what was typed where that was refused.
pub(super) async fn render(
    app: &App,
    visit: &Visit,
    wizard: Wizard,
    typed: Option<String>,
    refused: Refused,
) -> Result<Response, Problem> {
    let Some(run) = &wizard.run else { return Err(Problem::not_found()) };
    let db = app.db.read();
    let kept = webhooks::signup_url(db, wizard.tenant.id).await?.unwrap_or_default();
    let host = format!("{}.{}", wizard.tenant.slug, app.config.base_domain);
    let steps: Vec<_> =
        run.steps.iter().map(|step| Shown::of(step, &host, &kept, &wizard.tenant.owner_email)).collect();
    let page = Page {
        tenant: &wizard.tenant,
        failure: Failure::of(run, &steps),
        webhook_url: typed.unwrap_or(kept),
        plan: billing::summary(db, wizard.tenant.id).await?.ok_or_else(Problem::not_found)?,
        front_url: tenants::page_url(&app.config, &wizard.tenant.slug),
        base_domain: &app.config.base_domain,
        steps,
        run,
        refused,
        visit,
    };
    visit.show(page.refused.status, &page)
}

/// How far it is.
pub(super) async fn page(State(app): State<App>, headers: HeaderMap, visit: Visit) -> Result<Response, Problem> {
    match Wizard::at(&app, &headers, &OPEN).await? {
        Ok(wizard) => render(&app, &visit, wizard, None, Refused::default()).await,
        Err(elsewhere) => Ok(elsewhere),
    }
}

/// The run's events, as `provision-events` has them, for a browser with its cookies.
pub(super) async fn events(State(app): State<App>, headers: HeaderMap) -> Result<Response, Problem> {
    match stand(&app, &headers).await? {
        Standing::At(wizard) => provisioning::api::watch(&app, wizard.token.tenant_id, &headers).await,
        // Tells the browser not to come again.
        Standing::Nobody | Standing::SignedIn | Standing::Removed | Standing::Expired(_) => {
            Ok(StatusCode::NO_CONTENT.into_response())
        }
    }
}

/// Sets a failed run going again. One that is going already goes on.
pub(super) async fn retry(
    State(app): State<App>,
    Extension(request_id): Extension<RequestId>,
    headers: HeaderMap,
    Form { key, .. }: Form<NoFields>,
) -> Result<Response, Problem> {
    let wizard = match Wizard::at(&app, &headers, &OPEN).await? {
        Ok(wizard) => wizard,
        Err(elsewhere) => return Ok(elsewhere),
    };
    let actor = Actor::User(wizard.token.user_id);
    let caller = wizard.token.tenant_id.to_string();
    match provisioning::api::again(&app, &key, &caller, wizard.token.tenant_id, actor, request_id).await {
        Err(refused) if refused.code != "PROVISION_NOT_FAILED" => Err(refused),
        _ => Ok(go_to("/onboarding/progress", [])),
    }
}
