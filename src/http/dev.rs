//! What is there in development only: the clock that can be moved forward.

use axum::{Json, extract::State};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{FieldError, Problem};
use crate::{app::App, config::Environment};

/// A hundred years. Beyond them lie times that databases and tokens cannot hold.
const FARTHEST: i64 = 100 * 366 * 24 * 60 * 60;

/// This part's routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(advance))
}

/// How far.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Advance {
    /// Seconds, 0 to a hundred years; the clock never goes back.
    #[schema(minimum = 0, maximum = 3_162_240_000_i64)]
    seconds: i64,
}

/// The time after it.
#[derive(Debug, Serialize, ToSchema)]
struct Advanced {
    /// The product's time.
    now: DateTime<Utc>,
}

/// Moves all of the product's time forward, token expiry included. In development only; lasts until the process ends.
#[utoipa::path(post, path = "/dev/clock/advance", tag = "development", request_body = Advance,
    responses((status = 200, body = Advanced), (status = 404, description = "Not in development")))]
async fn advance(State(app): State<App>, super::Json(body): super::Json<Advance>) -> Result<Json<Advanced>, Problem> {
    if app.config.environment != Environment::Development {
        return Err(Problem::not_found());
    }
    let farthest = DateTime::UNIX_EPOCH + TimeDelta::days(200 * 366);
    let by = TimeDelta::try_seconds(body.seconds).filter(|_| (0..=FARTHEST).contains(&body.seconds));
    let by = by.filter(|by| app.clock.now().at + *by <= farthest).ok_or_else(|| {
        let message = "seconds has to be 0 or more, and lead at most to the year 2170.";
        Problem::invalid(vec![FieldError::new("seconds", "OUT_OF_RANGE", message)])
    })?;
    let now = app.clock.advance(by).at;
    app.wake.wake();
    tracing::info!(feature = "dev", seconds = body.seconds, %now, "Clock advanced");
    Ok(Json(Advanced { now }))
}
