//! The JSON edge of identity: `/api/v1/auth/…`.

use std::time::Duration;

use axum::{Extension, Json, extract::State, http::StatusCode};
use chrono::TimeDelta;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    Client, CurrentUser, Error, Known, credentials, discovery,
    email::Email,
    sessions::{self, Ended, Opened, SessionView, TokenSet},
    users::{self, Change, MembershipView, UserView},
};
use crate::{
    app::App,
    audit::{self, Actor},
    clock::Now,
    db::{Batch, Tx},
    http::{
        self, FieldError, IdempotencyKey, Listing, Once, PageQuery, Path, Posted, Problem, Query, Reply, RequestId,
    },
    tenants::{self, TenantView},
};

/// This slice's routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(verify_email))
        .routes(routes!(resend))
        .routes(routes!(magic_link))
        .routes(routes!(verify_magic_link))
        .routes(routes!(login))
        .routes(routes!(switch_tenant))
        .routes(routes!(forgot_password))
        .routes(routes!(reset_password))
        .routes(routes!(refresh))
        .routes(routes!(logout))
        .routes(routes!(list_sessions))
        .routes(routes!(end_session))
        .routes(routes!(me, patch_me))
        .merge(discovery::routes())
}

/// The secret of a link.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LinkToken {
    /// What the link in the mail carries as `?token=…`.
    #[schema(value_type = String)]
    token: SecretString,
}

/// A refresh token.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RefreshToken {
    /// As a log-in or the refresh before answered it.
    #[schema(value_type = String)]
    refresh_token: SecretString,
}

/// Whose link to send.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Address {
    /// The address.
    #[schema(example = "ada@example.com", max_length = 254)]
    email: String,
}

/// Nothing to say.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// A user.
#[derive(Serialize, ToSchema)]
struct Verified {
    /// The user, whose address is proved now.
    user: UserView,
}

/// The request was taken.
#[derive(Serialize, ToSchema)]
struct Accepted {
    /// Fit to show to a person.
    message: &'static str,
}

/// Proves an address with the token of a mailed link.
#[utoipa::path(post, path = "/api/v1/auth/email/verify", tag = "identity", request_body = LinkToken,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 200, body = Verified), (status = 401, description = "`TOKEN_EXPIRED` or `TOKEN_INVALID`"),
        (status = 409, description = "`IDEMPOTENCY_IN_PROGRESS`")))]
async fn verify_email(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    Posted { body, key }: Posted<LinkToken>,
) -> Result<Reply, Problem> {
    let once = Once::new(&app, &key, "");
    once.run(async {
        let now = app.clock.now();
        let tx = app.db.begin().await?;
        let user = prove_email(&tx, &now, &body.token, &request).await?;
        Ok(once.commit(tx, &now, Reply::new(StatusCode::OK, &Verified { user })).await?)
    })
    .await
}

/// What the JSON edge and the page do alike.
pub(super) async fn prove_email(
    tx: &Tx,
    now: &Now,
    token: &SecretString,
    request: &RequestId,
) -> Result<UserView, Error> {
    let user = users::verify_email(tx, now, token).await?;
    note(tx, now, request, (Actor::User(user.id), None), "user.email_verified", json!({"email": user.email})).await?;
    Ok(user)
}

/// Sends the mail that proves the address again; nothing is sent where it is proved already.
#[utoipa::path(post, path = "/api/v1/auth/email/resend", tag = "identity", request_body = Nothing,
    security(("access_token" = []), ("signup_token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 202, body = Accepted), (status = 409, description = "`IDEMPOTENCY_IN_PROGRESS`"),
        (status = 429, description = "`RATE_LIMITED`: one was sent less than a minute ago")))]
async fn resend(
    State(app): State<App>,
    known: Known,
    Posted { body: Nothing {}, key }: Posted<Nothing>,
) -> Result<Reply, Problem> {
    let once = Once::new(&app, &key, &known.user_id.to_string());
    once.run(async {
        let now = app.clock.now();
        let tx = app.db.begin().await?;
        users::ask_verification(&tx, &now, &app.post, (known.user_id, known.tenant_id), cool_down(&app)).await?;
        let reply = Accepted { message: "Unless the address is verified already, a mail is on its way." };
        Ok(once.commit(tx, &now, Reply::new(StatusCode::ACCEPTED, &reply)).await?)
    })
    .await
}

/// As `resend`, for the page.
pub async fn resend_verification(app: &App, user_id: Uuid, tenant_id: Uuid) -> Result<(), Error> {
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    users::ask_verification(&tx, &now, &app.post, (user_id, tenant_id), cool_down(app)).await?;
    tx.commit().await?;
    app.wake.wake();
    Ok(())
}

fn cool_down(app: &App) -> TimeDelta {
    if app.config.rate_limit.enabled { users::COOL_DOWN } else { TimeDelta::zero() }
}

/// No answer to a request for a link comes sooner than this, so that its time does not tell whether the address is known: writing a
/// letter down takes a few milliseconds more than not doing so.
const NO_SOONER: Duration = Duration::from_millis(100);

/// Mails a link to log in with, where the address is a member's. The answer never tells.
#[utoipa::path(post, path = "/api/v1/auth/magic-link", tag = "identity", request_body = Address,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 202, body = Accepted), (status = 409, description = "`IDEMPOTENCY_IN_PROGRESS`")))]
async fn magic_link(State(app): State<App>, Posted { body, key }: Posted<Address>) -> Result<Reply, Problem> {
    send_magic_link(&app, &key, &body.email).await
}

/// What the JSON edge and the page do alike.
pub(super) async fn send_magic_link(app: &App, key: &IdempotencyKey, address: &str) -> Result<Reply, Problem> {
    let answer_at = tokio::time::Instant::now() + NO_SOONER;
    let email = Email::parse(address)
        .map_err(|error| Problem::invalid(vec![FieldError::new("email", error.code(), error.to_string())]))?;
    let once = Once::new(app, key, "");
    let done = once.run(async {
        let now = app.clock.now();
        let tx = app.db.begin().await?;
        users::ask_magic_link(&tx, &now, &app.post, &email, cool_down(app)).await?;
        let reply = Accepted { message: "If there is an account with this address, a link to log in is on its way." };
        Ok(once.commit(tx, &now, Reply::new(StatusCode::ACCEPTED, &reply)).await?)
    });
    let done = done.await;
    tokio::time::sleep_until(answer_at).await;
    done
}

/// Logs in with the token of a mailed link, and proves the address by it.
#[utoipa::path(post, path = "/api/v1/auth/magic-link/verify", tag = "identity", request_body = LinkToken,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 200, body = TokenSet), (status = 401, description = "`TOKEN_EXPIRED` or `TOKEN_INVALID`"),
        (status = 409, description = "`IDEMPOTENCY_IN_PROGRESS`")))]
async fn verify_magic_link(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    client: Client,
    Posted { body, key }: Posted<LinkToken>,
) -> Result<Reply, Problem> {
    let once = Once::new(&app, &key, "");
    once.run(async {
        let now = app.clock.now();
        let tx = app.db.begin().await?;
        let opened = log_in(&tx, &now, &body.token, client, &request).await?;
        let tokens = tokens(&app, &tx, &now, &opened).await?;
        Ok(once.commit(tx, &now, Reply::new(StatusCode::OK, &tokens)).await?)
    })
    .await
}

/// What the JSON edge and the page do alike.
pub(super) async fn log_in(
    tx: &Tx,
    now: &Now,
    token: &SecretString,
    client: Client,
    request: &RequestId,
) -> Result<Opened, Error> {
    let opened = users::log_in_by_link(tx, now, token, client.kept()).await?;
    let who = (Actor::User(opened.user_id), Some(opened.tenant_id));
    note(tx, now, request, who, "session.opened", json!({"session_id": opened.session_id, "by": "magic_link"})).await?;
    Ok(opened)
}

/// Who logs in, and where to.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Login {
    /// The address.
    #[schema(example = "ada@example.com", max_length = 254)]
    email: String,
    /// The password.
    #[schema(value_type = String, format = Password, example = "correct-horse-battery", max_length = 128)]
    password: SecretString,
    /// The tenant; the one used last where absent.
    tenant_id: Option<Uuid>,
}

/// Logs in with a password. An unknown address is answered as a wrong password is, in the same time.
#[utoipa::path(post, path = "/api/v1/auth/login", tag = "identity", request_body = Login,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 200, body = TokenSet), (status = 401, description = "`INVALID_CREDENTIALS`"),
        (status = 404, description = "The user is no member of that tenant, or of any"),
        (status = 409, description = "`IDEMPOTENCY_IN_PROGRESS`")))]
async fn login(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    client: Client,
    Posted { body, key }: Posted<Login>,
) -> Result<Reply, Problem> {
    let once = Once::new(&app, &key, "");
    once.run(async {
        let (tx, now, opened) =
            log_in_by_password(&app, (&body.email, &body.password), body.tenant_id, client, &request).await?;
        let tokens = tokens(&app, &tx, &now, &opened).await?;
        Ok(once.commit(tx, &now, Reply::new(StatusCode::OK, &tokens)).await?)
    })
    .await
}

/// What the JSON edge and the page do alike. The caller commits.
pub(super) async fn log_in_by_password(
    app: &App,
    (email, password): (&str, &SecretString),
    tenant_id: Option<Uuid>,
    client: Client,
    request: &RequestId,
) -> Result<(Tx, Now, Opened), Error> {
    let proved = credentials::prove(app, email, password).await.inspect_err(|refused| {
        tracing::info!(feature = "identity", refusal = %refused, "Log-in refused");
    })?;
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    let opened = credentials::log_in(&tx, &now, &proved, tenant_id, client.kept()).await?;
    let who = (Actor::User(opened.user_id), Some(opened.tenant_id));
    note(&tx, &now, request, who, "session.opened", json!({"session_id": opened.session_id, "by": "password"})).await?;
    Ok((tx, now, opened))
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
        let now = app.clock.now();
        let tx = app.db.begin().await?;
        let opened = credentials::switch_tenant(&tx, &now, user.user_id, body.tenant_id, client.kept()).await?;
        let who = (Actor::User(opened.user_id), Some(opened.tenant_id));
        let detail = json!({"session_id": opened.session_id, "by": "switch_tenant"});
        note(&tx, &now, &request, who, "session.opened", detail).await?;
        let tokens = tokens(&app, &tx, &now, &opened).await?;
        Ok(once.commit(tx, &now, Reply::new(StatusCode::OK, &tokens)).await?)
    })
    .await
}

/// Mails a link to set a new password, where the address is somebody's. The answer never tells.
#[utoipa::path(post, path = "/api/v1/auth/password/forgot", tag = "identity", request_body = Address,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 202, body = Accepted), (status = 409, description = "`IDEMPOTENCY_IN_PROGRESS`")))]
async fn forgot_password(State(app): State<App>, Posted { body, key }: Posted<Address>) -> Result<Reply, Problem> {
    send_reset_link(&app, &key, &body.email).await
}

/// What the JSON edge and the page do alike.
pub(super) async fn send_reset_link(app: &App, key: &IdempotencyKey, address: &str) -> Result<Reply, Problem> {
    let answer_at = tokio::time::Instant::now() + NO_SOONER;
    let email = Email::parse(address)
        .map_err(|error| Problem::invalid(vec![FieldError::new("email", error.code(), error.to_string())]))?;
    let once = Once::new(app, key, "");
    let done = once.run(async {
        let now = app.clock.now();
        let tx = app.db.begin().await?;
        credentials::ask_reset(&tx, &now, &app.post, &email, cool_down(app)).await?;
        let reply = Accepted {
            message: "If there is an account with this address, a link to set a new password is on its way.",
        };
        Ok(once.commit(tx, &now, Reply::new(StatusCode::ACCEPTED, &reply)).await?)
    });
    let done = done.await;
    tokio::time::sleep_until(answer_at).await;
    done
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

async fn tokens(app: &App, tx: &Tx, now: &Now, opened: &Opened) -> Result<TokenSet, Error> {
    let standing = sessions::standing(tx, opened.user_id, opened.tenant_id).await?;
    Ok(sessions::tokens(&app.keys, now, opened, &standing))
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
pub(super) async fn sign_out(app: &App, user: &CurrentUser, request: &RequestId) -> Result<(), Error> {
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    let ended = sessions::end(&tx, &now, user.user_id, user.session_id).await?;
    note_end(&tx, &now, request, Actor::User(user.user_id), ended, "logged_out").await?;
    Ok(tx.commit().await?)
}

async fn note_end(
    tx: &Tx,
    now: &Now,
    request: &RequestId,
    actor: Actor,
    ended: Option<Ended>,
    reason: &str,
) -> Result<(), Error> {
    let Some(session) = ended else { return Ok(()) };
    let detail = json!({"session_id": session.id, "user_id": session.user_id, "reason": reason});
    note(tx, now, request, (actor, Some(session.tenant_id)), "session.revoked", detail).await
}

async fn note(
    tx: &Tx,
    now: &Now,
    request: &RequestId,
    (actor, tenant_id): (Actor, Option<Uuid>),
    action: &'static str,
    detail: serde_json::Value,
) -> Result<(), Error> {
    let mut batch = Batch::default();
    let event = audit::Event { actor, tenant_id, action, request_id: Some(request.0.clone()), detail };
    audit::append(&mut batch, now, event);
    Ok(batch.send(tx).await?)
}

/// One's open sessions, newest first.
#[utoipa::path(get, path = "/api/v1/auth/sessions", tag = "identity", params(PageQuery), security(("access_token" = [])),
    responses((status = 200, body = Listing<SessionView>)))]
async fn list_sessions(
    State(app): State<App>,
    user: CurrentUser,
    Query(query): Query<PageQuery>,
) -> Result<Json<Listing<SessionView>>, Problem> {
    let page = query.page()?;
    let rows = sessions::list(app.db.read(), &app.clock.now(), user.user_id, user.session_id, page).await?;
    Ok(Json(Listing::of(rows, page, |session| session.id)))
}

/// Ends one of one's own sessions. Ending it twice is no mistake.
#[utoipa::path(delete, path = "/api/v1/auth/sessions/{id}", tag = "identity", params(("id" = Uuid, Path)),
    security(("access_token" = [])), responses((status = 204, description = "Ended")))]
async fn end_session(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    user: CurrentUser,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    let ended = sessions::end(&tx, &now, user.user_id, id).await?;
    note_end(&tx, &now, &request, Actor::User(user.user_id), ended, "ended_by_user").await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Oneself.
#[derive(Serialize, ToSchema)]
struct Me {
    /// The user.
    user: UserView,
    /// The tenants that the user belongs to.
    memberships: Vec<MembershipView>,
    /// The tenant that the token is for.
    tenant: TenantView,
}

/// Who the token's bearer is.
#[utoipa::path(get, path = "/api/v1/auth/me", tag = "identity", security(("access_token" = [])),
    responses((status = 200, body = Me)))]
async fn me(State(app): State<App>, user: CurrentUser) -> Result<Json<Me>, Problem> {
    let db = app.db.read();
    let tenant = tenants::by_id(db, user.tenant_id).await?.ok_or_else(Problem::not_found)?.view();
    let memberships = users::memberships(db, user.user_id).await?;
    Ok(Json(Me { user: users::by_id(db, user.user_id).await?, memberships, tenant }))
}

/// What to change; an absent field stays, null clears.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PatchMe {
    /// The name.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 100)]
    name: Change,
    /// How far the operator's own onboarding has come, in the operator's own words.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 100)]
    onboarding_step_completed: Change,
}

/// A short text as it is kept: trimmed, and cleared where nothing is left.
fn text(field: &str, change: Change) -> Result<Change, FieldError> {
    let Change::Set(Some(value)) = change else { return Ok(change) };
    let value = value.trim();
    if value.chars().count() > 100 {
        return Err(FieldError::new(field, "TOO_LONG", "At most 100 characters, please."));
    }
    if value.chars().any(char::is_control) {
        return Err(FieldError::new(field, "INVALID_CHARACTER", "Control characters cannot be used here."));
    }
    Ok(Change::Set((!value.is_empty()).then(|| value.to_owned())))
}

/// Changes one's name or onboarding step.
#[utoipa::path(patch, path = "/api/v1/auth/me", tag = "identity", request_body = PatchMe, security(("access_token" = [])),
    responses((status = 200, body = Me)))]
async fn patch_me(
    State(app): State<App>,
    user: CurrentUser,
    http::Json(body): http::Json<PatchMe>,
) -> Result<Json<Me>, Problem> {
    let (name, step) = (text("name", body.name), text("onboarding_step_completed", body.onboarding_step_completed));
    let changes = match (name, step) {
        (Ok(name), Ok(onboarding_step_completed)) => users::Changes { name, onboarding_step_completed },
        (name, step) => return Err(Problem::invalid([name.err(), step.err()].into_iter().flatten().collect())),
    };
    let tx = app.db.begin().await?;
    users::change(&tx, &app.clock.now(), user.user_id, changes).await?;
    tx.commit().await?;
    me(State(app), user).await
}
