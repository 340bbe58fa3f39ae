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
    store,
    stripe::{self, Interval, Standing},
};
use crate::{
    app::App,
    audit::{self, Actor},
    clock::Now,
    db::Tx,
    http::{FieldError, IdempotencyKey, Nothing, Once, Posted, Problem, Reply, RequestId},
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

/// A plan, and how it is to be paid.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ChangePlan)]
struct ChangePlan {
    /// A public plan's slug.
    #[schema(example = "pro")]
    plan_slug: String,
    /// As the subscription is where absent, or as the plan is sold.
    interval: Option<Interval>,
    /// `bank_transfer` orders at once, also what a trial could try out.
    payment_method: Option<ByBank>,
}

/// A way to pay that a plan is ordered by.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ByBank {
    /// Against an invoice.
    BankTransfer,
}

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
/// what is paid; what else costs something is ordered against an invoice, and holds when that is paid. Who pays by card and asks for what it is on
/// already is answered with it, so that a request whose answer was lost can be repeated.
#[utoipa::path(post, path = "/api/v1/billing/change-plan", operation_id = "change_own_plan", tag = "billing", request_body = ChangePlan, security(("access_token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 200, body = Changed), (status = 402, description = "`PAYMENT_FAILED`: the card was declined, and nothing has changed"),
        (status = 409, description = "`PLAN_UNCHANGED`, `ALREADY_SUBSCRIBED` (by card, where a bank transfer is asked for), `SUBSCRIPTION_ENDED`, `NO_STRIPE_SUBSCRIPTION` (Stripe does not know it) or `IDEMPOTENCY_IN_PROGRESS`"),
        (status = 422, description = "`VALIDATION_FAILED`, `PLAN_NOT_SELF_SERVE` or `IDEMPOTENCY_KEY_REUSED`"),
        (status = 503, description = "`SERVICE_UNAVAILABLE`: Stripe does not answer, and nothing was charged twice")))]
async fn change_plan(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    user: CurrentUser,
    Posted { body, key }: Posted<ChangePlan>,
) -> Result<Reply, Problem> {
    may_pay(&user)?;
    let once = Once::new(&app, &key, &user.tenant_id.to_string());
    once.run(async {
        let choice = Choice {
            plan_slug: &body.plan_slug,
            interval: body.interval,
            by_bank: matches!(body.payment_method, Some(ByBank::BankTransfer)),
        };
        let (tx, now, changed) = choose(&app, &user, &request, choice).await?;
        let invoice_id = match changed {
            Change::Ordered { invoice_id } => Some(invoice_id),
            Change::Now | Change::AtPeriodEnd => None,
        };
        keep(&once, tx, &now, user.tenant_id, invoice_id).await
    })
    .await
}

/// Ends the subscription with its period. What is paid for stays open until then.
#[utoipa::path(post, path = "/api/v1/billing/cancel", operation_id = "cancel_subscription", tag = "billing", request_body = Nothing, security(("access_token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 200, body = Changed), (status = 402, description = "`PAYMENT_FAILED`: Stripe declined, and nothing has changed"),
        (status = 409, description = "`SUBSCRIPTION_NOT_ACTIVE`, `SUBSCRIPTION_ENDED`, `NO_STRIPE_SUBSCRIPTION` (Stripe does not know it) or `IDEMPOTENCY_IN_PROGRESS`"),
        (status = 503, description = "`SERVICE_UNAVAILABLE`")))]
async fn cancel(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    user: CurrentUser,
    Posted { body: Nothing {}, key }: Posted<Nothing>,
) -> Result<Reply, Problem> {
    ended(&app, &user, &request, &key, true).await
}

/// Goes on with a subscription that was told to end with its period.
#[utoipa::path(post, path = "/api/v1/billing/resume", operation_id = "resume_subscription", tag = "billing", request_body = Nothing, security(("access_token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 200, body = Changed), (status = 402, description = "`PAYMENT_FAILED`: Stripe declined, and nothing has changed"),
        (status = 409, description = "`SUBSCRIPTION_NOT_ACTIVE`, `SUBSCRIPTION_ENDED`, `NO_STRIPE_SUBSCRIPTION` (Stripe does not know it) or `IDEMPOTENCY_IN_PROGRESS`"),
        (status = 503, description = "`SERVICE_UNAVAILABLE`")))]
async fn resume(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    user: CurrentUser,
    Posted { body: Nothing {}, key }: Posted<Nothing>,
) -> Result<Reply, Problem> {
    ended(&app, &user, &request, &key, false).await
}

async fn ended(
    app: &App,
    user: &CurrentUser,
    request: &RequestId,
    key: &IdempotencyKey,
    at_period_end: bool,
) -> Result<Reply, Problem> {
    may_pay(user)?;
    let once = Once::new(app, key, &user.tenant_id.to_string());
    once.run(async {
        let (tx, now) = end(app, user, request, at_period_end).await?;
        keep(&once, tx, &now, user.tenant_id, None).await
    })
    .await
}

async fn keep(once: &Once<'_>, tx: Tx, now: &Now, tenant_id: Uuid, invoice_id: Option<Uuid>) -> Result<Reply, Problem> {
    let standing = stripe::standing(&tx, tenant_id).await?.ok_or_else(Problem::not_found)?;
    Ok(once.commit(tx, now, Reply::new(StatusCode::OK, &Changed { standing, invoice_id })).await?)
}

/// What somebody chooses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice<'a> {
    /// A public plan's slug.
    pub plan_slug: &'a str,
    /// As the subscription is where absent.
    pub interval: Option<Interval>,
    /// Whether it is ordered by bank transfer at once.
    pub by_bank: bool,
}

/// What the JSON edge and the page do alike: another plan, at Stripe where the tenant pays there. What is ours to change is changed in the
/// transaction that is answered, and that the caller commits.
pub(super) async fn choose(
    app: &App,
    user: &CurrentUser,
    request: &RequestId,
    choice: Choice<'_>,
) -> Result<(Tx, Now, Change), Problem> {
    let (tenant_id, slug, interval) = (user.tenant_id, choice.plan_slug, choice.interval);
    let plan = plans::by_slug(app.db.read(), slug).await?.filter(|plan| plan.is_public);
    let unknown = || Problem::invalid(vec![FieldError::new("plan_slug", "UNKNOWN_PLAN", "There is no such plan.")]);
    let plan = plan.ok_or_else(unknown)?;
    let is_free = plan.price_amount == 0 && !plan.contact_sales;
    let at_stripe = if is_free {
        stripe::cancel(app, tenant_id).await.map(|_| Change::AtPeriodEnd)
    } else if choice.by_bank {
        // No card is charged for it. Whether one pays still is asked of Stripe.
        if store::pays_by_card(app.db.read(), tenant_id).await? {
            stripe::sync(app, tenant_id, "change-plan").await?;
        }
        Err(stripe::Error::NoSubscription)
    } else {
        stripe::change_plan(app, tenant_id, slug, interval).await.map(|_| Change::Now)
    };
    let changed = match at_stripe {
        Ok(changed) => Some(changed),
        Err(stripe::Error::NoSubscription) => None,
        // It has ended there, which we may not have heard of yet.
        Err(stripe::Error::Ended) => {
            stripe::sync(app, tenant_id, "change-plan").await?;
            None
        }
        Err(error) => return Err(error.into()),
    };
    let (tx, now) = (app.db.begin().await?, app.clock.now());
    let changed = if let Some(changed) = changed {
        changed
    } else {
        let interval = interval.map(Interval::as_str);
        let wanted = change::Wanted { plan: &plan, interval, by_bank: choice.by_bank };
        change::plan(&tx, &now, &app.post, tenant_id, wanted).await?
    };
    let detail = json!({"plan": plan.slug, "interval": interval, "change": changed});
    audit::note(&tx, &now, request, (Actor::User(user.user_id), Some(tenant_id)), "plan.changed", detail).await?;
    Ok((tx, now, changed))
}

/// What the JSON edge and the page do alike: ends the subscription with its period, or takes that back. The caller commits.
pub(super) async fn end(
    app: &App,
    user: &CurrentUser,
    request: &RequestId,
    at_period_end: bool,
) -> Result<(Tx, Now), Problem> {
    let tenant_id = user.tenant_id;
    let at_stripe =
        if at_period_end { stripe::cancel(app, tenant_id).await } else { stripe::resume(app, tenant_id).await };
    let is_ours = match at_stripe {
        Ok(_) => false,
        Err(stripe::Error::NoSubscription) => true,
        Err(error) => return Err(error.into()),
    };
    let (tx, now) = (app.db.begin().await?, app.clock.now());
    if is_ours {
        change::cancel(&tx, &now, tenant_id, at_period_end).await?;
    }
    let action = if at_period_end { "subscription.canceled" } else { "subscription.resumed" };
    audit::note(&tx, &now, request, (Actor::User(user.user_id), Some(tenant_id)), action, json!({})).await?;
    Ok((tx, now))
}
