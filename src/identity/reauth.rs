//! Showing once more who one is, before what a session alone must not be enough for: it may have been left open, or stolen.

use axum::http::StatusCode;
use sea_orm::{ConnectionTrait, DbErr};
use secrecy::SecretString;
use uuid::Uuid;

use super::{CurrentUser, Error, attempts::UserTry, passwords, sessions};
use crate::{
    app::App,
    db::sql,
    http::{FieldError, Problem},
};

/// Holds a user to their password; answers the hash that it was right for. Holds no connection while it hashes.
///
/// # Errors
/// [`Error::InvalidCredentials`]; [`Error::TooManyTries`]; [`Error::Overloaded`].
pub(super) async fn by_password(app: &App, user_id: Uuid, password: &SecretString) -> Result<String, Error> {
    let tried = UserTry::of(&app.sealer, "reauthentication", user_id);
    tried.begin(app).await?;
    let hash = password_hash(app.db.read(), user_id).await?.ok_or(Error::InvalidCredentials)?;
    if !passwords::could_be(password) || !app.hasher.verify(password.clone(), hash.clone()).await? {
        tracing::info!(feature = "identity", %user_id, "Password refused");
        return Err(Error::InvalidCredentials);
    }
    let tx = app.db.begin().await?;
    tried.forgive(&tx).await?;
    tx.commit().await?;
    Ok(hash)
}

/// Holds somebody who is signed in to their password, which stands in `field`; somebody who has none, to having shown who they are a
/// moment ago. Answers the password's hash.
///
/// # Errors
/// As [`by_password`]; a refused `field` where a password is needed and none was given; `REAUTHENTICATION_REQUIRED`.
pub(super) async fn once_more(
    app: &App,
    user: &CurrentUser,
    field: &str,
    password: Option<&SecretString>,
) -> Result<Option<String>, Problem> {
    if !has_password(app.db.read(), user.user_id).await? {
        fresh(app, user).await?;
        return Ok(None);
    }
    let needed = || Problem::invalid(vec![FieldError::new(field, "REQUIRED", "Type your current password.")]);
    let hash = by_password(app, user.user_id, password.ok_or_else(needed)?).await?;
    Ok(Some(hash))
}

/// Holds somebody who is signed in to having shown who they are a moment ago: for what no password is typed for.
///
/// # Errors
/// [`Error::ReauthenticationRequired`].
pub(super) async fn fresh(app: &App, user: &CurrentUser) -> Result<(), Error> {
    let is_fresh = sessions::is_fresh(app.db.read(), &app.clock.now(), user.session_id).await?;
    if is_fresh { Ok(()) } else { Err(Error::ReauthenticationRequired) }
}

/// Whether a user has a password at all.
pub(super) async fn has_password(db: &impl ConnectionTrait, user_id: Uuid) -> Result<bool, DbErr> {
    Ok(password_hash(db, user_id).await?.is_some())
}

async fn password_hash(db: &impl ConnectionTrait, user_id: Uuid) -> Result<Option<String>, DbErr> {
    let query = "select password_hash from users where id = $1 and disabled_at is null";
    let row = db.query_one_raw(sql(db, query, [user_id.into()])).await?;
    row.map_or(Ok(None), |row| row.try_get("", "password_hash"))
}

/// What [`Error::ReauthenticationRequired`] is to a client.
pub(super) fn required() -> Problem {
    let detail = "Log in again first: this needs somebody who has shown within the last 10 minutes who they are.";
    Problem::new(StatusCode::FORBIDDEN, "REAUTHENTICATION_REQUIRED", detail)
}
