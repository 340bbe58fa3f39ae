//! Changing one's address.

use axum::{Extension, extract::State, http::StatusCode};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Accepted, LinkToken, NO_SOONER, cool_down, email::Verified};
use crate::{
    app::App,
    audit::{self, Actor},
    http::{FieldError, IdempotencyKey, Once, Posted, Problem, Reply, RequestId},
    identity::{
        CurrentUser,
        attempts::{self, Counter, Pace},
        change_email as verbs,
        email::Email,
        reauth, users,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(ask_email_change)).routes(routes!(confirm_email_change))
}

/// Another address, and what allows it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewAddress {
    /// The new address.
    #[schema(example = "ada.lovelace@example.com", max_length = 254)]
    email: String,
    /// The password; may be absent for somebody who has none.
    #[schema(value_type = Option<String>, format = Password, example = "correct-horse-battery", max_length = 128)]
    password: Option<SecretString>,
}

/// Asks for another address: a link goes there, and a notice to the one before. Nothing changes until the link is used.
///
/// Whether the new address is somebody's is not told. Somebody who has no password has to have logged in within the last 10 minutes.
#[utoipa::path(post, path = "/api/v1/auth/email/change", tag = "identity", request_body = NewAddress, security(("access_token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 202, body = Accepted), (status = 401, description = "No valid token, or `INVALID_CREDENTIALS`: the password is another"),
        (status = 403, description = "`REAUTHENTICATION_REQUIRED`"), (status = 409, description = "`IDEMPOTENCY_IN_PROGRESS`"),
        (status = 429, description = "`RATE_LIMITED`: a change was asked for less than a minute ago")))]
async fn ask_email_change(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    user: CurrentUser,
    Posted { body, key }: Posted<NewAddress>,
) -> Result<Reply, Problem> {
    ask_change_of_email(&app, &key, &user, (&body.email, body.password.as_ref()), &request).await
}

/// What the JSON edge and the page do alike.
pub(in crate::identity) async fn ask_change_of_email(
    app: &App,
    key: &IdempotencyKey,
    user: &CurrentUser,
    (address, password): (&str, Option<&SecretString>),
    request: &RequestId,
) -> Result<Reply, Problem> {
    let refuse = |code: &str, message: String| Problem::invalid(vec![FieldError::new("email", code, message)]);
    let new = Email::parse(address).map_err(|error| refuse(error.code(), error.to_string()))?;
    if users::by_id(app.db.read(), user.user_id).await?.email == new.as_str() {
        return Err(refuse("EMAIL_UNCHANGED", "This is your address already.".into()));
    }
    let once = Once::new(app, key, &user.user_id.to_string());
    once.run(async {
        reauth::once_more(app, user, "password", password).await?;
        let answer_at = tokio::time::Instant::now() + NO_SOONER;
        let now = app.clock.now();
        let tx = app.db.begin().await?;
        user.hold(&tx, &now).await?;
        if app.config.rate_limit.enabled {
            // Many accounts could else write to one stranger.
            let letters = Counter::new(&app.sealer, Pace::LETTERS, "change_email", &[new.as_str()]);
            attempts::begin(&tx, &now, &letters).await?;
        }
        verbs::ask(&tx, &now, &app.post, (user.user_id, &new), cool_down(app)).await?;
        let who = (Actor::User(user.user_id), None);
        audit::note(&tx, &now, request, who, "user.email_change_asked", json!({"email": new.as_str()})).await?;
        let message = "A link to confirm the new address is on its way there. Until it is used, nothing changes.";
        let done = once.commit(tx, &now, Reply::new(StatusCode::ACCEPTED, &Accepted { message })).await;
        tokio::time::sleep_until(answer_at).await;
        Ok(done?)
    })
    .await
}

/// Gives the user who asked for it the address that a mailed link went to. All their other sessions end.
#[utoipa::path(post, path = "/api/v1/auth/email/change/confirm", tag = "identity", request_body = LinkToken,
    security(("access_token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 200, body = Verified), (status = 401, description = "`TOKEN_EXPIRED`; `TOKEN_INVALID`, for another user's link too"),
        (status = 409, description = "`EMAIL_TAKEN`: somebody else has the address by now, or `IDEMPOTENCY_IN_PROGRESS`")))]
async fn confirm_email_change(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    user: CurrentUser,
    Posted { body, key }: Posted<LinkToken>,
) -> Result<Reply, Problem> {
    change_email(&app, &key, &body.token, &user, &request).await
}

/// What the JSON edge and the page do alike.
pub(in crate::identity) async fn change_email(
    app: &App,
    key: &IdempotencyKey,
    token: &SecretString,
    by: &CurrentUser,
    request: &RequestId,
) -> Result<Reply, Problem> {
    let once = Once::new(app, key, &by.user_id.to_string());
    once.run(async {
        let now = app.clock.now();
        let tx = app.db.begin().await?;
        let changed = verbs::confirm(&tx, &now, &app.post, token, by).await?;
        let who = (Actor::User(changed.user.id), None);
        let detail = json!({"from": changed.old, "to": changed.user.email});
        audit::note(&tx, &now, request, who, "user.email_changed", detail).await?;
        Ok(once.commit(tx, &now, Reply::new(StatusCode::OK, &Verified { user: changed.user })).await?)
    })
    .await
}
