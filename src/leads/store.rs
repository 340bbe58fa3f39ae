//! Leads in the database.

use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use uuid::Uuid;

use super::{Lead, Status};
use crate::{
    clock::Now,
    db::{Tx, for_update, sql},
    http::Page,
};

pub(crate) mod lead {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "sales_leads")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub email: String,
        pub name: String,
        pub company: String,
        pub team_size: Option<String>,
        pub message: Option<String>,
        pub status: crate::leads::Status,
        pub created_at: DateTimeUtc,
        pub updated_at: DateTimeUtc,
    }

    crate::db::plain_entity!();
}

const COLUMNS: &str = "id, email, name, company, team_size, message, status, created_at, updated_at";

/// A page of leads, those of one status where it is given, newest first.
pub(super) async fn list(db: &impl ConnectionTrait, status: Option<Status>, page: Page) -> Result<Vec<Lead>, DbErr> {
    let query = format!(
        "select {COLUMNS} from sales_leads where id < $1 and (cast($2 as text) is null or status = $2) order by id desc limit $3"
    );
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX).saturating_add(1);
    let values = [page.before.into(), status.map(Status::as_str).into(), limit.into()];
    Lead::find_by_statement(sql(db, &query, values)).all(db).await
}

/// One, held until the transaction ends.
pub(super) async fn lock(tx: &Tx, id: Uuid) -> Result<Option<Lead>, DbErr> {
    let query = format!("select {COLUMNS} from sales_leads where id = $1{}", for_update(tx));
    Lead::find_by_statement(sql(tx, &query, [id.into()])).one(tx).await
}

pub(super) async fn set_status(tx: &Tx, now: &Now, id: Uuid, status: Status) -> Result<(), DbErr> {
    let update = "update sales_leads set status = $2, updated_at = $3 where id = $1";
    tx.execute_raw(sql(tx, update, [id.into(), status.into(), now.at.into()])).await.map(drop)
}
