//! Watching a tenant's provisioning, setting it going again, and reporting a step from outside.

use axum::{
    Extension, Json as Answer,
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode},
    response::{IntoResponse, Response, Sse, sse::KeepAlive},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    Error, Queued, Report, Status, StepStatus,
    callback::report,
    current,
    events::{News, events, is_over},
    retry,
};
use crate::{
    app::App,
    audit,
    db::Batch,
    http::{FieldError, IdempotencyKey, Json, Nothing, Once, Path, Posted, Problem, Reply, RequestId},
    identity::{PlatformAdmin, TenantOperator, TenantReader},
};

/// This slice's routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(provision_status))
        .routes(routes!(provision_events))
        .routes(routes!(provision_retry))
        .routes(routes!(admin_provision_retry))
        .routes(routes!(provision_callback))
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NoRun | Error::UnknownCallback => Self::not_found(),
            Error::AlreadyStarted => Self::conflict("PROVISION_ALREADY_STARTED", "Provisioning has already started."),
            Error::NotFailed => {
                Self::conflict("PROVISION_NOT_FAILED", "Only provisioning that has failed can be retried.")
            }
            Error::StepEnded => Self::conflict("PROVISION_STEP_ENDED", "This step has already ended otherwise."),
            Error::Database(error) => Self::database(&error),
        }
    }
}

/// Where a tenant's provisioning stands, step by step.
#[utoipa::path(get, path = "/api/v1/tenants/{id}/provision-status", tag = "provisioning",
    params(("id" = Uuid, Path, description = "The tenant")),
    security(("signup_token" = []), ("access_token" = [])),
    responses((status = 200, description = "The tenant's last run", body = Status)))]
async fn provision_status(State(app): State<App>, reader: TenantReader) -> Result<Answer<Status>, Problem> {
    let status = current(app.db.read(), reader.tenant_id).await?;
    status.map(Answer).ok_or_else(Problem::not_found)
}

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Tells nginx to pass events on at once.
const UNBUFFERED: (HeaderName, &str) = (HeaderName::from_static("x-accel-buffering"), "no");

/// A tenant's provisioning as it happens.
///
/// `step` events carry a step, `status` events the whole of `provision-status`. The stream ends after `complete` or `failed`; a client
/// that comes back after that with the last event's id gets 204, which tells `EventSource` not to come again.
#[utoipa::path(get, path = "/api/v1/tenants/{id}/provision-events", tag = "provisioning",
    params(("id" = Uuid, Path, description = "The tenant"),
        ("Last-Event-ID" = Option<String>, Header, description = "Only what came after this event is sent")),
    security(("signup_token" = []), ("access_token" = [])),
    responses((status = 200, description = "Server-Sent Events", body = News, content_type = "text/event-stream"),
        (status = 204, description = "It has ended, and the client has heard so")))]
async fn provision_events(
    State(app): State<App>,
    reader: TenantReader,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    watch(&app, reader.tenant_id, &headers).await
}

/// A tenant's run as Server-Sent Events, from where a client left off.
pub async fn watch(app: &App, tenant_id: Uuid, headers: &HeaderMap) -> Result<Response, Problem> {
    // An id that is none of ours means a client that knows nothing.
    let known = headers.get(&LAST_EVENT_ID).and_then(|id| id.to_str().ok()?.trim().parse().ok()).unwrap_or_default();
    let status = current(app.db.read(), tenant_id).await?.ok_or_else(Problem::not_found)?;
    if is_over(&status, known) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let stream = Sse::new(events(app.clone(), status, known)).keep_alive(KeepAlive::default());
    Ok(([UNBUFFERED], stream).into_response())
}

/// Sets a tenant's failed provisioning going again. Finished steps are not repeated.
#[utoipa::path(post, path = "/api/v1/tenants/{id}/provision-retry", tag = "provisioning", request_body = Nothing,
    params(("id" = Uuid, Path, description = "The tenant"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    security(("signup_token" = []), ("access_token" = [])),
    responses((status = 202, description = "The run is queued again", body = Queued),
        (status = 409, description = "`PROVISION_NOT_FAILED` or `IDEMPOTENCY_IN_PROGRESS`")))]
async fn provision_retry(
    State(app): State<App>,
    Extension(request_id): Extension<RequestId>,
    operator: TenantOperator,
    Posted { key, .. }: Posted<Nothing>,
) -> Result<Reply, Problem> {
    let (tenant_id, actor) = (operator.tenant_id, audit::Actor::User(operator.user_id));
    again(&app, &key, &tenant_id.to_string(), tenant_id, actor, request_id).await
}

/// Sets any tenant's failed provisioning going again. Finished steps are not repeated.
#[utoipa::path(post, path = "/api/v1/admin/tenants/{id}/provision-retry", tag = "admin", request_body = Nothing,
    params(("id" = Uuid, Path, description = "The tenant"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    security(("admin_token" = [])),
    responses((status = 202, description = "The run is queued again", body = Queued),
        (status = 409, description = "`PROVISION_NOT_FAILED` or `IDEMPOTENCY_IN_PROGRESS`")))]
async fn admin_provision_retry(
    State(app): State<App>,
    Extension(request_id): Extension<RequestId>,
    admin: PlatformAdmin,
    Path(tenant_id): Path<Uuid>,
    Posted { key, .. }: Posted<Nothing>,
) -> Result<Reply, Problem> {
    again(&app, &key, "platform", tenant_id, admin.actor(), request_id).await
}

/// What the JSON edge and the pages do alike. `caller` scopes the key.
pub async fn again(
    app: &App,
    key: &IdempotencyKey,
    caller: &str,
    tenant_id: Uuid,
    actor: audit::Actor,
    RequestId(request_id): RequestId,
) -> Result<Reply, Problem> {
    let once = Once::new(app, key, caller);
    once.run(async {
        let now = app.clock.now();
        let tx = app.db.begin().await?;
        let queued = retry(&tx, &now, tenant_id).await?;
        let mut batch = Batch::default();
        audit::append(
            &mut batch,
            &now,
            audit::Event {
                actor,
                tenant_id: Some(tenant_id),
                action: "tenant.provision_retried",
                request_id: Some(request_id),
                detail: json!({"run_id": queued.run_id}),
            },
        );
        batch.send(&tx).await.map_err(|refused| refused.source)?;
        Ok(once.commit(tx, &now, Reply::new(StatusCode::ACCEPTED, &queued)).await?)
    })
    .await
}

/// How a step ended.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// Done.
    Done,
    /// It will not be done.
    Failed,
}

/// An operator's application reports how its step ended.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Reported {
    /// How it ended.
    status: Verdict,
    /// Kept with the step; at most 16 KiB as JSON.
    output: Option<Value>,
    /// Why it failed, in words for the tenant's owner.
    #[schema(max_length = 1000)]
    reason: Option<String>,
}

const LONGEST_OUTPUT: usize = 16 * 1024;
const LONGEST_REASON: usize = 1000;

impl Reported {
    fn checked(self) -> Result<Report, Problem> {
        let mut refused = Vec::new();
        if self.output.as_ref().is_some_and(|output| output.to_string().len() > LONGEST_OUTPUT) {
            refused.push(FieldError::new("output", "TOO_LONG", "output may have at most 16 KiB."));
        }
        if self.reason.as_ref().is_some_and(|reason| reason.chars().count() > LONGEST_REASON) {
            refused.push(FieldError::new("reason", "TOO_LONG", "reason may have at most 1000 characters."));
        }
        if !refused.is_empty() {
            return Err(Problem::invalid(refused));
        }
        Ok(match self.status {
            Verdict::Done => Report::Done(self.output),
            Verdict::Failed => {
                let given = self.reason.filter(|reason| !reason.trim().is_empty());
                Report::Failed(given.unwrap_or_else(|| "the operator's application gave no reason".to_owned()))
            }
        })
    }
}

/// Where the step stands after a report.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = StepNoted)]
struct Noted {
    /// `complete` or `failed`
    status: StepStatus,
}

/// Takes the report of a step that the operator's application does (`call_webhook`), at the address that the call named.
#[utoipa::path(post, path = "/api/v1/provision-callbacks/{step_token}", tag = "provisioning", request_body = Reported,
    params(("step_token" = String, Path, description = "From the callback URL")),
    responses((status = 200, description = "Noted, now or before", body = Noted),
        (status = 409, description = "`PROVISION_STEP_ENDED`: the step, or its run, has ended otherwise")))]
async fn provision_callback(
    State(app): State<App>,
    Path(step_token): Path<String>,
    Json(reported): Json<Reported>,
) -> Result<Answer<Noted>, Problem> {
    let reported = reported.checked()?;
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    if report(&tx, &now, &step_token, &reported).await? {
        tx.commit().await?;
        app.wake.wake();
    } else {
        tx.rollback().await?;
    }
    Ok(Answer(Noted { status: reported.status() }))
}
