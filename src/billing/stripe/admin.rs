//! Stripe's events, for platform administrators.

use axum::{Extension, Json, extract::State, http::StatusCode};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

pub use super::events::StripeEvent;
use super::{Error, events};
use crate::{
    app::App,
    audit,
    http::{
        FieldError, IdempotencyKey, Listing, Nothing, Once, PageQuery, Path, Posted, Problem, Query, Reply, RequestId,
    },
    identity::PlatformAdmin,
};

/// These routes.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_stripe_events)).routes(routes!(replay_stripe_event))
}

/// Where an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = StripeEventStatus)]
pub enum Status {
    /// It waits.
    Pending,
    /// What it told of was applied.
    Processed,
    /// Nothing follows from it.
    Ignored,
    /// The last try failed.
    Failed,
}

impl Status {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Failed, Self::Pending, Self::Processed, Self::Ignored];

    /// As in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processed => "processed",
            Self::Ignored => "ignored",
            Self::Failed => "failed",
        }
    }
}

/// Which events.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Those that stand there.
    status: Option<Status>,
    /// How many rows, 1 to 200; 50 unless told.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Stripe's events, those that came last first.
#[utoipa::path(get, path = "/api/v1/admin/stripe-events", tag = "admin", params(Wanted), security(("admin_token" = [])),
    responses((status = 200, body = Listing<StripeEvent>)))]
async fn list_stripe_events(
    State(app): State<App>,
    _: PlatformAdmin,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Listing<StripeEvent>>, Problem> {
    list(&app, wanted.status, wanted.limit, wanted.cursor.as_deref()).await.map(Json)
}

/// What the JSON edge and the page do alike.
pub async fn list(
    app: &App,
    status: Option<Status>,
    limit: Option<u64>,
    cursor: Option<&str>,
) -> Result<Listing<StripeEvent>, Problem> {
    let limit = PageQuery { limit, cursor: None }.page()?.limit;
    let before = match cursor {
        None => (DateTime::<Utc>::from_timestamp(253_402_300_799, 0).unwrap_or_default(), String::new()),
        Some(cursor) => read(cursor).ok_or_else(|| {
            Problem::invalid(vec![FieldError::new("cursor", "INVALID", "This cursor is not one that a list returned.")])
        })?,
    };
    let rows = i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1;
    let mut data = events::list(app.db.read(), status.map(Status::as_str), before, rows).await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let is_more = data.len() > limit;
    data.truncate(limit);
    let next_cursor = data.last().filter(|_| is_more).map(write);
    Ok(Listing { data, next_cursor })
}

/// Where a page ended: Stripe's ids are in no order, so the time is part of it.
fn write(event: &StripeEvent) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("{} {}", event.received_at.timestamp_micros(), event.id))
}

fn read(cursor: &str) -> Option<(DateTime<Utc>, String)> {
    let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (micros, id) = text.split_once(' ')?;
    let is_id = id.len() <= 255 && id.bytes().all(|byte| byte.is_ascii_graphic());
    Some((DateTime::from_timestamp_micros(micros.parse().ok()?)?, id.to_owned())).filter(|_| is_id)
}

/// An event that is processed again.
#[derive(Serialize, ToSchema)]
struct Replayed {
    /// Stripe's id of it.
    id: String,
    /// `pending`
    status: Status,
}

/// Processes an event again, whatever became of it: what it told of is asked of Stripe anew. One that waits already is left to it.
#[utoipa::path(post, path = "/api/v1/admin/stripe-events/{id}/replay", tag = "admin", request_body = Nothing, security(("admin_token" = [])),
    params(("id" = String, Path, description = "Stripe's id of the event"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 202, description = "It is queued", body = Replayed), (status = 409, description = "`IDEMPOTENCY_IN_PROGRESS`")))]
async fn replay_stripe_event(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    admin: PlatformAdmin,
    Path(id): Path<String>,
    Posted { body: Nothing {}, key }: Posted<Nothing>,
) -> Result<Reply, Problem> {
    replay(&app, &key, admin, &request, &id).await
}

/// What the JSON edge and the page do alike.
pub async fn replay(
    app: &App,
    key: &IdempotencyKey,
    admin: PlatformAdmin,
    request: &RequestId,
    id: &str,
) -> Result<Reply, Problem> {
    let once = Once::new(app, key, "platform");
    once.run(async {
        let now = app.clock.now();
        let tx = app.db.begin().await?;
        if !events::replay(&tx, &now, &app.sealer, id).await? {
            return Err(Problem::not_found());
        }
        let (actor, detail) = (admin.actor(), json!({"event": id}));
        audit::note(&tx, &now, request, (actor, None), "stripe_event.replayed", detail).await?;
        let reply = Reply::new(StatusCode::ACCEPTED, &Replayed { id: id.to_owned(), status: Status::Pending });
        Ok(once.commit(tx, &now, reply).await.map_err(Error::from)?)
    })
    .await
}
