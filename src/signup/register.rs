//! The register door: `POST /api/v1/auth/register`. A tenant and its owner at once, logged in, for applications that bring a form of
//! their own.

use axum::{Extension, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Asked, Error, NewTenant, Owner, Provisioned,
    asked::Fields,
    checkout, committed,
    join::{self, Newcomer},
    look_up, provision_tenant,
    start::{self, means},
};
use crate::{
    app::App,
    audit,
    billing::{self, FirstInvoice, Payment},
    entitlements::{FREE, guard::grace},
    http::{FieldError, Once, Posted, Problem, Reply, RequestId, line},
    identity::{
        Client,
        email::{Email, EmailError},
        passwords,
        sessions::{self, Standing, TokenSet},
        users::{self, UserView},
    },
    plans::PlanRow,
    team,
    tenants::{self, Door, Role, TenantView},
};

/// This door's route.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(register))
}

/// The plan of whoever names none: the reverse trial.
const DEFAULT_PLAN: &str = "pro";

/// Somebody who registers.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Register {
    /// The owner's address.
    #[schema(example = "ada@example.com", max_length = 254)]
    email: String,
    /// At least 12 characters (8 in development), at most 128.
    #[schema(value_type = String, format = Password, example = "correct-horse-battery", max_length = 128)]
    password: SecretString,
    /// The same again.
    #[schema(value_type = String, format = Password, example = "correct-horse-battery", max_length = 128)]
    password_confirm: SecretString,
    /// The tenant's name; needed unless an invite names the tenant.
    #[schema(example = "Acme", min_length = 1, max_length = 100)]
    account_name: Option<String>,
    /// The owner's name.
    #[schema(example = "Ada Lovelace", max_length = 100)]
    name: Option<String>,
    /// What the owner does, in the operator's own words.
    #[schema(example = "engineering", max_length = 100)]
    role_at_signup: Option<String>,
    /// The tenant's name in addresses; derived from its name where absent.
    #[schema(example = "acme", min_length = 2, max_length = 50)]
    slug: Option<String>,
    /// A public plan's slug; a trial of `pro` where absent.
    #[schema(example = "starter")]
    plan_slug: Option<String>,
    /// How a paid plan is paid; a trial where absent.
    payment_method: Option<Method>,
    /// Where invoices go, where that is not the owner's address.
    #[schema(max_length = 254)]
    billing_email: Option<String>,
    /// What invoices are addressed to, as the operator's own form has it; at most 4 KiB as JSON.
    #[schema(value_type = Option<Object>)]
    billing_address: Option<serde_json::Map<String, serde_json::Value>>,
    /// Joins the tenant of an invite in place of making one.
    #[schema(value_type = Option<String>)]
    invite_token: Option<SecretString>,
}

/// How a paid plan is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Method {
    /// Against an invoice. The tenant opens when it is paid.
    BankTransfer,
    /// By a checkout session.
    Stripe,
}

/// A tenant and its owner, who is logged in.
#[derive(Serialize, ToSchema)]
struct Registered {
    /// The person who is logged in.
    user: UserView,
    /// The tenant.
    tenant: TenantView,
    /// What it is on.
    subscription: Subscribed,
    /// Its credits.
    credits: Credits,
    /// What is to be paid first, by bank transfer.
    #[serde(skip_serializing_if = "Option::is_none")]
    invoice: Option<FirstInvoice>,
    /// How it pays.
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_method: Option<Chosen>,
    /// Where to pay, by `stripe`. Absent where Stripe did not answer: the same request under its Idempotency-Key, or a checkout session
    /// that the owner opens, has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    checkout_url: Option<String>,
    /// The session's tokens.
    #[serde(flatten)]
    tokens: TokenSet,
}

/// A new subscription.
#[derive(Serialize, ToSchema)]
struct Subscribed {
    /// Where it stands.
    status: billing::Status,
    /// The plan's slug.
    plan: String,
    /// When the trial ends, where there is one.
    trial_ends_at: Option<DateTime<Utc>>,
}

/// Credits.
#[derive(Serialize, ToSchema)]
struct Credits {
    /// How many are left.
    balance: i64,
}

/// A payment method.
#[derive(Serialize, ToSchema)]
struct Chosen {
    /// Which.
    #[serde(rename = "type")]
    method: Method,
}

const LONGEST_ADDRESS: usize = 4 * 1024;

/// What else a door of this kind asks for.
struct Terms {
    role_at_signup: Option<String>,
    billing_email: Option<Email>,
}

impl Register {
    fn read(&self, app: &App) -> Result<(Asked, Terms), Error> {
        let fields = Fields {
            email: &self.email,
            tenant_name: ("account_name", self.account_name.as_deref().unwrap_or_default()),
            slug: self.slug.as_deref(),
            name: self.name.as_deref(),
        };
        let mut terms = Terms { role_at_signup: None, billing_email: None };
        let asked = Asked::read(fields, |known| {
            let mut errors = self.refused_passwords(app, known);
            terms.role_at_signup = self.role(&mut errors);
            let billing_email = self.billing_email.as_ref().filter(|email| !email.trim().is_empty());
            if let Some(email) = billing_email {
                let refused = |e: EmailError| FieldError::new("billing_email", e.code(), e.to_string());
                terms.billing_email = Email::parse(email).map_err(|e| errors.push(refused(e))).ok();
            }
            let address = self.billing_address.as_ref().map(|address| serde_json::json!(address).to_string());
            if address.is_some_and(|address| address.len() > LONGEST_ADDRESS) {
                errors.push(FieldError::new("billing_address", "TOO_LONG", "billing_address may have at most 4 KiB."));
            }
            errors
        })?;
        Ok((asked, terms))
    }

    /// What somebody with an invite says of themselves; the invite says the rest.
    fn read_invited(&self, app: &App) -> Result<(Email, Option<String>, Option<String>), Error> {
        let mut errors = Vec::new();
        let email = Email::parse(&self.email).map_err(|e| FieldError::new("email", e.code(), e.to_string()));
        let email = email.map_err(|e| errors.push(e)).ok();
        let name = self.name.as_deref().filter(|name| !name.trim().is_empty()).map(|name| line("name", name, 100));
        let name = name.transpose().map_err(|e| errors.push(e)).ok().flatten();
        let known = [email.as_ref().map(Email::as_str), name.as_deref()];
        let refused = self.refused_passwords(app, &known.into_iter().flatten().collect::<Vec<_>>());
        errors.extend(refused);
        let role = self.role(&mut errors);
        match email {
            Some(email) if errors.is_empty() => Ok((email, name, role)),
            _ => Err(Error::Invalid(errors)),
        }
    }

    fn refused_passwords(&self, app: &App, known: &[&str]) -> Vec<FieldError> {
        let weak = passwords::check(&self.password, &app.config.password, known).err();
        let differ = self.password.expose_secret() != self.password_confirm.expose_secret();
        let differ = differ
            .then(|| FieldError::new("password_confirm", "PASSWORDS_DIFFER", "The two passwords are not the same."));
        weak.into_iter().chain(differ).collect()
    }

    fn role(&self, errors: &mut Vec<FieldError>) -> Option<String> {
        let role = self.role_at_signup.as_ref().filter(|role| !role.trim().is_empty())?;
        line("role_at_signup", role, 100).map_err(|error| errors.push(error)).ok()
    }

    /// How the plan is paid; free ones are not.
    async fn payment(&self, app: &App, plan: &PlanRow) -> Result<Payment, Error> {
        match self.payment_method {
            _ if plan.price_amount == 0 => Ok(Payment::None),
            None => Ok(Payment::None),
            Some(Method::BankTransfer) => {
                let address = self.billing_address.clone().map(serde_json::Value::Object);
                Ok(Payment::BankTransfer { address })
            }
            Some(Method::Stripe) => {
                // Asked before anything is written.
                checkout::offer(app, plan.clone()).await?;
                Ok(Payment::Stripe)
            }
        }
    }
}

/// Makes a tenant and its owner, and logs the owner in; with an invite, a member of the tenant that is there.
///
/// Without a plan: a trial of Pro. A paid plan with `bank_transfer` waits for its first invoice; provisioning of any other begins at
/// once. A paid plan with `stripe` answers where to pay.
#[utoipa::path(post, path = "/api/v1/auth/register", tag = "identity", request_body = Register,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 201, description = "The tenant is there, and its owner is logged in", body = Registered),
        (status = 403, description = "`INVITE_EMAIL_MISMATCH`"),
        (status = 404, description = "There is no such invite"),
        (status = 409, description = "`EMAIL_TAKEN`, `SLUG_TAKEN` with `suggestions`, `SEAT_LIMIT_REACHED`, or `IDEMPOTENCY_IN_PROGRESS`"),
        (status = 410, description = "`INVITE_EXPIRED`, `INVITE_REVOKED` or `INVITE_ACCEPTED`"),
        (status = 422, description = "`VALIDATION_FAILED`, `PLAN_NOT_SELF_SERVE`, `TENANT_PROVISIONING_ERROR` or `IDEMPOTENCY_KEY_REUSED`"),
        (status = 503, description = "`SIGNUPS_DISABLED`, `SELF_SERVE_DISABLED`, `BILLING_NOT_CONFIGURED` or `SERVICE_UNAVAILABLE`")))]
async fn register(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    client: Client,
    Posted { body, key }: Posted<Register>,
) -> Result<Reply, Problem> {
    let once = Once::new(&app, &key, "");
    if let Some(token) = &body.invite_token {
        return once.run(async { Ok(join_tenant(&app, &once, &body, token, client, request).await?) }).await;
    }
    start::doors_open(&app)?;
    let RequestId(request_id) = request.clone();
    let reply = once.run(async {
        let read = body.read(&app);
        let slug = read.as_ref().map_or_else(|_| String::new(), |(asked, _)| asked.slug.to_string());
        let done = match read {
            Ok((asked, terms)) => make(&app, &once, &body, (asked, terms), client, request_id).await,
            Err(refused) => Err(start::kill_switch(&app).await.err().unwrap_or(refused)),
        };
        done.map_err(|error| {
            error.log(Door::Register, &body.email, &slug);
            error.into()
        })
    });
    let reply = reply.await?;
    Ok(checkout::with_url(&app, &once, &request, reply).await)
}

async fn make(
    app: &App,
    once: &Once<'_>,
    body: &Register,
    (asked, terms): (Asked, Terms),
    client: Client,
    request_id: String,
) -> Result<Reply, Error> {
    let plan = body.plan_slug.as_deref().unwrap_or(DEFAULT_PLAN);
    let found = look_up(app.db.read(), plan, asked.email.as_str(), &asked.slug).await?;
    if !found.signup_enabled.unwrap_or(app.config.signup.fail_open) {
        return Err(Error::SignupsDisabled);
    }
    if found.user.is_some() {
        return Err(Error::EmailTaken);
    }
    let plan = found.self_serve_plan("plan_slug")?.clone();
    let payment = body.payment(app, &plan).await?;
    let pays_by = match payment {
        Payment::None => None,
        Payment::BankTransfer { .. } => Some(Chosen { method: Method::BankTransfer }),
        Payment::Stripe => Some(Chosen { method: Method::Stripe }),
    };
    let slug = found.slug_for(&asked, &app.clock.now())?;
    let password_hash = Some(app.hasher.hash(body.password.clone(), app.clock.now().bytes()).await?);
    let (plan_slug, name, role_at_signup) = (plan.slug.clone(), asked.name.clone(), terms.role_at_signup.clone());
    let new = NewTenant {
        door: Door::Register,
        name: asked.tenant_name,
        slug,
        owner: Owner {
            email: asked.email,
            name: asked.name,
            password_hash,
            email_verified: false,
            role_at_signup: terms.role_at_signup,
            person: None,
        },
        plan,
        payment,
        billing_email: terms.billing_email,
        session: Some(client.kept()),
        actor: audit::Actor::System,
        request_id: Some(request_id),
    };
    let now = app.clock.now();
    let tx = app.db.begin().await.map_err(|source| Error::failed("begin", source))?;
    let Provisioned { tenant, user_id, email, subscription, session, .. } =
        provision_tenant(&tx, &now, &means(app), new).await?;
    let session = session.expect("this door asks for one");
    let plan = if subscription.gives_its_plan(now.at) { plan_slug.clone() } else { FREE.to_owned() };
    let standing = Standing { role: Role::Owner, plan, email_verified_at: None };
    let registered = Registered {
        user: UserView {
            id: user_id,
            email: email.as_str().to_owned(),
            name,
            email_verified_at: None,
            role_at_signup,
            onboarding_step_completed: None,
        },
        subscription: Subscribed {
            status: subscription.status,
            plan: plan_slug,
            trial_ends_at: subscription.trial_ends_at,
        },
        credits: Credits { balance: subscription.credits },
        payment_method: pays_by,
        checkout_url: None,
        invoice: subscription.invoice,
        tokens: sessions::tokens(&app.keys, &now, &session, &standing),
        tenant,
    };
    let reply = once.commit(tx, &now, Reply::new(StatusCode::CREATED, &registered)).await?;
    committed(Door::Register, &registered.tenant);
    Ok(reply)
}

/// Makes a user who joins the tenant of an invite.
async fn join_tenant(
    app: &App,
    once: &Once<'_>,
    body: &Register,
    token: &SecretString,
    client: Client,
    request: RequestId,
) -> Result<Reply, Error> {
    let (email, name, role_at_signup) = body.read_invited(app)?;
    // Looked at before a hash is paid for; what counts is the use below.
    team::open(app.db.read(), &app.clock.now(), token, &email).await?;
    let password_hash = Some(app.hasher.hash(body.password.clone(), app.clock.now().bytes()).await?);
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    let newcomer = Newcomer::New { email, name, password_hash, role_at_signup, person: None };
    let opened =
        join::join(&tx, &now, (token, grace(&app.config)), &app.post, newcomer, (client, &request, "register", None))
            .await?;
    let opened = opened.opened().expect("somebody new has no second factor");
    let tenant = tenants::by_id(&tx, opened.tenant_id).await?.ok_or(team::Error::NotFound)?;
    let plan = billing::summary(&tx, opened.tenant_id).await?.ok_or(team::Error::NotFound)?;
    let standing = sessions::standing(&tx, &now, grace(&app.config), (opened.user_id, opened.tenant_id)).await?;
    let registered = Registered {
        user: users::by_id(&tx, opened.user_id).await?,
        tenant: tenant.view(),
        subscription: Subscribed { status: plan.status, plan: plan.plan, trial_ends_at: plan.trial_ends_at },
        credits: Credits { balance: plan.balance },
        invoice: None,
        payment_method: None,
        checkout_url: None,
        tokens: sessions::tokens(&app.keys, &now, &opened, &standing),
    };
    Ok(once.commit(tx, &now, Reply::new(StatusCode::CREATED, &registered)).await?)
}
