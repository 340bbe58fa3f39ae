//! The command line: an edge like the HTTP API, for the operator.
//!
//! Exit codes: 0 done, 1 refused or what was checked does not hold, 2 could not be tried (usage, configuration, something
//! unreachable). Results go to standard output, everything else to standard error.

mod args;
mod backfill;
mod config;
mod doctor;
mod failure;
mod flag;
mod keys;
mod migrate;
mod output;
mod plan;
mod plan_file;
mod plan_words;
mod preflight;
mod progress;
mod provision;
mod serve;
mod tenant;
mod tenant_delete;

use std::{
    io::{IsTerminal, stderr},
    process::ExitCode,
};

use anyhow::Context;
use args::{BackfillCommand, Cli, Command, FlagCommand, KeysCommand, PlanCommand, TenantCommand};
use clap::Parser;
use failure::Failure;
use serde::Serialize;
use tracing_subscriber::filter::LevelFilter;

use crate::{
    app::{self, App},
    clock::Clock,
    config::Config,
    db, http,
};

/// Runs what the process's arguments say.
pub fn main() -> ExitCode {
    // Points that the environment arms with FAILPOINTS, for the fault tests.
    #[cfg(feature = "failpoints")]
    let _armed = fail::FailScenario::setup();
    let command = Cli::parse().command.unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = match runtime.context("cannot start the threads") {
        Ok(runtime) => runtime.block_on(run(command)),
        Err(error) => Err(error.into()),
    };
    done.map_or_else(Failure::tell, |()| ExitCode::SUCCESS)
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(role) => return serve::serve(role).await,
        Command::Worker(role) => return serve::worker(role).await,
        _ => log(),
    }
    match command {
        Command::Serve(_) | Command::Worker(_) => Ok(()),
        Command::Migrate(args) => migrate::run(&connect().await?, &args).await,
        Command::Preflight(args) => preflight::run(args).await,
        Command::Doctor { json } => doctor::run(&open().await?, json).await,
        Command::Tenant(command) => tenant(command).await,
        Command::Flag(FlagCommand::List { json }) => flag::list(&open().await?, json).await,
        Command::Flag(FlagCommand::Set { name, enabled, json }) => {
            flag::set(&open().await?, &name, enabled, json).await
        }
        Command::Plan(command) => plan(command).await,
        Command::Backfill(BackfillCommand::Complimentary(args)) => backfill::complimentary(&open().await?, &args).await,
        Command::Keys(KeysCommand::Rotate { json }) => keys::rotate(&open().await?, json).await,
        Command::Config(args::ConfigCommand::Check { json }) => config::check(json),
        Command::Openapi => openapi(),
    }
}

async fn tenant(command: TenantCommand) -> Result<(), Failure> {
    match command {
        TenantCommand::List(args) => tenant::list(&open().await?, &args).await,
        TenantCommand::Show { tenant, json } => tenant::show(&open().await?, &tenant, json).await,
        TenantCommand::Create(args) => tenant::create(&open().await?, &args).await,
        TenantCommand::Retry { tenant, wait, json } => tenant::retry(&open().await?, &tenant, wait, json).await,
        TenantCommand::Delete(args) => tenant_delete::run(&open().await?, &args).await,
    }
}

async fn plan(command: PlanCommand) -> Result<(), Failure> {
    match command {
        PlanCommand::List { json } => plan::list(&open().await?, json).await,
        PlanCommand::Export => plan_file::export(&open().await?).await,
        PlanCommand::Diff(args) => {
            let differs = async { plan_file::diff(&open().await?, &args).await }.await;
            // 2 says that something would change, so that whatever went wrong is 1.
            if differs.map_err(Failure::into_refused)? { Err(Failure::changes()) } else { Ok(()) }
        }
        PlanCommand::Apply(args) => plan_file::apply(&open().await?, &args).await,
    }
}

fn openapi() -> Result<(), Failure> {
    let (_, collected) = app::api().split_for_parts();
    output::json(&http::document(collected))
}

/// Warnings alone, for a person; a command tells its result by itself.
fn log() {
    let logging = tracing_subscriber::fmt().with_max_level(LevelFilter::WARN).with_target(false).without_time();
    logging.with_ansi(stderr().is_terminal()).with_writer(stderr).init();
}

/// The product's parts, on whatever schema the database has.
async fn connect() -> Result<App, Failure> {
    let config = Config::load().map_err(anyhow::Error::from)?;
    Ok(App::new(config, Clock::system()).await?)
}

/// The product's parts, on a database that has this program's schema.
async fn open() -> Result<App, Failure> {
    let app = connect().await?;
    require_schema(&app).await?;
    Ok(app)
}

/// Refuses where the database lacks versions of the schema that this program needs.
async fn require_schema(app: &App) -> Result<(), Failure> {
    match &db::pending(&app.db).await.context("cannot use the database")?[..] {
        [] => Ok(()),
        missing => Err(Failure::not_tried(format!(
            "the database lacks {}; run `tenantry migrate` (or start `tenantry serve`, which migrates first)",
            missing.join(", ")
        ))),
    }
}

/// A status as the API writes it.
fn word(status: &impl Serialize) -> String {
    serde_json::to_value(status).ok().and_then(|word| Some(word.as_str()?.to_owned())).unwrap_or_default()
}
