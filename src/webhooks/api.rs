//! A tenant's automations.

use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Automation, automations};
use crate::{
    app::App,
    entitlements::guard::{Automations, With},
    http::{Listing, PageQuery, Problem, Query},
};

/// This slice's routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_automations))
}

/// The tenant's automations, newest first: which events go to its webhook endpoints.
#[utoipa::path(get, path = "/api/v1/automations", tag = "webhooks", params(PageQuery), security(("access_token" = [])),
    responses((status = 200, body = Listing<Automation>),
        (status = 402, description = "`SUBSCRIPTION_REQUIRED` with `subscription_status`, `plan`, `ended_at` and `billing_url`"),
        (status = 403, description = "`EMAIL_VERIFICATION_REQUIRED` with `grace_ended_at`")))]
async fn list_automations(
    State(app): State<App>,
    With { user, .. }: With<Automations>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Listing<Automation>>, Problem> {
    let page = query.page()?;
    let rows = automations(app.db.read(), user.tenant_id, page).await?;
    Ok(Json(Listing::of(rows, page, |automation| automation.id)))
}
