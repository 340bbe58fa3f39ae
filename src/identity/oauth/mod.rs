//! Signing in with a provider (`OpenID` Connect): who somebody is there, and whose account that is here.
//!
//! A person is recognised by the provider's own name for them, never by address alone. An address leads to an account only where the
//! provider proves it, which Microsoft never does; whoever comes that way to an account whose address was never proved ends
//! what was there before ([`claim`]). Nobody loses their last way in.

pub mod flow;
pub mod provider;
mod wire;

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Error, claim, email::Email, store::oauth_identity};
use crate::{
    clock::Now,
    db::{Batch, Tx, Unique, for_update, sql, unique},
    mail::{Post, letters},
};

/// Somebody, as a provider proves them.
#[derive(Clone, Debug)]
pub struct Person {
    /// Which provider.
    pub provider: String,
    /// The provider's own name for them, which never changes.
    pub subject: String,
    /// Their address there.
    pub email: Option<Email>,
    /// Whether the provider vouches for it.
    pub email_is_proved: bool,
    /// Their name there.
    pub name: Option<String>,
}

impl Person {
    /// The row that makes them a way in for `user_id`.
    pub(crate) fn identity(&self, now: &Now, user_id: Uuid) -> oauth_identity::Model {
        oauth_identity::Model {
            id: now.id(),
            user_id,
            provider: self.provider.clone(),
            subject: self.subject.clone(),
            email: self.email.as_ref().map(|email| email.as_str().to_owned()),
            created_at: now.at,
            last_used_at: now.at,
        }
    }
}

#[derive(FromQueryResult)]
struct Owner {
    id: Uuid,
    is_disabled: bool,
    is_proved: bool,
}

/// The user that a person is here, where they are known. An account with an address that the provider proves becomes theirs.
///
/// # Errors
/// [`Error::EmailTaken`] where an account has the address and that proves nothing; [`Error::Disabled`].
pub async fn recognise(tx: &Tx, now: &Now, post: &Post, person: &Person) -> Result<Option<Uuid>, Error> {
    let known = "select user_id from oauth_identities where provider = $1 and subject = $2";
    let values = [person.provider.as_str().into(), person.subject.as_str().into()];
    if let Some(row) = tx.query_one_raw(sql(tx, known, values)).await? {
        let user_id: Uuid = row.try_get("", "user_id")?;
        // The user before the identity, as whoever links and unlinks.
        let owner = owner(tx, "id = $1", user_id.into()).await?.ok_or(Error::NotFound)?;
        if used(tx, now, user_id, person).await? {
            return if owner.is_disabled { Err(Error::Disabled) } else { Ok(Some(owner.id)) };
        }
    }
    let Some(email) = &person.email else { return Ok(None) };
    let Some(owner) = owner(tx, "email = $1", email.as_str().into()).await? else { return Ok(None) };
    if owner.is_disabled || !person.email_is_proved {
        return Err(Error::EmailTaken);
    }
    if !owner.is_proved {
        claim::claim_openly(tx, now, post, owner.id, email).await?;
        super::users::prove(tx, now, owner.id, email.as_str()).await?;
    }
    link(tx, now, post, owner.id, person).await.map_err(|error| match error {
        Error::IdentityTaken => Error::EmailTaken,
        other => other,
    })?;
    Ok(Some(owner.id))
}

/// Notes that a person has come. False where they are the user's way in no longer.
async fn used(tx: &Tx, now: &Now, user_id: Uuid, person: &Person) -> Result<bool, DbErr> {
    let update = "update oauth_identities set last_used_at = $4, email = coalesce($5, email) \
                  where user_id = $1 and provider = $2 and subject = $3";
    let email = person.email.as_ref().map(|email| email.as_str().to_owned());
    let (provider, subject) = (person.provider.as_str(), person.subject.as_str());
    let values = [user_id.into(), provider.into(), subject.into(), now.at.into(), email.into()];
    Ok(tx.execute_raw(sql(tx, update, values)).await?.rows_affected() > 0)
}

async fn owner(tx: &Tx, condition: &str, value: sea_orm::Value) -> Result<Option<Owner>, DbErr> {
    let query = format!(
        "select id, disabled_at is not null as is_disabled, email_verified_at is not null as is_proved from users \
         where {condition}{}",
        for_update(tx)
    );
    Owner::find_by_statement(sql(tx, &query, [value])).one(tx).await
}

/// Makes a person one more way in for a user, and tells the user.
///
/// # Errors
/// [`Error::IdentityTaken`] where the person is another user's, or the user has another person of that provider.
pub async fn link(tx: &Tx, now: &Now, post: &Post, user_id: Uuid, person: &Person) -> Result<(), Error> {
    let mut batch = Batch::default();
    batch.insert(person.identity(now, user_id));
    let user = super::users::by_id(tx, user_id).await?;
    if let Ok(email) = Email::parse(&user.email) {
        let letter = letters::way_in_added(&post.public_url, &email, &provider::label(&person.provider));
        post.queue(&mut batch, now, None, &letter);
    }
    batch.send(tx).await.map_err(|refused| match unique(&refused.source) {
        Some(Unique::OauthIdentity) => Error::IdentityTaken,
        _ => refused.into(),
    })
}

/// Takes a way in away, and tells the user.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::LastWayIn`] for a user who has no password and no other provider.
pub async fn unlink(tx: &Tx, now: &Now, post: &Post, user_id: Uuid, provider: &str) -> Result<(), Error> {
    // Of two who take two ways at once, the second sees what the first has left.
    owner(tx, "id = $1", user_id.into()).await?.ok_or(Error::NotFound)?;
    let linked = linked(tx, user_id).await?;
    if !linked.iter().any(|each| each.provider == provider) {
        return Err(Error::NotFound);
    }
    let delete = "delete from oauth_identities where user_id = $1 and provider = $2 and (\
                  exists (select 1 from users where id = $1 and password_hash is not null) \
                  or exists (select 1 from oauth_identities where user_id = $1 and provider <> $2)) returning id";
    let gone = tx.query_one_raw(sql(tx, delete, [user_id.into(), provider.into()])).await?;
    gone.ok_or(Error::LastWayIn)?;
    let user = super::users::by_id(tx, user_id).await?;
    let Ok(email) = Email::parse(&user.email) else { return Ok(()) };
    let mut batch = Batch::default();
    let letter = letters::way_in_removed(&post.public_url, &email, &provider::label(provider));
    post.queue(&mut batch, now, None, &letter);
    Ok(batch.send(tx).await?)
}

/// The providers of a user who has no password; none for one who has.
pub async fn only_ways_in(db: &impl ConnectionTrait, user_id: Uuid) -> Result<Vec<String>, DbErr> {
    let query = "select provider from oauth_identities i join users u on u.id = i.user_id \
                 where i.user_id = $1 and u.password_hash is null order by i.id";
    let rows = db.query_all_raw(sql(db, query, [user_id.into()])).await?;
    rows.iter().map(|row| row.try_get("", "provider")).collect()
}

/// A provider that a user can sign in with.
#[derive(Clone, Debug, Serialize, ToSchema, FromQueryResult)]
#[schema(as = Identity)]
pub struct IdentityView {
    /// Which, as the configuration calls it.
    pub provider: String,
    /// The address there, as the provider last said.
    pub email: Option<String>,
    /// When it was linked.
    pub created_at: DateTime<Utc>,
    /// When it was last used.
    pub last_used_at: DateTime<Utc>,
}

/// A user's providers, in the order of linking.
pub async fn linked(db: &impl ConnectionTrait, user_id: Uuid) -> Result<Vec<IdentityView>, DbErr> {
    let query = "select provider, email, created_at, last_used_at from oauth_identities where user_id = $1 order by id";
    IdentityView::find_by_statement(sql(db, query, [user_id.into()])).all(db).await
}
