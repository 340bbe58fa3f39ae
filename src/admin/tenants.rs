//! Tenants, for platform administrators: search, read, and onboarding somebody.

use axum::{Extension, Json, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    app::App,
    http::{IdempotencyKey, Listing, Once, PageQuery, Path, Posted, Problem, Query, Reply, RequestId},
    identity::PlatformAdmin,
    provisioning::{self, Queued, RunStatus},
    signup::{Error, api::UserView, committed, onboard::Onboarding, start::means},
    tenants::{self, Door, TenantRow, TenantView},
};

/// This part's routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(read)).routes(routes!(onboard))
}

/// A tenant as its operator sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AdminTenant {
    /// The tenant.
    #[serde(flatten)]
    pub tenant: TenantView,
    /// Its plan's slug.
    pub plan: String,
    /// Its subscription's status.
    pub subscription_status: String,
    /// The way in that made it.
    pub door: Door,
    /// Its owner.
    pub owner: UserView,
    /// Why provisioning failed.
    pub provision_reason: Option<String>,
    /// When it signed up.
    pub created_at: DateTime<Utc>,
}

impl From<TenantRow> for AdminTenant {
    fn from(row: TenantRow) -> Self {
        Self {
            tenant: row.view(),
            plan: row.plan,
            subscription_status: row.subscription_status,
            door: row.door,
            owner: UserView { id: row.owner_id, email: row.owner_email },
            provision_reason: row.provision_reason,
            created_at: row.created_at,
        }
    }
}

/// Which tenants.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Where slug, name or the owner's address begins with this.
    search: Option<String>,
    /// How many rows, 1 to 200; 50 unless told.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Tenants, newest first.
#[utoipa::path(get, path = "/api/v1/admin/tenants", operation_id = "list_tenants", tag = "admin", params(Wanted), security(("admin_token" = [])), responses((status = 200, body = Listing<AdminTenant>)))]
async fn list(
    State(app): State<App>,
    _: PlatformAdmin,
    Query(asked): Query<Wanted>,
) -> Result<Json<Listing<AdminTenant>>, Problem> {
    let page = PageQuery { limit: asked.limit, cursor: asked.cursor }.page()?;
    let rows = tenants::list(app.db.read(), page, asked.search.as_deref(), None).await?;
    Ok(Json(Listing::of(rows.into_iter().map(AdminTenant::from).collect(), page, |row| row.tenant.id)))
}

/// A tenant with its last run.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TenantWithRun {
    /// The tenant.
    #[serde(flatten)]
    pub tenant: AdminTenant,
    /// Its last provisioning run.
    pub provision: Option<provisioning::Status>,
}

/// One tenant with its last run.
#[utoipa::path(get, path = "/api/v1/admin/tenants/{id}", operation_id = "read_tenant", tag = "admin", params(("id" = Uuid, Path)), security(("admin_token" = [])), responses((status = 200, body = TenantWithRun)))]
async fn read(State(app): State<App>, _: PlatformAdmin, Path(id): Path<Uuid>) -> Result<Json<TenantWithRun>, Problem> {
    let tenant = tenants::by_id(app.db.read(), id).await?.ok_or_else(Problem::not_found)?.into();
    Ok(Json(TenantWithRun { tenant, provision: provisioning::current(app.db.read(), id).await? }))
}

/// Somebody to make a tenant for.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Onboard {
    /// The owner's address.
    #[schema(example = "grace@example.com", max_length = 254)]
    pub email: String,
    /// The tenant's name.
    #[schema(example = "Hopper Ltd", min_length = 1, max_length = 100)]
    pub tenant_name: String,
    /// A plan's slug, `enterprise` too.
    #[schema(example = "pro")]
    pub plan: String,
    /// The tenant's name in addresses; derived from its name where absent.
    #[schema(example = "hopper", min_length = 2, max_length = 50)]
    pub slug: Option<String>,
    /// The owner's name.
    #[schema(max_length = 100)]
    pub name: Option<String>,
}

/// A tenant was made for somebody.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Onboarded {
    /// The tenant.
    tenant: TenantView,
    /// Its owner, who gets a letter.
    user: UserView,
    /// Its run.
    provision: Queued,
}

/// Makes a tenant for somebody, who gets a letter to take it over. The kill switch does not apply.
#[utoipa::path(post, path = "/api/v1/admin/onboard", tag = "admin", request_body = Onboard, security(("admin_token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 201, body = Onboarded), (status = 409, description = "`EMAIL_TAKEN`, `SLUG_TAKEN` with `suggestions`, or `IDEMPOTENCY_IN_PROGRESS`"),
        (status = 422, description = "`VALIDATION_FAILED`, `TENANT_PROVISIONING_ERROR` or `IDEMPOTENCY_KEY_REUSED`")))]
async fn onboard(
    State(app): State<App>,
    Extension(request_id): Extension<RequestId>,
    admin: PlatformAdmin,
    Posted { body, key }: Posted<Onboard>,
) -> Result<Reply, Problem> {
    take_in(&app, &key, admin, request_id, &body).await
}

/// What the JSON edge and the page do alike.
pub(super) async fn take_in(
    app: &App,
    key: &IdempotencyKey,
    admin: PlatformAdmin,
    RequestId(request_id): RequestId,
    body: &Onboard,
) -> Result<Reply, Problem> {
    let once = Once::new(app, key, "platform");
    once.run(async {
        let asked =
            Onboarding::read(&body.email, &body.tenant_name, &body.plan, body.slug.as_deref(), body.name.as_deref())?;
        let (email, slug) = (asked.email().to_owned(), asked.slug().to_owned());
        let done: Result<Reply, Error> = async {
            let found = asked.look_up(&app.db).await?;
            let now = app.clock.now();
            let tx = app.db.begin().await.map_err(Error::Database)?;
            let made =
                asked.make(&tx, &now, &means(app), found, (Door::Admin, admin.actor(), Some(request_id))).await?;
            let user = UserView { id: made.user_id, email: made.email.as_str().to_owned() };
            let provision = Queued { run_id: made.run_id, status: RunStatus::Pending };
            let onboarded = Onboarded { tenant: made.tenant, user, provision };
            let reply = once.commit(tx, &now, Reply::new(StatusCode::CREATED, &onboarded)).await?;
            committed(Door::Admin, &onboarded.tenant);
            Ok(reply)
        }
        .await;
        done.map_err(|error| {
            error.log(Door::Admin, &email, &slug);
            error.into()
        })
    })
    .await
}
