//! Who may pass: what handlers take as arguments where a plan, and not only a role, decides.

use std::marker::PhantomData;

use axum::{
    RequestPartsExt,
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
};
use chrono::TimeDelta;
use serde_json::json;
use url::Url;
use uuid::Uuid;

use super::{Entitlements, Facts, Standing, facts, resolve};
use crate::{
    app::App,
    config::Config,
    http::Problem,
    identity::{CurrentUser, Verified},
};

/// How long a subscription that is past due keeps its plan.
pub fn grace(config: &Config) -> TimeDelta {
    TimeDelta::from_std(config.billing.past_due_grace).unwrap_or(TimeDelta::MAX)
}

/// What decides what a tenant may do, and what it may.
///
/// # Errors
/// 404 where there is no such tenant.
pub async fn of(app: &App, tenant_id: Uuid) -> Result<(Facts, Entitlements), Problem> {
    let facts = facts(app.db.read(), tenant_id).await?.ok_or_else(Problem::not_found)?;
    let now = resolve(&facts, app.clock.now().at, grace(&app.config));
    Ok((facts, now))
}

/// A feature flag that routes need.
pub trait Needed {
    /// Its name.
    const FLAG: &'static str;
}

/// Automations and webhook endpoints.
#[derive(Clone, Copy, Debug)]
pub struct Automations;

impl Needed for Automations {
    const FLAG: &'static str = "automations";
}

/// A member of a tenant that has a feature now, with an address that is proved, or may still be.
#[derive(Clone, Debug)]
pub struct With<F> {
    /// The member.
    pub user: CurrentUser,
    feature: PhantomData<F>,
}

impl<F: Needed> FromRequestParts<App> for With<F> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Verified(user) = parts.extract_with_state(app).await?;
        let (facts, now) = of(app, user.tenant_id).await?;
        if now.features.get(F::FLAG).is_some_and(|feature| feature.enabled) {
            Ok(Self { user, feature: PhantomData })
        } else {
            Err(subscription_required(&facts, &now, &app.config.public_url))
        }
    }
}

/// Where somebody mends what is missing.
pub fn billing_url(public_url: &Url) -> Url {
    let mut url = public_url.clone();
    url.set_path("/billing");
    url
}

/// 402 `SUBSCRIPTION_REQUIRED`: what is missing, since when, and where to mend it.
pub fn subscription_required(facts: &Facts, now: &Entitlements, public_url: &Url) -> Problem {
    let (detail, ended_at) = match now.standing {
        Standing::Locked { reason, since } => (reason.says(), since),
        Standing::Entitled { .. } => ("Your plan does not include this. Choose a bigger one.", None),
    };
    Problem::new(StatusCode::PAYMENT_REQUIRED, "SUBSCRIPTION_REQUIRED", detail)
        .with("subscription_status", json!(facts.terms.status))
        .with("plan", facts.plan.slug.as_str())
        .with("ended_at", json!(ended_at))
        .with("billing_url", billing_url(public_url).as_str())
}
