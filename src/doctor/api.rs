//! How the product is: `/healthz`, `/readyz`, `/health`, `/metrics`.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Queues;
use crate::{app::App, db, http::Problem, telemetry};

/// This slice's routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(healthz))
        .routes(routes!(readyz))
        .routes(routes!(health))
        .routes(routes!(metrics))
}

/// How long the database has for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The process is alive.
#[utoipa::path(get, path = "/healthz", tag = "operations", responses((status = 200, body = String, content_type = "text/plain")))]
async fn healthz() -> &'static str {
    "ok"
}

/// The process can do its work: the database answers and has this program's schema, and it is not shutting down.
#[utoipa::path(get, path = "/readyz", tag = "operations", responses((status = 200, body = String, content_type = "text/plain")))]
async fn readyz(State(app): State<App>) -> Result<&'static str, Problem> {
    if app.stop.is_cancelled() {
        return Err(Problem::unavailable());
    }
    let pending = tokio::time::timeout(PATIENCE, db::pending(&app.db)).await;
    match pending {
        Ok(Ok(versions)) if versions.is_empty() => Ok("ready"),
        Ok(Ok(_)) => Err(Problem::unavailable()),
        Ok(Err(error)) => {
            tracing::warn!(%error, "Not ready: the database refused");
            Err(Problem::unavailable())
        }
        Err(_) => {
            tracing::warn!("Not ready: the database does not answer");
            Err(Problem::unavailable())
        }
    }
}

/// How the product is.
#[derive(Serialize, ToSchema)]
struct Health {
    /// `ok`, or `degraded` where the database does not answer.
    status: &'static str,
    /// The program's version.
    version: &'static str,
    /// Which database, and whether it answers.
    database: Database,
    /// How much work waits; null where the database does not answer.
    queue: Option<Queues>,
}

#[derive(Serialize, ToSchema)]
struct Database {
    /// `sqlite` or `postgres`
    kind: &'static str,
    /// Whether it answers.
    reachable: bool,
}

/// How the product is, in detail.
#[utoipa::path(get, path = "/health", tag = "operations", responses((status = 200, body = Health), (status = 503, description = "The database does not answer", body = Health)))]
async fn health(State(app): State<App>) -> Response {
    let queue = tokio::time::timeout(PATIENCE, super::queues(app.db.read())).await.ok().and_then(Result::ok);
    let reachable = queue.is_some();
    let status = if reachable { "ok" } else { "degraded" };
    let database = Database { kind: app.db.name(), reachable };
    let health = Json(Health { status, version: env!("CARGO_PKG_VERSION"), database, queue });
    if reachable {
        return health.into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], health).into_response()
}

/// Metrics in Prometheus' text format. Queues and invariants are counted at each scrape; where the database does not answer in time,
/// the rest is there all the same.
#[utoipa::path(get, path = "/metrics", tag = "operations", responses((status = 200, body = String, content_type = "text/plain")))]
async fn metrics(State(app): State<App>) -> Response {
    let counted = tokio::time::timeout(PATIENCE, count(&app)).await.is_ok_and(|counted| counted.is_ok());
    ::metrics::gauge!("tenantry_database_reachable").set(if counted { 1.0 } else { 0.0 });
    let text = telemetry::metrics().render();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn count(app: &App) -> Result<(), sea_orm::DbErr> {
    #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
    let as_f64 = |n: i64| n as f64;
    let queues = super::queues(app.db.read()).await?;
    ::metrics::gauge!("tenantry_queue_depth", "queue" => "provisioning").set(as_f64(queues.provisioning));
    ::metrics::gauge!("tenantry_queue_depth", "queue" => "outbox").set(as_f64(queues.outbox));
    for found in super::examine(app.db.read(), &app.clock.now()).await? {
        let name = if found.is_invariant { "tenantry_invariant_violations" } else { "tenantry_warnings" };
        ::metrics::gauge!(name, "name" => found.name).set(as_f64(found.count));
    }
    Ok(())
}
