//! The admin API of the platform's own people: tenants, onboarding, plans, flags and the kill switch.

mod api;
mod tenants;

pub use api::routes;
pub use tenants::{AdminTenant, TenantWithRun};
