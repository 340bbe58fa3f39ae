//! Identity: who somebody is, and how a request proves it.
//!
//! A person is a **user** with one address. A **session** is a log-in of a user into one tenant; it hands out short access
//! tokens, which anybody can verify with the published [`keys`], against refresh tokens, each of which is good for one use.
//! [`one_time`] tokens are the secrets in the links of mails, the [`signup_token`] is what the wizard's steps are let in with,
//! and [`passwords`] are hashed on threads of their own.
//!
//! A session is open, or revoked (logged out, ended by its user, or because a spent refresh token came again), or expired.

pub mod admin_session;
pub mod api;
pub mod browser;
pub mod claim;
mod client;
pub mod credentials;
mod discovery;
pub mod email;
mod extract;
pub mod keys;
pub mod one_time;
pub mod pages;
pub mod passwords;
pub mod sessions;
pub mod signup_token;
pub(crate) mod store;
#[cfg(test)]
mod tests;
pub mod users;

pub use admin_session::SignedInAdmin;
use axum::http::StatusCode;
pub use browser::SignedIn;
pub use client::Client;
pub use extract::{CurrentUser, Known, PlatformAdmin, SignupReader, SignupToken, TenantOperator, TenantReader};
use sea_orm::DbErr;

use crate::{db::BatchError, http::Problem};

/// What a caller can cause here, and the database.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A one-time or refresh token whose time is over.
    #[error("the token has expired")]
    TokenExpired,
    /// A token that is unknown, used up, revoked, or for something else.
    #[error("the token is invalid")]
    TokenInvalid,
    /// A refresh token that was used before; its session is revoked.
    #[error("the refresh token was used before")]
    TokenReused,
    /// The address is unknown, or its password is another.
    #[error("the credentials are invalid")]
    InvalidCredentials,
    /// More passwords wait to be hashed than the queue holds.
    #[error(transparent)]
    Overloaded(#[from] passwords::Overloaded),
    /// Nothing there that is the caller's.
    #[error("not found")]
    NotFound,
    /// The last mail of this kind was sent a moment ago.
    #[error("a mail was sent a moment ago")]
    TooSoon {
        /// When another may be sent.
        retry_after: std::time::Duration,
    },
    /// Inserts that were refused.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The database.
    #[error(transparent)]
    Database(#[from] DbErr),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let token = |code, detail: &str| Self::new(StatusCode::UNAUTHORIZED, code, detail);
        match error {
            Error::TokenExpired => token("TOKEN_EXPIRED", "This token has expired. Ask for a new one."),
            Error::TokenInvalid => token("TOKEN_INVALID", "This token is not valid, or was used already."),
            Error::TokenReused => token(
                "TOKEN_REUSED",
                "This refresh token was used before, so its session has been ended. Log in again.",
            ),
            Error::InvalidCredentials => {
                token("INVALID_CREDENTIALS", "The email address or the password is not right.")
            }
            Error::Overloaded(overloaded) => overloaded.into(),
            Error::NotFound => Self::not_found(),
            Error::TooSoon { retry_after } => {
                let detail = "A mail was sent a moment ago. Look into your mailbox, or try again shortly.";
                Self::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", detail).retry_after(retry_after)
            }
            Error::Batch(refused) => Self::database(&refused.source),
            Error::Database(error) => Self::database(&error),
        }
    }
}
