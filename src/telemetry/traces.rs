//! Traces: OpenTelemetry spans, sent to a collector by OTLP over HTTP.
//!
//! A span for a trace is made by [`span!`](crate::telemetry::traces::span); it goes to the collector and not to the log. Log
//! events of the product within it become its events. Beside the endpoint, the variables of the OpenTelemetry specification
//! hold: `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_…`.

use std::{collections::HashMap, time::Duration};

use anyhow::Context as _;
use axum::http::{HeaderMap, Method, StatusCode};
use opentelemetry::{
    Key,
    propagation::TextMapPropagator,
    trace::{Status, TracerProvider},
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tracing::{Level, Metadata, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};
use url::Url;

/// Where spans for traces are told from the log's.
pub const TARGET: &str = "tenantry::traces";

/// A span for a trace: `span!("name", field = value, …)`. It costs next to nothing where nobody collects.
macro_rules! span {
    ($($fields:tt)*) => {
        ::tracing::debug_span!(target: $crate::telemetry::traces::TARGET, $($fields)*)
    };
}
pub(crate) use span;

/// How long the last spans may take to be sent.
const LAST: Duration = Duration::from_secs(3);

/// What sends spans, where a collector is configured.
#[derive(Debug)]
#[must_use = "the last spans are sent by `end`"]
pub struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// To the collector at `endpoint`, which is its base: spans go to `/v1/traces` below it.
    pub(super) fn to(endpoint: Option<&Url>) -> anyhow::Result<Self> {
        let Some(endpoint) = endpoint else { return Ok(Self(None)) };
        // Done before, where it refuses.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let endpoint = format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/'));
        let exporter = SpanExporter::builder().with_http().with_endpoint(endpoint).build();
        let exporter = exporter.context("cannot prepare to send traces")?;
        let provider = SdkTracerProvider::builder().with_resource(resource()).with_batch_exporter(exporter).build();
        Ok(Self(Some(provider)))
    }

    pub(super) fn layer<S>(&self) -> Option<impl Layer<S> + use<S>>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let tracer = self.0.as_ref()?.tracer("tenantry");
        let layer = tracing_opentelemetry::layer().with_tracer(tracer).with_location(false).with_threads(false);
        Some(layer.with_target(false).with_filter(filter_fn(is_traced)))
    }

    /// Sends what has not been sent, for at most three seconds.
    pub async fn end(self) {
        let Some(provider) = self.0 else { return };
        let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST)).await;
        if let Ok(Err(error)) = ended {
            tracing::warn!(feature = "traces", %error, "The last spans were not sent");
        }
    }
}

fn is_traced(metadata: &Metadata<'_>) -> bool {
    if metadata.is_span() {
        metadata.target() == TARGET
    } else {
        *metadata.level() <= Level::INFO && metadata.target().starts_with("tenantry")
    }
}

/// Who sends: `tenantry`, unless the environment names the service.
fn resource() -> Resource {
    let named = Resource::builder().build().get(&Key::from_static_str("service.name"));
    let resource =
        Resource::builder().with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    match named {
        Some(name) if !name.as_str().starts_with("unknown_service") => resource.build(),
        _ => resource.with_service_name("tenantry").build(),
    }
}

/// The span of a request, with the caller's trace around it where `traceparent` names one (W3C Trace Context). Attributes as in
/// OpenTelemetry's semantic conventions for HTTP servers.
pub fn of_request(method: &Method, route: &str, headers: &HeaderMap, request_id: &str) -> Span {
    let span = span!(
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        http.request.method = %method,
        http.route = route,
        request_id,
    );
    if span.is_disabled() {
        return span;
    }
    let text = |name: &str| Some((name.to_owned(), headers.get(name)?.to_str().ok()?.to_owned()));
    let carrier: HashMap<_, _> = ["traceparent", "tracestate"].into_iter().filter_map(text).collect();
    // A span that has begun would refuse; this one has not.
    let _ = span.set_parent(TraceContextPropagator::new().extract(&carrier));
    span
}

/// Notes the answer on a request's span; what is our fault is an error.
pub fn answered(span: &Span, status: StatusCode) {
    if span.is_disabled() {
        return;
    }
    span.set_attribute("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.set_status(Status::error(status.to_string()));
    }
}
