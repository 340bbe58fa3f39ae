//! One-time tokens: the secrets in the links of mails. Hashed at rest, single use, short-lived.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbErr, DeriveActiveEnum, EnumIter, FromQueryResult};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::{Error, codes, email::Email, store::one_time_token};
use crate::{
    clock::Now,
    db::{Batch, Tx, sql},
    seal::{Sealer, hash_token},
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

/// Every purpose.
pub const ALL: [Purpose; 4] = [Purpose::VerifyEmail, Purpose::MagicLink, Purpose::PasswordReset, Purpose::ChangeEmail];

/// How long a magic link lives that nobody asked for, because it may have to wait in the mailbox.
pub const TAKEOVER_TTL: TimeDelta = TimeDelta::days(7);

/// Letters of a code: 34 bits, of which a few tries find nothing.
const CODE_LENGTH: usize = 8;
/// After so many wrong ones a code is at its end; its link is not.
const CODE_TRIES: i64 = 5;

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
    insert(batch, now, new, None)
}

/// As [`mint`], with a code beside it that may be typed on another device, as it is shown.
pub fn mint_with_code(
    batch: &mut Batch,
    now: &Now,
    sealer: &Sealer,
    new: NewToken<'_>,
) -> (SecretString, SecretString) {
    let code = codes::in_fours(&codes::draw(now, CODE_LENGTH), "-").into();
    let hash = code_hash(sealer, new.user_id, &code);
    (insert(batch, now, new, Some(hash)), code)
}

fn insert(batch: &mut Batch, now: &Now, new: NewToken<'_>, code_hash: Option<Vec<u8>>) -> SecretString {
    let secret = now.secret();
    batch.insert(one_time_token::Model {
        id: now.id(),
        user_id: new.user_id,
        tenant_id: new.tenant_id,
        purpose: new.purpose,
        token_hash: digest(&secret),
        code_hash,
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

async fn why_not(db: &impl ConnectionTrait, now: &Now, purpose: Purpose, hash: Vec<u8>) -> Result<Error, DbErr> {
    let query = "select expires_at from one_time_tokens where token_hash = $1 and purpose = $2 and used_at is null";
    let row = db.query_one_raw(sql(db, query, [hash.into(), purpose.into()])).await?;
    let expires_at: Option<DateTime<Utc>> = row.map(|row| row.try_get("", "expires_at")).transpose()?;
    Ok(if expires_at.is_some_and(|at| at <= now.at) { Error::TokenExpired } else { Error::TokenInvalid })
}

/// The newest link with a code that an address was sent.
#[derive(FromQueryResult)]
struct Newest {
    id: Uuid,
    user_id: Uuid,
    code_hash: Vec<u8>,
    code_tries: i64,
    expires_at: DateTime<Utc>,
    used_at: Option<DateTime<Utc>>,
}

impl Newest {
    async fn of(db: &impl ConnectionTrait, email: &Email) -> Result<Option<Self>, DbErr> {
        let query = "select t.id, t.user_id, t.code_hash, t.code_tries, t.expires_at, t.used_at from one_time_tokens t \
             join users u on u.id = t.user_id where u.email = $1 and t.purpose = $2 and t.code_hash is not null \
             order by t.created_at desc, t.id desc limit 1";
        let values = [email.as_str().into(), Purpose::MagicLink.into()];
        Self::find_by_statement(sql(db, query, values)).one(db).await
    }
}

/// Whose link a code would use up now. It stays good, and a wrong one is not counted, so nobody may be told.
pub async fn peek_code(
    db: &impl ConnectionTrait,
    now: &Now,
    sealer: &Sealer,
    (email, code): (&Email, &SecretString),
) -> Result<Option<Uuid>, DbErr> {
    let newest = Newest::of(db, email).await?;
    let good = newest.filter(|link| {
        let is_right = link.code_hash == code_hash(sealer, link.user_id, code);
        is_right && link.used_at.is_none() && link.expires_at > now.at && link.code_tries < CODE_TRIES
    });
    Ok(good.map(|link| link.user_id))
}

/// Uses a link up by its code, where it is the newest that the address was sent; nothing where the code is wrong, or was wrong too often, or
/// the address unknown. The caller commits then too, for a wrong code is counted. Of several who try at once, one succeeds.
pub async fn consume_code(
    tx: &Tx,
    now: &Now,
    sealer: &Sealer,
    (email, code): (&Email, &SecretString),
) -> Result<Option<Consumed>, DbErr> {
    let Some(Newest { id, user_id, .. }) = Newest::of(tx, email).await? else { return Ok(None) };
    let hash = code_hash(sealer, user_id, code);
    let update = "update one_time_tokens set used_at = case when code_hash = $1 then $2 else used_at end, \
         code_tries = code_tries + case when code_hash = $1 then 0 else 1 end \
         where id = $3 and used_at is null and expires_at > $2 and code_tries < $4 \
         returning user_id, tenant_id, email, used_at";
    let values = [hash.into(), now.at.into(), id.into(), CODE_TRIES.into()];
    let Some(row) = tx.query_one_raw(sql(tx, update, values)).await? else { return Ok(None) };
    let used_at: Option<DateTime<Utc>> = row.try_get("", "used_at")?;
    if used_at.is_some() { Consumed::from_query_result(&row, "").map(Some) } else { Ok(None) }
}

/// Keyed, for a code is short; and its owner's alone.
fn code_hash(sealer: &Sealer, user_id: Uuid, code: &SecretString) -> Vec<u8> {
    let code = codes::typed(code.expose_secret());
    sealer.mac("typed_code", &[user_id.as_bytes(), code.as_bytes()].concat()).to_vec()
}

/// Makes a user's outstanding tokens of these purposes good for nothing.
pub(super) async fn end(tx: &Tx, now: &Now, user_id: Uuid, purposes: &[Purpose]) -> Result<(), sea_orm::DbErr> {
    let update = "update one_time_tokens set used_at = $1 where user_id = $2 and purpose = $3 and used_at is null";
    for purpose in purposes {
        tx.execute_raw(sql(tx, update, [now.at.into(), user_id.into(), (*purpose).into()])).await?;
    }
    Ok(())
}

/// When a user's last token of a purpose was made: what cool-downs count from. A magic link that names its tenant came from
/// us unasked, and does not keep anybody from asking for one.
pub(super) async fn last_minted(tx: &Tx, user_id: Uuid, purpose: Purpose) -> Result<Option<DateTime<Utc>>, DbErr> {
    let query = "select max(created_at) as made_at from one_time_tokens \
         where user_id = $1 and purpose = $2 and (purpose <> 'magic_link' or tenant_id is null)";
    let row = tx.query_one_raw(sql(tx, query, [user_id.into(), purpose.into()])).await?;
    row.map_or(Ok(None), |row| row.try_get("", "made_at"))
}
