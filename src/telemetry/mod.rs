//! What the operator sees of a running process: logs, metrics and, where a collector is configured, traces.

mod logs;
mod metrics;
pub mod traces;

pub use metrics::{metrics, request};
pub use traces::Traces;
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

use crate::{clock::Clock, config::Config};

/// Starts logging, and tracing where it is configured. Keep what it answers, and end it last.
///
/// # Errors
/// The collector's client cannot be built.
pub fn start(config: &Config, clock: Clock) -> anyhow::Result<Traces> {
    let traces = Traces::to(config.traces.endpoint.as_ref())?;
    let registry = tracing_subscriber::registry().with(traces.layer()).with(logs::layer(config.log.format, clock));
    // Already started, by a test in the same process: its subscriber stays.
    drop(registry.try_init());
    Ok(traces)
}
