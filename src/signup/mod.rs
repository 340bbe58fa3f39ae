//! Sign-up: the one unit of work that makes a tenant, and the doors that lead to it.
//!
//! [`provision_tenant`] is the only code that creates a tenant. Every door (the wizard, register, `OAuth`, an administrator, the command
//! line) reads what it needs with [`look_up`], hashes the password where there is one with no connection
//! held, and then calls it within one transaction: user, tenant, owner membership, subscription, credits, default catalogue,
//! provisioning run, mail and audit event are all written, or none.
//!
//! Refusals that a caller can cause stay themselves ([`Error`]); whatever else goes wrong inside is
//! [`Error::Failed`], logged once with its cause by [`Error::log`], and told to the client as nothing but "try again".

pub mod api;
mod asked;
mod checkout;
mod join;
pub mod oauth;
pub mod onboard;
pub mod pages;
mod refusal;
pub mod register;
pub mod start;
mod store;
pub mod wizard;

use chrono::TimeDelta;
use sea_orm::DbErr;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tracing::instrument;
use uuid::Uuid;

pub use asked::Asked;
pub use refusal::Error;
pub use store::{LookedUp, candidates, look_up};

use crate::{
    audit,
    billing::{self, Payment},
    catalog,
    clock::Now,
    db::{Batch, Tx},
    identity::{self, email::Email, oauth::Person, one_time, sessions},
    mail::{self, Post},
    plans::PlanRow,
    provisioning::{self, Blueprint, StepName},
    seal::Sealer,
    tenants::{self, Branding, Door, ProvisionState, Role, Status, TenantView, slugs::Slug},
};

/// What the operator configured that a new tenant's rows depend on.
pub struct Means<'a> {
    /// Puts letters into the outbox.
    pub post: &'a Post,
    /// Seals what must not be read at rest.
    pub sealer: &'a Sealer,
    /// Whether provisioning keeps everything inside.
    pub dry_run: bool,
    /// Whether the operator's application takes part.
    pub calls_application: bool,
    /// In place of the plan's own trial days.
    pub trial_days: Option<i64>,
    /// Whether a person gets one trial alone.
    pub trial_once: bool,
}

/// Who will own the tenant. Always somebody new: a user joins further tenants by invite.
pub struct Owner {
    /// The address.
    pub email: Email,
    /// The person's name.
    pub name: Option<String>,
    /// Argon2id, where the door asked for a password.
    pub password_hash: Option<String>,
    /// Whether the door has already proved the address, as `OAuth` does.
    pub email_verified: bool,
    /// What the person said they are.
    pub role_at_signup: Option<String>,
    /// Whom a provider proved them to be, where one did.
    pub person: Option<Person>,
}

/// A tenant to make.
pub struct NewTenant {
    /// The way in.
    pub door: Door,
    /// Its name.
    pub name: String,
    /// Its name in addresses.
    pub slug: Slug,
    /// Who will own it.
    pub owner: Owner,
    /// Its plan.
    pub plan: PlanRow,
    /// How it pays.
    pub payment: Payment,
    /// Where invoices go, where that is not the owner's address.
    pub billing_email: Option<Email>,
    /// Opens a session with it, for a door that logs the person in: user agent and address.
    pub session: Option<(Option<String>, Option<String>)>,
    /// Who did it, for the audit log.
    pub actor: audit::Actor,
    /// The request it came with.
    pub request_id: Option<String>,
}

/// A tenant that is completely there, once the transaction commits.
pub struct Provisioned {
    /// The tenant.
    pub tenant: TenantView,
    /// The owner's id.
    pub user_id: Uuid,
    /// The owner's address.
    pub email: Email,
    /// The subscription.
    pub subscription: billing::Opened,
    /// Its provisioning run.
    pub run_id: Uuid,
    /// The session, where the door asked for one.
    pub session: Option<sessions::Opened>,
}

/// Makes a tenant with everything that belongs to it.
///
/// # Errors
/// [`Error::EmailTaken`] and [`Error::SlugTaken`] where somebody was faster; [`Error::Failed`] for everything else, after
/// which the transaction is only good for rolling back.
#[instrument(level = "debug", target = "tenantry::traces", skip_all, fields(door = new.door.as_str(), slug = new.slug.as_str()))]
pub async fn provision_tenant(tx: &Tx, now: &Now, means: &Means<'_>, new: NewTenant) -> Result<Provisioned, Error> {
    let (tenant_id, user_id, at) = (now.id(), now.id(), now.at);
    let invoice_number = match new.payment {
        Payment::BankTransfer { .. } => Some(
            billing::invoices::next_number(tx, now)
                .await
                .map_err(|source| Error::failed("invoice_counters", source))?,
        ),
        Payment::None | Payment::Stripe => None,
    };
    let billing_email = new.billing_email.as_ref().unwrap_or(&new.owner.email).as_str();
    let status =
        if matches!(new.payment, Payment::BankTransfer { .. }) { Status::PendingPayment } else { Status::Pending };

    let trial_days = trial_days(tx, now, means, &new, tenant_id).await?;
    let mut batch = Batch::default();
    batch.insert(identity::store::user::Model {
        id: user_id,
        email: new.owner.email.as_str().to_owned(),
        name: new.owner.name.clone(),
        password_hash: new.owner.password_hash.clone(),
        email_verified_at: new.owner.email_verified.then_some(at),
        role_at_signup: new.owner.role_at_signup.clone(),
        onboarding_step_completed: None,
        is_platform_admin: false,
        disabled_at: None,
        left_last_tenant_at: None,
        claimed_at: None,
        created_at: at,
        updated_at: at,
    });
    if let Some(person) = &new.owner.person {
        batch.insert(person.identity(now, user_id));
    }
    batch.insert(tenants::store::tenant::Model {
        id: tenant_id,
        slug: new.slug.as_str().to_owned(),
        name: new.name.clone(),
        status,
        door: new.door,
        billing_email: billing_email.to_owned(),
        branding: json!(Branding::default()),
        provision_state: ProvisionState::Pending,
        provision_reason: None,
        provision_updated_at: at,
        provisioned_at: None,
        created_at: at,
        updated_at: at,
    });
    batch.insert(tenants::store::membership::Model {
        tenant_id,
        user_id,
        role: Role::Owner,
        created_at: at,
        updated_at: at,
    });
    let subscription = billing::open(
        &mut batch,
        now,
        means.post,
        &billing::Terms {
            tenant_id,
            tenant_name: &new.name,
            billing_email,
            plan: &new.plan,
            payment: &new.payment,
            trial_days,
            invoice_number,
        },
    );
    catalog::seed(&mut batch, now, tenant_id, &new.plan.price_currency);
    let run_id = provisioning::open_run(
        &mut batch,
        now,
        provisioning::NewRun {
            tenant_id,
            plan: &new.plan.slug,
            steps: &steps(&new.plan, means)?,
            queued: new.door != Door::Wizard && status == Status::Pending,
            dry_run: means.dry_run,
        },
    );
    let session = new.session.clone().map(|(user_agent, ip)| {
        sessions::open(&mut batch, now, &sessions::NewSession { user_id, tenant_id, user_agent, ip })
    });
    write_to_owner(&mut batch, now, means.post, tenant_id, user_id, &new);
    audit::append(
        &mut batch,
        now,
        audit::Event {
            actor: new.actor,
            tenant_id: Some(tenant_id),
            action: "tenant.created",
            request_id: new.request_id.clone(),
            detail: json!({"door": new.door, "slug": new.slug.as_str(), "plan": new.plan.slug, "user_id": user_id}),
        },
    );
    batch.send(tx).await.map_err(|refused| Error::from_batch(refused, &new))?;

    let tenant = TenantView {
        id: tenant_id,
        slug: new.slug.as_str().to_owned(),
        name: new.name,
        status,
        provision_state: ProvisionState::Pending,
        branding: Branding::default(),
    };
    Ok(Provisioned { tenant, user_id, email: new.owner.email, subscription, run_id, session })
}

/// The days of the trial, where not the plan's own: none for somebody who has had one, whom no operator lets in.
async fn trial_days(
    tx: &Tx,
    now: &Now,
    means: &Means<'_>,
    new: &NewTenant,
    tenant_id: Uuid,
) -> Result<Option<i64>, Error> {
    if matches!(new.door, Door::Admin | Door::Cli) {
        return Ok(means.trial_days);
    }
    let (status, _) = billing::first_status(&new.plan, &new.payment, means.trial_days, now.at);
    trial_of(tx, now, means, (tenant_id, &new.owner.email), status).await
}

/// The days of a trial that somebody is about to begin.
async fn trial_of(
    tx: &Tx,
    now: &Now,
    means: &Means<'_>,
    (tenant_id, email): (Uuid, &Email),
    status: billing::Status,
) -> Result<Option<i64>, Error> {
    if !means.trial_once || status != billing::Status::Trialing {
        return Ok(means.trial_days);
    }
    let taken = billing::trials::take(tx, now, means.sealer, email, tenant_id).await;
    let is_first = taken.map_err(|source| Error::failed("trial_claims", source))?;
    Ok(if is_first { means.trial_days } else { Some(0) })
}

/// Tells logs and metrics of a tenant whose transaction has committed.
pub fn committed(door: Door, tenant: &TenantView) {
    let door = door.as_str();
    metrics::counter!("tenantry_signups_total", "door" => door, "outcome" => "created").increment(1);
    tracing::info!(feature = "signup", tenant_id = %tenant.id, slug = tenant.slug, door, "Tenant signed up");
}

/// The steps that a plan declares.
fn steps(plan: &PlanRow, means: &Means<'_>) -> Result<Vec<StepName>, Error> {
    let blueprint = Blueprint::parse(&plan.blueprint);
    let broken = |error| Error::failed("plans", DbErr::Custom(format!("blueprint of {}: {error}", plan.slug)));
    Ok(blueprint.map_err(broken)?.steps_with(means.calls_application))
}

/// How long somebody for whom a tenant was made has for following the link.
const TAKEOVER_WITHIN: TimeDelta = TimeDelta::days(7);

/// The first letter: proves the address, and where somebody else made the tenant, hands it over.
fn write_to_owner(batch: &mut Batch, now: &Now, post: &Post, tenant_id: Uuid, user_id: Uuid, new: &NewTenant) {
    let email = &new.owner.email;
    let mut token = |purpose: one_time::Purpose, ttl: Option<TimeDelta>| -> SecretString {
        one_time::mint(batch, now, one_time::NewToken { user_id, tenant_id: Some(tenant_id), purpose, email, ttl })
    };
    let letter = match new.door {
        Door::Admin | Door::Cli => {
            let token = token(one_time::Purpose::MagicLink, Some(TAKEOVER_WITHIN));
            mail::letters::takeover(&post.public_url, email, &new.name, token.expose_secret())
        }
        Door::Wizard | Door::Register | Door::Oauth if new.owner.email_verified => return,
        Door::Wizard | Door::Register | Door::Oauth => {
            let token = token(one_time::Purpose::VerifyEmail, None);
            mail::letters::verify_email(&post.public_url, email, &new.name, token.expose_secret())
        }
    };
    post.queue(batch, now, Some(tenant_id), &letter);
}
