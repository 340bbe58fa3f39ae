//! A tenant's public face: its catalogue, posts and fixtures, in its own colours. Open from the moment the tenant is.

mod api;
pub mod pages;
mod palette;

pub use api::routes;
pub use palette::default_colors;
use sea_orm::{ConnectionTrait, DbErr};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    catalog::{self, SegmentView},
    content::{self, Fixture, Post},
    tenants::{Branding, Status, TenantRow},
};

/// What everybody may see of a tenant.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Storefront {
    /// Whose it is.
    pub tenant: Face,
    /// The catalogue.
    pub segments: Vec<SegmentView>,
    /// Published posts, newest first.
    pub posts: Vec<Post>,
    /// Fixtures to come.
    pub fixtures: Vec<Fixture>,
}

/// A tenant's name and looks.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Face {
    /// Its name.
    pub name: String,
    /// Its name in addresses.
    pub slug: String,
    /// How it looks.
    pub branding: Branding,
}

/// At most this many posts, and this many fixtures.
const SHOWN: i64 = 20;

/// The storefront of a tenant; nothing where it is not open.
pub async fn of(
    db: &impl ConnectionTrait,
    tenant: TenantRow,
    today: chrono::NaiveDate,
) -> Result<Option<Storefront>, DbErr> {
    if tenant.status != Status::Active {
        return Ok(None);
    }
    let segments = catalog::storefront(db, tenant.id).await?;
    let posts = content::published_posts(db, tenant.id, SHOWN).await?;
    let fixtures = content::upcoming_fixtures(db, tenant.id, today, SHOWN).await?;
    let branding = tenant.branding();
    Ok(Some(Storefront { tenant: Face { name: tenant.name, slug: tenant.slug, branding }, segments, posts, fixtures }))
}

/// The letter that stands for a name where there is no logo.
pub fn initial(name: &str) -> String {
    name.chars()
        .find(|letter| letter.is_alphanumeric())
        .map_or_else(String::new, |letter| letter.to_uppercase().to_string())
}
