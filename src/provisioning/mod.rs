//! Provisioning: the durable run that makes a committed tenant complete.
//!
//! A run is a row with an ordered list of steps. It goes `pending → processing → complete | failed`; `tenants.provision_state`
//! mirrors it. Sign-up opens it in the tenant's own transaction ([`open_run`]), so there is no tenant without a run and no run
//! without a tenant. The tenant is opened last, in the transaction that completes the run.

pub mod apps_script;
mod blueprint;
mod status;
mod store;
mod verbs;

pub use blueprint::{Blueprint, PlannedAutomation, StepName};
pub use status::{Status, StepState, current};
pub use store::{RunStatus, StepStatus};
pub use verbs::{Error, NewRun, Queued, follow_plan, open_run, queue, replace_steps, retry, supersede};
