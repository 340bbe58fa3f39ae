//! `GET /public/storefronts/{slug}`.

use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Storefront;
use crate::{
    app::App,
    http::{Path, Problem},
    tenants,
};

/// This slice's routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(storefront))
}

/// A tenant's branded catalogue, posts and fixtures. 404 until the tenant is open.
#[utoipa::path(get, path = "/public/storefronts/{slug}", tag = "storefront",
    params(("slug" = String, Path, description = "The tenant's name in addresses")), responses((status = 200, body = Storefront)))]
async fn storefront(State(app): State<App>, Path(slug): Path<String>) -> Result<Json<Storefront>, Problem> {
    let today = app.clock.now().at.date_naive();
    let tenant = tenants::by_slug(app.db.read(), &slug).await?.ok_or_else(Problem::not_found)?;
    super::of(app.db.read(), tenant, today).await?.map(Json).ok_or_else(Problem::not_found)
}
