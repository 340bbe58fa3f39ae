//! Provisioning: what a tenant gets outside our own database, and the protocols it takes.

pub mod apps_script;
