//! Billing as pages: what a tenant is on and how much of it is used, what it could be on, invoices, credits.
//!
//! Everybody of the tenant may look. Owners and admins may buy, change and cancel.

mod buy;
mod change;
mod credits;
mod invoice;
mod invoices;
mod offers;
mod overview;

use axum::{
    Router,
    routing::{get, post},
};

use crate::app::App;

/// This slice's pages.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/billing", get(overview::page))
        .route("/billing/checkout", post(buy::check_out))
        .route("/billing/bank-transfer", post(buy::order))
        .route("/billing/change", get(change::page))
        .route("/billing/change-plan", post(buy::change))
        .route("/billing/cancel", post(buy::cancel))
        .route("/billing/resume", post(buy::resume))
        .route("/billing/portal", post(buy::portal))
        .route("/billing/credits", get(credits::page))
        .route("/billing/invoices", get(invoices::page))
        .route("/billing/invoices/{id}", get(invoice::page))
}
