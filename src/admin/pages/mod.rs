//! The console: the operator's pages. Everything they do, they do by the same functions as the API, and it is audited alike.

mod onboard;
mod overview;
mod signin;
mod tenant;

use axum::{
    Router,
    routing::{get, post},
};

use crate::{
    app::App,
    tenants::{ProvisionState, Status},
};

/// This slice's pages.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/admin", get(overview::page))
        .route("/admin/signups", post(overview::switch))
        .route("/admin/signin", get(signin::page).post(signin::submit))
        .route("/admin/signout", post(signin::leave))
        .route("/admin/onboard", get(onboard::page).post(onboard::submit))
        .route("/admin/tenants/{slug}", get(tenant::page))
        .route("/admin/tenants/{slug}/retry", post(tenant::retry))
}

/// A run in a word.
fn run_word(state: ProvisionState) -> &'static str {
    match state {
        ProvisionState::Pending => "Waiting",
        ProvisionState::Processing => "Working",
        ProvisionState::Complete => "Complete",
        ProvisionState::Failed => "Failed",
    }
}

/// A tenant's status for people.
fn status_word(status: Status) -> &'static str {
    match status {
        Status::Pending => "Pending",
        Status::PendingPayment => "Waits for payment",
        Status::Active => "Active",
        Status::Suspended => "Suspended",
        Status::Closed => "Closed",
    }
}
