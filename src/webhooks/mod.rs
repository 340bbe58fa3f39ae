//! Webhooks that leave the house: a tenant's endpoints, the automations that say which events go there, and the deliveries;
//! how they are signed and sent.
//!
//! An endpoint gets `tenant.provisioned`, and every event that an enabled automation of its tenant names.

pub mod api;
pub mod deliver;
pub mod sign;
pub(crate) mod store;

pub use store::{
    Automation, DeliveryStatus, EndpointChange, Source, automations, deploy_automations, open_secret,
    remove_automations, set_signup_endpoint, signup_url, subscribed,
};
