//! Step 1 of the wizard: what was asked for is read, looked up, and becomes a tenant in one transaction.

use axum::http::StatusCode;
use ipnet::IpNet;
use secrecy::SecretString;
use serde_json::json;
use uuid::Uuid;

use super::{
    Asked, Error, LookedUp, Means, NewTenant, Owner,
    api::{Start, Started, UserView},
    asked::Fields,
    candidates, committed, look_up, provision_tenant,
    wizard::{self, Next},
};
use crate::{
    app::App,
    audit,
    billing::Payment,
    clock::Now,
    http::{Once, Reply, RequestId},
    identity::{self, attempts::PasswordTry, credentials, passwords, second_factor, sessions, signup_token},
    plans::flags,
    provisioning,
    tenants::{self, Door, TenantView, slugs::Slug},
};

/// A request that reads well.
pub struct Signup {
    /// Who asks, and for what.
    pub asked: Asked,
    password: SecretString,
    plan: String,
}

/// What the configuration says about new tenants.
pub fn means(app: &App) -> Means<'_> {
    Means {
        post: &app.post,
        sealer: &app.sealer,
        dry_run: app.config.provision.dry_run,
        calls_application: app.config.provision.app_url.is_some(),
        trial_days: app.config.billing.trial_days,
        trial_once: app.config.rate_limit.enabled,
    }
}

/// Refuses where nobody may serve themselves.
pub fn doors_open(app: &App) -> Result<(), Error> {
    if app.config.signup.self_serve_enabled { Ok(()) } else { Err(Error::SelfServeDisabled) }
}

impl Signup {
    /// Reads every field, and tells of every one that is refused.
    pub fn read(app: &App, body: &Start) -> Result<Self, Error> {
        let fields = Fields {
            email: &body.email,
            tenant_name: ("tenant_name", &body.tenant_name),
            slug: body.slug.as_deref(),
            name: body.name.as_deref(),
        };
        let asked = Asked::read(fields, |known| {
            passwords::check(&body.password, &app.config.password, known).err().into_iter().collect()
        })?;
        let plan = body.plan.clone().unwrap_or_else(|| "starter".into());
        Ok(Self { asked, password: body.password.clone(), plan })
    }
}

/// Refuses where the kill switch is off: a closed door says so whatever is brought to it.
pub async fn kill_switch(app: &App) -> Result<(), Error> {
    let enabled = flags::is_enabled(app.db.read(), flags::SIGNUP_ENABLED).await;
    if enabled.ok().flatten().unwrap_or(app.config.signup.fail_open) { Ok(()) } else { Err(Error::SignupsDisabled) }
}

/// Where a sign-up comes from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The request it came with.
    pub request_id: String,
    /// From where.
    pub network: IpNet,
    /// Opens a session with it, for a browser: user agent and address.
    pub session: Option<(Option<String>, Option<String>)>,
}

/// Makes the tenant, or resumes the sign-up that its owner has not finished.
pub async fn start(app: &App, once: &Once<'_>, signup: Signup, from: Origin) -> Result<Reply, Error> {
    let found = look_up(app.db.read(), &signup.plan, signup.asked.email.as_str(), &signup.asked.slug).await?;
    if !found.signup_enabled.unwrap_or(app.config.signup.fail_open) {
        return Err(Error::SignupsDisabled);
    }
    if found.user.is_some() {
        return resume(app, once, &signup, found, from).await;
    }
    let plan = found.self_serve_plan("plan")?.clone();
    let slug = found.slug_for(&signup.asked, &app.clock.now())?;
    let password_hash = Some(app.hasher.hash(signup.password, app.clock.now().bytes()).await?);
    let new = NewTenant {
        door: Door::Wizard,
        name: signup.asked.tenant_name,
        slug,
        owner: Owner {
            email: signup.asked.email,
            name: signup.asked.name,
            password_hash,
            email_verified: false,
            role_at_signup: None,
            person: None,
        },
        plan,
        payment: Payment::None,
        billing_email: None,
        session: from.session,
        actor: audit::Actor::System,
        request_id: Some(from.request_id),
    };
    let now = app.clock.now();
    let tx = app.db.begin().await.map_err(|source| Error::failed("begin", source))?;
    let made = provision_tenant(&tx, &now, &means(app), new).await?;
    let user = UserView { id: made.user_id, email: made.email.as_str().to_owned() };
    let session_id = made.session.as_ref().map(|session| session.session_id);
    let reply = Reply::new(StatusCode::CREATED, &started(app, made.tenant.clone(), user, Next::Brand, session_id));
    let reply = once.commit(tx, &now, reply).await?;
    committed(Door::Wizard, &made.tenant);
    Ok(reply)
}

/// Somebody has the address. If it is they, and their sign-up is unfinished, it goes on.
async fn resume(app: &App, once: &Once<'_>, signup: &Signup, found: LookedUp, from: Origin) -> Result<Reply, Error> {
    let Some(user) = found.user else { return Err(Error::EmailTaken) };
    let (Some(hash), Some(tenant_id)) = (user.password_hash, user.unfinished_tenant) else {
        return Err(Error::EmailTaken);
    };
    // A password is tried here as at a log-in.
    let tried = PasswordTry::begin(app, signup.asked.email.as_str(), from.network).await?;
    if !app.hasher.verify(signup.password.clone(), hash.clone()).await? {
        return Err(Error::EmailTaken);
    }
    let tenant = tenants::by_id(app.db.read(), tenant_id).await?.ok_or(Error::EmailTaken)?;
    let queued = provisioning::current(app.db.read(), tenant_id).await?.is_some_and(|run| run.queued_at.is_some());
    let next = wizard::next(&tenant, queued);
    let owner = UserView { id: user.id, email: signup.asked.email.as_str().to_owned() };
    let tx = app.db.begin().await?;
    // Whoever has proved the address in the meantime, or set another password, has ended this.
    credentials::hold_password(&tx, user.id, &hash).await.map_err(|error| match error {
        identity::Error::InvalidCredentials => Error::EmailTaken,
        other => other.into(),
    })?;
    // A password alone does not open what a second factor protects: whoever has one signs in.
    if second_factor::is_on(&tx, user.id).await? {
        return Err(Error::EmailTaken);
    }
    // From here on: a token that is older than a claim opens nothing.
    let now = app.clock.now();
    PasswordTry::forgive(tried, &tx).await?;
    let Some((user_agent, ip)) = from.session else {
        let reply = Reply::new(StatusCode::OK, &started(app, tenant.view(), owner, next, None));
        return Ok(once.commit(tx, &now, reply).await?);
    };
    let new = sessions::NewSession { user_id: user.id, tenant_id, user_agent, ip };
    let session_id = sessions::begin(&tx, &now, &app.post, &new).await?.session_id;
    let who = (audit::Actor::User(user.id), Some(tenant_id));
    let detail = json!({"session_id": session_id, "by": "signup"});
    audit::note(&tx, &now, &RequestId(from.request_id), who, "session.opened", detail).await?;
    let reply = Reply::new(StatusCode::OK, &started(app, tenant.view(), owner, next, Some(session_id)));
    Ok(once.commit(tx, &now, reply).await?)
}

fn started(app: &App, tenant: TenantView, user: UserView, next: Next, session_id: Option<Uuid>) -> Started {
    let ttl = app.config.signup.token_ttl;
    let (token, expires_at) = signup_token::issue(&app.keys, &app.clock.now(), ttl, user.id, tenant.id);
    Started { token, expires_at, tenant, user, next, session_id }
}

impl LookedUp {
    /// The plan, if anybody may have it by themselves.
    pub fn self_serve_plan(&self, field: &str) -> Result<&crate::plans::PlanRow, Error> {
        let plan = self.plan.as_ref().filter(|plan| plan.is_public).ok_or_else(|| Error::unknown_plan(field))?;
        if plan.contact_sales { Err(Error::PlanNotSelfServe) } else { Ok(plan) }
    }

    /// The slug asked for, if it is free; else the first free one that the name leads to.
    pub fn slug_for(&self, asked: &Asked, now: &Now) -> Result<Slug, Error> {
        let slug = &asked.slug;
        if asked.slug_is_explicit && self.taken.contains(slug) {
            let free = slug.following().filter(|slug| !self.taken.contains(slug));
            return Err(Error::SlugTaken(free.take(3).collect()));
        }
        let free = candidates(slug).find(|candidate| !self.taken.contains(candidate));
        Ok(free.unwrap_or_else(|| slug.by_chance(now)))
    }
}
