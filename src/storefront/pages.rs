//! The tenant's public page, on its own hostname.

use askama::Template;
use axum::{
    http::header,
    response::{Html, IntoResponse, Response},
};

use super::{Storefront, palette};
use crate::{app::App, http::Problem, tenants::TenantRow};

#[derive(Template)]
#[template(path = "storefront/page.html")]
struct Page<'a> {
    front: Storefront,
    /// Where the product itself is.
    public_url: &'a str,
}

/// The page of an open tenant.
pub async fn page(app: &App, tenant: TenantRow) -> Result<Response, Problem> {
    let today = app.clock.now().at.date_naive();
    let front = super::of(app.db.read(), tenant, today).await?.ok_or_else(Problem::not_found)?;
    let html = Page { front, public_url: app.config.public_url.as_str() }
        .render()
        .map_err(|error| Problem::internal(&error))?;
    Ok(Html(html).into_response())
}

/// The tenant's colours, which its page links to because its policy takes no inline style.
pub fn colors(tenant: &TenantRow) -> Response {
    let css = palette::stylesheet(&tenant.branding());
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "public, max-age=60")], css)
        .into_response()
}
