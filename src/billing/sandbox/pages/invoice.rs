//! An invoice, to read.

use askama::Template;
use axum::{Router, extract::State, http::StatusCode, response::Response, routing::get};
use serde_json::Value;

use super::{day, find, money, only_where_it_is};
use crate::{
    app::App,
    billing::sandbox::store::{int, text},
    http::{Path, Problem, show},
};

/// This page's route.
pub fn routes() -> Router<App> {
    Router::new().route("/sandbox/invoices/{id}", get(look))
}

#[derive(Template)]
#[template(path = "billing/sandbox/pages/invoice.html")]
struct Page {
    number: String,
    status: String,
    issued: String,
    to: String,
    lines: Vec<(String, String)>,
    total: String,
    used: Option<String>,
    due: String,
}

async fn look(State(app): State<App>, Path(id): Path<String>) -> Result<Response, Problem> {
    only_where_it_is(&app)?;
    let invoice = find(app.db.read(), "invoice", &id).await?;
    let lines = invoice["lines"]["data"].as_array().into_iter().flatten();
    let line = |line: &Value| (text(line, "description").to_owned(), money(line, "amount"));
    let names = [text(&invoice, "customer_name"), text(&invoice, "customer_email")];
    let page = Page {
        number: text(&invoice, "number").to_owned(),
        status: text(&invoice, "status").to_owned(),
        issued: day(&invoice, "created"),
        to: names.into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>().join(", "),
        lines: lines.map(line).collect(),
        total: money(&invoice, "total"),
        used: (int(&invoice, "starting_balance") != 0).then(|| money(&invoice, "starting_balance")),
        due: money(&invoice, "amount_due"),
    };
    show(StatusCode::OK, &page)
}
