//! Provisioning: the durable run that makes a committed tenant complete.
//!
//! A run is a row with an ordered list of steps. It goes `pending → processing → complete | failed`; `tenants.provision_state`
//! mirrors it. Sign-up opens it in the tenant's own transaction ([`open_run`]), so there is no tenant without a run and no run
//! without a tenant. The tenant is opened last, in the transaction that completes the run.
//!
//! [`jobs`] carries runs: `record` claims them by lease and writes under the claim's fence, `carry` and `finish` take one
//! from step to step, `held` is what a worker knows of it, and each step is a file in `steps`. [`janitor`] removes what was
//! abandoned, and [`follow`] adds what a changed plan brings.
//!
//! It refuses to change a run that has started ([`Error::AlreadyStarted`]) and to retry one that has not failed
//! ([`Error::NotFailed`]).

pub mod api;
pub mod apps_script;
mod backoff;
mod blueprint;
mod callback;
mod carry;
mod events;
mod finish;
pub mod follow;
mod held;
pub mod janitor;
pub mod jobs;
mod record;
pub mod shown;
mod stats;
mod status;
mod steps;
mod store;
mod verbs;

pub use blueprint::{Blueprint, PlannedAutomation, StepName};
pub use callback::{Report, report};
pub use stats::{Stats, stats};
pub use status::{Status, StepState, current};
pub use store::{RunStatus, StepStatus};
pub use verbs::{Error, NewRun, Queued, follow_plan, open_run, queue, replace_steps, retry, supersede};
