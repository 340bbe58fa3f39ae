//! Platform administrators in a browser: users who are marked so and signed in, and whoever has shown the admin token, for which a
//! sealed cookie stands. It ends by itself, and at once where another token is configured.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, request::Parts},
    response::{IntoResponse, Response},
};
use chrono::TimeDelta;
use secrecy::SecretString;

use super::{PlatformAdmin, browser};
use crate::{
    app::App,
    http::{Cookie, Problem, go_to},
};

const COOKIE: Cookie = Cookie("tenantry_admin");
const PURPOSE: &str = "admin_session";
const LIFE: TimeDelta = TimeDelta::hours(12);

/// The cookie for whoever knows the admin token; nothing for anybody else.
pub fn cookie(app: &App, sent: &SecretString) -> Option<HeaderValue> {
    let tag = PlatformAdmin::token_tag(app).filter(|_| PlatformAdmin::has_token(app, sent))?;
    let ends = (app.clock.now().at + LIFE).timestamp_micros().to_be_bytes();
    Some(COOKIE.set_sealed(app, PURPOSE, &[&ends[..], &tag].concat(), LIFE))
}

/// Takes the cookie back.
pub fn no_cookie(app: &App) -> HeaderValue {
    COOKIE.clear(&app.config)
}

fn has_cookie(app: &App, headers: &HeaderMap) -> bool {
    COOKIE.open(app, PURPOSE, headers).is_some_and(|opened| {
        opened.split_first_chunk().is_some_and(|(ends, tag)| {
            i64::from_be_bytes(*ends) > app.clock.now().at.timestamp_micros()
                && PlatformAdmin::is_tag_of_token(app, tag)
        })
    })
}

/// The administrator at a browser, if it is one.
pub async fn admin(app: &App, headers: &HeaderMap) -> Result<Option<PlatformAdmin>, Problem> {
    let user = browser::user(app, headers).await?.filter(|user| user.is_platform_admin);
    let by_token = || has_cookie(app, headers).then_some(PlatformAdmin { user_id: None });
    Ok(user.map(|user| PlatformAdmin { user_id: Some(user.user_id) }).or_else(by_token))
}

/// A platform administrator; anybody else is sent to the page where one signs in as such.
#[derive(Clone, Copy, Debug)]
pub struct SignedInAdmin(pub PlatformAdmin);

impl FromRequestParts<App> for SignedInAdmin {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        match admin(app, &parts.headers).await {
            Ok(Some(admin)) => Ok(Self(admin)),
            Ok(None) => Err(go_to("/admin/signin", [])),
            Err(problem) => Err(problem.into_response()),
        }
    }
}
