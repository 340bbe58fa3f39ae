//! The console: the operator's pages. Everything they do, they do by the same functions as the API, and it is audited alike.

mod events;
mod invoices;
mod leads;
mod onboard;
mod overview;
mod signin;
mod tenant;

use axum::{
    Router,
    routing::{get, post},
};

use serde::Deserialize;
use url::form_urlencoded;

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
        .route("/admin/invoices", get(invoices::page))
        .route("/admin/invoices/{id}/mark-paid", post(invoices::mark_paid))
        .route("/admin/stripe-events", get(events::page))
        .route("/admin/stripe-events/{id}/replay", post(events::replay))
        .route("/admin/sales-leads", get(leads::page))
        .route("/admin/sales-leads/{id}", post(leads::change))
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

/// Which rows of a list, and whether something has just been done to one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Narrowed {
    status: String,
    cursor: Option<String>,
    done: Option<String>,
}

impl Narrowed {
    /// The status that is asked for, among those that there are; nothing for all.
    fn among<T: Copy>(&self, all: &[T], name: impl Fn(T) -> &'static str) -> Option<T> {
        all.iter().copied().find(|status| name(*status) == self.status)
    }

    /// The same list from another place on.
    fn link(&self, path: &str, cursor: Option<&str>) -> String {
        address(path, &[("status", Some(&self.status)), ("cursor", cursor)])
    }
}

/// A list's address; what is empty is left out.
fn address(path: &str, query: &[(&str, Option<&str>)]) -> String {
    let given = query.iter().filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)));
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// A status in a list that narrows: its name, what it is called, and whether it is asked for.
type Choice = (&'static str, String, bool);

/// What can be asked for.
fn choices<T: Copy + PartialEq>(all: &[T], name: impl Fn(T) -> &'static str, asked: Option<T>) -> Vec<Choice> {
    all.iter().map(|status| (name(*status), word(name(*status)), asked == Some(*status))).collect()
}

/// `payment_missing` for people: `Payment missing`.
fn word(name: &str) -> String {
    let mut letters = name.replace('_', " ").into_bytes();
    if let Some(first) = letters.first_mut() {
        first.make_ascii_uppercase();
    }
    String::from_utf8(letters).unwrap_or_default()
}
