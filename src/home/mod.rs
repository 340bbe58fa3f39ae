//! The front page, the files that pages link to, and the choice by hostname between the product and a tenant.

use askama::Template;
use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, Uri, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use rust_embed::Embed;

use crate::{
    app::App,
    config::Environment,
    http::{self, Problem},
    storefront, tenants,
};

/// This slice's routes.
pub fn routes() -> Router<App> {
    Router::new().route("/", get(front)).route("/tenant.css", get(tenant_css)).route("/assets/{file}", get(asset))
}

#[derive(Template)]
#[template(path = "home/page.html")]
struct Page {
    is_development: bool,
    try_it: String,
}

/// The tenant whose hostname this is, else the product's own page.
async fn front(State(app): State<App>, headers: HeaderMap, uri: Uri) -> Result<Response, Problem> {
    if let Some(tenant) = tenant(&app, &headers, &uri).await? {
        return storefront::pages::page(&app, tenant).await;
    }
    let is_development = app.config.environment == Environment::Development;
    let page = Page { is_development, try_it: try_it(&app) };
    Ok(Html(page.render().map_err(|error| Problem::internal(&error))?).into_response())
}

/// A command that signs a tenant up.
pub fn try_it(app: &App) -> String {
    let url = app.config.public_url.as_str().trim_end_matches('/');
    let body = r#"{"email":"ada@example.com","password":"correct-horse-battery","tenant_name":"Acme"}"#;
    format!("curl -s {url}/public/signup/start -H 'Content-Type: application/json' -d '{body}'")
}

async fn tenant_css(State(app): State<App>, headers: HeaderMap, uri: Uri) -> Result<Response, Problem> {
    let tenant = tenant(&app, &headers, &uri).await?.ok_or_else(Problem::not_found)?;
    Ok(storefront::pages::colors(&tenant))
}

/// The open tenant that a request's hostname leads to. A hostname below the base domain that leads to none is 404.
async fn tenant(app: &App, headers: &HeaderMap, uri: &Uri) -> Result<Option<tenants::TenantRow>, Problem> {
    let Some(host) = http::host(headers, uri) else { return Ok(None) };
    let is_below = host.strip_suffix(app.config.base_domain.as_str()).is_some_and(|left| left.ends_with('.'));
    let is_operators = app.config.public_url.host_str() == Some(host.as_str()) || host == app.config.base_domain;
    if is_operators {
        return Ok(None);
    }
    let found = tenants::by_hostname(app.db.read(), &host).await?;
    if found.is_none() && is_below { Err(Problem::not_found()) } else { Ok(found) }
}

#[derive(Embed)]
#[folder = "web/assets"]
struct Assets;

async fn asset(Path(name): Path<String>) -> Result<Response, Problem> {
    let file = Assets::get(&name).ok_or_else(Problem::not_found)?;
    let kind = match name.rsplit_once('.') {
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        _ => "application/octet-stream",
    };
    Ok(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "public, max-age=300")], file.data.into_owned())
        .into_response())
}
