//! Plans' limits, for platform administrators: one row each.

use std::collections::BTreeMap;

use axum::{Extension, Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::api::by;
use crate::{
    app::App,
    http::{self, Path, Problem, RequestId},
    identity::PlatformAdmin,
    plans::{
        Book, PlanChange,
        edit::{self, Error},
    },
};

/// This part's routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_limits)).routes(routes!(set_limit))
}

/// How many of something a plan allows.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct PlanLimit {
    /// The plan's slug.
    #[schema(example = "growth")]
    plan: String,
    /// What is counted.
    #[schema(example = "max_users")]
    name: String,
    /// How many; 0 is unlimited.
    value: i64,
}

/// All limits; there are few, so there are no pages.
#[derive(Serialize, ToSchema)]
struct PlanLimits {
    /// By plan, in the order in which they are offered, and name.
    data: Vec<PlanLimit>,
}

/// The limits of all plans, hidden ones too.
#[utoipa::path(get, path = "/api/v1/admin/plan-limits", tag = "admin", security(("admin_token" = [])), responses((status = 200, body = PlanLimits)))]
async fn list_limits(State(app): State<App>, _: PlatformAdmin) -> Result<Json<PlanLimits>, Problem> {
    let book = Book::read(app.db.read()).await?;
    let rows = book.in_order().into_iter().flat_map(|(slug, plan)| {
        let row =
            |(name, value): (&String, &i64)| PlanLimit { plan: slug.to_owned(), name: name.clone(), value: *value };
        plan.limits.iter().map(row).collect::<Vec<_>>()
    });
    Ok(Json(PlanLimits { data: rows.collect() }))
}

/// How many.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SetLimit {
    /// How many; 0 is unlimited.
    #[schema(minimum = 0)]
    value: i64,
}

/// Sets a limit of a plan. It holds from then on; who has more already keeps it, and gets no more.
#[utoipa::path(put, path = "/api/v1/admin/plan-limits/{plan}/{name}", tag = "admin", request_body = SetLimit, security(("admin_token" = [])),
    params(("plan" = String, Path, description = "The plan's slug"), ("name" = String, Path, description = "What is counted, such as max_users")),
    responses((status = 200, body = PlanLimit)))]
async fn set_limit(
    State(app): State<App>,
    Extension(request_id): Extension<RequestId>,
    admin: PlatformAdmin,
    Path((plan, name)): Path<(String, String)>,
    http::Json(body): http::Json<SetLimit>,
) -> Result<Json<PlanLimit>, Problem> {
    let limits = BTreeMap::from([(name.clone(), Some(body.value))]);
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    let change = PlanChange { limits, ..PlanChange::default() };
    edit::change(&tx, &now, &plan, change, by(admin, request_id)).await.map_err(as_sent)?;
    tx.commit().await?;
    tracing::info!(feature = "admin", plan, limit = name, value = body.value, "Plan changed");
    Ok(Json(PlanLimit { plan, name, value: body.value }))
}

/// The fields by the names that this call gives them.
fn as_sent(error: Error) -> Problem {
    let Error::Invalid(mut faults) = error else { return error.into() };
    for fault in &mut faults {
        let field = if fault.code == "INVALID_NAME" { "name" } else { "value" };
        field.clone_into(&mut fault.field);
    }
    Problem::invalid(faults)
}
