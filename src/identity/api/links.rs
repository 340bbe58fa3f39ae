//! Logging in by a mailed link.

use axum::{Extension, extract::State, http::StatusCode};
use secrecy::SecretString;
use serde_json::json;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Accepted, Address, LinkToken, cool_down, note, quietly, tokens};
use crate::{
    app::App,
    audit::Actor,
    clock::Now,
    db::Tx,
    http::{IdempotencyKey, Once, Posted, Problem, Reply, RequestId},
    identity::{
        Client, Error,
        sessions::{Opened, TokenSet},
        users,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(magic_link)).routes(routes!(verify_magic_link))
}

/// Mails a link to log in with, where the address is a member's. The answer never tells.
#[utoipa::path(post, path = "/api/v1/auth/magic-link", tag = "identity", request_body = Address,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 202, body = Accepted), (status = 409, description = "`IDEMPOTENCY_IN_PROGRESS`")))]
async fn magic_link(State(app): State<App>, Posted { body, key }: Posted<Address>) -> Result<Reply, Problem> {
    send_magic_link(&app, &key, &body.email).await
}

/// What the JSON edge and the page do alike.
pub(in crate::identity) async fn send_magic_link(
    app: &App,
    key: &IdempotencyKey,
    address: &str,
) -> Result<Reply, Problem> {
    let message = "If there is an account with this address, a link to log in is on its way.";
    quietly(app, key, address, message, async |tx, now, email| {
        users::ask_magic_link(tx, now, &app.post, email, cool_down(app)).await
    })
    .await
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
pub(in crate::identity) async fn log_in(
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
