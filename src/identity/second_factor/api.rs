//! The second factor's JSON edge: `/api/v1/auth/totp…`.

use axum::{Extension, Json, extract::State, http::StatusCode};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{Authenticator, Pending, Status, TRIES, confirm, finish, is_on, renew, set_up, status, switch_off};
use crate::{
    app::App,
    clock::Now,
    db::Tx,
    http::{self, IdempotencyKey, Nothing, Once, Posted, Problem, Reply, RequestId},
    identity::{
        Client, CurrentUser, Error,
        api::tokens,
        attempts::UserTry,
        reauth,
        sessions::{Opened, TokenSet},
    },
};

/// This slice's routes.
pub(in crate::identity) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(show, end))
        .routes(routes!(begin_set_up))
        .routes(routes!(confirm_set_up))
        .routes(routes!(new_recovery_codes))
        .routes(routes!(verify))
}

/// Opens the transaction of a log-in, or of whatever else a user's code may be tried in; where there is one to try, the try is counted first.
///
/// # Errors
/// [`Error::TooManyTries`].
pub(in crate::identity) async fn begin(app: &App, tries_code_of: Option<Uuid>) -> Result<(Tx, Now), Error> {
    if let Some(user_id) = tries_code_of
        && is_on(app.db.read(), user_id).await?
    {
        UserTry::of(&app.sealer, TRIES, user_id).begin(app).await?;
    }
    let now = app.clock.now();
    Ok((app.db.begin().await?, now))
}

/// A code.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Code {
    /// Of the authenticator app; a recovery code where one may stand in for it.
    #[schema(value_type = String, example = "123456")]
    totp: SecretString,
}

/// How one's second factor stands.
#[utoipa::path(get, path = "/api/v1/auth/totp", tag = "identity", security(("access_token" = [])),
    responses((status = 200, body = Status)))]
async fn show(State(app): State<App>, user: CurrentUser) -> Result<Json<Status>, Problem> {
    Ok(Json(status(app.db.read(), user.user_id).await?))
}

/// A new secret.
#[derive(Serialize, ToSchema)]
struct SecretView {
    /// To type into the app, in base 32.
    secret: String,
    /// For a QR code (Key URI format).
    otpauth_url: String,
}

/// Makes a secret for an authenticator app, in place of one that was not confirmed. Nothing asks for a code before it is.
///
/// Asks for a log-in within the last 10 minutes.
#[utoipa::path(post, path = "/api/v1/auth/totp/setup", tag = "identity", request_body = Nothing, security(("access_token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 201, body = SecretView), (status = 403, description = "`REAUTHENTICATION_REQUIRED`"),
        (status = 409, description = "`TOTP_ALREADY_ON` or `IDEMPOTENCY_IN_PROGRESS`")))]
async fn begin_set_up(
    State(app): State<App>,
    user: CurrentUser,
    Posted { body: Nothing {}, key }: Posted<Nothing>,
) -> Result<Reply, Problem> {
    let once = Once::new(&app, &key, &user.user_id.to_string());
    once.run(async {
        let now = app.clock.now();
        let (tx, app_of_user) = new_secret(&app, &now, &user).await?;
        let view = SecretView { secret: app_of_user.secret(), otpauth_url: app_of_user.url() };
        Ok(once.commit(tx, &now, Reply::new(StatusCode::CREATED, &view)).await?)
    })
    .await
}

/// What the JSON edge and the page do alike. The caller commits. A session that was left open is not enough to lock its user out.
pub(super) async fn new_secret(app: &App, now: &Now, user: &CurrentUser) -> Result<(Tx, Authenticator), Error> {
    reauth::fresh(app, user).await?;
    let tx = app.db.begin().await?;
    user.hold(&tx, now).await?;
    let authenticator = set_up(&tx, now, &app.sealer, user.user_id).await?;
    Ok((tx, authenticator))
}

/// Ways in for when the authenticator is gone, each good once. They are not shown again.
#[derive(Serialize, Deserialize, ToSchema)]
pub(super) struct RecoveryCodes {
    /// Ten of them, `XXXX-XXXX-XXXX`.
    pub(super) recovery_codes: Vec<String>,
}

/// Switches the second factor on with a first code of the app.
#[utoipa::path(post, path = "/api/v1/auth/totp/confirm", tag = "identity", request_body = Code, security(("access_token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 200, body = RecoveryCodes), (status = 401, description = "`TOTP_INVALID`"),
        (status = 409, description = "`TOTP_ALREADY_ON`; `TOTP_OFF`: nothing was set up; `IDEMPOTENCY_IN_PROGRESS`")))]
async fn confirm_set_up(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    user: CurrentUser,
    Posted { body: Code { totp }, key }: Posted<Code>,
) -> Result<Reply, Problem> {
    make_codes(&app, &key, Occasion::SwitchOn, (&user, &totp), &request).await
}

/// What recovery codes are made for.
#[derive(Clone, Copy)]
pub(super) enum Occasion {
    /// The second factor is switched on.
    SwitchOn,
    /// They replace the old ones.
    Renew,
}

/// What the JSON edge and the pages do alike. A repeat shows the same codes, so that a double click loses none.
pub(super) async fn make_codes(
    app: &App,
    key: &IdempotencyKey,
    occasion: Occasion,
    (user, totp): (&CurrentUser, &SecretString),
    request: &RequestId,
) -> Result<Reply, Problem> {
    let user_id = user.user_id;
    let once = Once::new(app, key, &user_id.to_string());
    once.run(async {
        let (tx, now) = begin(app, Some(user_id)).await?;
        user.hold(&tx, &now).await?;
        let recovery_codes = match occasion {
            Occasion::SwitchOn => confirm(&tx, &now, &app.post, (user_id, totp), request).await?,
            Occasion::Renew => renew(&tx, &now, &app.post, (user_id, totp), request).await?,
        };
        Ok(once.commit(tx, &now, Reply::new(StatusCode::OK, &RecoveryCodes { recovery_codes })).await?)
    })
    .await
}

/// Makes new recovery codes; the old ones are good for nothing any more.
#[utoipa::path(post, path = "/api/v1/auth/totp/recovery-codes", tag = "identity", request_body = Code,
    security(("access_token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 200, body = RecoveryCodes), (status = 401, description = "`TOTP_INVALID`"),
        (status = 409, description = "`TOTP_OFF` or `IDEMPOTENCY_IN_PROGRESS`")))]
async fn new_recovery_codes(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    user: CurrentUser,
    Posted { body: Code { totp }, key }: Posted<Code>,
) -> Result<Reply, Problem> {
    make_codes(&app, &key, Occasion::Renew, (&user, &totp), &request).await
}

/// Switches the second factor off, with a code of the app or a recovery code.
#[utoipa::path(delete, path = "/api/v1/auth/totp", tag = "identity", request_body = Code, security(("access_token" = [])),
    responses((status = 204, description = "Off"), (status = 401, description = "`TOTP_INVALID`"),
        (status = 409, description = "`TOTP_OFF`")))]
async fn end(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    user: CurrentUser,
    http::Json(Code { totp }): http::Json<Code>,
) -> Result<StatusCode, Problem> {
    leave(&app, (&user, &totp), &request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the JSON edge and the page do alike.
pub(super) async fn leave(
    app: &App,
    (user, totp): (&CurrentUser, &SecretString),
    request: &RequestId,
) -> Result<(), Error> {
    let (tx, now) = begin(app, Some(user.user_id)).await?;
    user.hold(&tx, &now).await?;
    switch_off(&tx, &now, &app.post, (user.user_id, totp), request).await?;
    tx.commit().await?;
    app.wake.wake();
    Ok(())
}

/// A log-in that waits, and its code.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Verify {
    /// As the first step answered it, with `TOTP_REQUIRED`.
    #[schema(value_type = String)]
    pending_token: SecretString,
    /// Of the authenticator app, or a recovery code.
    #[schema(value_type = String, example = "123456")]
    totp: SecretString,
}

/// Ends a log-in that waits for its code, within ten minutes of the first step.
#[utoipa::path(post, path = "/api/v1/auth/totp/verify", tag = "identity", request_body = Verify,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 200, body = TokenSet),
        (status = 401, description = "`TOTP_INVALID`; `TOKEN_EXPIRED` or `TOKEN_INVALID`: begin again"),
        (status = 404, description = "The user is no member of that tenant, or of any"),
        (status = 409, description = "`IDEMPOTENCY_IN_PROGRESS`")))]
async fn verify(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    client: Client,
    Posted { body, key }: Posted<Verify>,
) -> Result<Reply, Problem> {
    let once = Once::new(&app, &key, "");
    once.run(async {
        let pending = Pending::open(&app.clock.now(), &app.sealer, &body.pending_token)?;
        let (tx, now, opened) = log_in(&app, (&pending, &body.totp), client, &request).await?;
        let tokens = tokens(&app, &tx, &now, &opened).await?;
        Ok(once.commit(tx, &now, Reply::new(StatusCode::OK, &tokens)).await?)
    })
    .await
}

/// What the JSON edge and the page do alike. The caller commits.
pub(super) async fn log_in(
    app: &App,
    (pending, totp): (&Pending, &SecretString),
    client: Client,
    request: &RequestId,
) -> Result<(Tx, Now, Opened), Error> {
    // A log-in that another password has ended is to cost its user no tries.
    pending.check(app.db.read()).await?;
    let (tx, now) = begin(app, Some(pending.user_id)).await?;
    let opened = finish(&tx, &now, &app.post, (pending, totp), (client, request)).await?;
    Ok((tx, now, opened))
}
