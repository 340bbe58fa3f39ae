//! What every way in ends in: a session, or a log-in that waits for its second factor.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, QueryResult};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::{is_on, pass};
use crate::{
    audit::{self, Actor},
    clock::Now,
    db::{Tx, sql},
    http::RequestId,
    identity::{Client, Error, credentials, sessions::Opened, users},
    mail::Post,
    seal::{Sealer, hash_token},
};

/// How long a log-in waits for its code.
pub const PENDING_TTL: TimeDelta = TimeDelta::minutes(10);
const PURPOSE: &str = "pending_login";

/// Somebody who has shown the first factor: who, by which way, and where to. Sealed, it is what the second factor is shown with; nothing
/// is kept of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pending {
    /// Who.
    pub user_id: Uuid,
    /// The tenant to open; without one, the one used last.
    pub tenant_id: Option<Uuid>,
    /// `password`, `magic_link`, or `oauth:` and the provider.
    pub by: String,
    /// Where a browser goes once it is in; without one, to the dashboard.
    pub then: Option<String>,
    /// Of the hash that the password was right for; another password ends it.
    fingerprint: Option<String>,
    ends_at: DateTime<Utc>,
}

impl Pending {
    /// Somebody who has come by a way other than a password.
    pub fn new(now: &Now, user_id: Uuid, tenant_id: Option<Uuid>, by: impl Into<String>) -> Self {
        Self { user_id, tenant_id, by: by.into(), then: None, fingerprint: None, ends_at: now.at + PENDING_TTL }
    }

    /// Names the page that a browser goes to once it is in.
    #[must_use]
    pub fn leading_to(mut self, page: Option<String>) -> Self {
        self.then = page;
        self
    }

    /// Somebody whose password was right for this hash.
    pub(in crate::identity) fn by_password(now: &Now, user_id: Uuid, tenant_id: Option<Uuid>, hash: &str) -> Self {
        Self { fingerprint: Some(fingerprint(hash)), ..Self::new(now, user_id, tenant_id, "password") }
    }

    /// As its owner keeps it.
    ///
    /// # Panics
    /// Never: plain data is JSON.
    pub fn seal(&self, now: &Now, sealer: &Sealer) -> SecretString {
        let plain = serde_json::to_vec(self).expect("plain data");
        BASE64_URL_SAFE_NO_PAD.encode(sealer.seal(PURPOSE, now.bytes(), &plain)).into()
    }

    /// What [`Pending::seal`] made.
    ///
    /// # Errors
    /// [`Error::TokenExpired`] after [`PENDING_TTL`]; [`Error::TokenInvalid`] for anything else.
    pub fn open(now: &Now, sealer: &Sealer, token: &SecretString) -> Result<Self, Error> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token.expose_secret()).map_err(|_| Error::TokenInvalid)?;
        let plain = sealer.open(PURPOSE, &bytes).map_err(|_| Error::TokenInvalid)?;
        let pending: Self = serde_json::from_slice(&plain).map_err(|_| Error::TokenInvalid)?;
        if pending.ends_at <= now.at { Err(Error::TokenExpired) } else { Ok(pending) }
    }

    /// Whether what was shown still counts.
    ///
    /// # Errors
    /// [`Error::TokenInvalid`] where the password is another by now, or the user is gone.
    pub(super) async fn check(&self, db: &impl ConnectionTrait) -> Result<(), Error> {
        let query = "select password_hash from users where id = $1 and disabled_at is null";
        self.compare(db.query_one_raw(sql(db, query, [self.user_id.into()])).await?)
    }

    /// As [`Pending::check`]. Holds the user's row, so that a password set meanwhile ends this log-in, or the session that comes of it.
    async fn still_holds(&self, tx: &Tx) -> Result<(), Error> {
        let query =
            "update users set updated_at = updated_at where id = $1 and disabled_at is null returning password_hash";
        self.compare(tx.query_one_raw(sql(tx, query, [self.user_id.into()])).await?)
    }

    fn compare(&self, user: Option<QueryResult>) -> Result<(), Error> {
        let hash: Option<String> = user.ok_or(Error::TokenInvalid)?.try_get("", "password_hash")?;
        let is_same = self.fingerprint.is_none() || self.fingerprint == hash.as_deref().map(fingerprint);
        if is_same { Ok(()) } else { Err(Error::TokenInvalid) }
    }
}

fn fingerprint(hash: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(hash_token(hash))
}

/// What a first factor leads to.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A session.
    Open(Opened),
    /// A log-in that waits for a code: [`Pending`], sealed. The caller commits here too, for what led here is used up.
    Wait(SecretString),
}

impl Entry {
    /// The session, where it is open.
    pub fn opened(self) -> Option<Opened> {
        match self {
            Self::Open(opened) => Some(opened),
            Self::Wait(_) => None,
        }
    }
}

/// Lets somebody in who has shown the first factor. Where the second one is on, only with its code.
///
/// # Errors
/// [`Error::TotpInvalid`], after which the caller rolls back, so that what led here can be used again; [`Error::NotFound`] for a tenant
/// that the user is no member of.
pub async fn enter(
    tx: &Tx,
    now: &Now,
    post: &Post,
    (pending, code): (&Pending, Option<&SecretString>),
    (client, request): (Client, &RequestId),
) -> Result<Entry, Error> {
    match code {
        _ if !is_on(tx, pending.user_id).await? => {
            open(tx, now, post, (pending, false), (client, request)).await.map(Entry::Open)
        }
        None => Ok(Entry::Wait(pending.seal(now, &post.sealer))),
        Some(code) => finish(tx, now, post, (pending, code), (client, request)).await.map(Entry::Open),
    }
}

/// Opens the session of a log-in that waited for its code.
///
/// # Errors
/// As [`enter`]; [`Error::TokenInvalid`] where the password, or the second factor itself, is another by now.
pub async fn finish(
    tx: &Tx,
    now: &Now,
    post: &Post,
    (pending, code): (&Pending, &SecretString),
    (client, request): (Client, &RequestId),
) -> Result<Opened, Error> {
    pending.still_holds(tx).await?;
    match pass(tx, now, post, (pending.user_id, code), request).await {
        // Switched off, or ended by whoever proved the address: what was shown before may be a stranger's.
        Err(Error::TotpOff) => return Err(Error::TokenInvalid),
        passed => passed?,
    };
    open(tx, now, post, (pending, true), (client, request)).await
}

async fn open(
    tx: &Tx,
    now: &Now,
    post: &Post,
    (pending, second_factor): (&Pending, bool),
    (client, request): (Client, &RequestId),
) -> Result<Opened, Error> {
    let tenant_id = match pending.tenant_id {
        Some(named) => named,
        None => users::last_used(tx, pending.user_id).await?.ok_or(Error::NotFound)?,
    };
    let opened = credentials::enter(tx, now, post, (pending.user_id, tenant_id), client.kept()).await?;
    let who = (Actor::User(opened.user_id), Some(tenant_id));
    let detail = json!({"session_id": opened.session_id, "by": pending.by, "second_factor": second_factor});
    audit::note(tx, now, request, who, "session.opened", detail).await?;
    Ok(opened)
}
