//! All invoices of a tenant.

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use chrono::{DateTime, Utc};

use crate::{
    app::App,
    billing::invoices::{self, Invoice},
    http::{Listing, PageQuery, Problem, Query, Visit},
    identity::SignedIn,
};

#[derive(Template)]
#[template(path = "billing/pages/invoices.html")]
struct Page<'a> {
    invoices: Listing<Invoice>,
    at: DateTime<Utc>,
    visit: &'a Visit,
}

pub(super) async fn page(
    State(app): State<App>,
    SignedIn(who): SignedIn,
    visit: Visit,
    Query(query): Query<PageQuery>,
) -> Result<Response, Problem> {
    let page = query.page()?;
    let rows = invoices::list(app.db.read(), who.tenant_id, page).await?;
    let invoices = Listing::of(rows, page, |invoice| invoice.id);
    visit.show(StatusCode::OK, &Page { invoices, at: app.clock.now().at, visit: &visit })
}
