//! `migrate`: the schema's versions.

use anyhow::Context;

use super::{Failure, args::Migrate, output};
use crate::{app::App, db};

/// Brings the schema up to date, takes versions back, or tells what is missing.
pub(super) async fn run(app: &App, args: &Migrate) -> Result<(), Failure> {
    if args.status {
        return status(app).await;
    }
    let (done, verb) = match args.down {
        Some(steps) => (db::roll_back(&app.db, steps).await.context("nothing was rolled back")?, "Rolled back"),
        None => (db::migrate(&app.db).await.context("cannot migrate the database")?, "Applied"),
    };
    if done.versions.is_empty() {
        return output::line("Nothing to do");
    }
    done.versions.iter().try_for_each(|version| output::line(&format!("{verb} {version}")))
}

async fn status(app: &App) -> Result<(), Failure> {
    let pending = db::pending(&app.db).await.context("cannot use the database")?;
    if pending.is_empty() {
        return output::line("The schema is up to date");
    }
    pending.iter().try_for_each(|version| output::line(&format!("Pending {version}")))?;
    Err(Failure::told())
}
