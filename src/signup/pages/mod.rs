//! The wizard's pages: basics, branding, plan set-up, and provisioning as it happens.
//!
//! Every page works by forms alone; `wizard.js` makes it smoother. Where a wizard stands is asked of the server at each request, so
//! that reload, back button, second tab and restart lose nothing: a page that comes too early or too late leads to the first
//! step that is not done. The browser holds the sign-up token in a cookie.

mod address;
mod basics;
mod branding;
mod plan_setup;
mod progress;
mod refused;

use axum::{
    Router,
    http::{HeaderMap, StatusCode},
    response::Response,
    routing::{get, post},
};
use refused::Refused;
use secrecy::SecretString;

use super::{
    api,
    wizard::{self, Next},
};
use crate::{
    app::App,
    http::{Problem, go_to, show},
    identity::{
        SignupReader, browser,
        signup_token::{COOKIE, COOKIE_LIFE},
    },
    provisioning::{self, Status},
    tenants::{self, Door, Role, TenantRow},
};

/// This slice's pages.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/onboarding", get(basics::page).post(basics::submit))
        .route("/onboarding/address", get(address::look_up))
        .route("/onboarding/branding", get(branding::page).post(branding::submit))
        .route("/onboarding/plan", get(plan_setup::page))
        .route("/onboarding/plan/{ending}", post(plan_setup::end))
        .route("/onboarding/progress", get(progress::page))
        .route("/onboarding/progress/events", get(progress::events))
        .route("/onboarding/progress/retry", post(progress::retry))
        .route("/onboarding/start-over", post(basics::start_over))
}

/// A wizard under way.
pub(super) struct Wizard {
    token: SignupReader,
    tenant: TenantRow,
    next: Next,
    run: Option<Status>,
}

/// What a browser's cookies say about its wizard.
enum Standing {
    /// Nobody is signing up here.
    Nobody,
    /// Nobody is, but somebody is signed in.
    SignedIn,
    /// The token's time is over; whose sign-up it is.
    Expired(Box<TenantRow>),
    /// The janitor has removed what was not finished.
    Removed,
    /// Somebody is.
    At(Box<Wizard>),
}

impl Wizard {
    async fn of(app: &App, token: SignupReader) -> Result<Self, Problem> {
        let tenant = api::tenant(app.db.read(), token.tenant_id).await?;
        let run = provisioning::current(app.db.read(), token.tenant_id).await?;
        let next = wizard::next(&tenant, run.as_ref().is_some_and(|run| run.queued_at.is_some()));
        Ok(Self { token, tenant, next, run })
    }

    /// Where the step to do next is.
    fn next_page(&self) -> &'static str {
        page_of(self.next)
    }

    /// The wizard of a request that needs one; anybody else is led to where they stand.
    async fn at(app: &App, headers: &HeaderMap, steps: &[Next]) -> Result<Result<Self, Response>, Problem> {
        Ok(match stand(app, headers).await? {
            Standing::At(wizard) if steps.contains(&wizard.next) => Ok(*wizard),
            Standing::At(wizard) => Err(go_to(wizard.next_page(), [])),
            Standing::Nobody | Standing::SignedIn | Standing::Removed | Standing::Expired(_) => {
                Err(go_to("/onboarding", []))
            }
        })
    }
}

fn page_of(next: Next) -> &'static str {
    match next {
        Next::Brand => "/onboarding/branding",
        Next::Make | Next::Confirm | Next::Finish => "/onboarding/plan",
        Next::Status | Next::Done => "/onboarding/progress",
    }
}

/// The steps of plan set-up.
const PLAN_SETUP: [Next; 3] = [Next::Make, Next::Confirm, Next::Finish];

async fn stand(app: &App, headers: &HeaderMap) -> Result<Standing, Problem> {
    if let Some(token) = COOKIE.read(&app.config, headers).map(SecretString::from) {
        match SignupReader::of(app, Some(&token)).await {
            Ok(token) => return Ok(Standing::At(Box::new(Wizard::of(app, token).await?))),
            Err(refused) if refused.status != StatusCode::UNAUTHORIZED => return Err(refused),
            Err(refused) => {
                if let Some(before) = ended(app, &token, refused.code == "TOKEN_EXPIRED").await? {
                    return Ok(before);
                }
            }
        }
    }
    let user = match browser::user(app, headers).await? {
        Some(user) if user.role == Role::Owner => user,
        Some(_) => return Ok(Standing::SignedIn),
        None => return Ok(Standing::Nobody),
    };
    let token = SignupReader::by_session(&user, &app.clock.now());
    let wizard = Wizard::of(app, token).await?;
    // A tenant that came by another door has no wizard; its owner's pages are the dashboard's.
    let is_under_way = wizard.next != Next::Done && wizard.tenant.door == Door::Wizard;
    Ok(if is_under_way { Standing::At(Box::new(wizard)) } else { Standing::SignedIn })
}

/// What became of a sign-up whose token opens nothing any more; nothing where it has long been finished, or was none of ours.
async fn ended(app: &App, token: &SecretString, has_expired: bool) -> Result<Option<Standing>, Problem> {
    let Some(claims) = SignupReader::expired(app, token).await else { return Ok(None) };
    let tenant = tenants::by_id(app.db.read(), claims.tid).await?;
    let is_begun = |tenant: &TenantRow| tenant.provisioned_at.is_none() && tenant.owner_id == claims.sub;
    Ok(match tenant {
        None => Some(Standing::Removed),
        Some(tenant) if has_expired && is_begun(&tenant) => Some(Standing::Expired(Box::new(tenant))),
        Some(_) => None,
    })
}

#[derive(askama::Template)]
#[template(path = "signup/pages/closed.html")]
struct Closed {
    self_serve: bool,
}

/// The page of a closed door, where that is what a refusal says.
fn closed(refused: &Problem) -> Option<Result<Response, Problem>> {
    let self_serve = match refused.code {
        "SIGNUPS_DISABLED" => true,
        "SELF_SERVE_DISABLED" => false,
        _ => return None,
    };
    let page = Closed { self_serve };
    Some(show(StatusCode::SERVICE_UNAVAILABLE, &page).map(|mut response| {
        if let Some(after) = refused.retry_after {
            response.headers_mut().insert(axum::http::header::RETRY_AFTER, after.as_secs().into());
        }
        response
    }))
}
