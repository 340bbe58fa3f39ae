//! The JSON edge of identity: `/api/v1/auth/…`.

mod change_email;
mod email;
mod links;
mod login;
mod me;
pub mod oauth;
mod password;
mod sessions;

use std::time::Duration;

use axum::http::StatusCode;
use chrono::TimeDelta;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

pub(super) use change_email::{ask_change_of_email, change_email};
pub(super) use email::prove_email;
pub use email::send_verification;
pub(super) use links::{Proof, log_in, send_magic_link};
pub(super) use login::{Login, log_in_by_password, sign_out, switch};
pub(super) use me::rename;
pub(super) use password::{change_password, send_reset_link};
pub(super) use sessions::{end_one, end_others};

use super::{
    Error,
    claim::Before,
    discovery,
    email::Email,
    second_factor::{self, Entry},
    sessions::{Opened, TokenSet, standing, tokens as signed},
    users,
};
use crate::{
    app::App,
    clock::Now,
    db::Tx,
    entitlements::guard::grace,
    http::{FieldError, IdempotencyKey, Once, Problem, Reply},
};

/// This slice's routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(change_email::routes())
        .merge(email::routes())
        .merge(links::routes())
        .merge(login::routes())
        .merge(password::routes())
        .merge(sessions::routes())
        .merge(me::routes())
        .merge(oauth::routes())
        .merge(second_factor::api::routes())
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

/// The secret of a link that proves an address.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ProofToken {
    /// What the link in the mail carries as `?token=…`.
    #[schema(value_type = String)]
    token: SecretString,
    /// Whether whoever follows the link did not sign up themselves: where the address was never proved before, the password, sessions and
    /// sign-in methods that it was registered with end.
    #[serde(default)]
    claim: bool,
}

impl ProofToken {
    fn parts(&self) -> (&SecretString, Before) {
        (&self.token, if self.claim { Before::Ends } else { Before::Stays })
    }
}

/// Whose link to send.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Address {
    /// The address.
    #[schema(example = "ada@example.com", max_length = 254)]
    email: String,
}

/// The request was taken.
#[derive(Serialize, ToSchema)]
struct Accepted {
    /// Fit to show to a person.
    message: &'static str,
}

fn cool_down(app: &App) -> TimeDelta {
    if app.config.rate_limit.enabled { users::COOL_DOWN } else { TimeDelta::zero() }
}

/// No answer to a request for a link comes sooner than this, so that its time does not tell whether the address is known: writing a
/// letter down takes a few milliseconds more than not doing so.
const NO_SOONER: Duration = Duration::from_millis(100);

/// Sends a link without telling, by answer or by time, whether the address is known.
async fn quietly(
    app: &App,
    key: &IdempotencyKey,
    address: &str,
    message: &'static str,
    ask: impl AsyncFnOnce(&Tx, &Now, &Email) -> Result<(), Error>,
) -> Result<Reply, Problem> {
    let answer_at = tokio::time::Instant::now() + NO_SOONER;
    let email = Email::parse(address)
        .map_err(|error| Problem::invalid(vec![FieldError::new("email", error.code(), error.to_string())]))?;
    let once = Once::new(app, key, "");
    let done = once.run(async {
        let now = app.clock.now();
        let tx = app.db.begin().await?;
        ask(&tx, &now, &email).await?;
        Ok(once.commit(tx, &now, Reply::new(StatusCode::ACCEPTED, &Accepted { message })).await?)
    });
    let done = done.await;
    tokio::time::sleep_until(answer_at).await;
    done
}

/// Answers a log-in, and commits: with tokens, or that a code is asked for.
async fn answer(app: &App, once: &Once<'_>, (tx, now, entry): (Tx, Now, Entry)) -> Result<Reply, Problem> {
    match entry {
        Entry::Open(opened) => {
            let tokens = tokens(app, &tx, &now, &opened).await?;
            Ok(once.commit(tx, &now, Reply::new(StatusCode::OK, &tokens)).await?)
        }
        Entry::Wait(pending_token) => {
            tx.commit().await?;
            Err(Error::TotpRequired { pending_token }.into())
        }
    }
}

/// The tokens of a session that is about to be committed.
pub(super) async fn tokens(app: &App, tx: &Tx, now: &Now, opened: &Opened) -> Result<TokenSet, Error> {
    let standing = standing(tx, now, grace(&app.config), (opened.user_id, opened.tenant_id)).await?;
    Ok(signed(&app.keys, now, opened, &standing))
}
