//! Another address.

use askama::Template;
use axum::{Extension, extract::State, http::StatusCode, response::Response};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::{
    app::App,
    http::{Form, NoFields, Problem, Refused, RequestId, Visit, go_to},
    identity::{
        CurrentUser, SignedIn, api, reauth, sessions,
        users::{self, UserView},
    },
};

#[derive(Template)]
#[template(path = "identity/settings/email.html")]
struct Page<'a> {
    here: &'static str,
    user: UserView,
    email: &'a str,
    has_password: bool,
    needs_sign_in: bool,
    refused: Refused,
    visit: &'a Visit,
}

async fn render(
    app: &App,
    visit: &Visit,
    who: &CurrentUser,
    email: &str,
    refused: Refused,
) -> Result<Response, Problem> {
    let db = app.db.read();
    let has_password = reauth::has_password(db, who.user_id).await?;
    let is_fresh = sessions::is_fresh(db, &app.clock.now(), who.session_id).await?;
    let page = Page {
        here: "/settings",
        user: users::by_id(db, who.user_id).await?,
        email,
        has_password,
        needs_sign_in: !has_password && !is_fresh,
        refused,
        visit,
    };
    visit.show(page.refused.status, &page)
}

pub(super) async fn page(State(app): State<App>, SignedIn(who): SignedIn, visit: Visit) -> Result<Response, Problem> {
    render(&app, &visit, &who, "", Refused::default()).await
}

/// A new address, and the password that allows it.
#[derive(Deserialize)]
pub(super) struct NewAddress {
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: SecretString,
}

pub(super) async fn ask(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    SignedIn(who): SignedIn,
    visit: Visit,
    Form { body: NewAddress { email, password }, key }: Form<NewAddress>,
) -> Result<Response, Problem> {
    let password = Some(&password).filter(|password| !password.expose_secret().is_empty());
    let asked = api::ask_change_of_email(&app, &key, &who, (&email, password), &request).await;
    let Err(refused) = asked else { return Ok(go_to("/settings?done=asked", [])) };
    let refused = match refused.code {
        "INVALID_CREDENTIALS" => {
            Refused::at("password", &refused, "We could not take that", "This is not your password.")
        }
        "RATE_LIMITED" => Refused {
            heading: "We sent one a moment ago".into(),
            detail: Some("Look into the mailbox of the new address, or try again in a minute.".into()),
            status: refused.status,
            ..Refused::default()
        },
        // The page itself says so.
        "REAUTHENTICATION_REQUIRED" => Refused { status: StatusCode::FORBIDDEN, ..Refused::default() },
        _ => Refused::usual(refused)?,
    };
    render(&app, &visit, &who, &email, refused).await
}

/// Sends the mail that proves the address again.
pub(super) async fn resend(
    State(app): State<App>,
    SignedIn(who): SignedIn,
    Form { key, .. }: Form<NoFields>,
) -> Result<Response, Problem> {
    match api::send_verification(&app, &key, who.user_id, who.tenant_id).await {
        Ok(_) => Ok(go_to("/settings?done=sent", [])),
        Err(refused) if refused.code == "RATE_LIMITED" => Ok(go_to("/settings?done=soon", [])),
        Err(refused) => Err(refused),
    }
}
