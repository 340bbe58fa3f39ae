//! The page that takes the code of a log-in. What waits for it is in a cookie, sealed, that opens nothing but this page.

use askama::Template;
use axum::{
    Extension, Router,
    extract::{Query, State},
    http::{HeaderMap, HeaderValue, StatusCode},
    response::Response,
    routing::get,
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{PENDING_TTL, Pending, api};
use crate::{
    app::App,
    http::{Cookie, Form, Problem, Refused, RequestId, Visit, go_to},
    identity::{
        Client, Error, browser,
        pages::{self, LinkPage},
    },
};

const COOKIE: Cookie = Cookie("tenantry_pending");

pub(in crate::identity) fn routes() -> Router<App> {
    Router::new().route("/signin/code", get(ask).post(submit))
}

/// Where a browser goes to type its code.
pub const PAGE: &str = "/signin/code";

/// What it carries there.
pub fn cookie(app: &App, pending_token: &SecretString) -> HeaderValue {
    COOKIE.set(&app.config, pending_token.expose_secret(), PENDING_TTL)
}

#[derive(Template)]
#[template(path = "identity/second_factor/signin.html")]
struct CodePage<'a> {
    /// Whether a recovery code is asked for in place of the app's.
    is_recovery: bool,
    refused: Refused,
    visit: &'a Visit,
}

/// Which code somebody has at hand.
#[derive(Deserialize)]
struct Way {
    recovery: Option<String>,
}

async fn ask(
    State(app): State<App>,
    headers: HeaderMap,
    visit: Visit,
    Query(way): Query<Way>,
) -> Result<Response, Problem> {
    if browser::user(&app, &headers).await?.is_some() {
        return Ok(go_to("/dashboard", []));
    }
    let Some(pending) = COOKIE.read(&app.config, &headers) else { return Ok(go_to("/signin", [])) };
    if Pending::open(&app.clock.now(), &app.sealer, &pending.into()).is_err() {
        return over(&visit);
    }
    let (is_recovery, refused) = (way.recovery.is_some(), Refused::default());
    visit.show(StatusCode::OK, &CodePage { is_recovery, refused, visit: &visit })
}

/// A code.
#[derive(Deserialize)]
struct Code {
    #[serde(default)]
    totp: SecretString,
    recovery: Option<String>,
}

async fn submit(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    client: Client,
    headers: HeaderMap,
    visit: Visit,
    Form { body: Code { totp, recovery }, .. }: Form<Code>,
) -> Result<Response, Problem> {
    let pending = COOKIE.read(&app.config, &headers).unwrap_or_default();
    let Ok(pending) = Pending::open(&app.clock.now(), &app.sealer, &pending.into()) else { return over(&visit) };
    match api::log_in(&app, (&pending, &totp), client, &request).await {
        Ok((tx, _, opened)) => {
            tx.commit().await?;
            app.wake.wake();
            let cookies = [pages::cookies(&app, &opened).as_slice(), &[COOKIE.clear(&app.config)]].concat();
            Ok(go_to(pending.then.as_deref().unwrap_or("/dashboard"), cookies))
        }
        Err(Error::TokenExpired | Error::TokenInvalid) => over(&visit),
        Err(refused) => {
            let refused = wrong(refused)?;
            visit.show(refused.status, &CodePage { is_recovery: recovery.is_some(), refused, visit: &visit })
        }
    }
}

/// What a form says about a code that did not pass; the problem itself where it is for another page.
pub(super) fn wrong(refused: impl Into<Problem>) -> Result<Refused, Problem> {
    let problem = refused.into();
    match problem.code {
        "TOTP_INVALID" => Ok(Refused::at("totp", &problem, "That code did not work", problem.detail.clone())),
        _ => Refused::usual(problem),
    }
}

fn over(visit: &Visit) -> Result<Response, Problem> {
    let (heading, text) =
        ("That took too long", "There are ten minutes to type the code. Sign in again; nothing was lost.");
    let ways = &[("Sign in", "/signin")];
    visit.show(StatusCode::GONE, &LinkPage { door: "pending", heading, text, button: None, ways, visit })
}
