//! The database: connecting, transactions, and what its refusals mean.
//!
//! Two databases, one code. What differs between them lives here and nowhere else: connecting ([`connect`]), many inserts
//! at once ([`Batch`]), locking ([`skip_locked`]), spans of time ([`millis_between`]) and the names of violated constraints ([`Unique`]).
//!
//! SQLite has two pools on one file: one connection that writes, opened with `BEGIN IMMEDIATE`, and several that only read.

mod batch;
mod entity;
pub(crate) mod migrations;
mod refusals;
mod wake;

use std::{path::PathBuf, str::FromStr, time::Duration};

pub use batch::{Batch, BatchError};
pub(crate) use entity::plain_entity;
pub use migrations::{Migrated, migrate, pending, roll_back};
pub use refusals::{Unique, is_unavailable, unique};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, SqliteTransactionMode,
    SqlxPostgresConnector, SqlxSqliteConnector, Statement, TransactionOptions, TransactionTrait, Value,
    sqlx::{
        ConnectOptions, Connection, PgPool,
        postgres::{PgConnectOptions, PgPoolOptions},
        sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
    },
};
use secrecy::{ExposeSecret, SecretString};
use tracing::instrument;
pub use wake::Wake;

/// An open transaction. Verbs take it first; only edges commit it.
pub type Tx = DatabaseTransaction;

/// Where the data is.
#[derive(Clone, Debug)]
pub enum Location {
    /// A SQLite file; it and its folder are created where missing.
    Sqlite(PathBuf),
    /// A `postgres://` URL.
    Postgres(SecretString),
}

/// The connected database. Clones share its pools.
#[derive(Clone, Debug)]
pub struct Db {
    write: DatabaseConnection,
    read: DatabaseConnection,
    location: Location,
    postgres: Option<PgPool>,
}

/// How long a request waits for a free connection before it answers 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects. On PostgreSQL with at most `max_connections`, lazily: a database that is down is an error of the first query.
///
/// # Errors
/// A URL that cannot be read, a file that cannot be opened.
pub async fn connect(location: &Location, max_connections: u32) -> Result<Db, DbErr> {
    match location {
        Location::Sqlite(path) => connect_sqlite(path.clone(), location.clone()).await,
        Location::Postgres(url) => connect_postgres(url, location.clone(), max_connections),
    }
}

async fn connect_sqlite(path: PathBuf, location: Location) -> Result<Db, DbErr> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|e| DbErr::Custom(format!("cannot create {}: {e}", folder.display())))?;
    }
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(ACQUIRE_TIMEOUT)
        .statement_cache_capacity(500)
        .disable_statement_logging();
    let pool = || {
        SqlitePoolOptions::new()
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
    };
    let write = pool().max_connections(1).connect_with(options.clone()).await.map_err(refusals::from_sqlx)?;
    let read = pool().max_connections(4).min_connections(0).connect_lazy_with(options.pragma("query_only", "on"));
    Ok(Db {
        write: SqlxSqliteConnector::from_sqlx_sqlite_pool(write),
        read: SqlxSqliteConnector::from_sqlx_sqlite_pool(read),
        location,
        postgres: None,
    })
}

fn connect_postgres(url: &SecretString, location: Location, max_connections: u32) -> Result<Db, DbErr> {
    let options = PgConnectOptions::from_str(url.expose_secret())
        .map_err(refusals::from_sqlx)?
        .application_name("tenantry")
        .statement_cache_capacity(500)
        .disable_statement_logging();
    let pool = PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        // A ping at every use would be a round trip a request; after a pause it notices a restarted server.
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > Duration::from_secs(1) {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options);
    let connection = SqlxPostgresConnector::from_sqlx_postgres_pool(pool.clone());
    Ok(Db { write: connection.clone(), read: connection, location, postgres: Some(pool) })
}

impl Db {
    /// Opens a transaction that may write: READ COMMITTED on PostgreSQL, `BEGIN IMMEDIATE` on SQLite.
    #[instrument(level = "debug", target = "tenantry::traces", skip_all)]
    pub async fn begin(&self) -> Result<Tx, DbErr> {
        failpoint("begin")?;
        match self.backend() {
            DbBackend::Sqlite => {
                let mode = Some(SqliteTransactionMode::Immediate);
                self.write
                    .begin_with_options(TransactionOptions { sqlite_transaction_mode: mode, ..Default::default() })
                    .await
            }
            _ => self.write.begin().await,
        }
    }

    /// The connection for queries outside a transaction. On SQLite it refuses to write.
    pub fn read(&self) -> &DatabaseConnection {
        &self.read
    }

    /// Which database this is.
    pub fn backend(&self) -> DbBackend {
        self.write.get_database_backend()
    }

    /// `"sqlite"` or `"postgres"`, for people.
    pub fn name(&self) -> &'static str {
        match self.location {
            Location::Sqlite(_) => "sqlite",
            Location::Postgres(_) => "postgres",
        }
    }

    /// The pool beneath, where this is PostgreSQL: for `LISTEN`, `NOTIFY` and advisory locks.
    pub fn postgres(&self) -> Option<&PgPool> {
        self.postgres.as_ref()
    }

    /// Closes every connection after what runs has ended.
    pub async fn close(self) {
        let _ = self.read.close().await;
        let _ = self.write.close().await;
    }
}

/// A statement with `$1` placeholders, as both databases read them.
pub fn sql<const N: usize>(connection: &impl ConnectionTrait, text: &str, values: [Value; N]) -> Statement {
    Statement::from_sql_and_values(connection.get_database_backend(), text, values)
}

/// What a claiming query ends with, so that replicas pass by each other's rows. SQLite has one writer and needs nothing.
pub fn skip_locked(connection: &impl ConnectionTrait) -> &'static str {
    match connection.get_database_backend() {
        DbBackend::Postgres => " for update skip locked",
        _ => "",
    }
}

/// What a query ends with that holds its rows until the transaction ends, and lets others refer to them. SQLite's one writer holds all.
pub fn for_update(connection: &impl ConnectionTrait) -> &'static str {
    match connection.get_database_backend() {
        DbBackend::Postgres => " for no key update",
        _ => "",
    }
}

/// The milliseconds between two columns, as an expression that is a whole number.
pub fn millis_between(connection: &impl ConnectionTrait, from: &str, to: &str) -> String {
    match connection.get_database_backend() {
        DbBackend::Postgres => format!("cast(extract(epoch from ({to} - {from})) * 1000 as bigint)"),
        _ => format!("cast(round((julianday({to}) - julianday({from})) * 86400000) as integer)"),
    }
}

/// A named point at which the fault tests make a write fail or the process die.
///
/// # Errors
/// Only when the point is armed; never without the `failpoints` feature.
#[cfg_attr(not(feature = "failpoints"), expect(clippy::unnecessary_wraps, reason = "fails only with failpoints"))]
pub fn failpoint(name: &str) -> Result<(), DbErr> {
    #[cfg(not(feature = "failpoints"))]
    let _ = name;
    fail::fail_point!(name, |how| match how.as_deref() {
        Some("die") => std::process::abort(),
        _ => Err(DbErr::Custom(format!("injected failure at {name}"))),
    });
    Ok(())
}
