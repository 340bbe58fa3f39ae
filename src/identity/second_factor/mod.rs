//! The second factor: a code of an authenticator app (RFC 6238), or one of ten recovery codes, without which no session opens.
//!
//! It is off, set up (there is a secret, and no code has shown yet that the app has it), or on. Every way in ends in [`enter`]: whoever
//! has shown the first factor and has a second one gets a [`Pending`] log-in in place of a session, and [`finish`] takes the code.
//! Nothing else opens with it. A code is good once.
//!
//! A password reset leaves it on; refreshing tokens and switching tenants do not ask again.

pub mod api;
mod authenticator;
mod entry;
pub mod pages;
mod recovery;
pub mod signin;

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::json;
use url::Url;
use utoipa::ToSchema;
use uuid::Uuid;

pub use authenticator::Authenticator;
pub use entry::{Entry, PENDING_TTL, Pending, enter, finish};

use super::{
    Error,
    attempts::UserTry,
    codes,
    email::Email,
    users::{self, UserView},
};
use crate::{
    audit::{self, Actor},
    clock::Now,
    db::{Batch, Tx, for_update, sql},
    http::RequestId,
    mail::{Mail, Post, letters},
    seal::Sealer,
};

const PURPOSE: &str = "totp";
/// What wrong codes are counted as.
const TRIES: &str = "totp";

/// How a user's second factor stands.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = SecondFactor)]
pub struct Status {
    /// Whether a code is asked for at log-in.
    pub enabled: bool,
    /// Recovery codes that were not used yet.
    pub recovery_codes_left: i64,
}

/// How a user's second factor stands.
pub async fn status(db: &impl ConnectionTrait, user_id: Uuid) -> Result<Status, DbErr> {
    let enabled = is_on(db, user_id).await?;
    Ok(Status { enabled, recovery_codes_left: if enabled { recovery::left(db, user_id).await? } else { 0 } })
}

/// Whether a code is asked for at a user's log-in.
pub async fn is_on(db: &impl ConnectionTrait, user_id: Uuid) -> Result<bool, DbErr> {
    let query = "select 1 as one from totp_factors where user_id = $1 and confirmed_at is not null";
    Ok(db.query_one_raw(sql(db, query, [user_id.into()])).await?.is_some())
}

#[derive(FromQueryResult)]
struct Factor {
    secret: Vec<u8>,
    confirmed_at: Option<DateTime<Utc>>,
}

impl Factor {
    async fn of(db: &impl ConnectionTrait, user_id: Uuid, lock: &str) -> Result<Option<Self>, DbErr> {
        let query = format!("select secret, confirmed_at from totp_factors where user_id = $1{lock}");
        Self::find_by_statement(sql(db, &query, [user_id.into()])).one(db).await
    }

    fn authenticator(&self, sealer: &Sealer, user: &UserView) -> Result<Authenticator, Error> {
        Ok(Authenticator::new(&sealer.open(PURPOSE, &self.secret)?, &user.email))
    }
}

/// Makes a new secret, in place of one that was not confirmed. It counts for nothing until [`confirm`].
///
/// # Errors
/// [`Error::TotpAlreadyOn`].
pub async fn set_up(tx: &Tx, now: &Now, sealer: &Sealer, user_id: Uuid) -> Result<Authenticator, Error> {
    let user = users::by_id(tx, user_id).await?;
    let secret = authenticator::secret(now);
    let insert = "insert into totp_factors (user_id, secret, confirmed_at, last_step, created_at) values ($1, $2, null, 0, $3) \
         on conflict (user_id) do update set secret = excluded.secret, last_step = 0, created_at = excluded.created_at \
         where totp_factors.confirmed_at is null returning user_id";
    let values = [user_id.into(), sealer.seal(PURPOSE, now.bytes(), &secret).into(), now.at.into()];
    tx.query_one_raw(sql(tx, insert, values)).await?.ok_or(Error::TotpAlreadyOn)?;
    Ok(Authenticator::new(&secret, &user.email))
}

/// The secret that waits for its first code, if one does.
pub async fn waiting(
    db: &impl ConnectionTrait,
    sealer: &Sealer,
    user_id: Uuid,
) -> Result<Option<Authenticator>, Error> {
    match Factor::of(db, user_id, "").await?.filter(|factor| factor.confirmed_at.is_none()) {
        Some(factor) => factor.authenticator(sealer, &users::by_id(db, user_id).await?).map(Some),
        None => Ok(None),
    }
}

/// Switches the second factor on with a first code of the app, and tells the user. Answers recovery codes, which are shown once.
///
/// # Errors
/// [`Error::TotpInvalid`]; [`Error::TotpAlreadyOn`]; [`Error::TotpOff`] where none was set up.
pub async fn confirm(
    tx: &Tx,
    now: &Now,
    post: &Post,
    (user_id, code): (Uuid, &SecretString),
    request: &RequestId,
) -> Result<Vec<String>, Error> {
    let factor = Factor::of(tx, user_id, for_update(tx)).await?.ok_or(Error::TotpOff)?;
    if factor.confirmed_at.is_some() {
        return Err(Error::TotpAlreadyOn);
    }
    let user = users::by_id(tx, user_id).await?;
    let app = factor.authenticator(&post.sealer, &user)?;
    let step = app.step(&codes::typed(code.expose_secret()), now.at).ok_or(Error::TotpInvalid)?;
    let update = "update totp_factors set confirmed_at = $1, last_step = $2 \
         where user_id = $3 and confirmed_at is null returning user_id";
    let values = [now.at.into(), step.into(), user_id.into()];
    tx.query_one_raw(sql(tx, update, values)).await?.ok_or(Error::TotpAlreadyOn)?;
    let codes = recovery::replace(tx, now, &post.sealer, user_id).await?;
    tell(tx, now, post, (&user, News::On), request).await?;
    Ok(codes)
}

/// Lets a code pass, and uses it up: of several who try it at once, one succeeds. The use of a recovery code is told to the user.
///
/// # Errors
/// [`Error::TotpInvalid`]; [`Error::TotpOff`] where there is no second factor that a code could be of.
pub async fn pass(
    tx: &Tx,
    now: &Now,
    post: &Post,
    (user_id, code): (Uuid, &SecretString),
    request: &RequestId,
) -> Result<UserView, Error> {
    let factor = Factor::of(tx, user_id, for_update(tx)).await?;
    let factor = factor.filter(|factor| factor.confirmed_at.is_some()).ok_or(Error::TotpOff)?;
    let user = users::by_id(tx, user_id).await?;
    let code = codes::typed(code.expose_secret());
    let tries = UserTry::of(&post.sealer, TRIES, user_id);
    if let Some(left) = recovery::spend(tx, now, &post.sealer, user_id, &code).await? {
        tell(tx, now, post, (&user, News::RecoveryCodeUsed { left }), request).await?;
        tries.forgive(tx).await?;
        return Ok(user);
    }
    let step = factor.authenticator(&post.sealer, &user)?.step(&code, now.at).ok_or(Error::TotpInvalid)?;
    let update = "update totp_factors set last_step = $1 where user_id = $2 and last_step < $1 returning user_id";
    tx.query_one_raw(sql(tx, update, [step.into(), user_id.into()])).await?.ok_or(Error::TotpInvalid)?;
    tries.forgive(tx).await?;
    Ok(user)
}

/// Makes new recovery codes in place of the old ones, for a code.
///
/// # Errors
/// As [`pass`].
pub async fn renew(
    tx: &Tx,
    now: &Now,
    post: &Post,
    (user_id, code): (Uuid, &SecretString),
    request: &RequestId,
) -> Result<Vec<String>, Error> {
    let user = pass(tx, now, post, (user_id, code), request).await?;
    let codes = recovery::replace(tx, now, &post.sealer, user_id).await?;
    tell(tx, now, post, (&user, News::RecoveryCodesReplaced), request).await?;
    Ok(codes)
}

/// Switches the second factor off for a code, and tells the user.
///
/// # Errors
/// As [`pass`].
pub async fn switch_off(
    tx: &Tx,
    now: &Now,
    post: &Post,
    (user_id, code): (Uuid, &SecretString),
    request: &RequestId,
) -> Result<(), Error> {
    let user = pass(tx, now, post, (user_id, code), request).await?;
    tx.execute_raw(sql(tx, "delete from totp_factors where user_id = $1", [user_id.into()])).await?;
    recovery::forget(tx, user_id).await?;
    tell(tx, now, post, (&user, News::Off), request).await
}

/// What goes into the audit log, and mostly to the user by mail.
#[derive(Clone, Copy)]
enum News {
    On,
    Off,
    RecoveryCodeUsed { left: i64 },
    RecoveryCodesReplaced,
}

impl News {
    fn action(self) -> &'static str {
        match self {
            Self::On => "user.second_factor_on",
            Self::Off => "user.second_factor_off",
            Self::RecoveryCodeUsed { .. } => "user.recovery_code_used",
            Self::RecoveryCodesReplaced => "user.recovery_codes_replaced",
        }
    }

    fn letter(self, public_url: &Url, to: &Email) -> Option<Mail> {
        match self {
            Self::On => Some(letters::second_factor_on(public_url, to)),
            Self::Off => Some(letters::second_factor_off(public_url, to)),
            Self::RecoveryCodeUsed { left } => Some(letters::recovery_code_used(public_url, to, left)),
            Self::RecoveryCodesReplaced => None,
        }
    }
}

async fn tell(
    tx: &Tx,
    now: &Now,
    post: &Post,
    (user, news): (&UserView, News),
    request: &RequestId,
) -> Result<(), Error> {
    let mut batch = Batch::default();
    let event = audit::Event {
        actor: Actor::User(user.id),
        tenant_id: None,
        action: news.action(),
        request_id: Some(request.0.clone()),
        detail: json!({"user_id": user.id}),
    };
    audit::append(&mut batch, now, event);
    if let Some(mail) = Email::parse(&user.email).ok().and_then(|to| news.letter(&post.public_url, &to)) {
        post.queue(&mut batch, now, None, &mail);
    }
    Ok(batch.send(tx).await?)
}
