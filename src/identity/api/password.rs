//! Setting a new password.

use axum::{Extension, extract::State, http::StatusCode};
use secrecy::SecretString;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Accepted, Address, cool_down, quietly};
use crate::{
    app::App,
    http::{IdempotencyKey, Once, Posted, Problem, Reply, RequestId},
    identity::{CurrentUser, credentials},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(forgot_password))
        .routes(routes!(reset_password))
        .routes(routes!(change_own_password))
}

/// Mails a link to set a new password, where the address is somebody's. The answer never tells.
#[utoipa::path(post, path = "/api/v1/auth/password/forgot", tag = "identity", request_body = Address,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 202, body = Accepted), (status = 409, description = "`IDEMPOTENCY_IN_PROGRESS`")))]
async fn forgot_password(State(app): State<App>, Posted { body, key }: Posted<Address>) -> Result<Reply, Problem> {
    send_reset_link(&app, &key, &body.email).await
}

/// What the JSON edge and the page do alike.
pub(in crate::identity) async fn send_reset_link(
    app: &App,
    key: &IdempotencyKey,
    address: &str,
) -> Result<Reply, Problem> {
    let message = "If there is an account with this address, a link to set a new password is on its way.";
    quietly(app, key, address, message, async |tx, now, email| {
        credentials::ask_reset(tx, now, &app.post, email, cool_down(app)).await
    })
    .await
}

/// A new password, and what allows it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Reset {
    /// What the link in the mail carries as `?token=…`.
    #[schema(value_type = String)]
    token: SecretString,
    /// At least 12 characters (8 in development), at most 128.
    #[schema(value_type = String, format = Password, example = "correct-horse-battery", max_length = 128)]
    password: SecretString,
}

/// Sets a new password with the token of a mailed link. All sessions end, and nobody is logged in by it.
#[utoipa::path(post, path = "/api/v1/auth/password/reset", tag = "identity", request_body = Reset,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 200, body = Accepted), (status = 401, description = "`TOKEN_EXPIRED` or `TOKEN_INVALID`"),
        (status = 409, description = "`IDEMPOTENCY_IN_PROGRESS`")))]
async fn reset_password(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    Posted { body, key }: Posted<Reset>,
) -> Result<Reply, Problem> {
    let once = Once::new(&app, &key, "");
    once.run(async {
        let (tx, now) = credentials::reset(&app, &body.token, body.password.clone(), &request).await?;
        let reply = Accepted { message: "The new password is set. Log in with it." };
        Ok(once.commit(tx, &now, Reply::new(StatusCode::OK, &reply)).await?)
    })
    .await
}

/// A new password, and the one before.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Change {
    /// The password now; may be absent for somebody who has none.
    #[schema(value_type = Option<String>, format = Password, example = "correct-horse-battery", max_length = 128)]
    current_password: Option<SecretString>,
    /// At least 12 characters (8 in development), at most 128.
    #[schema(value_type = String, format = Password, example = "another-horse-battery", max_length = 128)]
    password: SecretString,
}

/// Changes one's password. All other sessions end; the one that asks goes on.
///
/// Somebody who has no password sets one, where they logged in within the last 10 minutes.
#[utoipa::path(post, path = "/api/v1/auth/password/change", tag = "identity", request_body = Change, security(("access_token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 200, body = Accepted), (status = 401, description = "No valid token, or `INVALID_CREDENTIALS`: the current password is another"),
        (status = 403, description = "`REAUTHENTICATION_REQUIRED`"), (status = 409, description = "`IDEMPOTENCY_IN_PROGRESS`")))]
async fn change_own_password(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    user: CurrentUser,
    Posted { body, key }: Posted<Change>,
) -> Result<Reply, Problem> {
    change_password(&app, &key, &user, (body.current_password.as_ref(), body.password), &request).await
}

/// What the JSON edge and the page do alike.
pub(in crate::identity) async fn change_password(
    app: &App,
    key: &IdempotencyKey,
    user: &CurrentUser,
    (current, new): (Option<&SecretString>, SecretString),
    request: &RequestId,
) -> Result<Reply, Problem> {
    let once = Once::new(app, key, &user.user_id.to_string());
    once.run(async {
        let (tx, now) = credentials::change(app, user, current, new, request).await?;
        let reply = Accepted { message: "The new password is set. All other sessions have ended." };
        Ok(once.commit(tx, &now, Reply::new(StatusCode::OK, &reply)).await?)
    })
    .await
}
