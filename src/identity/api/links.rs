//! Logging in by a mailed link.

use axum::{Extension, extract::State};
use secrecy::SecretString;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{Accepted, Address, NO_SOONER, answer, cool_down, quietly};
use crate::{
    app::App,
    clock::Now,
    db::Tx,
    http::{FieldError, IdempotencyKey, Once, Posted, Problem, Reply, RequestId},
    identity::{
        Client, Error,
        claim::Before,
        email::Email,
        one_time::{self, Purpose},
        second_factor::{Entry, api::begin, enter},
        sessions::TokenSet,
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

/// What proves that somebody reads an address: the link's token, or the address and the code of its mail.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LinkOrCode {
    /// What the link in the mail carries as `?token=…`.
    #[schema(value_type = Option<String>)]
    token: Option<SecretString>,
    /// In place of the token: the address that asked for the link.
    #[schema(example = "ada@example.com", max_length = 254)]
    email: Option<String>,
    /// And the code in the mail. Case, spaces and dashes do not matter.
    #[schema(value_type = Option<String>, example = "BCDF-GHJK")]
    code: Option<SecretString>,
    /// The code of the second factor, or a recovery code, where it is on.
    #[schema(value_type = Option<String>, example = "123456")]
    totp: Option<SecretString>,
    /// Whether whoever follows the link did not sign up themselves: where the address was never proved before, the password, sessions and
    /// sign-in methods that it was registered with end.
    #[serde(default)]
    claim: bool,
}

/// What a magic link is used by.
pub(in crate::identity) enum Proof {
    /// The link itself.
    Link(SecretString),
    /// The code of the mail.
    Code(Email, SecretString),
}

impl Proof {
    /// Of an address and a code, as somebody typed them.
    pub(in crate::identity) fn typed(email: &str, code: SecretString) -> Result<Self, Problem> {
        let email = Email::parse(email)
            .map_err(|error| Problem::invalid(vec![FieldError::new("email", error.code(), error.to_string())]))?;
        Ok(Self::Code(email, code))
    }

    /// Whose it is, without using it up.
    pub(in crate::identity) async fn owner(&self, app: &App) -> Result<Option<Uuid>, Error> {
        let (db, now) = (app.db.read(), app.clock.now());
        match self {
            Self::Link(token) => Ok(Some(one_time::peek(db, &now, Purpose::MagicLink, token).await?.user_id)),
            Self::Code(email, code) => Ok(one_time::peek_code(db, &now, &app.sealer, (email, code)).await?),
        }
    }
}

impl LinkOrCode {
    fn proof(self) -> Result<Proof, Problem> {
        match (self.token, self.email, self.code) {
            (Some(token), None, None) => Ok(Proof::Link(token)),
            (None, Some(email), Some(code)) => Proof::typed(&email, code),
            _ => {
                let message = "Send either the token of the link, or the address and the code of the mail.";
                Err(Problem::invalid(vec![FieldError::new("token", "REQUIRED", message)]))
            }
        }
    }
}

/// Logs in with the token of a mailed link, or with the code of its mail, and proves the address by it. Either uses up both. Where the
/// second factor is on and no code of it was sent, they are used up for a `pending_token` for `/api/v1/auth/totp/verify`.
#[utoipa::path(post, path = "/api/v1/auth/magic-link/verify", tag = "identity", request_body = LinkOrCode,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 200, body = TokenSet), (status = 401, description = "`TOKEN_EXPIRED`, `TOKEN_INVALID`, `TOTP_REQUIRED` or `TOTP_INVALID`"),
        (status = 409, description = "`IDEMPOTENCY_IN_PROGRESS`")))]
async fn verify_magic_link(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    client: Client,
    Posted { mut body, key }: Posted<LinkOrCode>,
) -> Result<Reply, Problem> {
    let (totp, claim) = (body.totp.take(), body.claim);
    let proof = body.proof()?;
    let once = Once::new(&app, &key, "");
    once.run(async {
        let before = if claim { Before::Ends } else { Before::Stays };
        let (tx, now, entry, _) = log_in(&app, (&proof, totp.as_ref(), before), client, &request).await?;
        answer(&app, &once, (tx, now, entry)).await
    })
    .await
}

/// What the JSON edge and the page do alike. Answers also whether something that was there before has ended. The caller commits.
pub(in crate::identity) async fn log_in(
    app: &App,
    (proof, totp, before): (&Proof, Option<&SecretString>, Before),
    client: Client,
    request: &RequestId,
) -> Result<(Tx, Now, Entry, bool), Error> {
    // A refused code is answered as late for an address that nobody has as for one where the try had to be counted.
    let answer_at = tokio::time::Instant::now() + NO_SOONER;
    let owner = match totp {
        Some(_) => proof.owner(app).await?,
        None => None,
    };
    let (tx, now) = begin(app, owner).await?;
    let used = match proof {
        Proof::Link(token) => Some(one_time::consume(&tx, &now, Purpose::MagicLink, token).await?),
        Proof::Code(email, code) => one_time::consume_code(&tx, &now, &app.sealer, (email, code)).await?,
    };
    let Some(used) = used else {
        tx.commit().await?;
        tokio::time::sleep_until(answer_at).await;
        return Err(Error::TokenInvalid);
    };
    let (pending, has_ended) = users::arrive(&tx, &now, &app.post, &used, before).await?;
    match enter(&tx, &now, &app.post, (&pending, totp), (client, request)).await {
        Ok(entry) => Ok((tx, now, entry, has_ended)),
        // A link into a tenant that its owner is no member of any more leads nowhere.
        Err(Error::NotFound) => Err(Error::TokenInvalid),
        Err(refused) => Err(refused),
    }
}
