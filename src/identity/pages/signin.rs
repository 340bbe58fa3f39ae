//! Signing in and out.

use askama::Template;
use axum::{
    Extension, Router,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode},
    response::Response,
    routing::{get, post},
};
use secrecy::SecretString;
use serde::Deserialize;

use super::entered;
use crate::{
    app::App,
    http::{Form, NoFields, Problem, Refused, RequestId, Visit, go_to, limits::Kind},
    identity::{
        Client, Error,
        api::{self, Login, Proof},
        browser,
        claim::{self, Before},
        signup_token,
    },
};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/signin", get(sign_in).post(submit))
        .route("/signin/mail-code", get(ask_again).post(sign_in_by_code))
        .route("/signout", post(sign_out))
}

#[derive(Template)]
#[template(path = "identity/signin.html")]
struct SignInPage<'a> {
    email: &'a str,
    refused: Refused,
    sent: bool,
    /// Names and labels.
    providers: Vec<(String, String)>,
    visit: &'a Visit,
}

async fn sign_in(State(app): State<App>, headers: HeaderMap, visit: Visit) -> Result<Response, Problem> {
    if browser::user(&app, &headers).await?.is_some() {
        return Ok(go_to("/dashboard", []));
    }
    let refused = Refused::default();
    visit.show(
        StatusCode::OK,
        &SignInPage { email: "", refused, sent: false, providers: app.providers.labels(), visit: &visit },
    )
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
        let providers = app.providers.labels();
        visit.show(refused.status, &SignInPage { email: &email, refused, sent, providers, visit: &visit })
    };
    if link.is_some() {
        app.limits.take(Kind::Mail, client.network())?;
        return match api::send_magic_link(&app, &key, &email).await {
            Ok(_) => page(Refused::default(), true),
            Err(refused) => page(Refused::usual(refused)?, false),
        };
    }
    let login = Login { email: email.clone(), password, tenant_id: None, totp: None };
    match api::log_in_by_password(&app, &login, client, &request).await {
        Ok((tx, _, entry)) => {
            tx.commit().await?;
            Ok(entered(&app, &entry, "/dashboard"))
        }
        Err(error @ (Error::InvalidCredentials | Error::UseOauthProvider(_))) => {
            let refused = Problem::from(error);
            page(Refused::at("password", &refused, "We could not sign you in", refused.detail.clone()), false)
        }
        Err(error) => page(Refused::usual(error.into())?, false),
    }
}

/// The code of a mail, and whose it is.
#[derive(Deserialize)]
struct MailCode {
    #[serde(default)]
    email: String,
    #[serde(default)]
    code: SecretString,
}

/// Whoever loads the page again after a code was refused.
async fn ask_again() -> Response {
    go_to("/signin", [])
}

async fn sign_in_by_code(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    client: Client,
    visit: Visit,
    Form { body: MailCode { email, code }, .. }: Form<MailCode>,
) -> Result<Response, Problem> {
    let proof = Proof::typed(&email, code)?;
    // Whoever proves an address first is asked whether the account is theirs, which the link's page does.
    let owner = proof.owner(&app).await?;
    let is_first = match owner {
        Some(owner) => claim::is_due(app.db.read(), owner).await?,
        None => false,
    };
    let entered_by_code = if is_first {
        Err(Error::TokenInvalid)
    } else {
        api::log_in(&app, (&proof, None, Before::Stays), client, &request).await
    };
    let refused = match entered_by_code {
        Ok((tx, _, entry, _)) => {
            tx.commit().await?;
            return Ok(entered(&app, &entry, "/dashboard"));
        }
        Err(error @ Error::TokenInvalid) if is_first => {
            let words = "This first time, follow the link in the mail.";
            Refused::at("code", &Problem::from(error), "The link, please", words)
        }
        Err(error @ Error::TokenInvalid) => {
            let words = "This code is not right, or is over. Look into the newest mail, or use its link.";
            Refused::at("code", &Problem::from(error), "That code did not work", words)
        }
        Err(error) => Refused::usual(error.into())?,
    };
    let providers = app.providers.labels();
    visit.show(refused.status, &SignInPage { email: &email, refused, sent: true, providers, visit: &visit })
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
