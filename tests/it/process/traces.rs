//! Traces, as a collector receives them.

use std::sync::{Arc, Mutex};

use axum::{Router, body::Bytes, extract::State, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value},
    trace::v1::Span,
};
use prost::Message;
use tokio::net::TcpListener;

use super::server::Server;
use crate::support::{Database, Kind, Settings, signup_body};

/// What a collector has been sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

impl Collector {
    /// Starts one, and answers its base address.
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let router = Router::new().route("/v1/traces", post(receive)).with_state(collector.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (collector, url)
    }

    fn services(&self) -> Vec<String> {
        let received = self.0.lock().expect("spans");
        let resources =
            received.iter().flat_map(|request| &request.resource_spans).filter_map(|of| of.resource.as_ref());
        resources.map(|resource| text(&resource.attributes, "service.name")).collect()
    }

    fn spans(&self) -> Vec<Span> {
        let received = self.0.lock().expect("spans");
        let scopes = received.iter().flat_map(|request| &request.resource_spans).flat_map(|of| &of.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }
}

async fn receive(State(collector): State<Collector>, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).expect("OTLP");
    collector.0.lock().expect("spans").push(request);
}

/// An attribute as text.
fn text(attributes: &[KeyValue], key: &str) -> String {
    let value = attributes.iter().find(|attribute| attribute.key == key).and_then(|attribute| attribute.value.as_ref());
    match value {
        Some(AnyValue { value: Some(any_value::Value::StringValue(text)) }) => text.clone(),
        Some(AnyValue { value: Some(any_value::Value::IntValue(number)) }) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let names = || spans.iter().map(|span| span.name.as_str()).collect::<Vec<_>>();
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name} among {:?}", names()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_up_and_its_run_are_traced_from_the_callers_trace_on() {
    let (collector, url) = Collector::start().await;
    let database = Database::create(Kind::Sqlite).await;
    let server = Server::start(&database, &Settings::default().with("OTEL_EXPORTER_OTLP_ENDPOINT", &url), &[]).await;
    let body = signup_body("Acme", "free");
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let started = client
        .post(format!("{}/public/signup/start", server.url()))
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .header("x-request-id", "from-the-caller")
        .json(&body);
    let started: serde_json::Value = started.send().await.expect("an answer").json().await.expect("JSON");
    let token = started["token"].as_str().expect("a token");
    let none = serde_json::json!({});
    let finished = server.call(reqwest::Method::POST, "/public/signup/finish", Some(token), Some(("k", &none))).await;
    finished.expect("an answer").expect(202);
    let events = format!("/api/v1/tenants/{}/provision-events", started["tenant"]["id"].as_str().expect("an id"));
    // Ends when the run has ended.
    server.call(reqwest::Method::GET, &events, Some(token), None).await.expect("events");
    server.stop().await;

    let spans = collector.spans();
    let request = named(&spans, "POST /public/signup/start");
    assert_eq!(request.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());
    assert_eq!(request.parent_span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
    assert_eq!(text(&request.attributes, "http.response.status_code"), "201");
    assert_eq!(text(&request.attributes, "request_id"), "from-the-caller");
    let work = named(&spans, "provision_tenant");
    let inside = ["hash_password", "begin", "provision_tenant"];
    let of_request = |span: &&Span| span.trace_id == request.trace_id && span.parent_span_id == request.span_id;
    let names: Vec<_> = spans.iter().filter(of_request).map(|span| span.name.as_str()).collect();
    assert!(inside.iter().all(|name| names.contains(name)), "{names:?}");
    assert_eq!(named(&spans, "insert").trace_id, request.trace_id);
    assert_eq!(text(&work.attributes, "slug"), "acme");

    let run = named(&spans, "provision_run");
    let steps = spans.iter().filter(|span| span.parent_span_id == run.span_id && span.name == "provision_step");
    let steps: Vec<_> = steps.map(|span| text(&span.attributes, "step")).collect();
    assert_eq!(steps, ["seed_defaults", "configure_routing", "send_magic_link"]);
    assert!(run.events.iter().any(|event| event.name == "Provision start"), "{:?}", run.events);
    let services = collector.services();
    assert!(services.iter().all(|service| service == "tenantry"), "{services:?}");
    let password = body["password"].as_str().expect("a password");
    assert!(!format!("{spans:?}").contains(password));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_collector_the_product_works_and_stops() {
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let database = Database::create(Kind::Sqlite).await;
    let settings = Settings::default().with("TENANTRY_TRACES__ENDPOINT", &format!("http://{closed}"));
    let server = Server::start(&database, &settings.with("OTEL_BSP_SCHEDULE_DELAY", "10"), &[]).await;
    let started = server.start_signup("k", &signup_body("Acme", "free")).await;
    started.expect("an answer").expect(201);
    assert!(server.stop().await.success());
}
