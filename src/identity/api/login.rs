//! Logging in and out, and what keeps a session alive.

use axum::{Extension, extract::State, http::StatusCode};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{answer, cool_down, sessions::note_end, tokens};
use crate::{
    app::App,
    audit::{self, Actor},
    clock::Now,
    db::Tx,
    http::{self, Once, Posted, Problem, Reply, RequestId},
    identity::{
        Client, CurrentUser, Error,
        attempts::PasswordTry,
        credentials,
        email::Email,
        second_factor::{Entry, api::begin, enter},
        sessions::{self, Opened, TokenSet},
        users,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(login))
        .routes(routes!(switch_tenant))
        .routes(routes!(refresh))
        .routes(routes!(logout))
}

/// A refresh token.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RefreshToken {
    /// As a log-in or the refresh before answered it.
    #[schema(value_type = String)]
    refresh_token: SecretString,
}

/// Who logs in, and where to.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::identity) struct Login {
    /// The address.
    #[schema(example = "ada@example.com", max_length = 254)]
    pub(in crate::identity) email: String,
    /// The password.
    #[schema(value_type = String, format = Password, example = "correct-horse-battery", max_length = 128)]
    pub(in crate::identity) password: SecretString,
    /// The tenant; the one used last where absent.
    pub(in crate::identity) tenant_id: Option<Uuid>,
    /// The code of the second factor, or a recovery code, where it is on.
    #[schema(value_type = Option<String>, example = "123456")]
    pub(in crate::identity) totp: Option<SecretString>,
}

/// Logs in with a password. An unknown address is answered as a wrong password is, in the same time. Where the second factor is on and no
/// code was sent, the answer has a `pending_token` for `/api/v1/auth/totp/verify`.
#[utoipa::path(post, path = "/api/v1/auth/login", tag = "identity", request_body = Login,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 200, body = TokenSet), (status = 401, description = "`INVALID_CREDENTIALS`, `TOTP_REQUIRED` or `TOTP_INVALID`"),
        (status = 404, description = "The user is no member of that tenant, or of any"),
        (status = 409, description = "`USE_OAUTH_PROVIDER` with `providers` for somebody who has no password, or `IDEMPOTENCY_IN_PROGRESS`")))]
async fn login(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    client: Client,
    Posted { body, key }: Posted<Login>,
) -> Result<Reply, Problem> {
    let once = Once::new(&app, &key, "");
    once.run(async {
        let entered = log_in_by_password(&app, &body, client, &request).await?;
        answer(&app, &once, entered).await
    })
    .await
}

/// What the JSON edge and the page do alike. The caller commits.
pub(in crate::identity) async fn log_in_by_password(
    app: &App,
    Login { email, password, tenant_id, totp }: &Login,
    client: Client,
    request: &RequestId,
) -> Result<(Tx, Now, Entry), Error> {
    let tried = PasswordTry::begin(app, email, client.network()).await?;
    let proved = credentials::prove(app, email, password).await.inspect_err(|refused| {
        tracing::info!(feature = "identity", refusal = %refused, "Log-in refused");
    });
    let proved = match proved {
        Err(Error::UseOauthProvider(_)) if !app.config.identity.names_providers => {
            return Err(tell_by_mail(app, email, password).await?);
        }
        proved => proved?,
    };
    let (tx, now) = begin(app, totp.as_ref().map(|_| proved.user_id)).await?;
    let pending = credentials::hold(&tx, &now, &proved, *tenant_id).await?;
    PasswordTry::forgive(tried, &tx).await?;
    let entry = enter(&tx, &now, &app.post, (&pending, totp.as_ref()), (client, request)).await?;
    Ok((tx, now, entry))
}

/// Tells somebody who has no password by mail alone how they sign in, and answers as to a wrong password, after as much work.
async fn tell_by_mail(app: &App, email: &str, password: &SecretString) -> Result<Error, Error> {
    app.hasher.hash(password.clone(), app.clock.now().bytes()).await?;
    if let Ok(email) = Email::parse(email) {
        let (tx, now) = (app.db.begin().await?, app.clock.now());
        users::ask_magic_link(&tx, &now, &app.post, &email, cool_down(app)).await?;
        tx.commit().await?;
        app.wake.wake();
    }
    Ok(Error::InvalidCredentials)
}

/// Another tenant.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Switch {
    /// Which.
    tenant_id: Uuid,
}

/// Opens a session in another of one's tenants.
#[utoipa::path(post, path = "/api/v1/auth/switch-tenant", tag = "identity", request_body = Switch, security(("access_token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 200, body = TokenSet), (status = 404, description = "The user is no member of that tenant"),
        (status = 409, description = "`IDEMPOTENCY_IN_PROGRESS`")))]
async fn switch_tenant(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    client: Client,
    user: CurrentUser,
    Posted { body, key }: Posted<Switch>,
) -> Result<Reply, Problem> {
    let once = Once::new(&app, &key, &user.user_id.to_string());
    once.run(async {
        let (tx, now, opened) = switch(&app, &user, body.tenant_id, client, &request).await?;
        let tokens = tokens(&app, &tx, &now, &opened).await?;
        Ok(once.commit(tx, &now, Reply::new(StatusCode::OK, &tokens)).await?)
    })
    .await
}

/// What the JSON edge and the page do alike. The caller commits.
pub(in crate::identity) async fn switch(
    app: &App,
    user: &CurrentUser,
    tenant_id: Uuid,
    client: Client,
    request: &RequestId,
) -> Result<(Tx, Now, Opened), Error> {
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    user.hold(&tx, &now).await?;
    let opened = credentials::switch(&tx, &now, &app.post, (user, tenant_id), client.kept()).await?;
    let who = (Actor::User(opened.user_id), Some(opened.tenant_id));
    let detail = json!({"session_id": opened.session_id, "by": "switch_tenant"});
    audit::note(&tx, &now, request, who, "session.opened", detail).await?;
    Ok((tx, now, opened))
}

/// Uses a refresh token up for new tokens. One that comes a second time ends its session.
#[utoipa::path(post, path = "/api/v1/auth/refresh", tag = "identity", request_body = RefreshToken,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 200, body = TokenSet), (status = 401, description = "`TOKEN_EXPIRED`, `TOKEN_INVALID` or `TOKEN_REUSED`"),
        (status = 409, description = "`IDEMPOTENCY_IN_PROGRESS`")))]
async fn refresh(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    Posted { body: RefreshToken { refresh_token }, key }: Posted<RefreshToken>,
) -> Result<Reply, Problem> {
    let once = Once::new(&app, &key, "");
    let refreshed = once.run(async {
        let now = app.clock.now();
        let tx = app.db.begin().await?;
        let opened = sessions::rotate(&tx, &now, &refresh_token).await?;
        let tokens = tokens(&app, &tx, &now, &opened).await?;
        Ok(once.commit(tx, &now, Reply::new(StatusCode::OK, &tokens)).await?)
    });
    let refreshed = refreshed.await;
    // Only here it is sure that the same request under the same key was not the one that used it.
    if refreshed.as_ref().is_err_and(|problem| problem.code == "TOKEN_REUSED") {
        let now = app.clock.now();
        let tx = app.db.begin().await?;
        let ended = sessions::end_reused(&tx, &now, &refresh_token).await?;
        note_end(&tx, &now, &request, Actor::System, ended, "refresh_token_reused").await?;
        tx.commit().await?;
    }
    refreshed
}

/// Ends the session that a refresh token belongs to. An unknown one ends nothing, and is answered alike.
#[utoipa::path(post, path = "/api/v1/auth/logout", tag = "identity", request_body = RefreshToken,
    responses((status = 204, description = "Logged out")))]
async fn logout(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    http::Json(RefreshToken { refresh_token }): http::Json<RefreshToken>,
) -> Result<StatusCode, Problem> {
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    let ended = sessions::log_out(&tx, &now, &refresh_token).await?;
    let actor = ended.as_ref().map_or(Actor::System, |session| Actor::User(session.user_id));
    note_end(&tx, &now, &request, actor, ended, "logged_out").await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends the session of a browser.
pub(in crate::identity) async fn sign_out(app: &App, user: &CurrentUser, request: &RequestId) -> Result<(), Error> {
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    let ended = sessions::end(&tx, &now, user.user_id, user.session_id).await?;
    note_end(&tx, &now, request, Actor::User(user.user_id), ended, "logged_out").await?;
    Ok(tx.commit().await?)
}
