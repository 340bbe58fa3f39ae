//! Feature flags, for platform administrators, and all of this slice's routes.

use axum::{Extension, Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    audit,
    db::Batch,
    http::{self, Once, Path, Posted, Problem, Reply, RequestId},
    identity::PlatformAdmin,
    plans::{
        edit::{self, By},
        flags::{self, Flag},
    },
};

/// This slice's routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_flags, create_flag))
        .routes(routes!(set_flag))
        .merge(super::invoices::routes())
        .merge(super::tenants::routes())
        .merge(super::plans::routes())
        .merge(super::limits::routes())
        .merge(super::overrides::routes())
}

/// All flags; there are few, so there are no pages.
#[derive(Serialize, ToSchema)]
struct Flags {
    /// By name.
    data: Vec<Flag>,
}

/// All feature flags with their defaults.
#[utoipa::path(get, path = "/api/v1/admin/feature-flags", tag = "admin", security(("admin_token" = [])), responses((status = 200, body = Flags)))]
async fn list_flags(State(app): State<App>, _: PlatformAdmin) -> Result<Json<Flags>, Problem> {
    Ok(Json(Flags { data: flags::list(app.db.read()).await? }))
}

/// A flag to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewFlag {
    /// Its name: small letters, digits and underscores.
    #[schema(example = "exports", min_length = 1, max_length = 64)]
    name: String,
    /// What it does.
    #[schema(min_length = 1, max_length = 300)]
    description: String,
    /// Whether it is on where nothing overrides it.
    #[serde(default)]
    enabled: bool,
}

/// Adds a feature flag.
#[utoipa::path(post, path = "/api/v1/admin/feature-flags", tag = "admin", request_body = NewFlag, security(("admin_token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 201, body = Flag), (status = 409, description = "`FLAG_EXISTS` or `IDEMPOTENCY_IN_PROGRESS`")))]
async fn create_flag(
    State(app): State<App>,
    Extension(request_id): Extension<RequestId>,
    admin: PlatformAdmin,
    Posted { body, key }: Posted<NewFlag>,
) -> Result<Reply, Problem> {
    let once = Once::new(&app, &key, "platform");
    once.run(async {
        let now = app.clock.now();
        let tx = app.db.begin().await?;
        let by = by(admin, request_id);
        let flag = edit::create_flag(&tx, &now, &body.name, &body.description, body.enabled, by).await?;
        Ok(once.commit(tx, &now, Reply::new(StatusCode::CREATED, &flag)).await?)
    })
    .await
}

/// Who changes plans here.
pub(super) fn by(admin: PlatformAdmin, RequestId(request_id): RequestId) -> By {
    By { actor: admin.actor(), request_id: Some(request_id) }
}

/// On or off.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SetFlag {
    /// Whether the flag is on where nothing overrides it.
    enabled: bool,
}

/// Switches a flag; `signup_enabled` is the kill switch. Every sign-up door reads it at each request.
#[utoipa::path(put, path = "/api/v1/admin/feature-flags/{name}", tag = "admin", request_body = SetFlag, security(("admin_token" = [])),
    params(("name" = String, Path, description = "The flag's name")), responses((status = 200, body = Flag)))]
async fn set_flag(
    State(app): State<App>,
    Extension(request_id): Extension<RequestId>,
    admin: PlatformAdmin,
    Path(name): Path<String>,
    http::Json(body): http::Json<SetFlag>,
) -> Result<Json<Flag>, Problem> {
    switch(&app, admin, request_id, &name, body.enabled).await.map(Json)
}

/// What the JSON edge and the page do alike.
pub(super) async fn switch(
    app: &App,
    admin: PlatformAdmin,
    RequestId(request_id): RequestId,
    name: &str,
    enabled: bool,
) -> Result<Flag, Problem> {
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    let flag = flags::set(&tx, &now, name, enabled).await?.ok_or_else(Problem::not_found)?;
    let mut batch = Batch::default();
    let detail = json!({"flag": name, "enabled": enabled});
    audit::append(
        &mut batch,
        &now,
        audit::Event {
            actor: admin.actor(),
            tenant_id: None,
            action: "flag.changed",
            request_id: Some(request_id),
            detail,
        },
    );
    batch.send(&tx).await.map_err(|refused| Problem::database(&refused.source))?;
    tx.commit().await?;
    tracing::info!(feature = "admin", flag = name, enabled, "Flag changed");
    Ok(flag)
}
