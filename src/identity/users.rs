//! Users: reading and changing what is known of a person, and the letters that prove an address or log in.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    Error,
    claim::{self, Before},
    email::Email,
    oauth,
    one_time::{self, Consumed, NewToken, Purpose},
    second_factor::Pending,
};
use crate::{
    clock::Now,
    db::{Batch, Tx, for_update, sql},
    mail::{Post, letters},
    tenants::{self, Role, Status},
};

/// How long after a mail nobody is sent another of its kind.
pub const COOL_DOWN: TimeDelta = TimeDelta::seconds(60);

/// A user as the API shows it.
#[derive(Clone, Debug, Serialize, ToSchema, FromQueryResult)]
#[schema(as = User)]
pub struct UserView {
    /// The id.
    pub id: Uuid,
    /// The address.
    pub email: String,
    /// The person's name.
    pub name: Option<String>,
    /// When the address was proved.
    pub email_verified_at: Option<DateTime<Utc>>,
    /// What the person said they are.
    pub role_at_signup: Option<String>,
    /// How far the operator's own onboarding has come.
    pub onboarding_step_completed: Option<String>,
}

/// Holds a user's row until the transaction ends: what ends sessions and what a session does come one after the other. False where
/// there is no such user, or a disabled one.
pub(super) async fn hold(tx: &Tx, user_id: Uuid) -> Result<bool, DbErr> {
    let query = format!("select 1 as one from users where id = $1 and disabled_at is null{}", for_update(tx));
    Ok(tx.query_one_raw(sql(tx, &query, [user_id.into()])).await?.is_some())
}

/// The columns of [`UserView`].
pub(super) const VIEW: &str = "id, email, name, email_verified_at, role_at_signup, onboarding_step_completed";

/// A tenant that a user belongs to.
#[derive(Clone, Debug, Serialize, ToSchema, FromQueryResult)]
pub struct MembershipView {
    /// The tenant.
    pub tenant_id: Uuid,
    /// Its name in addresses.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub status: Status,
    /// What the user may do there.
    pub role: Role,
}

/// What becomes of a field: absent, it stays; null clears it.
#[derive(Clone, Debug, Default)]
pub enum Change {
    /// It stays.
    #[default]
    Keep,
    /// It becomes this.
    Set(Option<String>),
}

impl<'de> Deserialize<'de> for Change {
    fn deserialize<D: Deserializer<'de>>(field: D) -> Result<Self, D::Error> {
        Option::deserialize(field).map(Self::Set)
    }
}

impl Change {
    /// Whether, and to what.
    fn parts(self) -> (bool, Option<String>) {
        match self {
            Self::Keep => (false, None),
            Self::Set(value) => (true, value),
        }
    }
}

/// What a user can change about themselves.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// The name.
    pub name: Change,
    /// How far the operator's own onboarding has come.
    pub onboarding_step_completed: Change,
}

/// By id.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn by_id(db: &impl ConnectionTrait, id: Uuid) -> Result<UserView, Error> {
    let query = format!("select {VIEW} from users where id = $1");
    UserView::find_by_statement(sql(db, &query, [id.into()])).one(db).await?.ok_or(Error::NotFound)
}

/// A user's tenants, in the order of joining.
pub async fn memberships(db: &impl ConnectionTrait, user_id: Uuid) -> Result<Vec<MembershipView>, DbErr> {
    let query = "select t.id as tenant_id, t.slug, t.name, t.status, m.role from memberships m \
         join tenants t on t.id = m.tenant_id where m.user_id = $1 order by m.created_at, t.id";
    MembershipView::find_by_statement(sql(db, query, [user_id.into()])).all(db).await
}

/// Changes what a user may change.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn change(tx: &Tx, now: &Now, id: Uuid, changes: Changes) -> Result<UserView, Error> {
    let query = format!(
        "update users set name = case when $2 then $3 else name end, \
         onboarding_step_completed = case when $4 then $5 else onboarding_step_completed end, \
         updated_at = $6 where id = $1 returning {VIEW}"
    );
    let ((has_name, name), (has_step, step)) = (changes.name.parts(), changes.onboarding_step_completed.parts());
    let values = [id.into(), has_name.into(), name.into(), has_step.into(), step.into(), now.at.into()];
    UserView::find_by_statement(sql(tx, &query, values)).one(tx).await?.ok_or(Error::NotFound)
}

/// Uses a link from a mail to prove the address that the mail went to. Answers whether something that was there before has ended.
///
/// # Errors
/// [`Error::TokenExpired`], [`Error::TokenInvalid`].
pub async fn verify_email(
    tx: &Tx,
    now: &Now,
    post: &Post,
    (token, before): (&SecretString, Before),
) -> Result<(UserView, bool), Error> {
    let proof = one_time::consume(tx, now, Purpose::VerifyEmail, token).await?;
    let has_ended = claim::by_link(tx, now, post, &proof, before).await?;
    Ok((prove(tx, now, proof.user_id, &proof.email).await?, has_ended))
}

/// Whoever has a token that went to an address reads that address. An address that was given up meanwhile proves nothing.
pub(super) async fn prove(tx: &Tx, now: &Now, user_id: Uuid, email: &str) -> Result<UserView, Error> {
    let query = format!(
        "update users set email_verified_at = coalesce(email_verified_at, $1), updated_at = $1 \
         where id = $2 and email = $3 and disabled_at is null returning {VIEW}"
    );
    let statement = sql(tx, &query, [now.at.into(), user_id.into(), email.into()]);
    UserView::find_by_statement(statement).one(tx).await?.ok_or(Error::TokenInvalid)
}

/// Whoever has used a magic link, or its code: proves the address, on the way to the tenant that the link names, else to the one used last.
/// Answers also whether something that was there before has ended.
///
/// # Errors
/// [`Error::TokenInvalid`] where the address is another by now.
pub async fn arrive(
    tx: &Tx,
    now: &Now,
    post: &Post,
    link: &Consumed,
    before: Before,
) -> Result<(Pending, bool), Error> {
    let has_ended = claim::by_link(tx, now, post, link, before).await?;
    let user = prove(tx, now, link.user_id, &link.email).await?;
    Ok((Pending::new(now, user.id, link.tenant_id, "magic_link"), has_ended))
}

/// When a user has to have proved their address; `None` once they have.
pub async fn grace_ends(
    db: &impl ConnectionTrait,
    user_id: Uuid,
    grace: Duration,
) -> Result<Option<DateTime<Utc>>, DbErr> {
    let query = "select created_at from users where id = $1 and email_verified_at is null";
    let row = db.query_one_raw(sql(db, query, [user_id.into()])).await?;
    let created_at: Option<DateTime<Utc>> = row.map(|row| row.try_get("", "created_at")).transpose()?;
    Ok(created_at.map(|at| at + TimeDelta::from_std(grace).unwrap_or(TimeDelta::MAX)))
}

/// The tenant that a user used last, or joined first.
pub async fn last_used(tx: &Tx, user_id: Uuid) -> Result<Option<Uuid>, DbErr> {
    let query = "select m.tenant_id from memberships m where m.user_id = $1 \
         order by (select max(s.last_used_at) from sessions s where s.user_id = m.user_id and s.tenant_id = m.tenant_id) \
         desc nulls last, m.created_at, m.tenant_id limit 1";
    let row = tx.query_one_raw(sql(tx, query, [user_id.into()])).await?;
    row.map(|row| row.try_get("", "tenant_id")).transpose()
}

/// What decides whether a mail goes out.
#[derive(FromQueryResult)]
pub(super) struct Addressee {
    id: Uuid,
    email: String,
    email_verified_at: Option<DateTime<Utc>>,
}

/// Finds the user that a letter is for, and locks the row, so that of two who ask at once the second sees the first's letter.
pub(super) async fn addressee(
    tx: &Tx,
    condition: &str,
    value: sea_orm::Value,
) -> Result<Option<(Addressee, Email)>, Error> {
    let query = format!(
        "update users set updated_at = updated_at where {condition} and disabled_at is null \
         returning id, email, email_verified_at"
    );
    let user = Addressee::find_by_statement(sql(tx, &query, [value])).one(tx).await?;
    Ok(user.and_then(|user| Email::parse(&user.email).ok().map(|email| (user, email))))
}

pub(super) async fn cool_down(
    tx: &Tx,
    now: &Now,
    user_id: Uuid,
    purpose: Purpose,
    wait: TimeDelta,
) -> Result<(), Error> {
    let last = one_time::last_minted(tx, user_id, purpose).await?;
    match last.map(|last| last + wait - now.at).and_then(|left| left.to_std().ok()).filter(|left| !left.is_zero()) {
        Some(left) => Err(Error::TooSoon { retry_after: left }),
        None => Ok(()),
    }
}

/// Sends another letter to prove the address with; none where it is proved already.
///
/// # Errors
/// [`Error::TooSoon`] within `wait` of the one before; [`Error::NotFound`].
pub async fn ask_verification(
    tx: &Tx,
    now: &Now,
    post: &Post,
    (user_id, tenant_id): (Uuid, Uuid),
    wait: TimeDelta,
) -> Result<(), Error> {
    let (user, email) = addressee(tx, "id = $1", user_id.into()).await?.ok_or(Error::NotFound)?;
    if user.email_verified_at.is_some() {
        return Ok(());
    }
    cool_down(tx, now, user_id, Purpose::VerifyEmail, wait).await?;
    let tenant = tenants::by_id(tx, tenant_id).await?.ok_or(Error::NotFound)?;
    let mut batch = Batch::default();
    let new = NewToken { user_id, tenant_id: Some(tenant_id), purpose: Purpose::VerifyEmail, email: &email, ttl: None };
    let token = one_time::mint(&mut batch, now, new);
    let letter = letters::verify_email(&post.public_url, &email, &tenant.name, token.expose_secret());
    post.queue(&mut batch, now, Some(tenant_id), &letter);
    Ok(batch.send(tx).await?)
}

/// Whom a letter of that purpose may go to, where the address is a member's and none was sent within `wait`.
pub(super) async fn due(
    tx: &Tx,
    now: &Now,
    email: &Email,
    purpose: Purpose,
    wait: TimeDelta,
) -> Result<Option<(Uuid, Email)>, Error> {
    let Some((user, email)) = addressee(tx, "email = $1", email.as_str().into()).await? else { return Ok(None) };
    match cool_down(tx, now, user.id, purpose, wait).await {
        Err(Error::TooSoon { .. }) => Ok(None),
        checked => checked.map(|()| Some((user.id, email))),
    }
}

/// Sends a magic link, and a code that does the same on another device, to an address, where it is a member's and none was sent within `wait`. Whether it was is not told.
pub async fn ask_magic_link(tx: &Tx, now: &Now, post: &Post, email: &Email, wait: TimeDelta) -> Result<(), Error> {
    let Some((user_id, email)) = due(tx, now, email, Purpose::MagicLink, wait).await? else { return Ok(()) };
    let Some(tenant) = last_used(tx, user_id).await? else { return Ok(()) };
    let mut batch = Batch::default();
    let new = NewToken { user_id, tenant_id: None, purpose: Purpose::MagicLink, email: &email, ttl: None };
    let (token, code) = one_time::mint_with_code(&mut batch, now, &post.sealer, new);
    let providers = oauth::only_ways_in(tx, user_id).await?;
    let providers = (!providers.is_empty()).then(|| oauth::provider::labels(&providers));
    let secrets = (token.expose_secret(), code.expose_secret());
    let letter = letters::magic_link(&post.public_url, &email, secrets, providers.as_deref());
    post.queue(&mut batch, now, Some(tenant), &letter);
    Ok(batch.send(tx).await?)
}
