//! Identity: who somebody is, and how a request proves it.
//!
//! A person is a **user** with one address. A **session** is a log-in of a user into one tenant; it hands out short access
//! tokens, which anybody can verify with the published [`keys`], against refresh tokens, each of which is good for one use.
//! [`one_time`] tokens are the secrets in the links of mails, the [`signup_token`] is what the wizard's steps are let in with,
//! and [`passwords`] are hashed on threads of their own. Where a [`second_factor`] is on, no session opens without it.
//!
//! A session is open, or revoked (logged out, ended by its user, or because a spent refresh token came again), or expired.

pub mod admin_session;
pub mod api;
pub mod attempts;
pub mod browser;
mod change_email;
pub mod claim;
mod codes;
mod common_passwords;
pub mod credentials;
mod device;
mod discovery;
pub mod email;
mod extract;
pub mod jobs;
pub mod keys;
pub mod oauth;
pub mod one_time;
pub mod pages;
pub mod passwords;
mod reauth;
pub mod second_factor;
pub mod sessions;
pub mod signup_token;
pub(crate) mod store;
#[cfg(test)]
mod tests;
pub mod users;

use std::time::Duration;

pub use admin_session::SignedInAdmin;
use axum::http::StatusCode;
pub use browser::SignedIn;
pub use extract::{
    CurrentUser, Known, PlatformAdmin, SignupReader, SignupToken, TenantOperator, TenantReader, Verified,
};
use sea_orm::DbErr;
use secrecy::{ExposeSecret, SecretString};

pub use crate::http::Client;
use crate::{db::BatchError, http::Problem, seal::SealError};

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
    /// The first factor was right, and the second one is asked for.
    #[error("the second factor is asked for")]
    TotpRequired {
        /// Sealed: who waits, for a few minutes.
        pending_token: SecretString,
    },
    /// A code of the second factor that is wrong, or was used before.
    #[error("the code is invalid")]
    TotpInvalid,
    /// The second factor is on already.
    #[error("the second factor is on already")]
    TotpAlreadyOn,
    /// There is no second factor that a code could be of.
    #[error("the second factor is off")]
    TotpOff,
    /// Sealed with a secret that is gone.
    #[error(transparent)]
    Sealed(#[from] SealError),
    /// The session was ended while it was at work.
    #[error("the session has ended")]
    SessionEnded,
    /// A session alone is not enough for this, and it was opened too long ago.
    #[error("the user has to show again who they are")]
    ReauthenticationRequired,
    /// Somebody else has the address that a user wants to have.
    #[error("the new address is taken")]
    NewEmailTaken,
    /// More passwords wait to be hashed than the queue holds.
    #[error(transparent)]
    Overloaded(#[from] passwords::Overloaded),
    /// Nothing there that is the caller's.
    #[error("not found")]
    NotFound,
    /// The user was disabled.
    #[error("the user is disabled")]
    Disabled,
    /// Somebody has the address, and nothing shows that it is the caller.
    #[error("the address is taken")]
    EmailTaken,
    /// A user without a password, who comes by these providers.
    #[error("the user signs in with a provider")]
    UseOauthProvider(Vec<String>),
    /// Nobody has configured the provider of this name.
    #[error("{0} is not configured")]
    OauthNotConfigured(String),
    /// The provider of this name cannot be reached.
    #[error("{0} cannot be reached")]
    OauthUnavailable(String),
    /// What the provider of this name answered proves nothing.
    #[error("{0} proved nothing")]
    OauthFailed(String),
    /// The person, or the provider of this name, said no.
    #[error("{0} sent the person back")]
    OauthDenied(String),
    /// A way back that nobody set out on from this browser.
    #[error("the state is not this browser's")]
    OauthState,
    /// The provider names no address.
    #[error("the provider names no address")]
    OauthEmailMissing,
    /// Another user has the person of the provider, or the user another person of it.
    #[error("the identity is taken")]
    IdentityTaken,
    /// The only way in cannot be taken away.
    #[error("the last way in")]
    LastWayIn,
    /// The last mail of this kind was sent a moment ago.
    #[error("a mail was sent a moment ago")]
    TooSoon {
        /// When another may be sent.
        retry_after: Duration,
    },
    /// So much was tried and wrong that the next try has to wait.
    #[error("too many wrong tries")]
    TooManyTries {
        /// How long.
        retry_after: Duration,
    },
    /// Inserts that were refused.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The database.
    #[error(transparent)]
    Database(#[from] DbErr),
}

/// When what an operator has not set up may be.
const LATER: Duration = Duration::from_mins(1);
/// When a provider may be there again.
const SOON: Duration = Duration::from_secs(5);

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
            Error::TotpRequired { pending_token } => {
                token("TOTP_REQUIRED", "Send the code of your authenticator app, or a recovery code, as well.")
                    .with("pending_token", pending_token.expose_secret())
            }
            Error::TotpInvalid => {
                token("TOTP_INVALID", "This code is not right, or was used already. Try the next one.")
            }
            Error::TotpAlreadyOn => Self::conflict("TOTP_ALREADY_ON", "The second factor is on already."),
            Error::TotpOff => Self::conflict("TOTP_OFF", "The second factor is off. Set it up first."),
            Error::Sealed(error) => Self::internal(&error),
            Error::SessionEnded => {
                Self { detail: "This session has ended. Log in again.".into(), ..Self::unauthenticated() }
            }
            Error::ReauthenticationRequired => reauth::required(),
            Error::NewEmailTaken => {
                Self::conflict("EMAIL_TAKEN", "There is already an account with this email address.")
            }
            Error::Overloaded(overloaded) => overloaded.into(),
            Error::NotFound => Self::not_found(),
            Error::Disabled => {
                Self::new(StatusCode::FORBIDDEN, "ACCOUNT_DISABLED", "This account was closed. Write to us.")
            }
            Error::EmailTaken => Self::conflict(
                "EMAIL_TAKEN",
                "There is already an account with this email address. Sign in the way you did before, and link this one in your settings.",
            ),
            Error::UseOauthProvider(providers) => Self::conflict(
                "USE_OAUTH_PROVIDER",
                format!("This account has no password. Sign in with {}.", oauth::provider::labels(&providers)),
            )
            .with("providers", providers),
            Error::OauthNotConfigured(name) => {
                let detail = format!("Signing in with {name} is not set up here.");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "OAUTH_NOT_CONFIGURED", detail).retry_after(LATER)
            }
            Error::OauthUnavailable(name) => {
                let detail = format!("{name} cannot be reached right now. Please try again in a moment.");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "OAUTH_UNAVAILABLE", detail).retry_after(SOON)
            }
            Error::OauthFailed(name) => {
                token("OAUTH_FAILED", &format!("Signing in with {name} did not work. Start again."))
            }
            Error::OauthDenied(name) => token("OAUTH_DENIED", &format!("You were not signed in with {name}.")),
            Error::OauthState => Self::new(
                StatusCode::BAD_REQUEST,
                "OAUTH_STATE_INVALID",
                "This sign-in was begun elsewhere, took too long, or has been used already. Start again.",
            ),
            Error::OauthEmailMissing => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "OAUTH_EMAIL_MISSING",
                "The provider did not tell your email address, and we need one. Allow it there, or sign up with a password.",
            ),
            Error::IdentityTaken => Self::conflict(
                "IDENTITY_TAKEN",
                "This sign-in belongs to another account, or yours has another one of this provider already.",
            ),
            Error::LastWayIn => Self::conflict(
                "LAST_WAY_IN",
                "This is the only way into your account. Set a password or link another provider first.",
            ),
            Error::TooSoon { retry_after } => {
                let detail = "A mail was sent a moment ago. Look into your mailbox, or try again shortly.";
                Self::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", detail).retry_after(retry_after)
            }
            Error::TooManyTries { retry_after } => {
                let detail = "That was wrong too often. Wait a moment, then try again.";
                Self::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", detail).retry_after(retry_after)
            }
            Error::Batch(refused) => Self::database(&refused.source),
            Error::Database(error) => Self::database(&error),
        }
    }
}
