//! One's own settings: a page for each kind, with the navigation between them beside it (`identity/settings/layout.html`).

mod email;
mod password;
mod profile;
mod sessions;

use axum::{
    Extension, Router,
    extract::State,
    http::HeaderMap,
    response::Response,
    routing::{get, post},
};
use serde::Deserialize;

use super::leave;
use crate::{
    app::App,
    http::{Form, NoFields, Problem, RequestId, go_to},
};

/// The pages in the order of the navigation, by path. A page that is there has its line here.
pub(in crate::identity) const PAGES: [(&str, &str); 5] = [
    ("/settings", "Profile"),
    ("/settings/password", "Password"),
    ("/settings/sign-in", "Sign-in methods"),
    ("/settings/second-factor", "Second factor"),
    ("/settings/sessions", "Sessions"),
];

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/settings", get(profile::page).post(profile::rename))
        .route("/settings/switch", post(profile::switch))
        .route("/settings/email", get(email::page).post(email::ask))
        .route("/settings/email/resend", post(email::resend))
        .route("/settings/password", get(password::page).post(password::change))
        .route("/settings/sessions", get(sessions::page))
        .route("/settings/sessions/end", post(sessions::end))
        .route("/settings/sessions/end-others", post(sessions::end_others))
        .route("/settings/sign-in-again", post(sign_in_again))
}

/// What a form has done, for the page that it leads to.
#[derive(Debug, Default, Deserialize)]
struct Done {
    done: Option<String>,
}

/// For somebody who has no password to show who they are with.
async fn sign_in_again(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    headers: HeaderMap,
    _: Form<NoFields>,
) -> Result<Response, Problem> {
    Ok(go_to("/signin", leave(&app, &headers, &request).await?))
}
