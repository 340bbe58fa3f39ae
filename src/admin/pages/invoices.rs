//! All tenants' invoices, and that one was paid by bank transfer.

use std::collections::BTreeMap;

use askama::Template;
use axum::{Extension, extract::State, http::StatusCode, response::Response};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use uuid::Uuid;

use super::{Choice, Narrowed, address, choices};
use crate::{
    admin::invoices::{InvoiceStatus, Payment, take_payment},
    app::App,
    billing::invoices::{self, Invoice},
    http::{Form, Listing, PageQuery, Path, Problem, Query, RequestId, Visit, go_to},
    identity::SignedInAdmin,
    tenants,
};

const PATH: &str = "/admin/invoices";

#[derive(Template)]
#[template(path = "admin/pages/invoices.html")]
struct Page<'a> {
    invoices: Vec<Invoice>,
    slugs: BTreeMap<Uuid, String>,
    choices: Vec<Choice>,
    newest: Option<String>,
    next: Option<String>,
    asked: &'a Narrowed,
    at: DateTime<Utc>,
    visit: &'a Visit,
}

pub(super) async fn page(
    State(app): State<App>,
    _: SignedInAdmin,
    Query(asked): Query<Narrowed>,
    visit: Visit,
) -> Result<Response, Problem> {
    let db = app.db.read();
    let status = asked.among(&InvoiceStatus::ALL, InvoiceStatus::as_str);
    let page = PageQuery { limit: None, cursor: asked.cursor.clone() }.page()?;
    let found =
        Listing::of(invoices::all(db, status.map(InvoiceStatus::as_str), page).await?, page, |invoice| invoice.id);
    let page = Page {
        slugs: tenants::slugs(db, found.data.iter().map(|invoice| invoice.tenant_id)).await?,
        next: found.next_cursor.as_deref().map(|cursor| asked.link(PATH, Some(cursor))),
        newest: asked.cursor.as_ref().map(|_| asked.link(PATH, None)),
        choices: choices(&InvoiceStatus::ALL, InvoiceStatus::as_str, status),
        invoices: found.data,
        asked: &asked,
        at: app.clock.now().at,
        visit: &visit,
    };
    visit.show(StatusCode::OK, &page)
}

/// What the bank calls the payment, and which list to go back to.
#[derive(Deserialize)]
pub(super) struct Sent {
    #[serde(default)]
    external_payment_id: String,
    #[serde(default)]
    shown: String,
}

/// Marks an invoice paid. One that was is left as it is.
pub(super) async fn mark_paid(
    State(app): State<App>,
    SignedInAdmin(admin): SignedInAdmin,
    Extension(request): Extension<RequestId>,
    Path(id): Path<Uuid>,
    Form { body: sent, key }: Form<Sent>,
) -> Result<Response, Problem> {
    let payment = Payment { external_payment_id: Some(sent.external_payment_id) };
    take_payment(&app, &key, admin, &request, (id, payment)).await?;
    Ok(go_to(&address(PATH, &[("status", Some(&sent.shown)), ("done", Some("paid"))]), []))
}
