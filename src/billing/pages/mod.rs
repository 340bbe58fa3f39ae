//! Billing as pages: what a tenant is on and how much of it is used, what it could be on, invoices, credits.
//!
//! Everybody of the tenant may look. Owners and admins may buy, change and cancel.

mod credits;
mod invoice;
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
        .route("/billing/checkout", post(overview::buy))
        .route("/billing/bank-transfer", post(overview::order))
        .route("/billing/change-plan", post(overview::change))
        .route("/billing/cancel", post(overview::cancel))
        .route("/billing/resume", post(overview::resume))
        .route("/billing/portal", post(overview::portal))
        .route("/billing/credits", get(credits::page))
        .route("/billing/invoices/{id}", get(invoice::page))
}
