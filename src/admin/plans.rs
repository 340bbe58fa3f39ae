//! Plans, for platform administrators: all of each, and changing them.

use axum::{Extension, Json, extract::State, http::StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::api::by;
use crate::{
    app::App,
    http::{self, FieldError, Once, Path, Posted, Problem, Reply, RequestId},
    identity::PlatformAdmin,
    plans::{
        Book, Features, Limits, Money, Plan, PlanChange,
        edit::{self, Error},
    },
    provisioning::Blueprint,
};

/// This part's routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_plans, create_plan)).routes(routes!(change_plan, delete_plan))
}

/// A plan as its operator sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct AdminPlan {
    /// Names it, for ever.
    slug: String,
    /// Its name for people.
    name: String,
    /// Whom it is for.
    description: String,
    /// What one interval costs.
    price: Money,
    /// What a year costs; null where the plan is not sold by the year.
    price_yearly: Option<Money>,
    /// `month` or `year`.
    interval: String,
    /// Credits granted with each month.
    included_credits: i64,
    /// Days of trial; 0 is none.
    trial_days: i64,
    /// How many of what; 0 is unlimited.
    #[schema(inline)]
    limits: Limits,
    /// What is switched on or off.
    #[schema(inline)]
    features: Features,
    /// Sold by people rather than by itself.
    contact_sales: bool,
    /// Shown to everybody.
    is_public: bool,
    /// Its place among the others.
    position: i64,
    /// What a new tenant of it gets.
    #[schema(value_type = Object)]
    blueprint: Value,
    /// Stripe's price of a month.
    stripe_price_monthly: Option<String>,
    /// Stripe's price of a year.
    stripe_price_yearly: Option<String>,
}

impl AdminPlan {
    fn of(slug: &str, plan: &Plan) -> Self {
        let Plan { name, description, interval, limits, features, blueprint, .. } = plan.clone();
        Self {
            slug: slug.to_owned(),
            price: plan.money(),
            price_yearly: plan.price_yearly.map(|amount| plan.of(amount)),
            included_credits: plan.included_credits,
            trial_days: plan.trial_days,
            contact_sales: plan.contact_sales,
            is_public: plan.is_public,
            position: plan.position,
            stripe_price_monthly: plan.stripe_price_monthly.clone(),
            stripe_price_yearly: plan.stripe_price_yearly.clone(),
            name,
            description,
            interval,
            limits,
            features,
            blueprint,
        }
    }
}

/// All plans; there are few, so there are no pages.
#[derive(Serialize, ToSchema)]
struct AdminPlans {
    /// In the order in which they are offered.
    data: Vec<AdminPlan>,
}

/// All plans, hidden ones too.
#[utoipa::path(get, path = "/api/v1/admin/plans", tag = "admin", security(("admin_token" = [])), responses((status = 200, body = AdminPlans)))]
async fn list_plans(State(app): State<App>, _: PlatformAdmin) -> Result<Json<AdminPlans>, Problem> {
    let book = Book::read(app.db.read()).await?;
    let data = book.in_order().into_iter().map(|(slug, plan)| AdminPlan::of(slug, plan)).collect();
    Ok(Json(AdminPlans { data }))
}

/// What a new plan's tenants get where its blueprint is not given.
const PLAIN: [&str; 3] = ["seed_defaults", "configure_routing", "send_magic_link"];

/// Adds a plan. It needs a slug, a name, a description and a price; what else is not said is: by the month, without credits, trial or limits,
/// hidden, after all others.
#[utoipa::path(post, path = "/api/v1/admin/plans", tag = "admin", request_body = PlanChange, security(("admin_token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 201, body = AdminPlan), (status = 409, description = "`PLAN_EXISTS` or `IDEMPOTENCY_IN_PROGRESS`")))]
async fn create_plan(
    State(app): State<App>,
    Extension(request_id): Extension<RequestId>,
    admin: PlatformAdmin,
    Posted { body, key }: Posted<PlanChange>,
) -> Result<Reply, Problem> {
    let once = Once::new(&app, &key, "platform");
    once.run(async {
        let fault = blueprint_fault(&body);
        let now = app.clock.now();
        let tx = app.db.begin().await?;
        let made = edit::create(&tx, &now, body, json!({"steps": PLAIN}), by(admin, request_id)).await;
        let (slug, plan) = with(fault, made)?;
        let reply = once.commit(tx, &now, Reply::new(StatusCode::CREATED, &AdminPlan::of(&slug, &plan))).await?;
        tracing::info!(feature = "admin", plan = slug, "Plan created");
        Ok(reply)
    })
    .await
}

/// Changes a plan. What is not named stays; limits and features are merged by name.
#[utoipa::path(patch, path = "/api/v1/admin/plans/{slug}", tag = "admin", request_body = PlanChange, security(("admin_token" = [])),
    params(("slug" = String, Path, description = "The plan's slug")), responses((status = 200, body = AdminPlan)))]
async fn change_plan(
    State(app): State<App>,
    Extension(request_id): Extension<RequestId>,
    admin: PlatformAdmin,
    Path(slug): Path<String>,
    http::Json(change): http::Json<PlanChange>,
) -> Result<Json<AdminPlan>, Problem> {
    let fault = blueprint_fault(&change);
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    let plan = edit::change(&tx, &now, &slug, change, by(admin, request_id)).await;
    let plan = with(fault, plan)?;
    tx.commit().await?;
    tracing::info!(feature = "admin", plan = slug, "Plan changed");
    Ok(Json(AdminPlan::of(&slug, &plan)))
}

/// Takes a plan away that nobody is on. One that somebody is on can be hidden.
#[utoipa::path(delete, path = "/api/v1/admin/plans/{slug}", tag = "admin", security(("admin_token" = [])),
    params(("slug" = String, Path, description = "The plan's slug")),
    responses((status = 204, description = "It is gone"), (status = 409, description = "`PLAN_IN_USE`: tenants are on it, or the product names it")))]
async fn delete_plan(
    State(app): State<App>,
    Extension(request_id): Extension<RequestId>,
    admin: PlatformAdmin,
    Path(slug): Path<String>,
) -> Result<StatusCode, Problem> {
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    edit::remove(&tx, &now, &slug, by(admin, request_id)).await?;
    tx.commit().await?;
    tracing::info!(feature = "admin", plan = slug, "Plan deleted");
    Ok(StatusCode::NO_CONTENT)
}

/// What no run could follow.
fn blueprint_fault(change: &PlanChange) -> Option<FieldError> {
    let fault = Blueprint::check(change.blueprint.as_ref()?).err()?;
    Some(FieldError::new("blueprint", "INVALID_BLUEPRINT", fault))
}

/// What came of a change, and what is wrong with its blueprint besides. Fields are named as they were sent.
fn with<T>(fault: Option<FieldError>, done: Result<T, Error>) -> Result<T, Problem> {
    let mut faults = match done {
        Ok(done) => return fault.map_or(Ok(done), |fault| Err(Problem::invalid(vec![fault]))),
        Err(Error::Invalid(faults)) => faults,
        Err(other) => return Err(other.into()),
    };
    faults.extend(fault);
    for fault in &mut faults {
        match fault.field.as_str() {
            "price" if fault.code != "REQUIRED" => "price.amount".clone_into(&mut fault.field),
            "currency" => "price.currency".clone_into(&mut fault.field),
            _ => (),
        }
    }
    Err(Problem::invalid(faults))
}
