//! The audit log, for platform administrators.

use axum::{Json, extract::State};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::AuditEvent;
use crate::{
    app::App,
    http::{Listing, PageQuery, Problem, Query},
    identity::PlatformAdmin,
};

/// This slice's routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Which events.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Of this tenant alone.
    tenant_id: Option<Uuid>,
    /// How many rows, 1 to 200; 50 unless told.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Who did what to which tenant, newest first.
#[utoipa::path(get, path = "/api/v1/admin/audit-events", operation_id = "list_audit_events", tag = "admin", security(("admin_token" = [])), params(Wanted),
    responses((status = 200, body = Listing<AuditEvent>)))]
async fn list(
    State(app): State<App>,
    _: PlatformAdmin,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Listing<AuditEvent>>, Problem> {
    let page = PageQuery { limit: wanted.limit, cursor: wanted.cursor }.page()?;
    Ok(Json(super::list(app.db.read(), wanted.tenant_id, page).await?))
}
