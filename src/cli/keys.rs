//! `keys`: the keys that sign tokens.

use anyhow::Context;
use chrono::SecondsFormat;
use serde_json::json;

use super::{Failure, output};
use crate::{
    app::App,
    audit,
    db::Batch,
    identity::{jobs, keys},
};

/// Adds a key that signs soon. The older ones verify until the last token they sign has ended.
pub(super) async fn rotate(app: &App, as_json: bool) -> Result<(), Failure> {
    let now = app.clock.now();
    // The first key is made where there is none, for the new one does not sign yet.
    app.keys.load(&now).await.context("cannot load the signing keys")?;
    let tx = app.db.begin().await?;
    let rotated = keys::rotate(&tx, &now, &app.sealer, jobs::longest_token(app)).await;
    let kid = rotated.context("the keys were not rotated")?;
    let mut batch = Batch::default();
    let (actor, action, detail) = (audit::Actor::Cli, "keys.rotated", json!({ "kid": kid }));
    audit::append(&mut batch, &now, audit::Event { actor, tenant_id: None, action, request_id: None, detail });
    batch.send(&tx).await.map_err(|refused| refused.source)?;
    tx.commit().await?;
    let signs_from = (now.at + keys::PUBLISHED_BEFORE).to_rfc3339_opts(SecondsFormat::Secs, true);
    if as_json {
        return output::json(&json!({"kid": kid, "signs_from": signs_from}));
    }
    output::line(&format!(
        "Key {kid} is published now and signs from {signs_from}; older keys go on verifying what they signed"
    ))
}
