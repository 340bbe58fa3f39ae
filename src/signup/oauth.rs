//! The `OAuth` door: to a provider and back. Somebody who is known comes in, somebody who is new gets a tenant in one transaction as
//! through any door, somebody who was invited joins, and somebody who is signed in gets one more way in.

use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Asked, Error, NewTenant, Owner,
    asked::Fields,
    committed,
    join::{self, Newcomer},
    look_up, provision_tenant,
    start::{self, means},
};
use crate::{
    app::App,
    audit::{self, Actor},
    billing::Payment,
    entitlements::guard::grace,
    http::{FieldError, Path, Problem, Query, RequestId, line},
    identity::{
        self, Client,
        api::oauth::{configured, refused, set_out},
        browser,
        oauth::{
            self, Person,
            flow::{Aim, Flow},
            provider::Provider,
        },
        pages,
        second_factor::{self, Entry, Pending},
        sessions::{self, Opened, TokenSet},
    },
    tenants::Door,
};

/// This door's routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(set_off)).routes(routes!(come_back))
}

/// The plan of whoever names none: the reverse trial.
const DEFAULT_PLAN: &str = "pro";
/// Where somebody arrives who named no page.
const HOME: &str = "/dashboard";
/// Where somebody arrives who has linked a provider.
const LINKED: &str = "/settings/sign-in";

/// What somebody sets off for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SetOff {
    /// A page of ours to go to afterwards: a path, or an address below the public URL.
    #[param(example = "/dashboard")]
    redirect_to: Option<String>,
    /// For a sign-up: a public plan's slug; a trial of `pro` where absent.
    #[param(example = "starter")]
    plan: Option<String>,
    /// For a sign-up: the tenant's name; the person's name where absent.
    #[param(example = "Acme")]
    tenant_name: Option<String>,
    /// Joins the tenant of an invite in place of making one.
    invite_token: Option<String>,
}

impl SetOff {
    fn aim(self, app: &App) -> Result<Aim, Problem> {
        let mut errors = Vec::new();
        let redirect_to = self.redirect_to.filter(|page| !page.is_empty());
        let redirect_to = redirect_to.map(|page| own_page(app, &page).ok_or_else(not_ours)).transpose();
        let redirect_to = redirect_to.map_err(|error| errors.push(error)).ok().flatten();
        let tenant_name = self.tenant_name.filter(|name| !name.trim().is_empty());
        let tenant_name = tenant_name.and_then(|name| line("tenant_name", &name, 100).map_err(|e| errors.push(e)).ok());
        if !errors.is_empty() {
            return Err(Problem::invalid(errors));
        }
        Ok(Aim::Enter { redirect_to, plan: self.plan, tenant_name, invite_token: self.invite_token })
    }
}

fn not_ours() -> FieldError {
    FieldError::new("redirect_to", "NOT_ALLOWED", "This has to be a page of this site.")
}

/// A page of ours as path and query: nowhere else may a sign-in lead (OWASP, Unvalidated Redirects and Forwards).
fn own_page(app: &App, page: &str) -> Option<String> {
    let ours = &app.config.public_url;
    if !page.starts_with('/') && !page.starts_with("http") || page.contains(['\\', '\t', '\r', '\n']) {
        return None;
    }
    let url = ours.join(page).ok().filter(|url| url.origin() == ours.origin() && url.username().is_empty())?;
    let path = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    (!path.starts_with("//")).then_some(path)
}

/// Sends the browser to a provider.
#[utoipa::path(get, path = "/api/v1/auth/oauth/{provider}/start", tag = "identity",
    params(("provider" = String, Path, description = "`google`, `microsoft`, or another that the operator has configured"), SetOff),
    responses((status = 302, description = "To the provider"),
        (status = 503, description = "`OAUTH_NOT_CONFIGURED` or `OAUTH_UNAVAILABLE`")))]
async fn set_off(
    State(app): State<App>,
    Path(provider): Path<String>,
    headers: HeaderMap,
    query: Result<Query<SetOff>, Problem>,
) -> Result<Response, Problem> {
    let provider = configured(&app, &provider)?;
    let Query(query) = query?;
    let aim = query.aim(&app)?;
    let (url, cookie) = set_out(&app, &headers, provider, aim).await?;
    Ok(go(url.as_str(), [cookie]))
}

/// 302, as the contract has it.
fn go(to: &str, cookies: impl IntoIterator<Item = axum::http::HeaderValue>) -> Response {
    let mut response = (StatusCode::FOUND, [(header::LOCATION, to)]).into_response();
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// What a provider sends the browser back with (RFC 6749, 4.1.2; RFC 9207). Providers add what they like.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ComeBack {
    /// Names the flow.
    state: Option<String>,
    /// What the provider exchanges for who it is.
    code: Option<String>,
    /// Why there is none.
    error: Option<String>,
    /// The provider's own name.
    iss: Option<String>,
}

/// Takes the browser back from a provider.
///
/// Leads to the page asked for, with a session; a program that asks for JSON gets tokens.
#[utoipa::path(get, path = "/api/v1/auth/oauth/{provider}/callback", tag = "identity",
    params(("provider" = String, Path, description = "As at the start"), ComeBack),
    responses((status = 200, description = "Where JSON was asked for", body = TokenSet),
        (status = 302, description = "To the page asked for, with a session"),
        (status = 400, description = "`OAUTH_STATE_INVALID`: not this browser, not this provider, used before, or too late"),
        (status = 401, description = "`OAUTH_DENIED` or `OAUTH_FAILED`; `TOTP_REQUIRED` with `pending_token` where JSON was asked for"),
        (status = 403, description = "`ACCOUNT_DISABLED` or `INVITE_EMAIL_MISMATCH`"),
        (status = 409, description = "`EMAIL_TAKEN`, `IDENTITY_TAKEN`, `SLUG_TAKEN` or `SEAT_LIMIT_REACHED`"),
        (status = 410, description = "`INVITE_EXPIRED`, `INVITE_REVOKED` or `INVITE_ACCEPTED`"),
        (status = 422, description = "`OAUTH_EMAIL_MISSING`, `PLAN_NOT_SELF_SERVE`, `TENANT_PROVISIONING_ERROR` or `VALIDATION_FAILED`"),
        (status = 503, description = "`OAUTH_NOT_CONFIGURED`, `OAUTH_UNAVAILABLE`, `SIGNUPS_DISABLED` or `SELF_SERVE_DISABLED`")))]
async fn come_back(
    State(app): State<App>,
    Path(provider): Path<String>,
    Extension(request): Extension<RequestId>,
    client: Client,
    headers: HeaderMap,
    Query(answer): Query<ComeBack>,
) -> Result<Response, Problem> {
    let provider = configured(&app, &provider)?;
    let flow = take(&app, &headers, provider, &answer).await?;
    let person = prove(&app, provider, &flow, &answer).await?;
    let by = format!("oauth:{}", provider.name());
    match flow.aim {
        Aim::Link { user_id, session_id } => {
            let user = browser::user(&app, &headers).await?;
            let user = user.filter(|user| (user.user_id, user.session_id) == (user_id, session_id));
            let user = user.ok_or_else(Problem::unauthenticated)?;
            let (tx, now) = (app.db.begin().await?, app.clock.now());
            user.hold(&tx, &now).await?;
            oauth::link(&tx, &now, &app.post, user_id, &person).await?;
            let detail = json!({"user_id": user_id, "provider": person.provider});
            let who = (Actor::User(user_id), Some(user.tenant_id));
            audit::note(&tx, &now, &request, who, "identity.linked", detail).await?;
            tx.commit().await?;
            app.wake.wake();
            Ok(go(LINKED, []))
        }
        Aim::Enter { redirect_to, plan, tenant_name, invite_token } => {
            let then = redirect_to.clone();
            let entered = match invite_token {
                Some(token) => invited(&app, &person, token.into(), (client, &request, &by, then)).await?,
                None => match known(&app, &person, (client.clone(), &request, &by, then)).await? {
                    Some(entry) => entry,
                    None => Entry::Open(sign_up(&app, &person, (plan, tenant_name), client, &request).await?),
                },
            };
            app.wake.wake();
            arrive(&app, &headers, entered, redirect_to.as_deref().unwrap_or(HOME)).await
        }
    }
}

/// Uses the flow up, whatever comes of it. One that another browser or provider brings stays: it is still its owner's.
async fn take(app: &App, headers: &HeaderMap, provider: &Provider, answer: &ComeBack) -> Result<Flow, Problem> {
    let state = answer.state.as_deref().unwrap_or_default();
    let tx = app.db.begin().await?;
    let browser = Flow::browser(app, headers);
    let flow = Flow::take(&tx, &app.clock.now(), &app.sealer, state, (provider.name(), browser)).await?;
    tx.commit().await?;
    Ok(flow)
}

async fn prove(app: &App, provider: &Provider, flow: &Flow, answer: &ComeBack) -> Result<Person, Problem> {
    let now = app.clock.now();
    let told = |error| refused(provider, &error);
    provider.check_issuer(&now, answer.iss.as_deref()).await.map_err(told)?;
    if let Some(error) = &answer.error {
        tracing::info!(feature = "oauth", provider = provider.name(), error, "The provider sent somebody back");
        return Err(identity::Error::OauthDenied(provider.label()).into());
    }
    let code = answer.code.as_deref().filter(|code| !code.is_empty());
    let code = code.ok_or_else(|| Problem::from(identity::Error::OauthFailed(provider.label())))?;
    provider.person(&now, code, &flow.binding()).await.map_err(told)
}

/// Somebody who has been here before, or whose address has.
async fn known(
    app: &App,
    person: &Person,
    (client, request, by, then): (Client, &RequestId, &str, Option<String>),
) -> Result<Option<Entry>, Problem> {
    let (tx, now) = (app.db.begin().await?, app.clock.now());
    let Some(user_id) = oauth::recognise(&tx, &now, &app.post, person).await? else { return Ok(None) };
    let pending = Pending::new(&now, user_id, None, by).leading_to(then);
    let entry = second_factor::enter(&tx, &now, &app.post, (&pending, None), (client, request)).await?;
    tx.commit().await?;
    Ok(Some(entry))
}

/// Somebody new: a tenant, as by any door.
async fn sign_up(
    app: &App,
    person: &Person,
    (plan, tenant_name): (Option<String>, Option<String>),
    client: Client,
    RequestId(request_id): &RequestId,
) -> Result<Opened, Problem> {
    start::doors_open(app)?;
    start::kill_switch(app).await?;
    let email = person.email.clone().ok_or(identity::Error::OauthEmailMissing)?;
    let local_part = || email.as_str().split('@').next().unwrap_or_default().to_owned();
    let name = person.name.as_deref().and_then(|name| line("name", name, 100).ok());
    let tenant_name = tenant_name.or_else(|| name.clone()).unwrap_or_else(local_part);
    let fields =
        Fields { email: email.as_str(), tenant_name: ("tenant_name", &tenant_name), slug: None, name: name.as_deref() };
    let asked = Asked::read(fields, |_| Vec::new())?;
    let slug = asked.slug.to_string();
    let made = async {
        let plan = plan.as_deref().unwrap_or(DEFAULT_PLAN);
        let found = look_up(app.db.read(), plan, email.as_str(), &asked.slug).await?;
        if found.user.is_some() {
            return Err(Error::EmailTaken);
        }
        let new = NewTenant {
            door: Door::Oauth,
            plan: found.self_serve_plan("plan")?.clone(),
            slug: found.slug_for(&asked, &app.clock.now())?,
            name: asked.tenant_name,
            owner: Owner {
                email: asked.email,
                name: asked.name,
                password_hash: None,
                email_verified: person.email_is_proved,
                role_at_signup: None,
                person: Some(person.clone()),
            },
            payment: Payment::None,
            billing_email: None,
            session: Some(client.kept()),
            actor: Actor::System,
            request_id: Some(request_id.clone()),
        };
        let now = app.clock.now();
        let tx = app.db.begin().await.map_err(|source| Error::failed("begin", source))?;
        let made = provision_tenant(&tx, &now, &means(app), new).await?;
        tx.commit().await.map_err(|source| Error::failed("commit", source))?;
        Ok(made)
    };
    let made = made.await.inspect_err(|error: &Error| error.log(Door::Oauth, email.as_str(), &slug))?;
    committed(Door::Oauth, &made.tenant);
    Ok(made.session.expect("this door asks for one"))
}

/// Somebody with an invite, known or new, comes into its tenant.
async fn invited(
    app: &App,
    person: &Person,
    token: SecretString,
    visitor: (Client, &RequestId, &str, Option<String>),
) -> Result<Entry, Problem> {
    let (tx, now) = (app.db.begin().await?, app.clock.now());
    let newcomer = match oauth::recognise(&tx, &now, &app.post, person).await? {
        Some(user_id) => Newcomer::Known(user_id),
        None => Newcomer::New {
            email: person.email.clone().ok_or(identity::Error::OauthEmailMissing)?,
            name: person.name.as_deref().and_then(|name| line("name", name, 100).ok()),
            password_hash: None,
            role_at_signup: None,
            person: Some(person.clone()),
        },
    };
    let entry = join::join(&tx, &now, (&token, grace(&app.config)), &app.post, newcomer, visitor).await?;
    tx.commit().await?;
    Ok(entry)
}

/// The end of the way: a page with a session, or tokens for a program; where the second factor is on, its code comes first.
async fn arrive(app: &App, headers: &HeaderMap, entry: Entry, page: &str) -> Result<Response, Problem> {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_program = accepted.contains("application/json") && !accepted.contains("text/html");
    match entry {
        Entry::Open(opened) if is_program => {
            let standing = sessions::standing(
                app.db.read(),
                &app.clock.now(),
                grace(&app.config),
                (opened.user_id, opened.tenant_id),
            )
            .await?;
            Ok(Json(sessions::tokens(&app.keys, &app.clock.now(), &opened, &standing)).into_response())
        }
        Entry::Open(opened) => Ok(go(page, pages::cookies(app, &opened))),
        Entry::Wait(pending_token) if is_program => Err(identity::Error::TotpRequired { pending_token }.into()),
        Entry::Wait(token) => Ok(go(second_factor::signin::PAGE, [second_factor::signin::cookie(app, &token)])),
    }
}
