//! The audit log in the database.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    db::sql,
    http::{Listing, Page},
};

pub(crate) mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "audit_events")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub tenant_id: Option<Uuid>,
        pub actor_type: String,
        pub actor_id: Option<Uuid>,
        pub action: String,
        pub request_id: Option<String>,
        pub detail: Json,
        pub created_at: DateTimeUtc,
    }

    crate::db::plain_entity!();
}

/// An event as administrators read it.
#[derive(Clone, Debug, Serialize, ToSchema, FromQueryResult)]
pub struct AuditEvent {
    /// Its id.
    pub id: Uuid,
    /// The tenant it was done to.
    pub tenant_id: Option<Uuid>,
    /// `user`, `platform_admin`, `cli` or `system`.
    pub actor_type: String,
    /// The user who did it.
    pub actor_id: Option<Uuid>,
    /// What was done.
    pub action: String,
    /// The request it came with.
    pub request_id: Option<String>,
    /// What else matters.
    #[schema(value_type = Object)]
    pub detail: serde_json::Value,
    /// When.
    pub created_at: DateTime<Utc>,
}

const COLUMNS: &str = "id, tenant_id, actor_type, actor_id, action, request_id, detail, created_at";

/// A page of events, of one tenant where it is given, newest first.
pub async fn list(
    db: &impl ConnectionTrait,
    tenant_id: Option<Uuid>,
    page: Page,
) -> Result<Listing<AuditEvent>, DbErr> {
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX - 1) + 1;
    let rows = match tenant_id {
        None => {
            let query = format!("select {COLUMNS} from audit_events where id < $1 order by id desc limit $2");
            AuditEvent::find_by_statement(sql(db, &query, [page.before.into(), limit.into()])).all(db).await?
        }
        Some(tenant_id) => {
            let query = format!(
                "select {COLUMNS} from audit_events where tenant_id = $1 and id < $2 order by id desc limit $3"
            );
            let values = [tenant_id.into(), page.before.into(), limit.into()];
            AuditEvent::find_by_statement(sql(db, &query, values)).all(db).await?
        }
    };
    Ok(Listing::of(rows, page, |event| event.id))
}
