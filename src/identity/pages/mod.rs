//! Pages of identity: signing in and out, and what mailed links lead to. A GET changes nothing, for mail scanners follow links; the page's
//! button does the work.

mod claim;
mod links;
mod password;
pub(super) mod settings;
mod signin;
mod ways_in;

use askama::Template;
use axum::{
    Router,
    http::{HeaderValue, StatusCode},
    response::Response,
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

pub use signin::leave;

use super::{
    Error, browser,
    second_factor::{self, Entry},
    sessions::Opened,
    signup_token,
};
use crate::{
    app::App,
    http::{Problem, Visit, go_to},
};

/// This slice's pages.
pub fn routes() -> Router<App> {
    links::routes()
        .merge(signin::routes())
        .merge(password::routes())
        .merge(settings::routes())
        .merge(ways_in::routes())
        .merge(second_factor::signin::routes())
        .merge(second_factor::pages::routes())
}

#[derive(Template)]
#[template(path = "identity/link.html")]
pub(super) struct LinkPage<'a> {
    /// How the door on the page stands: `pending`, `processing` or `complete`.
    pub(super) door: &'static str,
    pub(super) heading: &'a str,
    pub(super) text: &'a str,
    pub(super) button: Option<Button<'a>>,
    /// Where to go from here: words and address.
    pub(super) ways: &'a [(&'a str, &'a str)],
    pub(super) visit: &'a Visit,
}

/// A form that sends the link's token.
pub(super) struct Button<'a> {
    action: &'static str,
    label: &'static str,
    token: &'a str,
}

/// The token of a link, and of the form on its page.
#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    token: SecretString,
}

const NEW_LINK: (&str, &str) = ("Send me a new link", "/signin");
const DASHBOARD: (&str, &str) = ("Open dashboard", "/dashboard");

/// The page of a link that cannot be used.
fn say(visit: &Visit, status: StatusCode, heading: &str, text: &str) -> Result<Response, Problem> {
    let ways = &[NEW_LINK, DASHBOARD];
    visit.show(status, &LinkPage { door: "pending", heading, text, button: None, ways, visit })
}

/// The page of a link that has lost its token.
fn incomplete(visit: &Visit) -> Result<Response, Problem> {
    say(visit, StatusCode::BAD_REQUEST, "This link is incomplete", "Copy the whole link from the mail.")
}

/// The page with the button; without a token there is nothing to press it for.
fn ask(
    visit: &Visit,
    link: &Link,
    (heading, text): (&str, &str),
    action: &'static str,
    label: &'static str,
) -> Result<Response, Problem> {
    let token = link.token.expose_secret();
    if token.is_empty() {
        return incomplete(visit);
    }
    let button = Some(Button { action, label, token });
    visit.show(StatusCode::OK, &LinkPage { door: "processing", heading, text, button, ways: &[], visit })
}

/// Leads on somebody who has come in, or has a code to type first.
pub(super) fn entered(app: &App, entry: &Entry, to: &str) -> Response {
    match entry {
        Entry::Open(opened) => go_to(to, cookies(app, opened)),
        Entry::Wait(token) => go_to(second_factor::signin::PAGE, [second_factor::signin::cookie(app, token)]),
    }
}

/// What a browser carries that has come in: the session. A sign-up that was under way in this browser may be somebody else's.
pub fn cookies(app: &App, opened: &Opened) -> [HeaderValue; 2] {
    [browser::cookie(app, opened.session_id), signup_token::COOKIE.clear(&app.config)]
}

/// A person gets a page where a program would get a problem.
fn refuse(visit: &Visit, error: Error) -> Result<Response, Problem> {
    match error {
        Error::TokenExpired => say(
            visit,
            StatusCode::GONE,
            "This link has expired",
            "Ask for a new one, and use it soon after it arrives.",
        ),
        Error::TokenInvalid => say(
            visit,
            StatusCode::GONE,
            "This link does not work",
            "It was used already, or it is incomplete. If it was you who used it, all is well.",
        ),
        other => Err(other.into()),
    }
}
