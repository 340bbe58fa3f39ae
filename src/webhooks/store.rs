//! Endpoints, automations and deliveries in the database, and the verbs on them.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ConnectionTrait, DbErr, DeriveActiveEnum, EntityTrait, EnumIter, FromQueryResult, IntoActiveModel, QueryTrait,
    Value,
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::sign;
use crate::{
    clock::Now,
    db::{Tx, sql},
    http::Page,
    seal::{SealError, Sealer},
};

/// Where an endpoint came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The wizard's URL, of which a tenant has at most one.
    Signup,
    /// The tenant's own doing.
    Tenant,
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// In the outbox.
    Pending,
    /// The receiver has taken it.
    Delivered,
    /// Given up.
    Failed,
    /// Written down only: in dry run nothing leaves the server.
    DryRun,
}

pub(crate) mod endpoint {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "webhook_endpoints")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub url: String,
        pub source: super::Source,
        pub secret: Vec<u8>,
        pub enabled: bool,
        pub created_at: DateTimeUtc,
        pub updated_at: DateTimeUtc,
    }

    crate::db::plain_entity!();
}

pub(crate) mod automation {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "automations")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub name: String,
        pub event_type: String,
        pub enabled: bool,
        pub created_at: DateTimeUtc,
    }

    crate::db::plain_entity!();
}

pub(crate) mod delivery {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "webhook_deliveries")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub endpoint_id: Uuid,
        pub event_type: String,
        pub event_key: String,
        pub payload: String,
        pub status: super::DeliveryStatus,
        pub attempts: i64,
        pub last_status_code: Option<i64>,
        pub last_error: Option<String>,
        pub created_at: DateTimeUtc,
        pub finished_at: Option<DateTimeUtc>,
    }

    crate::db::plain_entity!();
}

const SECRET_PURPOSE: &str = "webhook secret";

/// Opens an endpoint's sealed signing secret.
///
/// # Errors
/// It was sealed under a key that is gone.
pub fn open_secret(sealer: &Sealer, stored: &[u8]) -> Result<SecretString, SealError> {
    let secret = sealer.open(SECRET_PURPOSE, stored)?;
    Ok(String::from_utf8_lossy(&secret).into_owned().into())
}

/// What [`set_signup_endpoint`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointChange {
    /// The tenant's first.
    Created,
    /// Another URL was there.
    Replaced,
    /// The same URL was there.
    Unchanged,
}

/// Makes `url` the endpoint that the wizard asked for. Its secret is made here and stays when the URL changes.
pub async fn set_signup_endpoint(
    tx: &Tx,
    now: &Now,
    sealer: &Sealer,
    tenant_id: Uuid,
    url: &str,
) -> Result<EndpointChange, DbErr> {
    match signup_url(tx, tenant_id).await? {
        Some(known) if known == url => {
            // It may have been switched off when its tenant's owner proved who they are.
            let text = "update webhook_endpoints set enabled = true, updated_at = $2 \
                        where tenant_id = $1 and source = 'signup' and not enabled";
            tx.execute_raw(sql(tx, text, [tenant_id.into(), now.at.into()])).await?;
            return Ok(EndpointChange::Unchanged);
        }
        Some(_) => {
            let text = "update webhook_endpoints set url = $2, enabled = true, updated_at = $3 \
                        where tenant_id = $1 and source = 'signup'";
            tx.execute_raw(sql(tx, text, [tenant_id.into(), url.into(), now.at.into()])).await?;
            return Ok(EndpointChange::Replaced);
        }
        None => {}
    }
    let secret = sign::secret_from(&now.bytes());
    let row = endpoint::Model {
        tenant_id,
        id: now.id(),
        url: url.to_owned(),
        source: Source::Signup,
        secret: sealer.seal(SECRET_PURPOSE, now.bytes(), secret.expose_secret().as_bytes()),
        enabled: true,
        created_at: now.at,
        updated_at: now.at,
    };
    tx.execute(&endpoint::Entity::insert(row.into_active_model()).into_query()).await?;
    Ok(EndpointChange::Created)
}

/// The URL that the wizard asked for, where it did.
pub async fn signup_url(db: &impl ConnectionTrait, tenant_id: Uuid) -> Result<Option<String>, DbErr> {
    let text = "select url from webhook_endpoints where tenant_id = $1 and source = 'signup'";
    let row = db.query_one_raw(sql(db, text, [tenant_id.into()])).await?;
    row.map(|row| row.try_get("", "url")).transpose()
}

/// Creates those automations whose names are free. Answers the ids of the ones it created.
pub async fn deploy_automations<'a>(
    tx: &Tx,
    now: &Now,
    tenant_id: Uuid,
    wanted: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<Vec<Uuid>, DbErr> {
    let row = |(name, event_type): (&str, &str)| automation::Model {
        tenant_id,
        id: now.id(),
        name: name.to_owned(),
        event_type: event_type.to_owned(),
        enabled: true,
        created_at: now.at,
    };
    let rows: Vec<_> = wanted.map(|wanted| row(wanted).into_active_model()).collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let known = OnConflict::columns([automation::Column::TenantId, automation::Column::Name]).do_nothing().to_owned();
    let mut insert = automation::Entity::insert_many(rows).on_conflict(known).into_query();
    insert.returning_col(automation::Column::Id);
    let created = tx.query_all(&insert).await?;
    created.iter().map(|row| row.try_get("", "id")).collect()
}

/// An automation as the API shows it.
#[derive(Clone, Debug, Serialize, ToSchema, FromQueryResult)]
pub struct Automation {
    /// Its id.
    pub id: Uuid,
    /// Its name, unique within the tenant.
    pub name: String,
    /// The event that it sends to the tenant's endpoints.
    pub event_type: String,
    /// Whether it does.
    pub enabled: bool,
    /// When it was deployed.
    pub created_at: DateTime<Utc>,
}

/// A tenant's automations, newest first, one more than the page holds.
pub async fn automations(db: &impl ConnectionTrait, tenant_id: Uuid, page: Page) -> Result<Vec<Automation>, DbErr> {
    let text = "select id, name, event_type, enabled, created_at from automations \
                where tenant_id = $1 and id < $2 order by id desc limit $3";
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX).saturating_add(1);
    let values = [tenant_id.into(), page.before.into(), limit.into()];
    Automation::find_by_statement(sql(db, text, values)).all(db).await
}

/// Removes automations again.
pub async fn remove_automations(tx: &Tx, tenant_id: Uuid, ids: &[Uuid]) -> Result<(), DbErr> {
    use sea_orm::{ColumnTrait, QueryFilter};
    let delete = automation::Entity::delete_many().filter(automation::Column::TenantId.eq(tenant_id));
    delete.filter(automation::Column::Id.is_in(ids.iter().copied())).exec(tx).await.map(drop)
}

/// The enabled endpoints of a tenant that an event goes to: all of them for `tenant.provisioned`, and for another event where an
/// automation names it.
pub async fn subscribed(db: &impl ConnectionTrait, tenant_id: Uuid, event_type: &str) -> Result<Vec<Uuid>, DbErr> {
    let text = "select id from webhook_endpoints where tenant_id = $1 and enabled and ($2 = 'tenant.provisioned' or \
                exists (select 1 from automations a where a.tenant_id = $1 and a.event_type = $2 and a.enabled)) order by id";
    let values: [Value; 2] = [tenant_id.into(), event_type.into()];
    let rows = db.query_all_raw(sql(db, text, values)).await?;
    rows.iter().map(|row| row.try_get("", "id")).collect()
}
