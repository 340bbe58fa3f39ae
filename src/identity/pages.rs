//! Pages of identity: signing in and out, and what mailed links lead to. A GET changes nothing, for mail scanners follow links; the page's
//! button does the work.

use askama::Template;
use axum::{
    Extension, Router,
    extract::{Query, State},
    http::{HeaderMap, HeaderValue, StatusCode},
    response::Response,
    routing::{get, post},
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{Client, Error, api, browser, credentials, signup_token};
use crate::{
    app::App,
    http::{Form, NoFields, Problem, Refused, RequestId, Visit, go_to},
};

/// This slice's pages.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/verify-email", get(ask_to_verify).post(verify))
        .route("/magic-link", get(ask_to_log_in).post(log_in))
        .route("/signin", get(sign_in).post(submit))
        .route("/forgot-password", get(forgot).post(send_reset))
        .route("/reset-password", get(ask_to_reset).post(reset))
        .route("/.well-known/change-password", get(change_password))
        .route("/signout", post(sign_out))
}

#[derive(Template)]
#[template(path = "identity/link.html")]
struct LinkPage<'a> {
    /// How the door on the page stands: `pending`, `processing` or `complete`.
    door: &'static str,
    heading: &'a str,
    text: &'a str,
    button: Option<Button<'a>>,
    /// Where to go from here: words and address.
    ways: &'a [(&'static str, &'static str)],
    visit: &'a Visit,
}

/// A form that sends the link's token.
struct Button<'a> {
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
        return say(visit, StatusCode::BAD_REQUEST, "This link is incomplete", "Copy the whole link from the mail.");
    }
    let button = Some(Button { action, label, token });
    visit.show(StatusCode::OK, &LinkPage { door: "processing", heading, text, button, ways: &[], visit })
}

async fn ask_to_verify(visit: Visit, Query(link): Query<Link>) -> Result<Response, Problem> {
    let words = ("Verify your address", "One click, and we know that this address is yours.");
    ask(&visit, &link, words, "/verify-email", "Verify my address")
}

async fn ask_to_log_in(visit: Visit, Query(link): Query<Link>) -> Result<Response, Problem> {
    let words = ("Sign in to Tenantry", "This link signs you in on this device. It works once.");
    ask(&visit, &link, words, "/magic-link", "Sign in")
}

async fn verify(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    visit: Visit,
    Form { body: link, .. }: Form<Link>,
) -> Result<Response, Problem> {
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    let user = match api::prove_email(&tx, &now, &link.token, &request).await {
        Ok(user) => user,
        Err(refused) => return refuse(&visit, refused),
    };
    tx.commit().await?;
    let (heading, text) = ("Your address is verified", format!("{} is yours.", user.email));
    let page = LinkPage { door: "complete", heading, text: &text, button: None, ways: &[DASHBOARD], visit: &visit };
    visit.show(StatusCode::OK, &page)
}

async fn log_in(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    client: Client,
    visit: Visit,
    Form { body: link, .. }: Form<Link>,
) -> Result<Response, Problem> {
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    let opened = match api::log_in(&tx, &now, &link.token, client, &request).await {
        Ok(opened) => opened,
        Err(refused) => return refuse(&visit, refused),
    };
    tx.commit().await?;
    // A sign-up that was under way in this browser may be somebody else's.
    Ok(go_to("/dashboard", [browser::cookie(&app, opened.session_id), signup_token::COOKIE.clear(&app.config)]))
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

#[derive(Template)]
#[template(path = "identity/signin.html")]
struct SignInPage<'a> {
    email: &'a str,
    refused: Refused,
    sent: bool,
    visit: &'a Visit,
}

async fn sign_in(State(app): State<App>, headers: HeaderMap, visit: Visit) -> Result<Response, Problem> {
    if browser::user(&app, &headers).await?.is_some() {
        return Ok(go_to("/dashboard", []));
    }
    let refused = Refused::default();
    visit.show(StatusCode::OK, &SignInPage { email: "", refused, sent: false, visit: &visit })
}

/// Who signs in, with a password or by a link.
#[derive(Deserialize)]
struct SignIn {
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: SecretString,
    /// The button that asks for a link.
    link: Option<String>,
}

async fn submit(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    client: Client,
    visit: Visit,
    Form { body: SignIn { email, password, link }, key }: Form<SignIn>,
) -> Result<Response, Problem> {
    let page = |refused: Refused, sent| {
        visit.show(refused.status, &SignInPage { email: &email, refused, sent, visit: &visit })
    };
    if link.is_some() {
        return match api::send_magic_link(&app, &key, &email).await {
            Ok(_) => page(Refused::default(), true),
            Err(refused) => page(Refused::usual(refused)?, false),
        };
    }
    match api::log_in_by_password(&app, (&email, &password), None, client, &request).await {
        Ok((tx, _, opened)) => {
            tx.commit().await?;
            let cookies = [browser::cookie(&app, opened.session_id), signup_token::COOKIE.clear(&app.config)];
            Ok(go_to("/dashboard", cookies))
        }
        Err(error @ Error::InvalidCredentials) => {
            let refused = Problem::from(error);
            page(Refused::at("password", &refused, "We could not sign you in", refused.detail.clone()), false)
        }
        Err(error) => page(Refused::usual(error.into())?, false),
    }
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
        return say(&visit, StatusCode::BAD_REQUEST, "This link is incomplete", "Copy the whole link from the mail.");
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
async fn change_password() -> Response {
    go_to("/forgot-password", [])
}

async fn sign_out(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    headers: HeaderMap,
    _: Form<NoFields>,
) -> Result<Response, Problem> {
    Ok(go_to("/", leave(&app, &headers, &request).await?))
}

/// Ends the session of a browser; answers what its cookies become.
pub async fn leave(app: &App, headers: &HeaderMap, request: &RequestId) -> Result<[HeaderValue; 2], Problem> {
    if let Some(user) = browser::user(app, headers).await? {
        api::sign_out(app, &user, request).await?;
    }
    Ok([browser::no_cookie(app), signup_token::COOKIE.clear(&app.config)])
}
