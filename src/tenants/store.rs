//! Tenants in the database.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, FromQueryResult, QueryFilter, QuerySelect};
use uuid::Uuid;

use super::{Branding, Door, ProvisionState, Status, TenantView};
use crate::{
    clock::Now,
    db::{self, Tx, sql},
    http::Page,
};

pub(crate) mod tenant {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "tenants")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub slug: String,
        pub name: String,
        pub status: super::Status,
        pub door: super::Door,
        pub billing_email: String,
        pub branding: Json,
        pub provision_state: super::ProvisionState,
        pub provision_reason: Option<String>,
        pub provision_updated_at: DateTimeUtc,
        pub provisioned_at: Option<DateTimeUtc>,
        pub created_at: DateTimeUtc,
        pub updated_at: DateTimeUtc,
    }

    crate::db::plain_entity!();
}

pub(crate) mod membership {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "memberships")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub user_id: Uuid,
        pub role: crate::tenants::Role,
        pub created_at: DateTimeUtc,
        pub updated_at: DateTimeUtc,
    }

    crate::db::plain_entity!();
}

/// A tenant with its owner and plan, as most readers want it.
#[derive(Clone, Debug, FromQueryResult)]
pub struct TenantRow {
    /// Its id.
    pub id: Uuid,
    /// Its name in addresses.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub status: Status,
    /// The way in that made it.
    pub door: Door,
    /// How it looks.
    pub branding: serde_json::Value,
    /// Where its provisioning stands.
    pub provision_state: ProvisionState,
    /// Why provisioning failed.
    pub provision_reason: Option<String>,
    /// When it was provisioned the first time.
    pub provisioned_at: Option<DateTime<Utc>>,
    /// When it signed up.
    pub created_at: DateTime<Utc>,
    /// Its plan's slug.
    pub plan: String,
    /// Its subscription's status.
    pub subscription_status: String,
    /// Who owns it.
    pub owner_id: Uuid,
    /// The owner's address.
    pub owner_email: String,
}

impl TenantRow {
    /// The part that the API shows.
    pub fn view(&self) -> TenantView {
        TenantView {
            id: self.id,
            slug: self.slug.clone(),
            name: self.name.clone(),
            status: self.status,
            provision_state: self.provision_state,
            branding: self.branding(),
        }
    }

    /// How it looks.
    pub fn branding(&self) -> Branding {
        serde_json::from_value(self.branding.clone()).unwrap_or_default()
    }
}

const SELECT: &str = "select t.id, t.slug, t.name, t.status, t.door, t.branding, t.provision_state, t.provision_reason, \
     t.provisioned_at, t.created_at, p.slug as plan, s.status as subscription_status, u.id as owner_id, u.email as owner_email \
     from tenants t join subscriptions s on s.tenant_id = t.id join plans p on p.id = s.plan_id \
     join memberships m on m.tenant_id = t.id and m.role = 'owner' join users u on u.id = m.user_id";

async fn one(db: &impl ConnectionTrait, condition: &str, value: sea_orm::Value) -> Result<Option<TenantRow>, DbErr> {
    TenantRow::find_by_statement(sql(db, &format!("{SELECT} where {condition}"), [value])).one(db).await
}

/// The names in addresses of some tenants, by id.
pub async fn slugs(
    db: &impl ConnectionTrait,
    ids: impl IntoIterator<Item = Uuid>,
) -> Result<BTreeMap<Uuid, String>, DbErr> {
    let found = tenant::Entity::find().select_only().columns([tenant::Column::Id, tenant::Column::Slug]);
    let found = found.filter(tenant::Column::Id.is_in(ids)).into_tuple::<(Uuid, String)>().all(db).await?;
    Ok(found.into_iter().collect())
}

/// By id.
pub async fn by_id(db: &impl ConnectionTrait, id: Uuid) -> Result<Option<TenantRow>, DbErr> {
    one(db, "t.id = $1", id.into()).await
}

/// By id, and held until the transaction ends, so that what is decided by its state stays true.
pub async fn lock(tx: &Tx, id: Uuid) -> Result<Option<TenantRow>, DbErr> {
    let lock = format!("select id from tenants where id = $1{}", db::for_update(tx));
    tx.query_one_raw(sql(tx, &lock, [id.into()])).await?;
    by_id(tx, id).await
}

/// By slug.
pub async fn by_slug(db: &impl ConnectionTrait, slug: &str) -> Result<Option<TenantRow>, DbErr> {
    one(db, "t.slug = $1", slug.into()).await
}

/// The open tenant that a hostname leads to.
pub async fn by_hostname(db: &impl ConnectionTrait, hostname: &str) -> Result<Option<TenantRow>, DbErr> {
    one(
        db,
        "t.status = 'active' and t.id = (select h.tenant_id from tenant_hostnames h where h.hostname = $1)",
        hostname.into(),
    )
    .await
}

/// A page of tenants, newest first; with `search`, those whose slug, name or owner's address begins with it, with `state` those whose
/// provisioning stands there.
pub async fn list(
    db: &impl ConnectionTrait,
    page: Page,
    search: Option<&str>,
    state: Option<ProvisionState>,
) -> Result<Vec<TenantRow>, DbErr> {
    let escaped =
        search.unwrap_or_default().to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    let query = format!(
        "{SELECT} where t.id < $1 and (lower(t.slug) like $2 escape '\\' or lower(t.name) like $2 escape '\\' or u.email like $2 escape '\\') \
         and ($4 = '' or t.provision_state = $4) order by t.id desc limit $3"
    );
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX).saturating_add(1);
    let state = state.map_or("", ProvisionState::as_str);
    let values = [page.before.into(), format!("{escaped}%").into(), limit.into(), state.into()];
    TenantRow::find_by_statement(sql(db, &query, values)).all(db).await
}

/// Changes how a tenant looks.
pub async fn set_branding(tx: &Tx, now: &Now, tenant_id: Uuid, branding: &Branding) -> Result<(), DbErr> {
    let branding = serde_json::to_value(branding).unwrap_or_default();
    let update = "update tenants set branding = $2, updated_at = $3 where id = $1";
    tx.execute_raw(sql(tx, update, [tenant_id.into(), branding.into(), now.at.into()])).await.map(drop)
}
