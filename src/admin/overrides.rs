//! What single tenants have or lack, whatever their plan says; for platform administrators.

use axum::{Extension, Json, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::api::by;
use crate::{
    app::App,
    http::{self, Path, Problem, RequestId},
    identity::PlatformAdmin,
    plans::overrides::{self, Override},
    tenants,
};

/// This part's routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_overrides)).routes(routes!(set_override, remove_override))
}

/// A tenant's overrides; there are few, so there are no pages.
#[derive(Serialize, ToSchema)]
struct Overrides {
    /// By flag, expired ones too.
    data: Vec<Override>,
}

/// The features that are switched for a tenant.
#[utoipa::path(get, path = "/api/v1/admin/tenants/{id}/feature-overrides", tag = "admin", params(("id" = Uuid, Path)), security(("admin_token" = [])),
    responses((status = 200, body = Overrides)))]
async fn list_overrides(
    State(app): State<App>,
    _: PlatformAdmin,
    Path(id): Path<Uuid>,
) -> Result<Json<Overrides>, Problem> {
    exists(&app, id).await?;
    Ok(Json(Overrides { data: overrides::list(app.db.read(), id).await? }))
}

/// How a feature is switched for a tenant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SetOverride {
    /// On or off.
    enabled: bool,
    /// From when on the plan says again; for ever where absent.
    expires_at: Option<DateTime<Utc>>,
    /// Why, for the operator's own people.
    #[schema(min_length = 1, max_length = 300)]
    reason: Option<String>,
}

/// Switches a feature for a tenant, in place of what was said before.
#[utoipa::path(put, path = "/api/v1/admin/tenants/{id}/feature-overrides/{flag}", tag = "admin", request_body = SetOverride, security(("admin_token" = [])),
    params(("id" = Uuid, Path), ("flag" = String, Path, description = "The feature's flag")), responses((status = 200, body = Override)))]
async fn set_override(
    State(app): State<App>,
    Extension(request_id): Extension<RequestId>,
    admin: PlatformAdmin,
    Path((id, flag)): Path<(Uuid, String)>,
    http::Json(body): http::Json<SetOverride>,
) -> Result<Json<Override>, Problem> {
    exists(&app, id).await?;
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    let how = (body.enabled, body.expires_at, body.reason.as_deref());
    let written = overrides::put(&tx, &now, id, &flag, how, by(admin, request_id)).await?;
    tx.commit().await?;
    tracing::info!(feature = "admin", tenant_id = %id, flag, enabled = body.enabled, "Feature overridden");
    Ok(Json(written))
}

/// Leaves a feature to the tenant's plan again; twice is once.
#[utoipa::path(delete, path = "/api/v1/admin/tenants/{id}/feature-overrides/{flag}", tag = "admin", security(("admin_token" = [])),
    params(("id" = Uuid, Path), ("flag" = String, Path, description = "The feature's flag")),
    responses((status = 204, description = "The plan says again")))]
async fn remove_override(
    State(app): State<App>,
    Extension(request_id): Extension<RequestId>,
    admin: PlatformAdmin,
    Path((id, flag)): Path<(Uuid, String)>,
) -> Result<StatusCode, Problem> {
    exists(&app, id).await?;
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    overrides::remove(&tx, &now, id, &flag, by(admin, request_id)).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn exists(app: &App, tenant_id: Uuid) -> Result<(), Problem> {
    tenants::by_id(app.db.read(), tenant_id).await?.map(drop).ok_or_else(Problem::not_found)
}
