//! How many rows every table of a test's database has: what "nothing left" is held against.

use std::collections::BTreeMap;

use sea_orm::{FromQueryResult, Statement};

use super::{Database, Kind};

#[derive(FromQueryResult)]
struct Named {
    name: String,
}

#[derive(FromQueryResult)]
struct Counted {
    name: String,
    n: i64,
}

impl Database {
    /// Counts all tables at one moment, those that sign-up never writes to as well.
    pub async fn census(&self) -> BTreeMap<String, i64> {
        let connection = self.open().await;
        let backend = connection.get_database_backend();
        let tables = match self.kind {
            Kind::Sqlite => "select name from sqlite_master where type = 'table' and name not like 'sqlite_%'",
            Kind::Postgres => "select tablename::text as name from pg_tables where schemaname = 'public'",
        };
        let tables = Named::find_by_statement(Statement::from_string(backend, tables)).all(&connection).await;
        let counts: Vec<_> = tables
            .expect("the tables' names")
            .iter()
            .map(|Named { name }| format!("select '{name}' as name, count(*) as n from {name}"))
            .collect();
        let counts = Statement::from_string(backend, counts.join(" union all "));
        let counted = Counted::find_by_statement(counts).all(&connection).await.expect("the tables' sizes");
        connection.close().await.expect("closes");
        counted.into_iter().map(|Counted { name, n }| (name, n)).collect()
    }
}

/// What came to each table in between; tables that stayed as they were are left out.
pub fn grown(before: &BTreeMap<String, i64>, after: &BTreeMap<String, i64>) -> BTreeMap<String, i64> {
    let grown = after.iter().map(|(table, n)| (table.clone(), n - before.get(table).copied().unwrap_or_default()));
    grown.filter(|(_, n)| *n != 0).collect()
}
