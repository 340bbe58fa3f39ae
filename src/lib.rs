//! Tenantry: the front door of a multi-tenant SaaS.
//!
//! > A tenant is completely there, or it was never there.
//!
//! The tour, in reading order: what every slice stands on ([`clock`], [`db`], [`http`]), then the slices from the noun
//! nobody depends on to the use case that depends on them all.

pub mod clock;
pub mod config;
pub mod db;
pub mod egress;
pub mod http;
pub mod provisioning;
pub mod seal;
pub mod webhooks;
