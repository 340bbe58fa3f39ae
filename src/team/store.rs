//! Invites and seats in the database.

use sea_orm::{ConnectionTrait, DbErr};
use uuid::Uuid;

use crate::db::sql;

pub(crate) mod invite {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "invites")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub email: String,
        pub role: crate::tenants::Role,
        pub token_hash: Vec<u8>,
        pub invited_by: Option<Uuid>,
        pub expires_at: DateTimeUtc,
        pub accepted_at: Option<DateTimeUtc>,
        pub revoked_at: Option<DateTimeUtc>,
        pub email_sent_at: Option<DateTimeUtc>,
        pub created_at: DateTimeUtc,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// How many members a tenant's plan has room for; 0 is without limit.
pub(super) async fn seats(db: &impl ConnectionTrait, tenant_id: Uuid) -> Result<i64, DbErr> {
    let query = "select l.value from subscriptions s join plan_limits l on l.plan_id = s.plan_id and l.name = 'max_users' \
                 where s.tenant_id = $1";
    let row = db.query_one_raw(sql(db, query, [tenant_id.into()])).await?;
    row.map_or(Ok(0), |row| row.try_get("", "value"))
}
