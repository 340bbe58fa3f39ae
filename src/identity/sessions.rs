//! Sessions: a log-in of a user into a tenant, its access tokens and its refresh tokens.
//!
//! A refresh token is opaque, hashed at rest and good for one use. One that comes a second time was stolen, from whoever used
//! it first or from whoever uses it now, so it ends the session (RFC 9700, 4.14.2). There is no leeway.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    Error, device,
    keys::{Audience, Keys},
    one_time::digest,
    store::{refresh_token, session},
};
use crate::{
    clock::Now,
    db::{Batch, Tx, sql},
    entitlements::{FREE, Terms},
    http::Page,
    mail::Post,
    tenants::Role,
};

/// How long an access token lives.
pub const ACCESS_TTL: TimeDelta = TimeDelta::minutes(15);
/// How long a refresh token lives, and a session after its last use.
pub const REFRESH_TTL: TimeDelta = TimeDelta::days(30);
/// Characters of a `User-Agent` that are kept.
const USER_AGENT_LENGTH: usize = 400;

/// A session to open.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Who logs in.
    pub user_id: Uuid,
    /// Into which tenant.
    pub tenant_id: Uuid,
    /// With what, as it calls itself.
    pub user_agent: Option<String>,
    /// From where.
    pub ip: Option<String>,
}

impl NewSession {
    /// The user agent, as far as it is kept.
    pub(super) fn kept_agent(&self) -> Option<String> {
        self.user_agent.as_deref().map(|agent| agent.chars().take(USER_AGENT_LENGTH).collect())
    }
}

/// A session that is open once the transaction commits.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Its id.
    pub session_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// For which tenant.
    pub tenant_id: Uuid,
    /// Good for one use.
    pub refresh_token: SecretString,
}

/// A session that has just been revoked.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Ended {
    /// Its id.
    pub id: Uuid,
    /// Whose it was.
    pub user_id: Uuid,
    /// For which tenant.
    pub tenant_id: Uuid,
}

/// Opens a session of somebody who has just signed up; [`begin`] is for those who log in.
pub fn open(batch: &mut Batch, now: &Now, new: &NewSession) -> Opened {
    let (session_id, refresh_token) = (now.id(), now.secret());
    batch.insert(session::Model {
        id: session_id,
        user_id: new.user_id,
        tenant_id: new.tenant_id,
        user_agent: new.kept_agent(),
        ip: new.ip.clone(),
        created_at: now.at,
        last_used_at: now.at,
        expires_at: now.at + REFRESH_TTL,
        revoked_at: None,
        revoked_reason: None,
        authenticated_at: None,
    });
    batch.insert(fresh(now, session_id, &refresh_token));
    Opened { session_id, user_id: new.user_id, tenant_id: new.tenant_id, refresh_token }
}

/// Opens a session of somebody who logs in, by any way, and tells them by mail where they did with a device that is new to the account.
pub async fn begin(tx: &Tx, now: &Now, post: &Post, new: &NewSession) -> Result<Opened, DbErr> {
    let mut batch = Batch::default();
    device::tell_of_new(tx, now, post, &mut batch, new).await?;
    let opened = open(&mut batch, now, new);
    batch.send(tx).await.map_err(|refused| refused.source)?;
    Ok(opened)
}

fn fresh(now: &Now, session_id: Uuid, token: &SecretString) -> refresh_token::Model {
    let expires_at = now.at + REFRESH_TTL;
    refresh_token::Model { token_hash: digest(token), session_id, created_at: now.at, expires_at, used_at: None }
}

/// Uses a refresh token up for a new one. Of several who try at once, one succeeds.
///
/// # Errors
/// [`Error::TokenExpired`]; [`Error::TokenInvalid`] for an unknown one, and for one of a session that was ended;
/// [`Error::TokenReused`], after which the caller rolls back and calls [`end_reused`].
pub async fn rotate(tx: &Tx, now: &Now, token: &SecretString) -> Result<Opened, Error> {
    let hash = digest(token);
    let spend = "update refresh_tokens set used_at = $1 \
         where token_hash = $2 and used_at is null and expires_at > $1 returning session_id";
    let Some(row) = tx.query_one_raw(sql(tx, spend, [now.at.into(), hash.clone().into()])).await? else {
        return Err(why_not(tx, hash).await?);
    };
    let session_id: Uuid = row.try_get("", "session_id")?;
    let renew = "update sessions set last_used_at = $1, expires_at = $2 where id = $3 and revoked_at is null \
         returning id, user_id, tenant_id";
    let statement = sql(tx, renew, [now.at.into(), (now.at + REFRESH_TTL).into(), session_id.into()]);
    let session = Ended::find_by_statement(statement).one(tx).await?.ok_or(Error::TokenInvalid)?;
    let refresh_token = now.secret();
    let mut batch = Batch::default();
    batch.insert(fresh(now, session_id, &refresh_token));
    batch.send(tx).await?;
    Ok(Opened { session_id, user_id: session.user_id, tenant_id: session.tenant_id, refresh_token })
}

async fn why_not(tx: &Tx, hash: Vec<u8>) -> Result<Error, DbErr> {
    let query = "select used_at from refresh_tokens where token_hash = $1";
    let Some(row) = tx.query_one_raw(sql(tx, query, [hash.into()])).await? else { return Ok(Error::TokenInvalid) };
    let used_at: Option<DateTime<Utc>> = row.try_get("", "used_at")?;
    Ok(if used_at.is_some() { Error::TokenReused } else { Error::TokenExpired })
}

/// Ends the session of a refresh token that came a second time; `None` where it had ended before.
pub async fn end_reused(tx: &Tx, now: &Now, token: &SecretString) -> Result<Option<Ended>, DbErr> {
    match session_of(tx, token).await? {
        Some(id) => revoke(tx, now, id, "refresh_token_reused").await,
        None => Ok(None),
    }
}

/// Ends the session of a refresh token, spent or not; an unknown one ends nothing.
pub async fn log_out(tx: &Tx, now: &Now, token: &SecretString) -> Result<Option<Ended>, DbErr> {
    match session_of(tx, token).await? {
        Some(id) => revoke(tx, now, id, "logged_out").await,
        None => Ok(None),
    }
}

async fn session_of(tx: &Tx, token: &SecretString) -> Result<Option<Uuid>, DbErr> {
    let query = "select session_id from refresh_tokens where token_hash = $1";
    let row = tx.query_one_raw(sql(tx, query, [digest(token).into()])).await?;
    row.map(|row| row.try_get("", "session_id")).transpose()
}

/// Ends a session; `None` where it had ended before.
async fn revoke(tx: &Tx, now: &Now, id: Uuid, reason: &'static str) -> Result<Option<Ended>, DbErr> {
    let update = "update sessions set revoked_at = $1, revoked_reason = $2 where id = $3 and revoked_at is null returning id, user_id, tenant_id";
    Ended::find_by_statement(sql(tx, update, [now.at.into(), reason.into(), id.into()])).one(tx).await
}

/// Ends all of a user's open sessions, but for the one to keep; answers those that it ended.
pub async fn end_others(
    tx: &Tx,
    now: &Now,
    user_id: Uuid,
    keep: Option<Uuid>,
    reason: &'static str,
) -> Result<Vec<Ended>, DbErr> {
    let update = "update sessions set revoked_at = $1, revoked_reason = $2 where user_id = $3 and id <> $4 \
         and revoked_at is null returning id, user_id, tenant_id";
    let values = [now.at.into(), reason.into(), user_id.into(), keep.unwrap_or_default().into()];
    Ended::find_by_statement(sql(tx, update, values)).all(tx).await
}

/// How long after somebody showed who they are they need not do so again for what else would take a password.
pub const FRESH_FOR: TimeDelta = TimeDelta::minutes(10);

/// Whether a session's user has just shown who they are. Renewing its tokens or switching tenants shows nothing.
pub async fn is_fresh(db: &impl ConnectionTrait, now: &Now, id: Uuid) -> Result<bool, DbErr> {
    let query = "select 1 as one from sessions where id = $1 and coalesce(authenticated_at, created_at) > $2";
    Ok(db.query_one_raw(sql(db, query, [id.into(), (now.at - FRESH_FOR).into()])).await?.is_some())
}

/// Makes a session that was opened from another as old as that one.
pub(super) async fn continue_from(tx: &Tx, before: Uuid, id: Uuid) -> Result<(), DbErr> {
    let update = "update sessions set authenticated_at = \
         (select coalesce(b.authenticated_at, b.created_at) from sessions b where b.id = $1) where id = $2";
    tx.execute_raw(sql(tx, update, [before.into(), id.into()])).await.map(drop)
}

/// Ends one of a user's own sessions; `None` where it had ended before.
///
/// # Errors
/// [`Error::NotFound`] for a session that is not the user's.
pub async fn end(tx: &Tx, now: &Now, user_id: Uuid, id: Uuid) -> Result<Option<Ended>, Error> {
    let query = "select id from sessions where id = $1 and user_id = $2";
    let owned = tx.query_one_raw(sql(tx, query, [id.into(), user_id.into()])).await?;
    owned.ok_or(Error::NotFound)?;
    Ok(revoke(tx, now, id, "ended_by_user").await?)
}

/// An open session, as its user sees it.
#[derive(Clone, Debug, Serialize, ToSchema, FromQueryResult)]
pub struct SessionView {
    /// Its id.
    pub id: Uuid,
    /// The tenant that it is for.
    pub tenant_id: Uuid,
    /// What logged in, as it calls itself.
    pub user_agent: Option<String>,
    /// From where.
    pub ip: Option<String>,
    /// When it was opened.
    pub created_at: DateTime<Utc>,
    /// When its tokens were last renewed.
    pub last_used_at: DateTime<Utc>,
    /// When it ends, unless it is used before.
    pub expires_at: DateTime<Utc>,
    /// Whether this request belongs to it.
    pub current: bool,
}

/// A user's open sessions, newest first, one more than the page holds.
pub async fn list(
    db: &impl ConnectionTrait,
    now: &Now,
    user_id: Uuid,
    current: Uuid,
    page: Page,
) -> Result<Vec<SessionView>, DbErr> {
    let query = "select id, tenant_id, user_agent, ip, created_at, last_used_at, expires_at, id = $1 as current from sessions \
         where user_id = $2 and revoked_at is null and expires_at > $3 and id < $4 order by id desc limit $5";
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX).saturating_add(1);
    let values = [current.into(), user_id.into(), now.at.into(), page.before.into(), limit.into()];
    SessionView::find_by_statement(sql(db, query, values)).all(db).await
}

/// What a user is in a tenant: the changing part of an access token.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The role.
    pub role: Role,
    /// The plan that holds for the tenant now, by slug.
    pub plan: String,
    /// When the address was proved.
    pub email_verified_at: Option<DateTime<Utc>>,
}

#[derive(FromQueryResult)]
struct Member {
    role: Role,
    plan: String,
    email_verified_at: Option<DateTime<Utc>>,
    #[sea_orm(nested)]
    terms: Terms,
}

/// What a user is in a tenant. `grace` is how long a subscription that is past due keeps its plan.
///
/// # Errors
/// [`Error::TokenInvalid`] for somebody who is no member any more, or disabled: whatever led here leads nowhere.
pub async fn standing(
    db: &impl ConnectionTrait,
    now: &Now,
    grace: TimeDelta,
    (user_id, tenant_id): (Uuid, Uuid),
) -> Result<Standing, Error> {
    let query = "select m.role, p.slug as plan, u.email_verified_at, s.status, s.trial_ends_at, s.current_period_start, \
         s.current_period_end, s.cancel_at_period_end, s.past_due_since from memberships m join users u on u.id = m.user_id \
         join subscriptions s on s.tenant_id = m.tenant_id join plans p on p.id = s.plan_id \
         where m.user_id = $1 and m.tenant_id = $2 and u.disabled_at is null";
    let member = Member::find_by_statement(sql(db, query, [user_id.into(), tenant_id.into()])).one(db).await?;
    let Member { role, plan, email_verified_at, terms } = member.ok_or(Error::TokenInvalid)?;
    let plan = if terms.standing(now.at, grace).is_entitled() { plan } else { FREE.to_owned() };
    Ok(Standing { role, plan, email_verified_at })
}

/// What an access token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessClaims {
    /// Our public URL.
    pub iss: String,
    /// `access`
    pub aud: String,
    /// The user.
    pub sub: Uuid,
    /// The tenant.
    pub tid: Uuid,
    /// The user's role in it.
    pub role: Role,
    /// The tenant's plan, by slug.
    pub plan: String,
    /// Whether the user's address is proved.
    pub ev: bool,
    /// The session.
    pub sid: Uuid,
    /// When it was issued, in Unix seconds.
    pub iat: i64,
    /// When it ends, in Unix seconds.
    pub exp: i64,
    /// Its own id.
    pub jti: Uuid,
}

/// What a log-in answers (RFC 6749, 5.1).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TokenSet {
    /// Opens the API for one tenant.
    pub access_token: String,
    /// `Bearer`
    pub token_type: &'static str,
    /// Seconds that the access token lives.
    pub expires_in: i64,
    /// Good for one use at `/api/v1/auth/refresh`.
    pub refresh_token: String,
}

/// A session's tokens.
///
/// # Panics
/// As [`Keys::sign`].
pub fn tokens(keys: &Keys, now: &Now, opened: &Opened, standing: &Standing) -> TokenSet {
    let claims = AccessClaims {
        iss: keys.issuer().to_owned(),
        aud: Audience::Access.as_str().to_owned(),
        sub: opened.user_id,
        tid: opened.tenant_id,
        role: standing.role,
        plan: standing.plan.clone(),
        ev: standing.email_verified_at.is_some(),
        sid: opened.session_id,
        iat: now.at.timestamp(),
        exp: (now.at + ACCESS_TTL).timestamp(),
        jti: now.id(),
    };
    TokenSet {
        access_token: keys.sign(now, Audience::Access, &claims),
        token_type: "Bearer",
        expires_in: ACCESS_TTL.num_seconds(),
        refresh_token: opened.refresh_token.expose_secret().to_owned(),
    }
}
