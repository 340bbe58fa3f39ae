//! The catalogue in the database.

use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use uuid::Uuid;

use super::{PackageView, SegmentView};
use crate::{db::sql, plans::Money};

pub(crate) mod segment {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "segments")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub name: String,
        pub position: i64,
        pub created_at: DateTimeUtc,
    }

    crate::db::plain_entity!();
}

pub(crate) mod package {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "packages")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub segment_id: Uuid,
        pub name: String,
        pub description: String,
        pub price_amount: i64,
        pub price_currency: String,
        pub position: i64,
        pub created_at: DateTimeUtc,
    }

    crate::db::plain_entity!();
}

#[derive(FromQueryResult)]
struct Row {
    segment_id: Uuid,
    segment: String,
    name: Option<String>,
    description: Option<String>,
    price_amount: Option<i64>,
    price_currency: Option<String>,
}

/// The catalogue as everybody may see it.
pub async fn storefront(db: &impl ConnectionTrait, tenant_id: Uuid) -> Result<Vec<SegmentView>, DbErr> {
    let query = "select s.id as segment_id, s.name as segment, k.name, k.description, k.price_amount, k.price_currency \
                 from segments s left join packages k on k.tenant_id = s.tenant_id and k.segment_id = s.id \
                 where s.tenant_id = $1 order by s.position, s.id, k.position, k.id";
    let rows = Row::find_by_statement(sql(db, query, [tenant_id.into()])).all(db).await?;
    let mut segments: Vec<SegmentView> = Vec::new();
    let mut last = None;
    for row in rows {
        if last != Some(row.segment_id) {
            last = Some(row.segment_id);
            segments.push(SegmentView { name: row.segment, packages: Vec::new() });
        }
        if let (Some(segment), Some(name), Some(description), Some(amount), Some(currency)) =
            (segments.last_mut(), row.name, row.description, row.price_amount, row.price_currency)
        {
            segment.packages.push(PackageView { name, description, price: Money { amount, currency } });
        }
    }
    Ok(segments)
}
