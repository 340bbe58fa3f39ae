//! Metrics, named `tenantry_*`.

use std::{sync::OnceLock, time::Duration};

use axum::http::Method;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// Seconds; from a millisecond to a minute.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// The process's metrics, started at the first call.
///
/// # Panics
/// Where somebody else has installed another recorder in this process.
pub fn metrics() -> &'static PrometheusHandle {
    RECORDER.get_or_init(|| {
        let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS);
        let handle = builder.and_then(PrometheusBuilder::install_recorder).expect("the only recorder of this process");
        describe();
        handle
    })
}

fn describe() {
    metrics::describe_counter!("tenantry_http_requests_total", "Requests by method, route and status");
    metrics::describe_histogram!("tenantry_http_request_seconds", "Time to answer, by route");
    metrics::describe_counter!("tenantry_rate_limited_total", "Requests refused for their network, by kind");
    metrics::describe_counter!("tenantry_signups_total", "Sign-ups by door and outcome");
    metrics::describe_counter!("tenantry_provision_runs_total", "Runs that ended, by outcome");
    metrics::describe_histogram!("tenantry_provision_run_seconds", "From a run's first start to its end");
    metrics::describe_histogram!("tenantry_provision_wait_seconds", "From a run's commit to its first start");
    metrics::describe_counter!("tenantry_late_writes_refused_total", "Writes of workers that had lost their lease");
    metrics::describe_counter!("tenantry_outbox_tries_total", "Tries at mails and webhooks, by kind and outcome");
    metrics::describe_gauge!("tenantry_queue_depth", "Work that is due or waiting, by queue");
    metrics::describe_gauge!("tenantry_invariant_violations", "What doctor counts, by invariant; all must be 0");
}

/// Counts a request.
pub fn request(method: &Method, route: &str, status: u16, took: Duration) {
    // Anybody may send any token as a method; the labels stay few.
    let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
    let method = if known.contains(method) { method.as_str() } else { "other" };
    let labels = [("method", method.to_owned()), ("route", route.to_owned()), ("status", status.to_string())];
    metrics::counter!("tenantry_http_requests_total", &labels).increment(1);
    metrics::histogram!("tenantry_http_request_seconds", "route" => route.to_owned()).record(took.as_secs_f64());
}
