//! `POST /api/v1/entitlements/check`: whether a tenant may do something now, for the operator's own application to ask.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Entitlements, LockedReason, Source, Standing, guard};
use crate::{
    app::App,
    http::{self, FieldError, Problem},
    identity::CurrentUser,
};

/// This slice's routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(check))
}

/// What is asked: a feature, or room below a limit.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Question {
    /// A feature flag's name.
    #[schema(example = "automations")]
    feature: Option<String>,
    /// A limit's name.
    #[schema(example = "max_users")]
    limit: Option<String>,
    /// How many more are to fit below the limit, at least 1; 1 where absent.
    #[schema(minimum = 1, default = 1)]
    quantity: Option<i64>,
}

/// The answer, and what it rests on.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EntitlementAnswer)]
struct Answer {
    /// Whether it may.
    allowed: bool,
    /// Why not: `not_in_plan`, `limit_reached`, or why the subscription gives nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "limit_reached")]
    reason: Option<&'static str>,
    /// The plan that holds now.
    plan: String,
    /// The limit; 0 is unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<i64>,
    /// How much of it is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<i64>,
    /// Where the answer comes from.
    source: Source,
    /// Until when it holds, as things stand.
    until: Option<DateTime<Utc>>,
}

/// Whether the tenant may use a feature, or add to what is limited.
#[utoipa::path(post, path = "/api/v1/entitlements/check", tag = "billing", request_body = Question, security(("access_token" = [])),
    responses((status = 200, body = Answer), (status = 422, description = "`VALIDATION_FAILED`: neither or both, or an unknown name")))]
async fn check(
    State(app): State<App>,
    user: CurrentUser,
    http::Json(question): http::Json<Question>,
) -> Result<Json<Answer>, Problem> {
    let (_, now) = guard::of(&app, user.tenant_id).await?;
    answer(&now, &question).map(Json).map_err(|refused| Problem::invalid(vec![refused]))
}

fn answer(now: &Entitlements, question: &Question) -> Result<Answer, FieldError> {
    let plan = now.effective_plan.clone();
    let unknown = |field: &str, name: &str| FieldError::new(field, "UNKNOWN", format!("There is no {field} {name}."));
    match (question.feature.as_deref(), question.limit.as_deref()) {
        (Some(_), None) if question.quantity.is_some() => {
            Err(FieldError::new("quantity", "NOT_ALLOWED", "A feature has no quantity."))
        }
        (Some(name), None) => {
            let feature = now.features.get(name).ok_or_else(|| unknown("feature", name))?;
            let reason = (!feature.enabled).then(|| locked(now).unwrap_or("not_in_plan"));
            let (source, until) = (feature.source, feature.until);
            Ok(Answer { allowed: feature.enabled, reason, plan, limit: None, used: None, source, until })
        }
        (None, Some(name)) => {
            let limit = now.limits.get(name).ok_or_else(|| unknown("limit", name))?;
            let quantity = question.quantity.unwrap_or(1);
            if quantity < 1 {
                return Err(FieldError::new("quantity", "OUT_OF_RANGE", "Ask for at least 1."));
            }
            let allowed = limit.has_room_for(quantity);
            let (source, until) = (limit.source, limit.until);
            let reason = (!allowed).then_some("limit_reached");
            Ok(Answer { allowed, reason, plan, limit: Some(limit.limit), used: Some(limit.used), source, until })
        }
        _ => Err(FieldError::new("feature", "REQUIRED", "Ask for a feature or for a limit, and not for both.")),
    }
}

fn locked(now: &Entitlements) -> Option<&'static str> {
    match now.standing {
        Standing::Locked { reason, .. } => Some(reason.as_str()),
        Standing::Entitled { .. } => None,
    }
}

impl LockedReason {
    /// As in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TrialEnded => "trial_ended",
            Self::PastDue => "past_due",
            Self::Canceled => "canceled",
            Self::PaymentPending => "payment_pending",
            Self::Incomplete => "incomplete",
        }
    }

    /// For people: what has happened, and what helps.
    pub const fn says(self) -> &'static str {
        match self {
            Self::TrialEnded => "The trial has ended. Choose a plan to go on.",
            Self::PastDue => "A payment is missing. Pay it to go on.",
            Self::Canceled => "The subscription has ended. Choose a plan to go on.",
            Self::PaymentPending => "The first invoice has not been paid yet.",
            Self::Incomplete => "The first payment has not been made yet.",
        }
    }
}
