//! Sales leads, for platform administrators.

use axum::{Extension, Json, extract::State};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{Lead, Status};
use crate::{
    app::App,
    http::{self, Listing, PageQuery, Path, Problem, Query, RequestId},
    identity::PlatformAdmin,
};

/// These routes.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(change))
}

/// Which leads.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Those that have come so far; all where absent.
    status: Option<Status>,
    /// How many rows, 1 to 200; 50 unless told.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Who asked to be called, newest first.
#[utoipa::path(get, path = "/api/v1/admin/sales-leads", operation_id = "list_sales_leads", tag = "admin", params(Wanted),
    security(("admin_token" = [])), responses((status = 200, body = Listing<Lead>)))]
async fn list(
    State(app): State<App>,
    _: PlatformAdmin,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Listing<Lead>>, Problem> {
    let page = PageQuery { limit: wanted.limit, cursor: wanted.cursor }.page()?;
    Ok(Json(super::list(app.db.read(), wanted.status, page).await?))
}

/// How far it has come.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ChangeSalesLead)]
struct Changed {
    /// The status.
    status: Status,
}

/// Says how far a lead has come. It may go back as well.
#[utoipa::path(patch, path = "/api/v1/admin/sales-leads/{id}", operation_id = "change_sales_lead", tag = "admin", request_body = Changed,
    params(("id" = Uuid, Path)), security(("admin_token" = [])),
    responses((status = 200, body = Lead), (status = 404, description = "There is none of that id")))]
async fn change(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    admin: PlatformAdmin,
    Path(id): Path<Uuid>,
    http::Json(body): http::Json<Changed>,
) -> Result<Json<Lead>, Problem> {
    set(&app, admin, &request, (id, body.status)).await.map(Json)
}

/// What the JSON edge and the page do alike.
pub async fn set(
    app: &App,
    admin: PlatformAdmin,
    request: &RequestId,
    change: (Uuid, Status),
) -> Result<Lead, Problem> {
    let (tx, now) = (app.db.begin().await?, app.clock.now());
    let lead = super::set_status(&tx, &now, (admin.actor(), request), change).await?;
    let lead = lead.ok_or_else(Problem::not_found)?;
    tx.commit().await?;
    Ok(lead)
}
