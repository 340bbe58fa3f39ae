//! What identity does by itself: replaces the key that signs when it is old, and forgets what is over.

use chrono::TimeDelta;
use sea_orm::{ConnectionTrait, DbErr};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    attempts,
    keys::{self, KeysError},
    sessions,
};
use crate::{
    app::App,
    audit::{self, Actor},
    db::{Batch, sql},
    http::chain,
    schedule,
};

/// Between two rounds, in the product's own time, where keys are not replaced more often.
const EVERY: TimeDelta = TimeDelta::hours(1);
/// What has expired is still told apart from what never was for so long.
const KEPT: TimeDelta = TimeDelta::days(30);
/// A session that is over is remembered for so long: where an account was used from, and by what.
const SESSIONS_KEPT: TimeDelta = TimeDelta::days(90);

/// Goes round now and then until `stop`.
pub async fn run(app: App, stop: CancellationToken) {
    schedule::every(&app, rotate_after(&app).unwrap_or(EVERY).min(EVERY), &stop, |app| async move {
        if let Err(error) = rotate_keys(&app).await {
            tracing::error!(feature = "identity", error = %chain(&error), "The signing key could not be replaced");
        }
        if let Err(error) = forget(&app).await {
            tracing::warn!(feature = "identity", error = %chain(&error), "Could not clean up");
        }
    })
    .await;
}

/// How long the last token may live that a key signs.
pub fn longest_token(app: &App) -> TimeDelta {
    TimeDelta::from_std(app.config.signup.token_ttl).unwrap_or(TimeDelta::MAX).max(sessions::ACCESS_TTL)
}

/// Nothing where keys are for ever.
fn rotate_after(app: &App) -> Option<TimeDelta> {
    TimeDelta::from_std(app.config.keys.rotate_after).ok().filter(|after| !after.is_zero())
}

/// Replaces the key that signs, where it is older than `keys.rotate_after`. Of several replicas one does it. Answers the new key's name.
pub async fn rotate_keys(app: &App) -> Result<Option<String>, KeysError> {
    let Some(after) = rotate_after(app) else { return Ok(None) };
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    let Some(kid) = keys::rotate_if_due(&tx, &now, &app.sealer, longest_token(app), now.at - after).await? else {
        return Ok(None);
    };
    let mut batch = Batch::default();
    let (actor, action, detail) = (Actor::System, "keys.rotated", json!({"kid": kid}));
    audit::append(&mut batch, &now, audit::Event { actor, tenant_id: None, action, request_id: None, detail });
    batch.send(&tx).await.map_err(|refused| refused.source)?;
    tx.commit().await?;
    app.keys.load(&now).await?;
    tracing::info!(
        feature = "identity",
        kid,
        "The signing key was replaced; the new one signs when it has been published for a while"
    );
    Ok(Some(kid))
}

/// Forgets what is over: ways to a provider and back, wrong tries, tokens, and in the end sessions.
pub async fn forget(app: &App) -> Result<(), DbErr> {
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    for (over, before) in [
        ("delete from oauth_flows where expires_at <= $1", now.at),
        ("delete from attempts where updated_at <= $1", now.at - attempts::QUIET),
        ("delete from refresh_tokens where expires_at <= $1", now.at - KEPT),
        // Its refresh tokens go with it.
        ("delete from sessions where expires_at <= $1 or revoked_at <= $1", now.at - SESSIONS_KEPT),
    ] {
        tx.execute_raw(sql(&tx, over, [before.into()])).await?;
    }
    tx.commit().await
}
