//! A database for one test: a file in a scratch folder, or a PostgreSQL database copied from a migrated template.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use sea_orm::{
    ConnectionTrait, Database as Orm, DatabaseConnection, FromQueryResult, Statement,
    sqlx::{self, Connection, PgConnection},
};
use tenantry::{
    clock::Clock,
    db::{self, Location},
};

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

/// One test's database and its scratch folder, which goes with it.
pub struct Database {
    pub kind: Kind,
    folder: PathBuf,
    /// Whether the folder goes with this one, and not with another that shares it.
    owns_folder: bool,
    /// What `DATABASE_URL` has to say; nothing for SQLite in the data folder.
    pub url: Option<String>,
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.owns_folder {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

#[derive(FromQueryResult)]
struct N {
    n: i64,
}

impl Database {
    /// An empty, migrated database.
    pub async fn create(kind: Kind) -> Self {
        let name = format!("t_{}", Clock::system().now().id().simple());
        let folder = std::env::temp_dir().join(format!("tenantry-{name}"));
        std::fs::create_dir_all(&folder).expect("a scratch folder");
        let url = match kind {
            Kind::Sqlite => {
                let file = Location::Sqlite(folder.join("tenantry.db"));
                let db = db::connect(&file, 1).await.expect("SQLite opens");
                db::migrate(&db).await.expect("SQLite migrates");
                db.close().await;
                None
            }
            Kind::Postgres => Some(copy_of_template(&name).await),
        };
        Self { kind, folder, owns_folder: true, url }
    }

    /// The same database, for another server on it.
    pub fn shared(&self) -> Self {
        Self { kind: self.kind, folder: self.folder.clone(), owns_folder: false, url: self.url.clone() }
    }

    /// The data folder: the SQLite file is in it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A connection of the test's own, to look at what the product did, or to stand in its way.
    pub async fn open(&self) -> DatabaseConnection {
        let url = match &self.url {
            Some(url) => url.clone(),
            None => format!("sqlite://{}?mode=rw", self.folder.join("tenantry.db").display()),
        };
        Orm::connect(url).await.expect("the test's database opens")
    }

    /// What a `select count(*) as n …` counts.
    pub async fn count(&self, query: &str) -> i64 {
        self.all::<N>(query).await.first().map_or(0, |row| row.n)
    }

    /// Every row of a query.
    pub async fn all<T: FromQueryResult>(&self, query: &str) -> Vec<T> {
        let connection = self.open().await;
        let statement = Statement::from_string(connection.get_database_backend(), query);
        let rows = T::find_by_statement(statement).all(&connection).await.expect(query);
        connection.close().await.expect("closes");
        rows
    }

    /// The one row of a query.
    pub async fn one<T: FromQueryResult>(&self, query: &str) -> T {
        let mut rows = self.all(query).await;
        assert_eq!(rows.len(), 1, "{query}");
        rows.remove(0)
    }

    /// How many rows each table has that a sign-up writes to. All must be 0 where nothing happened.
    pub async fn rows(&self) -> Vec<(&'static str, i64)> {
        let mut rows = Vec::new();
        for table in WRITTEN_BY_SIGNUP {
            rows.push((table, self.count(&format!("select count(*) as n from {table}")).await));
        }
        rows
    }

    /// Runs statements as they are.
    pub async fn execute(&self, statements: &str) {
        let connection = self.open().await;
        connection.execute_unprepared(statements).await.expect(statements);
        connection.close().await.expect("closes");
    }
}

/// Every table that a wizard's first step writes to, in the order of the batch, and the one that keeps its answer.
pub const WRITTEN_BY_SIGNUP: [&str; 14] = [
    "users",
    "tenants",
    "memberships",
    "subscriptions",
    "credit_balances",
    "credit_transactions",
    "segments",
    "packages",
    "provision_runs",
    "provision_steps",
    "one_time_tokens",
    "outbox",
    "audit_events",
    "idempotency_keys",
];

/// Copies the template, which the first test to come here makes. Tests are processes of their own, so a lock in the database
/// orders them.
async fn copy_of_template(name: &str) -> String {
    let admin =
        std::env::var("TEST_DATABASE_URL").expect("TEST_DATABASE_URL is not set: run the tests with scripts/test");
    let mut connection = PgConnection::connect(&admin).await.expect("the test PostgreSQL answers");
    // Named after what it is made of, so that a server that is kept between runs does not serve an old schema.
    let mut hasher = DefaultHasher::new();
    (
        include_str!("../../../src/db/migrations/0001_part_one.up.sql"),
        include_str!("../../../src/db/migrations/default_plans.rs"),
        include_str!("../../../src/db/migrations/0003_identity.up.sql"),
        include_str!("../../../src/db/migrations/0004_billing.up.sql"),
    )
        .hash(&mut hasher);
    let template = format!("template_{:016x}", hasher.finish());
    sqlx::query("select pg_advisory_lock(7)").execute(&mut connection).await.expect("locks");
    let exists = sqlx::query("select 1 from pg_database where datname = $1").bind(&template);
    if exists.fetch_optional(&mut connection).await.expect("asks").is_none() {
        execute(&mut connection, format!("create database {template}_making")).await;
        let url = with_database(&admin, &format!("{template}_making"));
        let db = db::connect(&Location::Postgres(url.into()), 2).await.expect("connects");
        db::migrate(&db).await.expect("PostgreSQL migrates");
        db.close().await;
        execute(&mut connection, format!("alter database {template}_making rename to {template}")).await;
    }
    execute(&mut connection, format!("create database {name} template {template}")).await;
    sqlx::query("select pg_advisory_unlock(7)").execute(&mut connection).await.expect("unlocks");
    with_database(&admin, name)
}

async fn execute(connection: &mut PgConnection, statement: String) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(connection).await.expect("PostgreSQL obeys");
}

fn with_database(url: &str, name: &str) -> String {
    let mut url = url::Url::parse(url).expect("a URL");
    url.set_path(name);
    url.to_string()
}

/// PostgreSQL tells nobody of locks and dead clients: it has to be asked.
pub async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    for _ in 0..2_000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not within ten seconds: {what}");
}
