//! The sign-up token: what a wizard's later steps are let in with.
//!
//! It may live a year, but opens only its own tenant's sign-up, and once provisioning has completed nothing but the reading of
//! the status, for a day.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::keys::{Audience, Keys};
use crate::{clock::Now, http::Cookie};

/// The cookie that a browser keeps it in. It outlives the token, so that an expired one is recognised and said to be so.
pub const COOKIE: Cookie = Cookie("tenantry_signup");
/// How long that cookie lives.
pub const COOKIE_LIFE: TimeDelta = TimeDelta::days(400);

/// How long after provisioning the status can still be read with it.
pub const READS_STATUS_FOR: TimeDelta = TimeDelta::days(1);

/// What a sign-up token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignupClaims {
    /// Our public URL.
    pub iss: String,
    /// `signup`
    pub aud: String,
    /// The user.
    pub sub: Uuid,
    /// The tenant.
    pub tid: Uuid,
    /// When it ends, in Unix seconds.
    pub exp: i64,
    /// When it was issued, in Unix seconds.
    pub iat: i64,
    /// Its own id.
    pub jti: Uuid,
}

/// Makes a token for one tenant's sign-up, and says when it ends.
///
/// # Panics
/// As [`Keys::sign`].
pub fn issue(keys: &Keys, now: &Now, ttl: Duration, user: Uuid, tenant: Uuid) -> (String, DateTime<Utc>) {
    let ends = TimeDelta::from_std(ttl).ok().and_then(|ttl| now.at.checked_add_signed(ttl));
    // In whole seconds, as the token says it.
    let expires_at =
        DateTime::from_timestamp(ends.unwrap_or(DateTime::<Utc>::MAX_UTC).timestamp(), 0).unwrap_or(now.at);
    let claims = SignupClaims {
        iss: keys.issuer().to_owned(),
        aud: Audience::Signup.as_str().to_owned(),
        sub: user,
        tid: tenant,
        exp: expires_at.timestamp(),
        iat: now.at.timestamp(),
        jti: now.id(),
    };
    (keys.sign(now, Audience::Signup, &claims), expires_at)
}
