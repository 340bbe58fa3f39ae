//! Setting a new password by a mailed link.

use askama::Template;
use axum::{
    Extension, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode},
    response::Response,
    routing::get,
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{Link, LinkPage, incomplete, refuse};
use crate::{
    app::App,
    http::{Form, Problem, Refused, RequestId, Visit, go_to},
    identity::{Error, api, browser, credentials},
};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/forgot-password", get(forgot).post(send_reset))
        .route("/reset-password", get(ask_to_reset).post(reset))
        .route("/.well-known/change-password", get(change_password))
}

#[derive(Template)]
#[template(path = "identity/forgot.html")]
struct ForgotPage<'a> {
    email: &'a str,
    refused: Refused,
    sent: bool,
    visit: &'a Visit,
}

async fn forgot(visit: Visit) -> Result<Response, Problem> {
    let refused = Refused::default();
    visit.show(StatusCode::OK, &ForgotPage { email: "", refused, sent: false, visit: &visit })
}

/// Whose link to send.
#[derive(Deserialize)]
struct Address {
    #[serde(default)]
    email: String,
}

async fn send_reset(
    State(app): State<App>,
    visit: Visit,
    Form { body: Address { email }, key }: Form<Address>,
) -> Result<Response, Problem> {
    let refused = match api::send_reset_link(&app, &key, &email).await {
        Ok(_) => Refused::default(),
        Err(refused) => Refused::usual(refused)?,
    };
    let sent = !refused.is_some();
    visit.show(refused.status, &ForgotPage { email: &email, refused, sent, visit: &visit })
}

#[derive(Template)]
#[template(path = "identity/reset.html")]
struct ResetPage<'a> {
    token: &'a str,
    refused: Refused,
    min_password: usize,
    visit: &'a Visit,
}

async fn ask_to_reset(State(app): State<App>, visit: Visit, Query(link): Query<Link>) -> Result<Response, Problem> {
    let token = link.token.expose_secret();
    if token.is_empty() {
        return incomplete(&visit);
    }
    let (refused, min_password) = (Refused::default(), app.config.password.min_length);
    visit.show(StatusCode::OK, &ResetPage { token, refused, min_password, visit: &visit })
}

/// A new password, and the token of the link.
#[derive(Deserialize)]
struct NewPassword {
    #[serde(default)]
    token: SecretString,
    #[serde(default)]
    password: SecretString,
}

async fn reset(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    visit: Visit,
    Form { body: NewPassword { token, password }, .. }: Form<NewPassword>,
) -> Result<Response, Problem> {
    let refused = match credentials::reset(&app, &token, password, &request).await {
        Ok((tx, _)) => {
            tx.commit().await?;
            app.wake.wake();
            let (heading, text) =
                ("Your new password is set", "Everybody who was signed in has been signed out. Sign in with it.");
            let ways = &[("Sign in", "/signin")];
            let page = LinkPage { door: "complete", heading, text, button: None, ways, visit: &visit };
            return visit.show(StatusCode::OK, &page);
        }
        Err(refused) => refused,
    };
    match refused.code {
        "TOKEN_EXPIRED" => refuse(&visit, Error::TokenExpired),
        "TOKEN_INVALID" => refuse(&visit, Error::TokenInvalid),
        _ => {
            let (refused, min_password) = (Refused::usual(refused)?, app.config.password.min_length);
            visit
                .show(refused.status, &ResetPage { token: token.expose_secret(), refused, min_password, visit: &visit })
        }
    }
}

/// Where password managers look for the page that changes a password (W3C, A Well-Known URL for Changing Passwords).
async fn change_password(State(app): State<App>, headers: HeaderMap) -> Result<Response, Problem> {
    let is_signed_in = browser::user(&app, &headers).await?.is_some();
    Ok(go_to(if is_signed_in { "/settings/password" } else { "/forgot-password" }, []))
}
