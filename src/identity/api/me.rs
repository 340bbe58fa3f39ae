//! Oneself.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    http::{self, FieldError, Problem},
    identity::{
        CurrentUser,
        users::{self, Change, MembershipView, UserView},
    },
    tenants::{self, TenantView},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(me, patch_me))
}

/// Oneself.
#[derive(Serialize, ToSchema)]
struct Me {
    /// The user.
    user: UserView,
    /// The tenants that the user belongs to.
    memberships: Vec<MembershipView>,
    /// The tenant that the token is for.
    tenant: TenantView,
}

/// Who the token's bearer is.
#[utoipa::path(get, path = "/api/v1/auth/me", tag = "identity", security(("access_token" = [])),
    responses((status = 200, body = Me)))]
async fn me(State(app): State<App>, user: CurrentUser) -> Result<Json<Me>, Problem> {
    let db = app.db.read();
    let tenant = tenants::by_id(db, user.tenant_id).await?.ok_or_else(Problem::not_found)?.view();
    let memberships = users::memberships(db, user.user_id).await?;
    Ok(Json(Me { user: users::by_id(db, user.user_id).await?, memberships, tenant }))
}

/// What to change; an absent field stays, null clears.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PatchMe {
    /// The name.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 100)]
    name: Change,
    /// How far the operator's own onboarding has come, in the operator's own words.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 100)]
    onboarding_step_completed: Change,
}

/// A short text as it is kept: trimmed, and cleared where nothing is left.
fn text(field: &str, change: Change) -> Result<Change, FieldError> {
    let Change::Set(Some(value)) = change else { return Ok(change) };
    let value = value.trim();
    if value.chars().count() > 100 {
        return Err(FieldError::new(field, "TOO_LONG", "At most 100 characters, please."));
    }
    if value.chars().any(char::is_control) {
        return Err(FieldError::new(field, "INVALID_CHARACTER", "Control characters cannot be used here."));
    }
    Ok(Change::Set((!value.is_empty()).then(|| value.to_owned())))
}

/// What the JSON edge and the page do alike, for the name.
pub(in crate::identity) async fn rename(app: &App, user: &CurrentUser, name: String) -> Result<(), Problem> {
    let name = text("name", Change::Set(Some(name))).map_err(|refused| Problem::invalid(vec![refused]))?;
    let tx = app.db.begin().await?;
    users::change(&tx, &app.clock.now(), user.user_id, users::Changes { name, ..users::Changes::default() }).await?;
    Ok(tx.commit().await?)
}

/// Changes one's name or onboarding step.
#[utoipa::path(patch, path = "/api/v1/auth/me", tag = "identity", request_body = PatchMe, security(("access_token" = [])),
    responses((status = 200, body = Me)))]
async fn patch_me(
    State(app): State<App>,
    user: CurrentUser,
    http::Json(body): http::Json<PatchMe>,
) -> Result<Json<Me>, Problem> {
    let (name, step) = (text("name", body.name), text("onboarding_step_completed", body.onboarding_step_completed));
    let changes = match (name, step) {
        (Ok(name), Ok(onboarding_step_completed)) => users::Changes { name, onboarding_step_completed },
        (name, step) => return Err(Problem::invalid([name.err(), step.err()].into_iter().flatten().collect())),
    };
    let tx = app.db.begin().await?;
    users::change(&tx, &app.clock.now(), user.user_id, changes).await?;
    tx.commit().await?;
    me(State(app), user).await
}
