//! What the platform's own people do, by API and at the console: tenants, onboarding, plans, flags and the kill switch.

mod api;
mod invoices;
mod limits;
mod overrides;
pub mod pages;
mod plans;
mod tenants;

pub use api::routes;
pub use tenants::{AdminTenant, TenantWithRun};
