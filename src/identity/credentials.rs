//! Logging in with a password, and setting a new one.
//!
//! Whether an address is known must not show: an unknown one costs a hash as well, and is answered alike. A hash made at another cost than
//! is configured now is replaced at the next log-in.

use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use uuid::Uuid;

use super::{
    CurrentUser, Error, claim,
    email::Email,
    oauth,
    one_time::{self, NewToken, Purpose},
    passwords, reauth,
    second_factor::Pending,
    sessions::{self, NewSession, Opened},
    users::{self, UserView},
};
use crate::{
    app::App,
    audit::{self, Actor},
    clock::Now,
    db::{Batch, Tx, for_update, sql},
    http::{Problem, RequestId},
    mail::{
        Post,
        letters::{self, security},
    },
};

/// Somebody whose password was right.
#[derive(Clone, Debug)]
pub struct Proved {
    /// Who.
    pub user_id: Uuid,
    /// The hash that it was right for.
    hash: String,
    /// The one to keep in its place, where the cost has changed.
    better: Option<String>,
}

#[derive(FromQueryResult)]
struct Known {
    id: Uuid,
    password_hash: Option<String>,
}

/// Whose password this is. Holds no connection while it hashes.
///
/// # Errors
/// [`Error::InvalidCredentials`]; [`Error::UseOauthProvider`] for a user who has no password; [`Error::Overloaded`].
pub async fn prove(app: &App, email: &str, password: &SecretString) -> Result<Proved, Error> {
    let known = match Email::parse(email) {
        Ok(email) => known(app.db.read(), &email).await?,
        Err(_) => None,
    };
    if !passwords::could_be(password) {
        return Err(Error::InvalidCredentials);
    }
    if let Some(Known { id, password_hash: None }) = known {
        let providers = oauth::only_ways_in(app.db.read(), id).await?;
        if !providers.is_empty() {
            return Err(Error::UseOauthProvider(providers));
        }
    }
    let Some((user_id, hash)) = known.and_then(|known| Some((known.id, known.password_hash?))) else {
        // As much work as for somebody who is known.
        app.hasher.hash(password.clone(), app.clock.now().bytes()).await?;
        return Err(Error::InvalidCredentials);
    };
    if !app.hasher.verify(password.clone(), hash.clone()).await? {
        return Err(Error::InvalidCredentials);
    }
    let better = if app.hasher.is_current(&hash) {
        None
    } else {
        Some(app.hasher.hash(password.clone(), app.clock.now().bytes()).await?)
    };
    Ok(Proved { user_id, hash, better })
}

async fn known(db: &impl ConnectionTrait, email: &Email) -> Result<Option<Known>, DbErr> {
    let query = "select id, password_hash from users where email = $1 and disabled_at is null";
    Known::find_by_statement(sql(db, query, [email.as_str().into()])).one(db).await
}

/// Whoever's password was right, unless it has been changed in the meantime, on the way to the tenant asked for, else to the one used
/// last. A hash of another cost is replaced.
///
/// # Errors
/// [`Error::InvalidCredentials`].
pub async fn hold(tx: &Tx, now: &Now, proved: &Proved, tenant_id: Option<Uuid>) -> Result<Pending, Error> {
    let keep = "update users set password_hash = coalesce($3, password_hash) \
                where id = $1 and password_hash = $2 and disabled_at is null returning id";
    let values = [proved.user_id.into(), proved.hash.clone().into(), proved.better.clone().into()];
    tx.query_one_raw(sql(tx, keep, values)).await?.ok_or(Error::InvalidCredentials)?;
    let hash = proved.better.as_ref().unwrap_or(&proved.hash);
    Ok(Pending::by_password(now, proved.user_id, tenant_id, hash))
}

/// Holds a user to the password that was right for `hash`, until the transaction ends.
///
/// # Errors
/// [`Error::InvalidCredentials`] where it is another by now.
pub async fn hold_password(tx: &Tx, user_id: Uuid, hash: &str) -> Result<(), Error> {
    let query = format!(
        "select 1 as one from users where id = $1 and password_hash = $2 and disabled_at is null{}",
        for_update(tx)
    );
    let held = tx.query_one_raw(sql(tx, &query, [user_id.into(), hash.into()])).await?;
    held.map(drop).ok_or(Error::InvalidCredentials)
}

/// Opens a session of a user in one of their tenants.
///
/// # Errors
/// [`Error::NotFound`] for a tenant that the user is no member of.
pub async fn enter(
    tx: &Tx,
    now: &Now,
    post: &Post,
    (user_id, tenant_id): (Uuid, Uuid),
    (user_agent, ip): (Option<String>, Option<String>),
) -> Result<Opened, Error> {
    let query = "select 1 as one from memberships where user_id = $1 and tenant_id = $2";
    tx.query_one_raw(sql(tx, query, [user_id.into(), tenant_id.into()])).await?.ok_or(Error::NotFound)?;
    Ok(sessions::begin(tx, now, post, &NewSession { user_id, tenant_id, user_agent, ip }).await?)
}

/// Opens a session in another of one's tenants, from the one that is open. It shows nothing new of who the user is.
///
/// # Errors
/// As [`enter`].
pub async fn switch(
    tx: &Tx,
    now: &Now,
    post: &Post,
    (user, tenant_id): (&CurrentUser, Uuid),
    client: (Option<String>, Option<String>),
) -> Result<Opened, Error> {
    let opened = enter(tx, now, post, (user.user_id, tenant_id), client).await?;
    sessions::continue_from(tx, user.session_id, opened.session_id).await?;
    Ok(opened)
}

/// Sends a link to set a new password, where the address is a member's and none was sent within `wait`. Whether it was is not told.
pub async fn ask_reset(tx: &Tx, now: &Now, post: &Post, email: &Email, wait: chrono::TimeDelta) -> Result<(), Error> {
    let Some((user_id, to)) = users::due(tx, now, email, Purpose::PasswordReset, wait).await? else { return Ok(()) };
    if !oauth::only_ways_in(tx, user_id).await?.is_empty() {
        // There is no password to set anew; the letter says how to get in.
        return users::ask_magic_link(tx, now, post, email, wait).await;
    }
    let mut batch = Batch::default();
    let new = NewToken { user_id, tenant_id: None, purpose: Purpose::PasswordReset, email: &to, ttl: None };
    let token = one_time::mint(&mut batch, now, new);
    post.queue(&mut batch, now, None, &letters::reset_password(&post.public_url, &to, token.expose_secret()));
    Ok(batch.send(tx).await?)
}

/// A token to set a password with, for somebody who has just proved their address by a mailed link.
pub async fn reset_at_once(tx: &Tx, now: &Now, user: &UserView) -> Result<SecretString, Error> {
    let email = Email::parse(&user.email).map_err(|_| Error::NotFound)?;
    let mut batch = Batch::default();
    let new = NewToken { user_id: user.id, tenant_id: None, purpose: Purpose::PasswordReset, email: &email, ttl: None };
    let token = one_time::mint(&mut batch, now, new);
    batch.send(tx).await?;
    Ok(token)
}

/// Sets a new password with the token of a mailed link: proves the address, ends all of the user's sessions, and tells the user. It
/// logs nobody in. Where the address was never proved, all that was there before ends ([`claim`]).
///
/// # Errors
/// [`Error::TokenExpired`], [`Error::TokenInvalid`]; a refused `password`.
pub async fn reset(
    app: &App,
    token: &SecretString,
    password: SecretString,
    request: &RequestId,
) -> Result<(Tx, Now), Problem> {
    // Looked at before a hash is paid for; what counts is the use below.
    let owner = one_time::peek(app.db.read(), &app.clock.now(), Purpose::PasswordReset, token).await?;
    let providers = oauth::only_ways_in(app.db.read(), owner.user_id).await?;
    if !providers.is_empty() {
        return Err(Error::UseOauthProvider(providers).into());
    }
    check(app, owner.user_id, &password).await?;
    let hash = app.hasher.hash(password, app.clock.now().bytes()).await?;

    let now = app.clock.now();
    let tx = app.db.begin().await?;
    let spent = one_time::consume(&tx, &now, Purpose::PasswordReset, token).await?;
    let has_ended = claim::claim(&tx, &now, spent.user_id).await?;
    let user = users::prove(&tx, &now, spent.user_id, &spent.email).await?;
    let update = "update users set password_hash = $2, updated_at = $3 where id = $1";
    tx.execute_raw(sql(&tx, update, [user.id.into(), hash.into(), now.at.into()])).await?;
    sessions::end_others(&tx, &now, user.id, None, "password_reset").await?;
    let detail = json!({"user_id": user.id, "claimed": has_ended});
    is_set(&tx, &now, &app.post, &user, ("user.password_reset", detail), request).await?;
    Ok((tx, now))
}

/// Sets a new password for somebody who is signed in and has shown again who they are. All other sessions end, and the user is told.
///
/// # Errors
/// As [`reauth::once_more`]; a refused `password`.
pub async fn change(
    app: &App,
    by: &CurrentUser,
    current: Option<&SecretString>,
    password: SecretString,
    request: &RequestId,
) -> Result<(Tx, Now), Problem> {
    check(app, by.user_id, &password).await?;
    let before = reauth::once_more(app, by, "current_password", current).await?;
    let hash = app.hasher.hash(password, app.clock.now().bytes()).await?;

    let now = app.clock.now();
    let tx = app.db.begin().await?;
    by.hold(&tx, &now).await?;
    let update = "update users set password_hash = $2, updated_at = $3 \
                  where id = $1 and password_hash is not distinct from $4 and disabled_at is null returning id";
    let values = [by.user_id.into(), hash.into(), now.at.into(), before.into()];
    tx.query_one_raw(sql(&tx, update, values)).await?.ok_or(Error::InvalidCredentials)?;
    sessions::end_others(&tx, &now, by.user_id, Some(by.session_id), "password_changed").await?;
    let user = users::by_id(&tx, by.user_id).await?;
    let detail = json!({"user_id": user.id});
    is_set(&tx, &now, &app.post, &user, ("user.password_changed", detail), request).await?;
    Ok((tx, now))
}

/// Refuses what is no good as a user's password.
async fn check(app: &App, user_id: Uuid, password: &SecretString) -> Result<(), Problem> {
    let user = users::by_id(app.db.read(), user_id).await?;
    let known: Vec<&str> = [Some(user.email.as_str()), user.name.as_deref()].into_iter().flatten().collect();
    passwords::check(password, &app.config.password, &known).map_err(|refused| Problem::invalid(vec![refused]))
}

/// What follows a new password: links that somebody who knew the old one may have asked for are good no more, and the user is told.
async fn is_set(
    tx: &Tx,
    now: &Now,
    post: &Post,
    user: &UserView,
    (action, detail): (&'static str, serde_json::Value),
    request: &RequestId,
) -> Result<(), Error> {
    one_time::end(tx, now, user.id, &[Purpose::ChangeEmail, Purpose::PasswordReset]).await?;
    let mut batch = Batch::default();
    let request_id = Some(request.0.clone());
    audit::append(
        &mut batch,
        now,
        audit::Event { actor: Actor::User(user.id), tenant_id: None, action, request_id, detail },
    );
    if let Ok(email) = Email::parse(&user.email) {
        post.queue(&mut batch, now, None, &security::password_changed(&post.public_url, &email));
    }
    Ok(batch.send(tx).await?)
}
