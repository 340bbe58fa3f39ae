//! Posts and fixtures in the database.

use chrono::NaiveDate;
use sea_orm::{
    ConnectionTrait, DbErr, EntityTrait, FromQueryResult, IntoActiveModel, QueryTrait, sea_query::OnConflict,
};
use uuid::Uuid;

use super::{Fixture, Post};
use crate::db::{Tx, sql};

pub(crate) mod post {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "posts")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub slug: String,
        pub title: String,
        pub body: String,
        pub published_at: Option<DateTimeUtc>,
        pub created_at: DateTimeUtc,
        pub updated_at: DateTimeUtc,
    }

    crate::db::plain_entity!();
}

pub(crate) mod fixture {
    use sea_orm::entity::prelude::*;

    use crate::content::FixtureStatus;

    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "fixtures")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub fixture_date: Date,
        pub home_team: String,
        pub away_team: String,
        pub venue: Option<String>,
        pub status: FixtureStatus,
        pub created_at: DateTimeUtc,
        pub updated_at: DateTimeUtc,
    }

    crate::db::plain_entity!();
}

/// Adds the rows whose natural keys are free.
pub(super) async fn add_missing(tx: &Tx, post: post::Model, fixture: fixture::Model) -> Result<(), DbErr> {
    use fixture::Column::{AwayTeam, FixtureDate, HomeTeam, TenantId};
    let known = OnConflict::columns([post::Column::TenantId, post::Column::Slug]).do_nothing().to_owned();
    let insert = post::Entity::insert(post.into_active_model()).on_conflict(known).into_query();
    tx.execute(&insert).await?;
    let known = OnConflict::columns([TenantId, FixtureDate, HomeTeam, AwayTeam]).do_nothing().to_owned();
    let insert = fixture::Entity::insert(fixture.into_active_model()).on_conflict(known).into_query();
    tx.execute(&insert).await.map(drop)
}

/// A tenant's newest published posts, at most `limit`.
pub async fn published_posts(db: &impl ConnectionTrait, tenant_id: Uuid, limit: i64) -> Result<Vec<Post>, DbErr> {
    let text = "select slug, title, body, published_at from posts where tenant_id = $1 and published_at is not null \
                order by published_at desc, id desc limit $2";
    Post::find_by_statement(sql(db, text, [tenant_id.into(), limit.into()])).all(db).await
}

/// A tenant's fixtures from `day` on, the next first, at most `limit`.
pub async fn upcoming_fixtures(
    db: &impl ConnectionTrait,
    tenant_id: Uuid,
    day: NaiveDate,
    limit: i64,
) -> Result<Vec<Fixture>, DbErr> {
    let text = "select fixture_date, home_team, away_team, venue, status from fixtures \
                where tenant_id = $1 and fixture_date >= $2 order by fixture_date, id limit $3";
    Fixture::find_by_statement(sql(db, text, [tenant_id.into(), day.into(), limit.into()])).all(db).await
}
