//! A tenant's catalogue: segments and the packages in them.

pub(crate) mod store;

use serde::Serialize;
pub use store::storefront;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{clock::Now, db::Batch, plans::Money};

/// A part of the catalogue.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SegmentView {
    /// Its name.
    pub name: String,
    /// What is in it, in order.
    pub packages: Vec<PackageView>,
}

/// Something that a tenant offers.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PackageView {
    /// Its name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// What it costs.
    pub price: Money,
}

/// What a new tenant offers until it has changed it: name, description, price in minor units.
const FIRST_PACKAGES: [(&str, &str, i64); 3] = [
    ("Basic", "The essentials, to get started", 1_900),
    ("Standard", "What most customers choose", 4_900),
    ("Premium", "Everything, with personal support", 9_900),
];

/// Writes a new tenant's default segment with its three packages.
pub fn seed(batch: &mut Batch, now: &Now, tenant_id: Uuid, currency: &str) {
    let segment_id = now.id();
    let (name, created_at) = ("Packages".to_owned(), now.at);
    batch.insert(store::segment::Model { tenant_id, id: segment_id, name, position: 1, created_at });
    let packages =
        (1..).zip(FIRST_PACKAGES).map(|(position, (name, description, price_amount))| store::package::Model {
            tenant_id,
            id: now.id(),
            segment_id,
            name: name.to_owned(),
            description: description.to_owned(),
            price_amount,
            price_currency: currency.to_owned(),
            position,
            created_at,
        });
    batch.insert_all(packages);
}
