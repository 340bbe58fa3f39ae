//! The statement of credits.

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};

use crate::{
    app::App,
    billing::credits::{self, Line},
    http::{Listing, PageQuery, Problem, Query, Visit},
    identity::SignedIn,
};

#[derive(Template)]
#[template(path = "billing/pages/credits.html")]
struct Page<'a> {
    balance: i64,
    lines: Vec<Line>,
    next_cursor: Option<String>,
    visit: &'a Visit,
}

pub(super) async fn page(
    State(app): State<App>,
    SignedIn(who): SignedIn,
    visit: Visit,
    Query(query): Query<PageQuery>,
) -> Result<Response, Problem> {
    let page = query.page()?;
    let balance = credits::balance(app.db.read(), who.tenant_id).await?;
    let rows = credits::lines(app.db.read(), who.tenant_id, page).await?;
    let Listing { data: lines, next_cursor } = Listing::of(rows, page, |line| line.id);
    visit.show(StatusCode::OK, &Page { balance, lines, next_cursor, visit: &visit })
}
