//! Changing one's password, or setting the first one.

use askama::Template;
use axum::{
    Extension,
    extract::{Query, State},
    http::StatusCode,
    response::Response,
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::Done;
use crate::{
    app::App,
    http::{Form, Problem, Refused, RequestId, Visit, go_to},
    identity::{CurrentUser, SignedIn, api, reauth, sessions, users},
};

#[derive(Template)]
#[template(path = "identity/settings/password.html")]
struct Page<'a> {
    here: &'static str,
    email: String,
    has_password: bool,
    needs_sign_in: bool,
    is_set: bool,
    min_password: usize,
    refused: Refused,
    visit: &'a Visit,
}

async fn render(
    app: &App,
    visit: &Visit,
    who: &CurrentUser,
    is_set: bool,
    refused: Refused,
) -> Result<Response, Problem> {
    let db = app.db.read();
    let has_password = reauth::has_password(db, who.user_id).await?;
    let is_fresh = sessions::is_fresh(db, &app.clock.now(), who.session_id).await?;
    let page = Page {
        here: "/settings/password",
        email: users::by_id(db, who.user_id).await?.email,
        has_password,
        needs_sign_in: !has_password && !is_fresh,
        is_set,
        min_password: app.config.password.min_length,
        refused,
        visit,
    };
    visit.show(page.refused.status, &page)
}

pub(super) async fn page(
    State(app): State<App>,
    SignedIn(who): SignedIn,
    visit: Visit,
    Query(done): Query<Done>,
) -> Result<Response, Problem> {
    render(&app, &visit, &who, done.done.as_deref() == Some("set"), Refused::default()).await
}

/// The password now, and the one to be.
#[derive(Deserialize)]
pub(super) struct Passwords {
    #[serde(default)]
    current_password: SecretString,
    #[serde(default)]
    password: SecretString,
}

pub(super) async fn change(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    SignedIn(who): SignedIn,
    visit: Visit,
    Form { body: Passwords { current_password, password }, key }: Form<Passwords>,
) -> Result<Response, Problem> {
    let current = Some(&current_password).filter(|password| !password.expose_secret().is_empty());
    let changed = api::change_password(&app, &key, &who, (current, password), &request).await;
    let Err(refused) = changed else { return Ok(go_to("/settings/password?done=set", [])) };
    let refused = match refused.code {
        "INVALID_CREDENTIALS" => {
            Refused::at("current_password", &refused, "We could not change it", "This is not your current password.")
        }
        // The page itself says so.
        "REAUTHENTICATION_REQUIRED" => Refused { status: StatusCode::FORBIDDEN, ..Refused::default() },
        _ => Refused::usual(refused)?,
    };
    render(&app, &visit, &who, false, refused).await
}
