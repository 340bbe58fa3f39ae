//! The front page, the files that pages link to, and the choice by hostname between the product and a tenant.

use askama::Template;
use axum::{
    Router,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};

use crate::{
    app::App,
    config::Environment,
    dashboard,
    http::{self, Problem},
    storefront, tenants,
};

/// This slice's routes.
pub fn routes() -> Router<App> {
    Router::new().route("/", get(front)).route("/tenant.css", get(tenant_css))
}

#[derive(Template)]
#[template(path = "home/page.html")]
struct Page<'a> {
    is_development: bool,
    try_it: String,
    base_domain: &'a str,
}

/// The tenant whose hostname this is, else the product's own page.
async fn front(State(app): State<App>, headers: HeaderMap, uri: Uri) -> Result<Response, Problem> {
    if let Some(tenant) = tenant(&app, &headers, &uri).await? {
        return storefront::pages::page(&app, tenant).await;
    }
    let is_development = app.config.environment == Environment::Development;
    let page = Page { is_development, try_it: try_it(&app), base_domain: &app.config.base_domain };
    http::show(StatusCode::OK, &page)
}

/// A command that signs a tenant up, in lines for people.
pub fn try_it(app: &App) -> String {
    let url = app.config.public_url.as_str().trim_end_matches('/');
    let body = r#"{"email": "ada@example.com",
       "password": "correct-horse-battery",
       "tenant_name": "Acme"}"#;
    format!("curl {url}/public/signup/start \\\n  -H 'Content-Type: application/json' \\\n  -d '{body}'")
}

async fn tenant_css(State(app): State<App>, headers: HeaderMap, uri: Uri) -> Result<Response, Problem> {
    if let Some(tenant) = tenant(&app, &headers, &uri).await? {
        return Ok(storefront::pages::colors(&tenant));
    }
    // On the product's own pages: those of whoever is signed in, and nobody else's to keep.
    let mut colors = match dashboard::tenant_of(&app, &headers).await? {
        Some(tenant) => storefront::pages::colors(&tenant),
        None => ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], "").into_response(),
    };
    colors.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(colors)
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
