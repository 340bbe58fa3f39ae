//! What a developer, or a test, needs of the sandbox: its secrets, and failures on demand. In development only.

use axum::{Json, extract::State, http::StatusCode};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    STRIPE_VERSION, deliveries,
    faults::{Deliveries, Fault},
};
use crate::{
    app::App,
    billing::stripe::Access,
    http::{self, FieldError, Problem},
};

/// The longest that an event may be late.
const LATEST: i64 = 365 * 24 * 60 * 60;

/// This part's routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(sandbox)).routes(routes!(order, clear)).routes(routes!(release))
}

/// How to reach the sandbox.
#[derive(Serialize, ToSchema)]
struct Reach {
    /// The address before `/v1`.
    api_base: String,
    /// The bearer token of its API.
    secret_key: String,
    /// What its events are signed with; null where that is the configured secret.
    webhook_secret: Option<String>,
    /// The version of Stripe's API.
    version: &'static str,
}

/// A failure of calls, another way to deliver, or both.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Order {
    /// How calls fail.
    request: Option<Fault>,
    /// How events are delivered.
    deliveries: Option<Deliveries>,
}

/// What was held.
#[derive(Serialize, ToSchema)]
struct Released {
    /// How many events.
    released: usize,
}

fn only_where_it_is(app: &App) -> Result<(), Problem> {
    let is_there = app.config.environment.is_development() && app.config.billing.sandbox;
    if is_there { Ok(()) } else { Err(Problem::not_found()) }
}

/// How to reach the Stripe sandbox. In development only.
#[utoipa::path(get, path = "/dev/sandbox.json", operation_id = "sandbox", tag = "development",
    responses((status = 200, body = Reach), (status = 404, description = "Not in development, or there is no sandbox")))]
async fn sandbox(State(app): State<App>) -> Result<Json<Reach>, Problem> {
    only_where_it_is(&app)?;
    let access = Access::sandbox(&app);
    let text = |url: &str| url.trim_end_matches('/').to_owned();
    Ok(Json(Reach {
        api_base: text(access.api_base.as_str()),
        secret_key: access.secret_key.expose_secret().to_owned(),
        webhook_secret: access
            .webhook_secret
            .filter(|_| app.config.stripe.webhook_secret.is_none())
            .map(|secret| secret.expose_secret().to_owned()),
        version: STRIPE_VERSION,
    }))
}

/// Orders failures of the Stripe sandbox, which this process remembers. In development only.
#[utoipa::path(post, path = "/dev/sandbox/faults", operation_id = "order_sandbox_faults", tag = "development",
    request_body = Order,
    responses((status = 204, description = "Ordered"), (status = 404, description = "Not in development, or there is no sandbox")))]
async fn order(State(app): State<App>, http::Json(order): http::Json<Order>) -> Result<StatusCode, Problem> {
    only_where_it_is(&app)?;
    let refuse = |field: &str, message: &str| Problem::invalid(vec![FieldError::new(field, "OUT_OF_RANGE", message)]);
    if let Some((field, message)) = order.request.as_ref().and_then(Fault::fault) {
        return Err(refuse(field, message));
    }
    if order.deliveries.is_some_and(|deliveries| !(0..=LATEST).contains(&deliveries.seconds)) {
        return Err(refuse("deliveries.seconds", "Has to be 0 to a year."));
    }
    order.request.into_iter().for_each(|fault| app.sandbox.faults.order(fault));
    order.deliveries.into_iter().for_each(|deliveries| app.sandbox.faults.deliver(deliveries));
    Ok(StatusCode::NO_CONTENT)
}

/// Takes all ordered failures of the Stripe sandbox back, and sends what is held. In development only.
#[utoipa::path(delete, path = "/dev/sandbox/faults", operation_id = "clear_sandbox_faults", tag = "development",
    responses((status = 204, description = "None is left"), (status = 404, description = "Not in development, or there is no sandbox")))]
async fn clear(State(app): State<App>) -> Result<StatusCode, Problem> {
    only_where_it_is(&app)?;
    app.sandbox.faults.clear();
    deliveries::release(&app).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends the events that the Stripe sandbox holds. In development only.
#[utoipa::path(post, path = "/dev/sandbox/release", operation_id = "release_sandbox_events", tag = "development",
    responses((status = 200, body = Released), (status = 404, description = "Not in development, or there is no sandbox")))]
async fn release(State(app): State<App>) -> Result<Json<Released>, Problem> {
    only_where_it_is(&app)?;
    Ok(Json(Released { released: deliveries::release(&app).await }))
}
