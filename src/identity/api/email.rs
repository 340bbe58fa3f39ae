//! Proving an address.

use axum::{Extension, extract::State, http::StatusCode};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{Accepted, ProofToken, cool_down};
use crate::{
    app::App,
    audit::{self, Actor},
    clock::Now,
    db::Tx,
    http::{IdempotencyKey, Nothing, Once, Posted, Problem, Reply, RequestId},
    identity::{
        Error, Known,
        claim::Before,
        users::{self, UserView},
    },
    mail::Post,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(verify_email)).routes(routes!(resend))
}

/// A user.
#[derive(Serialize, ToSchema)]
pub(super) struct Verified {
    /// The user, whose address is proved now.
    pub(super) user: UserView,
}

/// Proves an address with the token of a mailed link.
#[utoipa::path(post, path = "/api/v1/auth/email/verify", tag = "identity", request_body = ProofToken,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 200, body = Verified), (status = 401, description = "`TOKEN_EXPIRED` or `TOKEN_INVALID`"),
        (status = 409, description = "`IDEMPOTENCY_IN_PROGRESS`")))]
async fn verify_email(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    Posted { body, key }: Posted<ProofToken>,
) -> Result<Reply, Problem> {
    let once = Once::new(&app, &key, "");
    once.run(async {
        let now = app.clock.now();
        let tx = app.db.begin().await?;
        let (user, _) = prove_email(&tx, &now, &app.post, body.parts(), &request).await?;
        Ok(once.commit(tx, &now, Reply::new(StatusCode::OK, &Verified { user })).await?)
    })
    .await
}

/// What the JSON edge and the page do alike. Answers whether something that was there before has ended.
pub(in crate::identity) async fn prove_email(
    tx: &Tx,
    now: &Now,
    post: &Post,
    link: (&SecretString, Before),
    request: &RequestId,
) -> Result<(UserView, bool), Error> {
    let (user, has_ended) = users::verify_email(tx, now, post, link).await?;
    let detail = json!({"email": user.email, "claimed": has_ended});
    audit::note(tx, now, request, (Actor::User(user.id), None), "user.email_verified", detail).await?;
    Ok((user, has_ended))
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
    send_verification(&app, &key, known.user_id, known.tenant_id).await
}

/// What the JSON edge and the page do alike.
pub async fn send_verification(
    app: &App,
    key: &IdempotencyKey,
    user_id: Uuid,
    tenant_id: Uuid,
) -> Result<Reply, Problem> {
    let once = Once::new(app, key, &user_id.to_string());
    once.run(async {
        let now = app.clock.now();
        let tx = app.db.begin().await?;
        users::ask_verification(&tx, &now, &app.post, (user_id, tenant_id), cool_down(app)).await?;
        let reply = Accepted { message: "Unless the address is verified already, a mail is on its way." };
        Ok(once.commit(tx, &now, Reply::new(StatusCode::ACCEPTED, &reply)).await?)
    })
    .await
}
