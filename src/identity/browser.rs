//! Sessions of browsers: a cookie that names the session, sealed, so that nobody can make one up and nothing of it is at rest.
//!
//! Unlike an application, a browser opens several pages at once, so its session is not renewed by tokens that are good for one use. It
//! ends with its own time, when its user logs out, or when it is revoked; every page asks.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, request::Parts},
    response::{IntoResponse, Response},
};
use uuid::Uuid;

use super::{CurrentUser, sessions};
use crate::{
    app::App,
    http::{Cookie, Problem, go_to},
};

const COOKIE: Cookie = Cookie("tenantry_session");
const PURPOSE: &str = "browser_session";

/// The cookie that opens pages for a session.
pub fn cookie(app: &App, session_id: Uuid) -> HeaderValue {
    COOKIE.set_sealed(app, PURPOSE, session_id.as_bytes(), sessions::REFRESH_TTL)
}

/// Takes the cookie back.
pub fn no_cookie(app: &App) -> HeaderValue {
    COOKIE.clear(&app.config)
}

fn session_id(app: &App, headers: &HeaderMap) -> Option<Uuid> {
    Uuid::from_slice(&COOKIE.open(app, PURPOSE, headers)?).ok()
}

/// Whoever a browser is signed in as, if anybody.
pub async fn user(app: &App, headers: &HeaderMap) -> Result<Option<CurrentUser>, Problem> {
    match session_id(app, headers) {
        Some(id) => CurrentUser::of_session(app, id).await,
        None => Ok(None),
    }
}

/// Somebody who is signed in; anybody else is sent to the page where one signs in.
#[derive(Clone, Debug)]
pub struct SignedIn(pub CurrentUser);

impl FromRequestParts<App> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        match user(app, &parts.headers).await {
            Ok(Some(user)) => Ok(Self(user)),
            Ok(None) => Err(go_to("/signin", [])),
            Err(problem) => Err(problem.into_response()),
        }
    }
}
