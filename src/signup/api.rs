//! The wizard's JSON edge: `/public/signup/…`.

use axum::{Extension, Json, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    Error,
    start::{self, Signup},
    wizard::{self, Ending, Next},
};
use crate::{
    app::App,
    egress::validate,
    http::{FieldError, IdempotencyKey, Once, Posted, Problem, Reply, RequestId},
    identity::{Client, SignupReader, SignupToken},
    provisioning::{self, Queued},
    tenants::{self, Branding, Door, TenantRow, TenantView},
};

/// This slice's routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(start))
        .routes(routes!(brand))
        .routes(routes!(make))
        .routes(routes!(confirm))
        .routes(routes!(finish))
        .routes(routes!(stand))
}

/// Step 1.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// The owner's address.
    #[schema(example = "ada@example.com", max_length = 254)]
    pub email: String,
    /// At least 12 characters (8 in development), at most 128.
    #[schema(value_type = String, format = Password, example = "correct-horse-battery", max_length = 128)]
    pub password: SecretString,
    /// The tenant's name.
    #[schema(example = "Acme", min_length = 1, max_length = 100)]
    pub tenant_name: String,
    /// The tenant's name in addresses; derived from its name where absent.
    #[schema(example = "acme", min_length = 2, max_length = 50)]
    pub slug: Option<String>,
    /// The owner's name.
    #[schema(example = "Ada Lovelace", max_length = 100)]
    pub name: Option<String>,
    /// A public plan's slug; `starter` where absent.
    #[schema(example = "starter")]
    pub plan: Option<String>,
}

/// Somebody at the wizard.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UserView {
    /// The id.
    pub id: Uuid,
    /// The address.
    pub email: String,
}

/// A sign-up has begun, or is resumed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Started {
    /// Opens the wizard's further steps, for this tenant alone.
    pub token: String,
    /// Until then.
    pub expires_at: DateTime<Utc>,
    /// The tenant.
    pub tenant: TenantView,
    /// Its owner.
    pub user: UserView,
    /// The step to do next.
    pub next: Next,
    /// The session that was opened with it, where the door is a page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub session_id: Option<Uuid>,
}

/// Signs a tenant up: user, tenant and all that belongs to them in one transaction.
///
/// The same address with its right password resumes a sign-up that is not finished, with 200.
#[utoipa::path(post, path = "/public/signup/start", tag = "signup", request_body = Start,
    responses(
        (status = 201, description = "The tenant is there", body = Started),
        (status = 200, description = "The unfinished sign-up goes on", body = Started),
        (status = 409, description = "`EMAIL_TAKEN`, `SLUG_TAKEN` with `suggestions`, or `IDEMPOTENCY_IN_PROGRESS`"),
        (status = 422, description = "`VALIDATION_FAILED`, `PLAN_NOT_SELF_SERVE`, `TENANT_PROVISIONING_ERROR` or `IDEMPOTENCY_KEY_REUSED`"),
        (status = 503, description = "`SIGNUPS_DISABLED`, `SELF_SERVE_DISABLED` or `SERVICE_UNAVAILABLE`")
    ),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")))]
async fn start(
    State(app): State<App>,
    Extension(request_id): Extension<RequestId>,
    client: Client,
    Posted { body, key }: Posted<Start>,
) -> Result<Reply, Problem> {
    let from = start::Origin { request_id: request_id.0, network: client.network(), session: None };
    step_one(&app, &key, &body, from).await
}

/// What the JSON edge and the page do alike.
pub(super) async fn step_one(
    app: &App,
    key: &IdempotencyKey,
    body: &Start,
    from: start::Origin,
) -> Result<Reply, Problem> {
    start::doors_open(app)?;
    let once = Once::new(app, key, "");
    once.run(async {
        let signup = Signup::read(app, body);
        let slug = signup.as_ref().map_or_else(|_| String::new(), |signup| signup.asked.slug.to_string());
        let done = match signup {
            Ok(signup) => start::start(app, &once, signup, from).await,
            Err(refused) => Err(start::kill_switch(app).await.err().unwrap_or(refused)),
        };
        done.map_err(|error| {
            error.log(Door::Wizard, &body.email, &slug);
            error.into()
        })
    })
    .await
}

/// Step 2.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Brand {
    /// `#rrggbb`
    #[schema(example = "#1d4ed8", pattern = "^#[0-9a-fA-F]{6}$")]
    pub primary_color: String,
    /// `#rrggbb`
    #[schema(example = "#f59e0b", pattern = "^#[0-9a-fA-F]{6}$")]
    pub secondary_color: Option<String>,
    /// An https URL.
    #[schema(example = "https://example.com/logo.svg", max_length = 2048)]
    pub logo_url: Option<String>,
}

/// A step is done.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Branded {
    /// Always true; refusals are problems.
    pub success: bool,
    /// The tenant.
    pub tenant: TenantView,
    /// The step to do next.
    pub next: Next,
}

/// Chooses how the tenant looks.
#[utoipa::path(post, path = "/public/signup/brand", tag = "signup", request_body = Brand, security(("signup_token" = [])),
    responses((status = 200, body = Branded), (status = 401, description = "`TOKEN_EXPIRED` or `TOKEN_INVALID`"), (status = 409, description = "`IDEMPOTENCY_IN_PROGRESS`")))]
async fn brand(
    State(app): State<App>,
    token: SignupToken,
    Posted { body, key }: Posted<Brand>,
) -> Result<Reply, Problem> {
    step_two(&app, &key, token.tenant_id, &body).await
}

/// What the JSON edge and the page do alike.
pub(super) async fn step_two(app: &App, key: &IdempotencyKey, tenant_id: Uuid, body: &Brand) -> Result<Reply, Problem> {
    let branding = read_branding(body)?;
    let once = Once::new(app, key, &tenant_id.to_string());
    once.run(async {
        let now = app.clock.now();
        let tx = app.db.begin().await?;
        wizard::brand(&tx, &now, tenant_id, &branding).await?;
        let tenant = tenant(&tx, tenant_id).await?;
        let queued = provisioning::current(&tx, tenant_id).await?.is_some_and(|run| run.queued_at.is_some());
        let reply = Reply::new(
            StatusCode::OK,
            &Branded { success: true, tenant: tenant.view(), next: wizard::next(&tenant, queued) },
        );
        Ok(once.commit(tx, &now, reply).await?)
    })
    .await
}

fn read_branding(body: &Brand) -> Result<Branding, Problem> {
    let mut errors = Vec::new();
    let mut color = |field: &str, value: &str| {
        let digits = value.strip_prefix('#').unwrap_or_default();
        if digits.len() != 6 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            errors.push(FieldError::new(field, "INVALID_COLOR", "Give the colour as #rrggbb."));
        }
        value.to_ascii_lowercase()
    };
    let primary_color = Some(color("primary_color", &body.primary_color));
    let secondary_color = body.secondary_color.as_deref().map(|value| color("secondary_color", value));
    let logo_url = body.logo_url.as_deref().map(str::trim).filter(|url| !url.is_empty());
    let is_https = |url: &str| {
        url.len() <= 2048 && url::Url::parse(url).is_ok_and(|url| url.scheme() == "https" && url.host().is_some())
    };
    if logo_url.is_some_and(|url| !is_https(url)) {
        errors.push(FieldError::new(
            "logo_url",
            "INVALID_URL",
            "Give the logo as an https:// address of at most 2048 characters.",
        ));
    }
    if errors.is_empty() {
        Ok(Branding { primary_color, secondary_color, logo_url: logo_url.map(str::to_owned) })
    } else {
        Err(Problem::invalid(errors))
    }
}

/// Step 3 of Starter and Growth.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Make {
    /// Where the tenant's events go to.
    #[schema(example = "https://hook.eu1.make.com/abc", max_length = 2048)]
    pub webhook_url: String,
}

/// Step 3 of Pro and Scale.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Confirm {
    /// Where the tenant's events go to, if anywhere.
    #[schema(example = "https://hook.eu1.make.com/abc", max_length = 2048)]
    pub webhook_url: Option<String>,
}

/// Step 3 of plans with nothing to set up.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Finish {}

/// Provisioning is queued.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Ended {
    /// Always true; refusals are problems.
    pub success: bool,
    /// The tenant.
    pub tenant: TenantView,
    /// Its run.
    pub provision: Queued,
}

/// Sets the Make.com webhook up and queues provisioning, on Starter or Growth.
#[utoipa::path(post, path = "/public/signup/starter/make", tag = "signup", request_body = Make, security(("signup_token" = [])),
    responses((status = 202, body = Ended), (status = 401, description = "`TOKEN_EXPIRED` or `TOKEN_INVALID`"),
        (status = 409, description = "`PROVISION_ALREADY_STARTED` or `IDEMPOTENCY_IN_PROGRESS`"),
        (status = 422, description = "`WEBHOOK_NOT_ALLOWED` or `VALIDATION_FAILED`")))]
async fn make(
    State(app): State<App>,
    token: SignupReader,
    Posted { body, key }: Posted<Make>,
) -> Result<Reply, Problem> {
    let url = webhook(&app, &body.webhook_url)?;
    end(&app, token.into(), &key, Ending::Make(url)).await
}

/// Confirms Pro or Scale and queues provisioning.
#[utoipa::path(post, path = "/public/signup/pro/confirm", tag = "signup", request_body = Confirm, security(("signup_token" = [])),
    responses((status = 202, body = Ended), (status = 401, description = "`TOKEN_EXPIRED` or `TOKEN_INVALID`"),
        (status = 409, description = "`PROVISION_ALREADY_STARTED` or `IDEMPOTENCY_IN_PROGRESS`"),
        (status = 422, description = "`WEBHOOK_NOT_ALLOWED` or `VALIDATION_FAILED`")))]
async fn confirm(
    State(app): State<App>,
    token: SignupReader,
    Posted { body, key }: Posted<Confirm>,
) -> Result<Reply, Problem> {
    let url = body.webhook_url.as_deref().map(|url| webhook(&app, url)).transpose()?;
    end(&app, token.into(), &key, Ending::Confirm(url)).await
}

/// Queues provisioning on whatever plan it is, without further set-up.
#[utoipa::path(post, path = "/public/signup/finish", tag = "signup", request_body = Finish, security(("signup_token" = [])),
    responses((status = 202, body = Ended), (status = 401, description = "`TOKEN_EXPIRED` or `TOKEN_INVALID`"), (status = 409, description = "`IDEMPOTENCY_IN_PROGRESS`")))]
async fn finish(
    State(app): State<App>,
    token: SignupReader,
    Posted { body: Finish {}, key }: Posted<Finish>,
) -> Result<Reply, Problem> {
    end(&app, token.into(), &key, Ending::Finish).await
}

/// A webhook that may be called.
pub(super) fn webhook(app: &App, url: &str) -> Result<url::Url, Problem> {
    let checked = validate::check_url(url, &app.config.provision.webhook_hosts, app.egress.policy());
    checked.map_err(|refused| Error::WebhookNotAllowed(format!("This webhook cannot be used: {refused}.")).into())
}

/// What the JSON edge and the page do alike.
pub(super) async fn end(app: &App, token: SignupToken, key: &IdempotencyKey, ending: Ending) -> Result<Reply, Problem> {
    let tenant_id = token.tenant_id;
    let once = Once::new(app, key, &tenant_id.to_string());
    once.run(async {
        let now = app.clock.now();
        let tx = app.db.begin().await?;
        token.hold(&tx).await?;
        let provision = wizard::end(&tx, &now, &start::means(app), tenant_id, &ending).await?;
        let tenant = tenant(&tx, tenant_id).await?.view();
        let reply = Reply::new(StatusCode::ACCEPTED, &Ended { success: true, tenant, provision });
        Ok(once.commit(tx, &now, reply).await?)
    })
    .await
}

/// Where a wizard stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Stand {
    /// The tenant.
    pub tenant: TenantView,
    /// Its owner.
    pub user: UserView,
    /// The step to do next.
    pub next: Next,
    /// Its run; null until it is queued.
    pub provision: Option<Queued>,
}

/// Where the wizard stands.
#[utoipa::path(get, path = "/public/signup", tag = "signup", security(("signup_token" = [])),
    responses((status = 200, body = Stand), (status = 401, description = "`TOKEN_EXPIRED` or `TOKEN_INVALID`")))]
async fn stand(State(app): State<App>, token: SignupReader) -> Result<Json<Stand>, Problem> {
    let tenant = tenant(app.db.read(), token.tenant_id).await?;
    let run = provisioning::current(app.db.read(), token.tenant_id).await?.filter(|run| run.queued_at.is_some());
    Ok(Json(Stand {
        tenant: tenant.view(),
        user: UserView { id: tenant.owner_id, email: tenant.owner_email.clone() },
        next: wizard::next(&tenant, run.is_some()),
        provision: run.map(|run| Queued { run_id: run.run_id, status: run.status }),
    }))
}

pub(super) async fn tenant(db: &impl sea_orm::ConnectionTrait, id: Uuid) -> Result<TenantRow, Problem> {
    tenants::by_id(db, id).await?.ok_or_else(Problem::not_found)
}
