//! `GET /public/plans`.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::PlanView;
use crate::{app::App, http::Problem};

/// This slice's routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(public_plans))
}

/// All plans; there are few, so there are no pages.
#[derive(Serialize, ToSchema)]
pub struct Plans {
    /// In the order in which they are offered.
    pub data: Vec<PlanView>,
}

/// The plans that anybody may see.
#[utoipa::path(get, path = "/public/plans", tag = "plans", responses((status = 200, body = Plans)))]
async fn public_plans(State(app): State<App>) -> Result<Json<Plans>, Problem> {
    Ok(Json(Plans { data: super::offered(app.db.read(), &app.config.billing, false).await? }))
}
