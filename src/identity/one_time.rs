//! One-time tokens: the secrets in the links of mails. Hashed at rest, single use, short-lived.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DeriveActiveEnum, EnumIter, FromQueryResult};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::{Error, email::Email, store::one_time_token};
use crate::{
    clock::Now,
    db::{Batch, Tx, sql},
    seal::hash_token,
};

/// What a token is for; it is good for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Purpose {
    /// Proves an address.
    VerifyEmail,
    /// Logs in.
    MagicLink,
    /// Sets a new password.
    PasswordReset,
    /// Gives a user another address.
    ChangeEmail,
}

impl Purpose {
    /// How long a token lives that somebody has just asked for.
    pub fn ttl(self) -> TimeDelta {
        match self {
            Self::VerifyEmail | Self::ChangeEmail => TimeDelta::hours(24),
            Self::MagicLink => TimeDelta::minutes(15),
            Self::PasswordReset => TimeDelta::hours(1),
        }
    }
}

/// How long a magic link lives that nobody asked for, because it may have to wait in the mailbox.
pub const TAKEOVER_TTL: TimeDelta = TimeDelta::days(7);

/// A token to make.
#[derive(Clone, Copy, Debug)]
pub struct NewToken<'a> {
    /// Whose it is.
    pub user_id: Uuid,
    /// The tenant that it leads to; without one, the one used last.
    pub tenant_id: Option<Uuid>,
    /// What it is for.
    pub purpose: Purpose,
    /// The address that it is sent to, and that using it proves.
    pub email: &'a Email,
    /// How long it lives, where that is not [`Purpose::ttl`].
    pub ttl: Option<TimeDelta>,
}

/// Makes a token; the batch's commit makes it good.
pub fn mint(batch: &mut Batch, now: &Now, new: NewToken<'_>) -> SecretString {
    let secret = now.secret();
    batch.insert(one_time_token::Model {
        id: now.id(),
        user_id: new.user_id,
        tenant_id: new.tenant_id,
        purpose: new.purpose,
        token_hash: digest(&secret),
        code_hash: None,
        code_tries: 0,
        email: new.email.as_str().to_owned(),
        expires_at: now.at + new.ttl.unwrap_or_else(|| new.purpose.ttl()),
        used_at: None,
        created_at: now.at,
    });
    secret
}

/// The form in which a secret is kept.
pub(super) fn digest(secret: &SecretString) -> Vec<u8> {
    hash_token(secret.expose_secret()).to_vec()
}

/// What a token stood for.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Consumed {
    /// Whose it was.
    pub user_id: Uuid,
    /// The tenant that it leads to, where it names one.
    pub tenant_id: Option<Uuid>,
    /// The address that it proves.
    pub email: String,
}

/// Uses a token up. Of several who try at once, one succeeds.
///
/// # Errors
/// [`Error::TokenExpired`], or [`Error::TokenInvalid`] for one that is unknown, used, or for something else.
pub async fn consume(tx: &Tx, now: &Now, purpose: Purpose, token: &SecretString) -> Result<Consumed, Error> {
    let hash = digest(token);
    let update = "update one_time_tokens set used_at = $1 where token_hash = $2 and purpose = $3 and used_at is null and expires_at > $1 \
         returning user_id, tenant_id, email";
    let statement = sql(tx, update, [now.at.into(), hash.clone().into(), purpose.into()]);
    match Consumed::find_by_statement(statement).one(tx).await? {
        Some(consumed) => Ok(consumed),
        None => Err(why_not(tx, now, purpose, hash).await?),
    }
}

/// What a token stands for that could be used now. It stays good.
///
/// # Errors
/// As [`consume`].
pub async fn peek(
    db: &impl ConnectionTrait,
    now: &Now,
    purpose: Purpose,
    token: &SecretString,
) -> Result<Consumed, Error> {
    let hash = digest(token);
    let query = "select user_id, tenant_id, email from one_time_tokens \
         where token_hash = $1 and purpose = $2 and used_at is null and expires_at > $3";
    let statement = sql(db, query, [hash.clone().into(), purpose.into(), now.at.into()]);
    match Consumed::find_by_statement(statement).one(db).await? {
        Some(owner) => Ok(owner),
        None => Err(why_not(db, now, purpose, hash).await?),
    }
}

async fn why_not(
    db: &impl ConnectionTrait,
    now: &Now,
    purpose: Purpose,
    hash: Vec<u8>,
) -> Result<Error, sea_orm::DbErr> {
    let query = "select expires_at from one_time_tokens where token_hash = $1 and purpose = $2 and used_at is null";
    let row = db.query_one_raw(sql(db, query, [hash.into(), purpose.into()])).await?;
    let expires_at: Option<DateTime<Utc>> = row.map(|row| row.try_get("", "expires_at")).transpose()?;
    Ok(if expires_at.is_some_and(|at| at <= now.at) { Error::TokenExpired } else { Error::TokenInvalid })
}

/// When a user's last token of a purpose was made: what cool-downs count from. A magic link that names its tenant came from
/// us unasked, and does not keep anybody from asking for one.
pub(super) async fn last_minted(
    tx: &Tx,
    user_id: Uuid,
    purpose: Purpose,
) -> Result<Option<DateTime<Utc>>, sea_orm::DbErr> {
    let query = "select max(created_at) as made_at from one_time_tokens \
         where user_id = $1 and purpose = $2 and (purpose <> 'magic_link' or tenant_id is null)";
    let row = tx.query_one_raw(sql(tx, query, [user_id.into(), purpose.into()])).await?;
    row.map_or(Ok(None), |row| row.try_get("", "made_at"))
}
