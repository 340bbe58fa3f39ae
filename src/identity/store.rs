//! Users, their ways in, sessions, tokens and keys in the database.

pub(crate) mod user {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "users")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub email: String,
        pub name: Option<String>,
        pub password_hash: Option<String>,
        pub email_verified_at: Option<DateTimeUtc>,
        pub role_at_signup: Option<String>,
        pub onboarding_step_completed: Option<String>,
        pub is_platform_admin: bool,
        pub disabled_at: Option<DateTimeUtc>,
        pub left_last_tenant_at: Option<DateTimeUtc>,
        pub claimed_at: Option<DateTimeUtc>,
        pub created_at: DateTimeUtc,
        pub updated_at: DateTimeUtc,
    }

    crate::db::plain_entity!();
}

pub(crate) mod one_time_token {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "one_time_tokens")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub user_id: Uuid,
        pub tenant_id: Option<Uuid>,
        pub purpose: crate::identity::one_time::Purpose,
        pub token_hash: Vec<u8>,
        pub code_hash: Option<Vec<u8>>,
        pub code_tries: i64,
        pub email: String,
        pub expires_at: DateTimeUtc,
        pub used_at: Option<DateTimeUtc>,
        pub created_at: DateTimeUtc,
    }

    crate::db::plain_entity!();
}

pub(crate) mod session {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "sessions")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub user_id: Uuid,
        pub tenant_id: Uuid,
        pub user_agent: Option<String>,
        pub ip: Option<String>,
        pub created_at: DateTimeUtc,
        pub last_used_at: DateTimeUtc,
        pub expires_at: DateTimeUtc,
        pub revoked_at: Option<DateTimeUtc>,
        pub revoked_reason: Option<String>,
        pub authenticated_at: Option<DateTimeUtc>,
    }

    crate::db::plain_entity!();
}

pub(crate) mod refresh_token {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "refresh_tokens")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub token_hash: Vec<u8>,
        pub session_id: Uuid,
        pub created_at: DateTimeUtc,
        pub expires_at: DateTimeUtc,
        pub used_at: Option<DateTimeUtc>,
    }

    crate::db::plain_entity!();
}

pub(crate) mod signing_key {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "signing_keys")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub algorithm: String,
        pub public_key: Vec<u8>,
        pub private_key: Vec<u8>,
        pub created_at: DateTimeUtc,
        pub active_from: DateTimeUtc,
        pub expires_at: Option<DateTimeUtc>,
    }

    crate::db::plain_entity!();
}

pub(crate) mod oauth_identity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "oauth_identities")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub user_id: Uuid,
        pub provider: String,
        pub subject: String,
        pub email: Option<String>,
        pub created_at: DateTimeUtc,
        pub last_used_at: DateTimeUtc,
    }

    crate::db::plain_entity!();
}

pub(crate) mod oauth_flow {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "oauth_flows")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub state_hash: Vec<u8>,
        pub payload: Vec<u8>,
        pub expires_at: DateTimeUtc,
        pub created_at: DateTimeUtc,
    }

    crate::db::plain_entity!();
}

pub(crate) mod recovery_code {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "recovery_codes")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub user_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub code_hash: Vec<u8>,
        pub used_at: Option<DateTimeUtc>,
        pub created_at: DateTimeUtc,
    }

    crate::db::plain_entity!();
}
