//! Step 2 as a page.

use askama::Template;
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use serde::Deserialize;

use super::{PLAN_SETUP, Refused, Wizard};
use crate::{
    app::App,
    http::{Form, Problem, Visit, go_to},
    signup::{
        api::{self, Brand},
        wizard::Next,
    },
    storefront,
    tenants::TenantRow,
};

/// The steps at which a wizard can still be branded.
const OPEN: [Next; 4] = [Next::Brand, PLAN_SETUP[0], PLAN_SETUP[1], PLAN_SETUP[2]];

#[derive(Template)]
#[template(path = "signup/pages/branding.html")]
struct Page<'a> {
    tenant: &'a TenantRow,
    primary_color: String,
    secondary_color: String,
    logo_url: String,
    refused: Refused,
    base_domain: &'a str,
    visit: &'a Visit,
}

/// The form, with what was chosen before.
pub(super) async fn page(State(app): State<App>, headers: HeaderMap, visit: Visit) -> Result<Response, Problem> {
    let wizard = match Wizard::at(&app, &headers, &OPEN).await? {
        Ok(wizard) => wizard,
        Err(elsewhere) => return Ok(elsewhere),
    };
    let chosen = wizard.tenant.branding();
    let (primary, secondary) = storefront::default_colors();
    let page = Page {
        tenant: &wizard.tenant,
        primary_color: chosen.primary_color.unwrap_or(primary),
        secondary_color: chosen.secondary_color.unwrap_or(secondary),
        logo_url: chosen.logo_url.unwrap_or_default(),
        refused: Refused::default(),
        base_domain: &app.config.base_domain,
        visit: &visit,
    };
    visit.show(StatusCode::OK, &page)
}

/// The form of step 2.
#[derive(Deserialize)]
pub(super) struct Sent {
    #[serde(default)]
    primary_color: String,
    #[serde(default)]
    secondary_color: String,
    #[serde(default)]
    logo_url: String,
    /// The button that keeps the defaults.
    skip: Option<String>,
}

/// Does step 2, by the same verb as the API.
pub(super) async fn submit(
    State(app): State<App>,
    headers: HeaderMap,
    visit: Visit,
    Form { body: sent, key }: Form<Sent>,
) -> Result<Response, Problem> {
    let wizard = match Wizard::at(&app, &headers, &OPEN).await? {
        Ok(wizard) => wizard,
        Err(elsewhere) => return Ok(elsewhere),
    };
    let sent = if sent.skip.is_some() {
        let (primary_color, secondary_color) = storefront::default_colors();
        Sent { primary_color, secondary_color, logo_url: String::new(), skip: None }
    } else {
        sent
    };
    let brand = Brand {
        primary_color: sent.primary_color.trim().to_owned(),
        secondary_color: Some(sent.secondary_color.trim().to_owned()).filter(|color| !color.is_empty()),
        logo_url: Some(sent.logo_url.clone()),
    };
    let refused = match api::step_two(&app, &key, wizard.token.tenant_id, &brand).await {
        Ok(_) => return Ok(go_to("/onboarding/plan", [])),
        Err(refused) => Refused::of(refused)?,
    };
    let page = Page {
        tenant: &wizard.tenant,
        primary_color: sent.primary_color,
        secondary_color: sent.secondary_color,
        logo_url: sent.logo_url,
        base_domain: &app.config.base_domain,
        visit: &visit,
        refused,
    };
    visit.show(page.refused.status, &page)
}
