//! The edge that Stripe sends its events to.

use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use secrecy::SecretString;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Access, Error,
    events::{self, Received},
    signature, wire,
};
use crate::{app::App, http::Problem};

/// This edge's route.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(receive_stripe_event))
}

/// What became of the event.
#[derive(Serialize, ToSchema)]
#[schema(as = StripeAnswer)]
struct Answer {
    /// `queued`, `replayed` (it came before) or `ignored` (nothing here follows from it).
    status: Received,
}

/// Takes an event of Stripe's: checks its signature, keeps it, and processes it afterwards. A repeat does nothing.
#[utoipa::path(post, path = "/api/v1/webhooks/stripe", tag = "billing",
    request_body(content = Object, content_type = "application/json", description = "The event, byte for byte as Stripe sent it"),
    params(("Stripe-Signature" = Option<String>, Header, description = "`t=<seconds>,v1=<HMAC-SHA256 of t.body>`, at most five minutes from now")),
    responses((status = 200, description = "The event is kept", body = Answer),
        (status = 400, description = "`SIGNATURE_INVALID`, `MALFORMED_REQUEST`, or `EVENT_REFUSED`: of the other mode, or of another account"),
        (status = 503, description = "`BILLING_NOT_CONFIGURED`: without a secret nothing is accepted")))]
async fn receive_stripe_event(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Answer>, Problem> {
    let access = Access::of(&app).ok_or(Error::NotConfigured)?;
    let secret: SecretString = access.webhook_secret.ok_or(Error::NotConfigured)?;
    let signed = headers.get(signature::HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    signature::verify(&secret, signed, &body, app.clock.now().at).map_err(|error| match error {
        signature::SignatureError::NoSecret => Error::NotConfigured.into(),
        error => refuse("SIGNATURE_INVALID", "This is not signed by Stripe.", &error.to_string()),
    })?;
    let text = std::str::from_utf8(&body).map_err(|_| Problem::malformed("The body is not text."))?;
    let event: wire::Event =
        serde_json::from_str(text).map_err(|_| Problem::malformed("The body is not an event of Stripe's."))?;
    let detail = "This event is of the other mode, or of another account.";
    if event.livemode != access.livemode {
        return Err(refuse("EVENT_REFUSED", detail, "it is of the other mode"));
    }
    if event.account.is_some() {
        return Err(refuse("EVENT_REFUSED", detail, "it is of a connected account"));
    }
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    let status = events::receive(&tx, &now, &app.sealer, &event, text).await?;
    tx.commit().await?;
    app.wake.wake();
    let (id, kind) = (event.id.as_str(), event.kind.as_str());
    tracing::info!(feature = "stripe", event = id, kind, ?status, "Stripe event received");
    metrics::counter!("tenantry_stripe_events_total", "outcome" => match status {
        Received::Queued => "queued",
        Received::Replayed => "replayed",
        Received::Ignored => "ignored",
    })
    .increment(1);
    Ok(Json(Answer { status }))
}

fn refuse(code: &'static str, detail: &str, why: &str) -> Problem {
    metrics::counter!("tenantry_stripe_events_total", "outcome" => "refused").increment(1);
    tracing::warn!(feature = "stripe", code, why, "Stripe event refused");
    Problem::new(StatusCode::BAD_REQUEST, code, detail)
}
