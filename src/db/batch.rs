//! Many inserts as few statements as the database allows.

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, EntityName, EntityTrait, Insert, IntoActiveModel, QueryTrait, Statement,
    sea_query::{Alias, CommonTableExpression, Expr, InsertStatement, PostgresQueryBuilder, Query, WithClause},
};
use tracing::instrument;

use super::{Tx, failpoint};

/// Collects a transaction's inserts and sends them together.
///
/// Ids and times are made by the program, so the rows need no answer from each other: on PostgreSQL they travel as one
/// data-modifying CTE, one round trip; on SQLite, which refuses INSERT in a CTE and has no network, one by one. Foreign
/// keys between the rows hold, because PostgreSQL checks them at the statement's end and the SQLite order is the order of
/// insertion here.
#[derive(Debug, Default)]
pub struct Batch {
    inserts: Vec<(String, InsertStatement)>,
}

/// An insert that was refused, and the table it was for, where that is known.
#[derive(Debug, thiserror::Error)]
#[error("insert into {} failed", table.as_deref().unwrap_or("a table"))]
pub struct BatchError {
    /// The refused row's table.
    pub table: Option<String>,
    /// What the database said.
    pub source: DbErr,
}

impl Batch {
    /// Adds one row.
    pub fn insert<M>(&mut self, row: M)
    where
        M: sea_orm::ModelTrait + IntoActiveModel<<M::Entity as EntityTrait>::ActiveModel>,
    {
        self.insert_all([row]);
    }

    /// Adds rows of one table.
    pub fn insert_all<M>(&mut self, rows: impl IntoIterator<Item = M>)
    where
        M: sea_orm::ModelTrait + IntoActiveModel<<M::Entity as EntityTrait>::ActiveModel>,
    {
        let rows: Vec<_> = rows.into_iter().map(IntoActiveModel::into_active_model).collect();
        if rows.is_empty() {
            return;
        }
        let insert = Insert::many(rows).into_query();
        self.inserts.push((M::Entity::default().table_name().to_owned(), insert));
    }

    /// Sends all rows within the transaction; without any, nothing.
    ///
    /// # Errors
    /// The first row that is refused; the transaction is then only good for rolling back.
    #[instrument(level = "debug", target = "tenantry::traces", name = "insert", skip_all, fields(rows = self.inserts.len()))]
    pub async fn send(self, tx: &Tx) -> Result<(), BatchError> {
        if self.inserts.is_empty() {
            return Ok(());
        }
        match tx.get_database_backend() {
            DbBackend::Postgres => self.send_as_one(tx).await,
            _ => self.send_one_by_one(tx).await,
        }
    }

    async fn send_one_by_one(self, tx: &Tx) -> Result<(), BatchError> {
        for (table, insert) in self.inserts {
            let sent = match failpoint(&format!("insert::{table}")) {
                Ok(()) => tx.execute(&insert).await.map(drop),
                Err(injected) => Err(injected),
            };
            sent.map_err(|source| BatchError { table: Some(table), source })?;
        }
        failpoint("batch::sent").map_err(|source| BatchError { table: None, source })
    }

    async fn send_as_one(self, tx: &Tx) -> Result<(), BatchError> {
        for (table, _) in &self.inserts {
            let point = failpoint(&format!("insert::{table}"));
            point.map_err(|source| BatchError { table: Some(table.clone()), source })?;
        }
        let mut with = WithClause::new();
        // PostgreSQL runs what the query does not read from the last to the first; the order of insertion decides which refusal of
        // several a caller hears, as on SQLite.
        for (n, (_, insert)) in self.inserts.into_iter().enumerate().rev() {
            with.cte(CommonTableExpression::new().table_name(Alias::new(format!("i{n}"))).query(insert).to_owned());
        }
        let all = Query::select().expr(Expr::val(1)).to_owned().with(with);
        let (text, values) = all.build(PostgresQueryBuilder);
        let statement = Statement::from_sql_and_values(DbBackend::Postgres, text, values);
        let sent = match tx.execute_raw(statement).await {
            Ok(_) => failpoint("batch::sent"),
            Err(error) => Err(error),
        };
        sent.map_err(|source| BatchError { table: super::refusals::table(&source), source })
    }
}
