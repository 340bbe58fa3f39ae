//! Invites in the database.

pub(crate) mod invite {
    use sea_orm::entity::prelude::*;

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

    crate::db::plain_entity!();
}
