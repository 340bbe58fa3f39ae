//! Team: how further people come into a tenant.
//!
//! An **invite** is for one address and one role. It is open, accepted, revoked or expired. Its token is mailed to the address, so whoever has
//! it reads that address. Seats are the plan's; they are counted with the tenant's row locked, so that two who accept at once do not
//! both take the last one.

mod store;

use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::{
    clock::Now,
    db::{Batch, BatchError, Tx, Unique, sql, unique},
    entitlements::limits,
    http::Problem,
    identity::email::Email,
    seal::hash_token,
    tenants::{self, Role},
};

/// How long an invite is open.
pub const LIFE: TimeDelta = TimeDelta::days(7);

/// What a caller can cause here, and the database.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No invite has that token.
    #[error("there is no such invite")]
    NotFound,
    /// Its time is over.
    #[error("the invite has expired")]
    Expired,
    /// It was taken back.
    #[error("the invite was revoked")]
    Revoked,
    /// It was accepted before.
    #[error("the invite was accepted before")]
    Accepted,
    /// It is for another address.
    #[error("the invite is for another address")]
    EmailMismatch,
    /// The plan has no seat left.
    #[error("no seat is left")]
    SeatLimit,
    /// The user belongs to the tenant already.
    #[error("already a member")]
    AlreadyMember,
    /// Inserts that were refused.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The database.
    #[error(transparent)]
    Database(#[from] DbErr),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let gone = |code, detail: &str| Self::new(StatusCode::GONE, code, detail);
        match error {
            Error::NotFound => Self { detail: "There is no such invite.".into(), ..Self::not_found() },
            Error::Expired => gone("INVITE_EXPIRED", "This invite has expired. Ask for a new one."),
            Error::Revoked => gone("INVITE_REVOKED", "This invite was taken back. Ask whoever sent it."),
            Error::Accepted => gone("INVITE_ACCEPTED", "This invite was accepted before. Log in instead."),
            Error::EmailMismatch => {
                let detail = "This invite is for another email address. Use the one that it was sent to.";
                Self::new(StatusCode::FORBIDDEN, "INVITE_EMAIL_MISMATCH", detail)
            }
            Error::SeatLimit => {
                Self::conflict("SEAT_LIMIT_REACHED", "All seats of the plan are taken. Ask the owner to make room.")
            }
            Error::AlreadyMember => Self::conflict("ALREADY_MEMBER", "You belong to this tenant already."),
            Error::Batch(refused) => Self::database(&refused.source),
            Error::Database(error) => Self::database(&error),
        }
    }
}

/// An invite to make.
#[derive(Clone, Debug)]
pub struct NewInvite<'a> {
    /// Into which tenant.
    pub tenant_id: Uuid,
    /// Whom.
    pub email: &'a Email,
    /// As what; nobody is invited to own a tenant.
    pub role: Role,
    /// By whom.
    pub invited_by: Option<Uuid>,
}

/// Makes an invite; the batch's commit makes it good. Answers what its link carries.
pub fn invite(batch: &mut Batch, now: &Now, new: &NewInvite<'_>) -> SecretString {
    let secret = now.secret();
    batch.insert(store::invite::Model {
        tenant_id: new.tenant_id,
        id: now.id(),
        email: new.email.as_str().to_owned(),
        role: new.role,
        token_hash: hash_token(secret.expose_secret()).to_vec(),
        invited_by: new.invited_by,
        expires_at: now.at + LIFE,
        accepted_at: None,
        revoked_at: None,
        email_sent_at: None,
        created_at: now.at,
    });
    secret
}

/// An invite, by its token.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Invite {
    /// Its id.
    pub id: Uuid,
    /// Into which tenant.
    pub tenant_id: Uuid,
    /// For which address.
    pub email: String,
    /// As what.
    pub role: Role,
    expires_at: DateTime<Utc>,
    accepted_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
}

const COLUMNS: &str = "id, tenant_id, email, role, expires_at, accepted_at, revoked_at";

/// An open invite for an address. It stays open.
///
/// # Errors
/// Why it is not open, or not for this address.
pub async fn open(db: &impl ConnectionTrait, now: &Now, token: &SecretString, email: &Email) -> Result<Invite, Error> {
    let query = format!("select {COLUMNS} from invites where token_hash = $1");
    let hash = hash_token(token.expose_secret()).to_vec();
    let invite = Invite::find_by_statement(sql(db, &query, [hash.into()])).one(db).await?.ok_or(Error::NotFound)?;
    match invite {
        Invite { accepted_at: Some(_), .. } => Err(Error::Accepted),
        Invite { revoked_at: Some(_), .. } => Err(Error::Revoked),
        Invite { expires_at, .. } if expires_at <= now.at => Err(Error::Expired),
        invite if invite.email != email.as_str() => Err(Error::EmailMismatch),
        invite => Ok(invite),
    }
}

/// Uses an invite up: the user, who is there already, becomes a member. Of several who try at once, one does. `grace` is how long a
/// subscription that is past due keeps its seats.
///
/// # Errors
/// As [`open`]; [`Error::SeatLimit`], [`Error::AlreadyMember`]. The transaction is then only good for rolling back.
pub async fn accept(
    tx: &Tx,
    now: &Now,
    (token, grace): (&SecretString, TimeDelta),
    (user_id, email): (Uuid, &Email),
) -> Result<Invite, Error> {
    let invite = open(tx, now, token, email).await?;
    let tenant = tenants::lock(tx, invite.tenant_id).await?.ok_or(Error::NotFound)?;
    let take = "update invites set accepted_at = $1 where tenant_id = $2 and id = $3 and accepted_at is null \
                and revoked_at is null and expires_at > $1 returning id";
    let values = [now.at.into(), invite.tenant_id.into(), invite.id.into()];
    if tx.query_one_raw(sql(tx, take, values)).await?.is_none() {
        return Err(open(tx, now, token, email).await.err().unwrap_or(Error::NotFound));
    }
    limits::room_for_one(tx, now, grace, tenant.id, "max_users").await.map_err(|error| match error {
        limits::Error::Reached { .. } => Error::SeatLimit,
        limits::Error::Database(error) => Error::Database(error),
    })?;
    let mut batch = Batch::default();
    batch.insert(tenants::store::membership::Model {
        tenant_id: tenant.id,
        user_id,
        role: invite.role,
        created_at: now.at,
        updated_at: now.at,
    });
    batch.send(tx).await.map_err(|refused| match unique(&refused.source) {
        Some(Unique::Membership) => Error::AlreadyMember,
        _ => refused.into(),
    })?;
    let joined = "update users set left_last_tenant_at = null where id = $1";
    tx.execute_raw(sql(tx, joined, [user_id.into()])).await?;
    Ok(invite)
}
