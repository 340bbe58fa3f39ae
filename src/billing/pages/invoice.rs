//! An invoice to read and to print, or as a file.

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};

use crate::{
    app::App,
    billing::{
        api,
        invoices::{Invoice, Line},
    },
    http::{Path, Problem, Visit},
    identity::SignedIn,
    plans::Money,
};

#[derive(Template)]
#[template(path = "billing/pages/invoice.html")]
struct Page<'a> {
    invoice: &'a Invoice,
    lines: Vec<Line>,
    address: Vec<String>,
    issuer: Vec<String>,
    bank_details: &'a [String],
    visit: &'a Visit,
}

impl Page<'_> {
    fn money(&self, amount: i64) -> String {
        Money { amount, currency: self.invoice.currency.clone() }.to_string()
    }
}

pub(super) async fn page(
    State(app): State<App>,
    SignedIn(who): SignedIn,
    visit: Visit,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let (invoice, lines, is_file) = api::invoice_of(&app, who.tenant_id, &name).await?;
    if is_file {
        return api::file(&app, &invoice, &lines);
    }
    let page = Page {
        address: invoice.address_lines(),
        issuer: api::issuer(&app),
        bank_details: &app.config.billing.bank_details,
        invoice: &invoice,
        lines,
        visit: &visit,
    };
    visit.show(StatusCode::OK, &page)
}
