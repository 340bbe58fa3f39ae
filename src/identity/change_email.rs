//! Giving a user another address: asked for by somebody who is signed in, done by a link that goes to the new address.
//!
//! Whether the new address is somebody else's must not show: a link is made and two letters leave either way, but only one that goes to a
//! free address carries the link.

use chrono::TimeDelta;
use sea_orm::{ConnectionTrait, FromQueryResult};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::{
    CurrentUser, Error,
    email::Email,
    one_time::{self, NewToken, Purpose},
    sessions,
    users::{self, UserView},
};
use crate::{
    clock::Now,
    db::{Batch, Tx, Unique, sql, unique},
    mail::{Post, letters::security},
};

/// Sends the link to the new address, and tells the old one. A link that was asked for before is good no more.
///
/// # Errors
/// [`Error::TooSoon`] within `wait` of the one before; [`Error::NotFound`].
pub async fn ask(
    tx: &Tx,
    now: &Now,
    post: &Post,
    (user_id, new): (Uuid, &Email),
    wait: TimeDelta,
) -> Result<(), Error> {
    let (_, old) = users::addressee(tx, "id = $1", user_id.into()).await?.ok_or(Error::NotFound)?;
    users::cool_down(tx, now, user_id, Purpose::ChangeEmail, wait).await?;
    one_time::end(tx, now, user_id, &[Purpose::ChangeEmail]).await?;
    let query = "select 1 as one from users where email = $1";
    let is_taken = tx.query_one_raw(sql(tx, query, [new.as_str().into()])).await?.is_some();
    let mut batch = Batch::default();
    let token = NewToken { user_id, tenant_id: None, purpose: Purpose::ChangeEmail, email: new, ttl: None };
    let token = one_time::mint(&mut batch, now, token);
    let letter = if is_taken {
        security::email_in_use(&post.public_url, new)
    } else {
        security::change_email(&post.public_url, new, &old, token.expose_secret())
    };
    post.queue(&mut batch, now, None, &letter);
    post.queue(&mut batch, now, None, &security::email_change_asked(&post.public_url, &old, new));
    Ok(batch.send(tx).await?)
}

/// A user who has another address now.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The user.
    pub user: UserView,
    /// The address before.
    pub old: String,
}

/// Uses the link: the new address is proved, and is the user's. All other links of the user are good no more, and all other sessions end.
/// Both addresses are told.
///
/// Only the user may use it: whoever reads the mail, and was sent it by a stranger, would else prove the stranger's account.
///
/// # Errors
/// [`Error::TokenExpired`], [`Error::TokenInvalid`] for another user's too; [`Error::SessionEnded`]; [`Error::NewEmailTaken`] where
/// somebody else has the address by now.
pub async fn confirm(
    tx: &Tx,
    now: &Now,
    post: &Post,
    token: &SecretString,
    by: &CurrentUser,
) -> Result<Changed, Error> {
    by.hold(tx, now).await?;
    let link = one_time::consume(tx, now, Purpose::ChangeEmail, token).await?;
    if link.user_id != by.user_id {
        return Err(Error::TokenInvalid);
    }
    let (_, old) = users::addressee(tx, "id = $1", link.user_id.into()).await?.ok_or(Error::TokenInvalid)?;
    let update = format!(
        "update users set email = $2, email_verified_at = $3, updated_at = $3 where id = $1 returning {}",
        users::VIEW
    );
    let values = [link.user_id.into(), link.email.into(), now.at.into()];
    let user = UserView::find_by_statement(sql(tx, &update, values))
        .one(tx)
        .await
        .map_err(|error| if unique(&error) == Some(Unique::UserEmail) { Error::NewEmailTaken } else { error.into() })?;
    let user = user.ok_or(Error::TokenInvalid)?;
    one_time::end(tx, now, user.id, &one_time::ALL).await?;
    sessions::end_others(tx, now, user.id, Some(by.session_id), "email_changed").await?;
    let new = Email::parse(&user.email).map_err(|_| Error::TokenInvalid)?;
    let mut batch = Batch::default();
    post.queue(&mut batch, now, None, &security::email_given_up(&post.public_url, &old, &new));
    post.queue(&mut batch, now, None, &security::email_changed(&post.public_url, &new));
    batch.send(tx).await?;
    Ok(Changed { user, old: old.into() })
}
