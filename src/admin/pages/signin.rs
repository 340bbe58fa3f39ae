//! The console's door.

use askama::Template;
use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use secrecy::SecretString;
use serde::Deserialize;

use crate::{
    app::App,
    http::{FieldError, Form, NoFields, Problem, Refused, RequestId, Visit, go_to},
    identity::{self, admin_session},
};

#[derive(Template)]
#[template(path = "admin/pages/signin.html")]
struct Page<'a> {
    refused: Refused,
    /// Whether there is a token at all.
    is_configured: bool,
    visit: &'a Visit,
}

fn render(app: &App, visit: &Visit, refused: Refused) -> Result<Response, Problem> {
    let page = Page { refused, is_configured: app.config.admin_token.is_some(), visit };
    visit.show(page.refused.status, &page)
}

/// The form; somebody who is in already goes on.
pub(super) async fn page(State(app): State<App>, headers: HeaderMap, visit: Visit) -> Result<Response, Problem> {
    if admin_session::admin(&app, &headers).await?.is_some() {
        return Ok(go_to("/admin", []));
    }
    render(&app, &visit, Refused::default())
}

/// What proves it.
#[derive(Deserialize)]
pub(super) struct Sent {
    #[serde(default)]
    token: SecretString,
}

/// Lets in whoever knows the admin token.
pub(super) async fn submit(
    State(app): State<App>,
    visit: Visit,
    Form { body: Sent { token }, .. }: Form<Sent>,
) -> Result<Response, Problem> {
    if let Some(cookie) = admin_session::cookie(&app, &token) {
        tracing::info!(feature = "admin", "Somebody signed in with the admin token");
        return Ok(go_to("/admin", [cookie]));
    }
    tracing::warn!(feature = "admin", "A wrong admin token was refused");
    let error = FieldError::new("token", "TOKEN_INVALID", "This is not the admin token of this server.");
    let heading = "That token does not fit".to_owned();
    let refused = Refused { heading, errors: vec![error], status: StatusCode::FORBIDDEN, ..Refused::default() };
    render(&app, &visit, refused)
}

/// Takes the cookies back, and ends the session of a user who is an administrator.
pub(super) async fn leave(
    State(app): State<App>,
    Extension(request_id): Extension<RequestId>,
    headers: HeaderMap,
    _: Form<NoFields>,
) -> Result<Response, Problem> {
    let is_user = admin_session::admin(&app, &headers).await?.is_some_and(|admin| admin.user_id.is_some());
    let mut cookies = vec![admin_session::no_cookie(&app)];
    if is_user {
        cookies.extend(identity::pages::leave(&app, &headers, &request_id).await?);
    }
    Ok(go_to("/admin/signin", cookies))
}
