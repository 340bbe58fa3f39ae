//! A tenant's routes to Stripe, and Stripe's to us.

use axum::{Extension, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Buyer, Interval, Session, admin, changes, checkout, prices, webhook};
use crate::{
    app::App,
    audit::Actor,
    billing::subscription::may_pay,
    http::{Nothing, Once, Posted, Problem, Reply, RequestId},
    identity::CurrentUser,
};

/// This slice's routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(open_checkout))
        .routes(routes!(open_portal))
        .merge(webhook::routes())
        .merge(admin::routes())
}

/// A plan, and how often it is to be paid.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// A public plan's slug.
    #[schema(example = "pro")]
    plan_slug: String,
    /// As the plan says where absent.
    interval: Option<Interval>,
}

/// Keeps the answer of what was done at Stripe.
async fn answer(app: &App, once: &Once<'_>, status: StatusCode, body: &impl Serialize) -> Result<Reply, Problem> {
    let (tx, now) = (app.db.begin().await?, app.clock.now());
    Ok(once.commit(tx, &now, Reply::new(status, body)).await?)
}

/// Opens a page of Stripe's to buy a plan on. A tenant has one at a time: the same again answers the same page, another plan ends the page
/// before.
#[utoipa::path(post, path = "/api/v1/billing/checkout-session", tag = "billing", request_body = Wanted, security(("access_token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 201, body = Session), (status = 402, description = "`PAYMENT_FAILED`: Stripe declined, and nothing has changed"),
        (status = 409, description = "`ALREADY_SUBSCRIBED`: change the plan instead, or wait for the end of what is paid by bank transfer; `CHECKOUT_IN_PROGRESS`; `IDEMPOTENCY_IN_PROGRESS`"),
        (status = 422, description = "`VALIDATION_FAILED`, `PLAN_NOT_SELF_SERVE` or `IDEMPOTENCY_KEY_REUSED`"),
        (status = 503, description = "`BILLING_NOT_CONFIGURED`, or `SERVICE_UNAVAILABLE`: Stripe does not answer, and nothing was charged")))]
async fn open_checkout(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    user: CurrentUser,
    Posted { body, key }: Posted<Wanted>,
) -> Result<Reply, Problem> {
    may_pay(&user)?;
    let once = Once::new(&app, &key, &user.tenant_id.to_string());
    once.run(async {
        super::Client::of(&app)?;
        let in_sandbox = app.config.billing.sandbox;
        let offer = prices::offer(app.db.read(), in_sandbox, &body.plan_slug, body.interval).await?;
        let buyer = Buyer { tenant_id: user.tenant_id, actor: Actor::User(user.user_id), request: &request };
        let session = checkout::open(&app, buyer, &offer).await?;
        answer(&app, &once, StatusCode::CREATED, &session).await
    })
    .await
}

/// A page of Stripe's.
#[derive(Serialize, ToSchema)]
struct Portal {
    /// Where.
    url: String,
}

/// Opens a page of Stripe's on which cards, invoices and the subscription are managed.
#[utoipa::path(post, path = "/api/v1/billing/portal-session", tag = "billing", request_body = Nothing, security(("access_token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 201, body = Portal), (status = 402, description = "`PAYMENT_FAILED`: Stripe declined, and nothing has changed"),
        (status = 409, description = "`NO_STRIPE_SUBSCRIPTION` or `IDEMPOTENCY_IN_PROGRESS`"),
        (status = 422, description = "`VALIDATION_FAILED` or `IDEMPOTENCY_KEY_REUSED`"),
        (status = 503, description = "`BILLING_NOT_CONFIGURED` or `SERVICE_UNAVAILABLE`")))]
async fn open_portal(
    State(app): State<App>,
    user: CurrentUser,
    Posted { body: Nothing {}, key }: Posted<Nothing>,
) -> Result<Reply, Problem> {
    may_pay(&user)?;
    let once = Once::new(&app, &key, &user.tenant_id.to_string());
    once.run(async {
        let url = changes::portal(&app, user.tenant_id).await?;
        answer(&app, &once, StatusCode::CREATED, &Portal { url }).await
    })
    .await
}
