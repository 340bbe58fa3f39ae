//! `migrate`: the schema's versions.

use anyhow::Context;
use sea_orm::DbErr;

use super::{Failure, args::Migrate, output};
use crate::{app::App, db, http};

/// Brings the schema up to date, takes versions back, or tells what is missing.
pub(super) async fn run(app: &App, args: &Migrate) -> Result<(), Failure> {
    if args.status {
        return status(app).await;
    }
    let (done, verb) = match args.down {
        Some(steps) => (db::roll_back(&app.db, steps).await.map_err(kept)?, "Rolled back"),
        None => (db::migrate(&app.db).await.context("cannot migrate the database")?, "Applied"),
    };
    if done.versions.is_empty() {
        return output::line("Nothing to do");
    }
    done.versions.iter().try_for_each(|version| output::line(&format!("{verb} {version}")))
}

/// A version that refuses to go, or a database that does not answer.
fn kept(error: DbErr) -> Failure {
    if db::is_unavailable(&error) {
        return error.into();
    }
    Failure::refused(format!("the version was not taken back: {}", http::chain(&error)))
}

async fn status(app: &App) -> Result<(), Failure> {
    let pending = db::pending(&app.db).await.context("cannot use the database")?;
    if pending.is_empty() {
        return output::line("The schema is up to date");
    }
    pending.iter().try_for_each(|version| output::line(&format!("Pending {version}")))?;
    Err(Failure::told())
}
