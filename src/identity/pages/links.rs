//! What mailed links lead to.

use axum::{
    Extension, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode},
    response::Response,
    routing::get,
};
use secrecy::ExposeSecret;

use super::{
    DASHBOARD, Link, LinkPage, ask,
    claim::{Account, Proof},
    entered, refuse, say,
};
use crate::{
    app::App,
    http::{Form, Problem, RequestId, Visit, go_to},
    identity::{
        Client, Error, api, browser, credentials,
        one_time::{self, Purpose},
        users,
    },
};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/verify-email", get(ask_to_verify).post(verify))
        .route("/magic-link", get(ask_to_log_in).post(log_in))
        .route("/change-email", get(ask_to_change).post(change))
}

const VERIFY: Account = Account {
    purpose: Purpose::VerifyEmail,
    action: "/verify-email",
    heading: "Verify your address",
    label: "Verify my address",
};

const LOG_IN: Account =
    Account { purpose: Purpose::MagicLink, action: "/magic-link", heading: "Sign in to Tenantry", label: "Sign in" };

async fn ask_to_verify(
    State(app): State<App>,
    headers: HeaderMap,
    visit: Visit,
    Query(link): Query<Link>,
) -> Result<Response, Problem> {
    if let Some(page) = VERIFY.asks(&app, &headers, &visit, &link.token).await? {
        return Ok(page);
    }
    ask(
        &visit,
        &link,
        (VERIFY.heading, "One click, and we know that this address is yours."),
        VERIFY.action,
        VERIFY.label,
    )
}

async fn ask_to_log_in(
    State(app): State<App>,
    headers: HeaderMap,
    visit: Visit,
    Query(link): Query<Link>,
) -> Result<Response, Problem> {
    if let Some(page) = LOG_IN.asks(&app, &headers, &visit, &link.token).await? {
        return Ok(page);
    }
    ask(
        &visit,
        &link,
        (LOG_IN.heading, "This link signs you in on this device. It works once."),
        LOG_IN.action,
        LOG_IN.label,
    )
}

async fn verify(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    headers: HeaderMap,
    visit: Visit,
    Form { body: proof, .. }: Form<Proof>,
) -> Result<Response, Problem> {
    let before = match VERIFY.before(&app, &headers, &visit, &proof).await? {
        Ok(before) => before,
        Err(page) => return Ok(page),
    };
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    let (user, has_ended) = match api::prove_email(&tx, &now, &app.post, (&proof.token, before), &request).await {
        Ok(proved) => proved,
        Err(refused) => return refuse(&visit, refused),
    };
    let reset = if has_ended { Some(credentials::reset_at_once(&tx, &now, &user).await?) } else { None };
    tx.commit().await?;
    app.wake.wake();
    let Some(reset) = reset else {
        let (heading, text) = ("Your address is verified", format!("{} is yours.", user.email));
        let page = LinkPage { door: "complete", heading, text: &text, button: None, ways: &[DASHBOARD], visit: &visit };
        return visit.show(StatusCode::OK, &page);
    };
    let heading = "Your account is yours alone now";
    let text = "What was set up before has ended: the password, and every session. Choose a password of your own.";
    let way = format!("/reset-password?token={}", reset.expose_secret());
    let ways = &[("Set a password", way.as_str())];
    visit.show(StatusCode::OK, &LinkPage { door: "complete", heading, text, button: None, ways, visit: &visit })
}

async fn log_in(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    client: Client,
    headers: HeaderMap,
    visit: Visit,
    Form { body: proof, .. }: Form<Proof>,
) -> Result<Response, Problem> {
    let before = match LOG_IN.before(&app, &headers, &visit, &proof).await? {
        Ok(before) => before,
        Err(page) => return Ok(page),
    };
    let link = (&api::Proof::Link(proof.token), None, before);
    let (tx, _, entry, has_ended) = match api::log_in(&app, link, client, &request).await {
        Ok(entered) => entered,
        Err(refused) => return refuse(&visit, refused),
    };
    tx.commit().await?;
    app.wake.wake();
    Ok(entered(&app, &entry, if has_ended { "/settings/password" } else { "/dashboard" }))
}

/// Tells whose account gets which address: whoever reads the mail may not be the one who asked, and only that one may go on.
async fn ask_to_change(
    State(app): State<App>,
    headers: HeaderMap,
    visit: Visit,
    Query(link): Query<Link>,
) -> Result<Response, Problem> {
    let (db, now) = (app.db.read(), app.clock.now());
    let asked = match one_time::peek(db, &now, Purpose::ChangeEmail, &link.token).await {
        Ok(asked) => asked,
        Err(_) if link.token.expose_secret().is_empty() => return super::incomplete(&visit),
        Err(refused) => return refuse(&visit, refused),
    };
    let user = users::by_id(db, asked.user_id).await?;
    if browser::user(&app, &headers).await?.is_none_or(|by| by.user_id != user.id) {
        return sign_in_first(&visit, &user.email);
    }
    let text = format!("The account of {} uses {} from now on. Elsewhere it is signed out.", user.email, asked.email);
    ask(&visit, &link, ("Change your email", &text), "/change-email", "Use this address")
}

fn sign_in_first(visit: &Visit, email: &str) -> Result<Response, Problem> {
    let text = format!(
        "Sign in as {email}, and then open the link of the mail again. If this account is not yours, leave the link alone."
    );
    let (heading, ways) = ("Sign in first", &[("Sign in", "/signin")]);
    visit.show(StatusCode::OK, &LinkPage { door: "pending", heading, text: &text, button: None, ways, visit })
}

async fn change(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    headers: HeaderMap,
    visit: Visit,
    Form { body: link, key }: Form<Link>,
) -> Result<Response, Problem> {
    let Some(by) = browser::user(&app, &headers).await? else { return Ok(go_to("/signin", [])) };
    match api::change_email(&app, &key, &link.token, &by, &request).await {
        Ok(_) => {
            let (heading, text) = ("Your email is changed", "Sign in with the new address from now on.");
            let page = LinkPage { door: "complete", heading, text, button: None, ways: &[DASHBOARD], visit: &visit };
            visit.show(StatusCode::OK, &page)
        }
        Err(refused) => match refused.code {
            "TOKEN_EXPIRED" => refuse(&visit, Error::TokenExpired),
            "TOKEN_INVALID" => refuse(&visit, Error::TokenInvalid),
            "EMAIL_TAKEN" => {
                let text = "It has an account of its own by now, so yours keeps the address that it has.";
                say(&visit, StatusCode::CONFLICT, "This address is taken", text)
            }
            _ => Err(refused),
        },
    }
}
