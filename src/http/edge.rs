//! What every request passes on its way in and every answer on its way out: request id, log line, metrics, panics, the time limit,
//! rate limits, problems written out, security headers.

use std::{
    any::Any,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_stream::try_stream;
use axum::{
    BoxError, Router,
    body::{Body, Bytes},
    extract::{ConnectInfo, DefaultBodyLimit, MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Redirect, Response},
};
use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, timeout, timeout_at};
use tower_http::{catch_panic::CatchPanicLayer, cors::CorsLayer};
use tracing::Instrument;

use super::{Problem, headers, limits, problem_page};
use crate::{
    app::App,
    telemetry::{self, traces},
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The request's id: the caller's `X-Request-Id` where it is usable, else a new one.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// Puts the edge around all routes.
pub fn around(router: Router<App>, app: &App) -> Router {
    router
        .fallback(|| async { Problem::not_found() })
        .layer(from_fn_with_state(app.clone(), limits::within))
        .layer(DefaultBodyLimit::max(app.config.http.body_limit))
        .layer(from_fn_with_state(app.clone(), body_in_time))
        .layer(from_fn_with_state(app.clone(), in_time))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(cors(app))
        .layer(from_fn_with_state(app.clone(), edge))
        .with_state(app.clone())
}

async fn edge(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let id = RequestId(accepted(&request).unwrap_or_else(|| app.clock.now().id().to_string()));
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let on_operators_host = is_operators(&app, &request);
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
    let span = tracing::info_span!("request", request_id = %id.0, %method, route = %route);
    let traced = traces::of_request(&method, &route, request.headers(), &id.0);
    let visitor = problem_page::Visitor::of(&request);
    request.extensions_mut().insert(id.clone());

    let response = next.run(request).instrument(span.clone()).instrument(traced.clone()).await;
    let mut response = written(response, &id, visitor.as_ref());
    headers::secure(response.headers_mut(), on_operators_host);
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let (status, took) = (response.status().as_u16(), started.elapsed());
    traces::answered(&traced, response.status());
    span.in_scope(|| {
        tracing::info!(
            feature = "http",
            status,
            duration_ms = took.as_secs_f64() * 1e3,
            peer = peer.map(tracing::field::display),
            "Request"
        );
    });
    telemetry::request(&method, &route, status, took);
    response
}

/// A caller's id is taken where it is short and plain, because it is written to logs and headers.
fn accepted(request: &Request) -> Option<String> {
    let id = request.headers().get(REQUEST_ID)?.to_str().ok()?;
    let plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b));
    (plain && (1..=128).contains(&id.len())).then(|| id.to_owned())
}

/// Keeps the product's own pages to the operator's hostnames. What a browser keeps for a tenant's own goes wherever that hostname
/// leads one day, and our cookies would be among it.
pub async fn on_our_host(State(app): State<App>, request: Request, next: Next) -> Response {
    if is_our_host(&app, &request) {
        return next.run(request).await;
    }
    match (request.method().is_safe(), request.uri().path_and_query()) {
        (true, Some(path)) => {
            let url = app.config.public_url.as_str().trim_end_matches('/');
            Redirect::temporary(&format!("{url}{path}")).into_response()
        }
        _ => Problem::not_found().into_response(),
    }
}

/// Whether a request was sent to one of the operator's hostnames, and not to a tenant's own.
pub fn is_our_host(app: &App, request: &Request) -> bool {
    is_operators(app, request) || is_unnamed(app, request)
}

/// A name of the developer's own machine, which nobody has told us.
fn is_unnamed(app: &App, request: &Request) -> bool {
    let below = |host: String| host.ends_with(&format!(".{}", app.config.base_domain));
    app.config.environment.is_development() && !super::host(request.headers(), request.uri()).is_some_and(below)
}

fn is_operators(app: &App, request: &Request) -> bool {
    let host = super::host(request.headers(), request.uri());
    let is_name = |host: &String| host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_err();
    host.filter(is_name)
        .is_none_or(|host| app.config.public_url.host_str() == Some(&host) || app.config.base_domain == host)
}

/// Writes problems out, and turns errors that some layer answered by itself into problems.
fn written(mut response: Response, id: &RequestId, visitor: Option<&problem_page::Visitor>) -> Response {
    let problem = response.extensions_mut().remove::<Problem>().or_else(|| stray(&response));
    let Some(problem) = problem else { return response };
    let page = visitor.and_then(|visitor| problem_page::write(&problem, visitor, &id.0));
    let (kind, body) = match page {
        Some(page) => ("text/html; charset=utf-8", page),
        None => ("application/problem+json", problem.body(&id.0).to_string()),
    };
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    parts.headers.append(header::VARY, HeaderValue::from_static("accept"));
    if problem.status == StatusCode::PAYLOAD_TOO_LARGE {
        // The rest of the body is not read, so nothing else can come on this connection (RFC 9110, 15.5.14).
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Response::from_parts(parts, Body::from(body))
}

fn stray(response: &Response) -> Option<Problem> {
    let status = response.status();
    let is_ours = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| {
        [&b"text/html"[..], b"application/json"].iter().any(|ours| kind.as_bytes().starts_with(ours))
    });
    if is_ours || !(status.is_client_error() || status.is_server_error()) {
        return None;
    }
    Some(match status {
        StatusCode::NOT_FOUND => Problem::not_found(),
        StatusCode::METHOD_NOT_ALLOWED => {
            Problem::new(status, "METHOD_NOT_ALLOWED", "This address does not take that method.")
        }
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(status, "PAYLOAD_TOO_LARGE", "The body is larger than this server reads.")
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            Problem::new(status, "UNSUPPORTED_MEDIA_TYPE", "Send the body as application/json.")
        }
        status if status.is_client_error() => {
            Problem::new(status, "MALFORMED_REQUEST", "The request could not be understood.")
        }
        status => Problem::new(status, "INTERNAL", "Something went wrong on our side."),
    })
}

/// Whoever waits longer than this has gone away; what was not committed by then never happened.
async fn in_time(State(app): State<App>, request: Request, next: Next) -> Response {
    let answered = timeout(app.config.http.request_timeout, next.run(request)).await;
    answered.unwrap_or_else(|_| {
        tracing::error!("Request took too long and was given up");
        Problem::unavailable().into_response()
    })
}

/// A client that keeps us waiting for its body is told so, whoever was reading it: that is not our failure. The time runs from when
/// we want the body, so that a slow database does not count.
async fn body_in_time(State(app): State<App>, request: Request, next: Next) -> Response {
    let (time, late) = (app.config.http.request_timeout / 2, Arc::new(AtomicBool::new(false)));
    let answered = next.run(request.map(|body| Body::from_stream(timed(body, time, late.clone())))).await;
    if late.load(Ordering::Relaxed) { Problem::body_late().into_response() } else { answered }
}

/// A body that fails where it is not there within `time`, and says so in `late`.
fn timed(body: Body, time: Duration, late: Arc<AtomicBool>) -> impl Stream<Item = Result<Bytes, BoxError>> {
    try_stream! {
        let (mut chunks, end) = (body.into_data_stream(), Instant::now() + time);
        while let Some(chunk) = timeout_at(end, chunks.next()).await.inspect_err(|_| late.store(true, Ordering::Relaxed))? {
            yield chunk?;
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that the layer asks for")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let message =
        panic.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    tracing::error!(panic = message.unwrap_or_default(), "Request panicked");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "Something went wrong on our side.").into_response()
}

fn cors(app: &App) -> CorsLayer {
    let origins: Vec<HeaderValue> =
        app.config.http.cors_origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect();
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("last-event-id"),
            REQUEST_ID,
        ])
        .expose_headers([REQUEST_ID, header::RETRY_AFTER, HeaderName::from_static("idempotent-replayed")])
}
