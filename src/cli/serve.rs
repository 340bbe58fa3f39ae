//! `serve` and `worker`.

use anyhow::Context;

use super::{
    Failure,
    args::{Serve, Worker},
    require_schema,
};
use crate::{
    app::App,
    clock::Clock,
    config::Config,
    db,
    serve::{self, Roles},
    telemetry,
};

/// Serves, with the workers beside it unless told otherwise.
pub(super) async fn serve(args: Serve) -> Result<(), Failure> {
    run(args.no_migrate, Roles { http: true, worker: !args.no_worker }).await
}

/// Works the queues, and serves nothing.
pub(super) async fn worker(args: Worker) -> Result<(), Failure> {
    run(args.no_migrate, Roles { http: false, worker: true }).await
}

async fn run(no_migrate: bool, roles: Roles) -> Result<(), Failure> {
    let config = Config::load().map_err(anyhow::Error::from)?;
    let clock = Clock::system();
    let traces = telemetry::start(&config, clock.clone())?;
    telemetry::metrics();
    let app = App::new(config, clock).await?;
    if no_migrate {
        require_schema(&app).await?;
    } else {
        let migrated = db::migrate(&app.db).await.context("cannot migrate the database")?;
        if !migrated.versions.is_empty() {
            tracing::info!(feature = "serve", versions = migrated.versions.join(", "), "Migrated");
        }
    }
    let ended = serve::run(app, roles).await;
    traces.end().await;
    Ok(ended?)
}
