//! Changing plans, canceling and resuming: one way for whoever asks, by API or page, however the tenant pays. A subscription at Stripe is changed
//! there; any other is ours to change ([`change`]).

use axum::{Extension, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    change::{self, Change},
    stripe::{self, Interval, Standing},
};
use crate::{
    app::App,
    audit::{self, Actor},
    http::{FieldError, Once, Posted, Problem, Reply, RequestId},
    identity::CurrentUser,
    plans,
    tenants::Role,
};

/// This part's routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(change_plan)).routes(routes!(cancel)).routes(routes!(resume))
}

/// Money is the affair of owners and admins.
pub fn may_pay(user: &CurrentUser) -> Result<(), Problem> {
    if matches!(user.role, Role::Owner | Role::Admin) { Ok(()) } else { Err(Problem::forbidden()) }
}

/// A plan, and how often it is to be paid.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ChangePlan)]
struct Wanted {
    /// A public plan's slug.
    #[schema(example = "pro")]
    plan_slug: String,
    /// As the subscription is where absent.
    interval: Option<Interval>,
}

/// Nothing has to be said.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// What the tenant is on after it.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Changed {
    /// The subscription.
    #[serde(flatten)]
    standing: Standing,
    /// The invoice to pay before the change holds, where it was ordered by bank transfer.
    #[serde(skip_serializing_if = "Option::is_none")]
    invoice_id: Option<Uuid>,
}

/// Puts the tenant on another plan. A trial keeps its end; Stripe charges or sets off the difference; the free plan holds at once, or with the end of
/// what is paid; what else costs something is ordered against an invoice, and holds when that is paid.
#[utoipa::path(post, path = "/api/v1/billing/change-plan", operation_id = "change_own_plan", tag = "billing", request_body = Wanted, security(("access_token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 200, body = Changed), (status = 402, description = "`PAYMENT_FAILED`: the card was declined, and nothing has changed"),
        (status = 409, description = "`PLAN_UNCHANGED` or `IDEMPOTENCY_IN_PROGRESS`"),
        (status = 422, description = "`VALIDATION_FAILED`, `PLAN_NOT_SELF_SERVE` or `IDEMPOTENCY_KEY_REUSED`"),
        (status = 503, description = "`SERVICE_UNAVAILABLE`: Stripe does not answer, and nothing was charged twice")))]
async fn change_plan(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    user: CurrentUser,
    Posted { body, key }: Posted<Wanted>,
) -> Result<Reply, Problem> {
    may_pay(&user)?;
    let once = Once::new(&app, &key, &user.tenant_id.to_string());
    once.run(async {
        let changed = choose(&app, &user, &request, (&body.plan_slug, body.interval)).await?;
        let invoice_id = match changed {
            Change::Ordered { invoice_id } => Some(invoice_id),
            Change::Now | Change::AtPeriodEnd => None,
        };
        keep(&app, &once, user.tenant_id, invoice_id).await
    })
    .await
}

/// Ends the subscription with its period. What is paid for stays open until then.
#[utoipa::path(post, path = "/api/v1/billing/cancel", operation_id = "cancel_subscription", tag = "billing", request_body = Nothing, security(("access_token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 200, body = Changed), (status = 402, description = "`PAYMENT_FAILED`: Stripe declined, and nothing has changed"),
        (status = 409, description = "`SUBSCRIPTION_NOT_ACTIVE`, `SUBSCRIPTION_ENDED` or `IDEMPOTENCY_IN_PROGRESS`"),
        (status = 503, description = "`SERVICE_UNAVAILABLE`")))]
async fn cancel(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    user: CurrentUser,
    Posted { body: Nothing {}, key }: Posted<Nothing>,
) -> Result<Reply, Problem> {
    may_pay(&user)?;
    let once = Once::new(&app, &key, &user.tenant_id.to_string());
    once.run(async {
        end(&app, &user, &request, true).await?;
        keep(&app, &once, user.tenant_id, None).await
    })
    .await
}

/// Goes on with a subscription that was told to end with its period.
#[utoipa::path(post, path = "/api/v1/billing/resume", operation_id = "resume_subscription", tag = "billing", request_body = Nothing, security(("access_token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 200, body = Changed), (status = 402, description = "`PAYMENT_FAILED`: Stripe declined, and nothing has changed"),
        (status = 409, description = "`SUBSCRIPTION_NOT_ACTIVE`, `SUBSCRIPTION_ENDED` or `IDEMPOTENCY_IN_PROGRESS`"),
        (status = 503, description = "`SERVICE_UNAVAILABLE`")))]
async fn resume(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    user: CurrentUser,
    Posted { body: Nothing {}, key }: Posted<Nothing>,
) -> Result<Reply, Problem> {
    may_pay(&user)?;
    let once = Once::new(&app, &key, &user.tenant_id.to_string());
    once.run(async {
        end(&app, &user, &request, false).await?;
        keep(&app, &once, user.tenant_id, None).await
    })
    .await
}

async fn keep(app: &App, once: &Once<'_>, tenant_id: Uuid, invoice_id: Option<Uuid>) -> Result<Reply, Problem> {
    let (tx, now) = (app.db.begin().await?, app.clock.now());
    let standing = stripe::standing(&tx, tenant_id).await?.ok_or_else(Problem::not_found)?;
    Ok(once.commit(tx, &now, Reply::new(StatusCode::OK, &Changed { standing, invoice_id })).await?)
}

/// What the JSON edge and the page do alike: another plan, at Stripe where the tenant pays there.
pub(super) async fn choose(
    app: &App,
    user: &CurrentUser,
    request: &RequestId,
    (slug, interval): (&str, Option<Interval>),
) -> Result<Change, Problem> {
    let tenant_id = user.tenant_id;
    let plan = plans::by_slug(app.db.read(), slug).await?.filter(|plan| plan.is_public);
    let unknown = || Problem::invalid(vec![FieldError::new("plan_slug", "UNKNOWN_PLAN", "There is no such plan.")]);
    let plan = plan.ok_or_else(unknown)?;
    let is_free = plan.price_amount == 0 && !plan.contact_sales;
    let at_stripe = if is_free {
        stripe::cancel(app, tenant_id).await.map(|_| Change::AtPeriodEnd)
    } else {
        stripe::change_plan(app, tenant_id, slug, interval).await.map(|_| Change::Now)
    };
    match at_stripe {
        Ok(changed) => return Ok(changed),
        Err(stripe::Error::NoSubscription) => {}
        // It has ended there, which we may not have heard of yet.
        Err(stripe::Error::Ended) => drop(stripe::sync(app, tenant_id, "change-plan").await?),
        Err(error) => return Err(error.into()),
    }
    let (tx, now) = (app.db.begin().await?, app.clock.now());
    let interval = interval.map_or("month", Interval::as_str);
    let changed = change::plan(&tx, &now, &app.post, tenant_id, (&plan, interval)).await?;
    let detail = json!({"plan": plan.slug, "interval": interval, "ordered": matches!(changed, Change::Ordered { .. })});
    audit::note(&tx, &now, request, (Actor::User(user.user_id), Some(tenant_id)), "plan.changed", detail).await?;
    tx.commit().await?;
    app.wake.wake();
    Ok(changed)
}

/// What the JSON edge and the page do alike: ends the subscription with its period, or takes that back.
pub(super) async fn end(
    app: &App,
    user: &CurrentUser,
    request: &RequestId,
    at_period_end: bool,
) -> Result<(), Problem> {
    let tenant_id = user.tenant_id;
    let at_stripe =
        if at_period_end { stripe::cancel(app, tenant_id).await } else { stripe::resume(app, tenant_id).await };
    match at_stripe {
        Ok(_) => Ok(()),
        Err(stripe::Error::NoSubscription) => {
            let (tx, now) = (app.db.begin().await?, app.clock.now());
            change::cancel(&tx, &now, tenant_id, at_period_end).await?;
            let action = if at_period_end { "subscription.canceled" } else { "subscription.resumed" };
            audit::note(&tx, &now, request, (Actor::User(user.user_id), Some(tenant_id)), action, json!({})).await?;
            Ok(tx.commit().await?)
        }
        Err(error) => Err(error.into()),
    }
}
