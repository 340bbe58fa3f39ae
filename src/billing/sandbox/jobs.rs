//! The worker that does what is due in the sandbox, by the product's clock.

use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    api::place,
    error::Error,
    renewals, store,
    world::{Caller, World},
};
use crate::{app::App, http::chain};

/// The pause after something went wrong.
const PAUSE: Duration = Duration::from_secs(5);
/// How often to look at the clock, at the least.
const TICK: Duration = Duration::from_secs(30);

/// Works until `stop`; where there is no sandbox, not at all.
pub async fn run(app: App, stop: CancellationToken) {
    if !app.config.billing.sandbox {
        return;
    }
    while !stop.is_cancelled() {
        // Taken before looking, so that a commit in between is not slept through.
        let woken = app.wake.woken();
        let wait = match step(&app).await {
            Ok(wait) => wait,
            Err(error) => {
                tracing::warn!(feature = "sandbox", error = %chain(&error), "Could not do what is due in the sandbox");
                PAUSE
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = woken, if wait != PAUSE => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Does the one thing that is due first; answers how long there is nothing to do.
async fn step(app: &App) -> Result<Duration, Error> {
    let now = app.clock.now();
    match store::next_due(app.db.read()).await? {
        Some((due, _)) if due <= now.at => {}
        Some((due, _)) => return Ok((due - now.at).to_std().unwrap_or_default().min(TICK)),
        None => return Ok(TICK),
    }
    let tx = app.db.begin().await?;
    let mut world = World::open(&tx, &now, place(app), Caller::default()).await?;
    // Looked at again under the lock: another worker may have been faster.
    let Some((due, object)) = store::next_due(&tx).await?.filter(|(due, _)| *due <= now.at) else {
        return Ok(Duration::ZERO);
    };
    world.at = due;
    match renewals::act(&mut world, object.clone()).await {
        Ok(()) => world.close().await?,
        Err(Error::Database(error)) => return Err(error.into()),
        Err(error) => {
            drop(world);
            tx.rollback().await?;
            return set_aside(app, &object, &error).await;
        }
    }
    tx.commit().await?;
    app.wake.wake();
    Ok(Duration::ZERO)
}

/// What cannot be done must not keep everything else waiting.
async fn set_aside(app: &App, object: &Value, error: &Error) -> Result<Duration, Error> {
    tracing::error!(feature = "sandbox", id = store::text(object, "id"), error = %chain(error), "Set aside in the sandbox");
    let tx = app.db.begin().await?;
    store::update(&tx, object, None).await?;
    tx.commit().await?;
    Ok(Duration::ZERO)
}
