//! The way to a provider and back: bound to one browser, one provider, and one use.
//!
//! The state that travels is a name for what is kept here, sealed. Whoever brings it back has to be the browser that set out, which a
//! cookie of its own shows; one browser may be on several ways at once.

use axum::http::{HeaderMap, HeaderValue};
use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::ConnectionTrait;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::provider::Binding;
use crate::{
    app::App,
    clock::Now,
    db::{Batch, Tx, sql},
    http::Cookie,
    identity::{Error, store::oauth_flow},
    seal::{Sealer, hash_token},
};

/// Names the browser. It lives as long as the way takes at most.
const COOKIE: Cookie = Cookie("tenantry_oauth");
const PURPOSE: &str = "oauth_flow";
/// How long somebody may take at the provider.
pub const LIFE: TimeDelta = TimeDelta::minutes(15);

/// What is to become of whoever comes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// In, by log-in or sign-up.
    Enter {
        /// A page of ours to go to then.
        redirect_to: Option<String>,
        /// For a sign-up: the plan.
        plan: Option<String>,
        /// For a sign-up: the tenant's name.
        tenant_name: Option<String>,
        /// Joins the tenant of an invite instead.
        invite_token: Option<String>,
    },
    /// The person becomes one more way in for a user who is signed in.
    Link {
        /// The user.
        user_id: Uuid,
        /// Their session.
        session_id: Uuid,
    },
}

/// A flow, as it is kept.
#[derive(Debug, Serialize, Deserialize)]
pub struct Flow {
    provider: String,
    browser: String,
    nonce: String,
    verifier: String,
    /// What it is for.
    pub aim: Aim,
}

/// A flow that is about to begin: what goes to the provider, and the browser's cookie.
pub struct Begun {
    /// Names the flow.
    pub state: SecretString,
    /// What the provider's answer is bound to.
    pub binding: Binding,
    /// Names the browser from now on.
    pub cookie: HeaderValue,
}

/// Keeps a flow of this browser to `provider`.
///
/// # Panics
/// Where a flow cannot be JSON, which plain data is.
pub fn begin(app: &App, batch: &mut Batch, now: &Now, headers: &HeaderMap, provider: &str, aim: Aim) -> Begun {
    let sent = COOKIE.read(&app.config, headers).filter(|sent| sent.len() == SECRET_LENGTH);
    let browser = sent.map_or_else(|| now.secret(), |sent| sent.to_owned().into());
    let (state, nonce, verifier) = (now.secret(), now.secret(), now.secret());
    let text = |secret: &SecretString| secret.expose_secret().to_owned();
    let flow = Flow {
        provider: provider.to_owned(),
        browser: text(&browser),
        nonce: text(&nonce),
        verifier: text(&verifier),
        aim,
    };
    let flow = serde_json::to_vec(&flow).expect("plain data");
    batch.insert(oauth_flow::Model {
        state_hash: hash_token(state.expose_secret()).to_vec(),
        payload: app.sealer.seal(PURPOSE, now.bytes(), &flow),
        expires_at: now.at + LIFE,
        created_at: now.at,
    });
    let cookie = COOKIE.set(&app.config, browser.expose_secret(), LIFE);
    Begun { state, binding: Binding { nonce, verifier }, cookie }
}

/// 256 bits, base64url.
const SECRET_LENGTH: usize = 43;

impl Flow {
    /// Uses up the flow that a state names. Of several who bring it at once, one gets it.
    ///
    /// # Errors
    /// [`Error::OauthState`] for a state that is unknown, used or too old, another provider's or another browser's.
    pub async fn take(
        tx: &Tx,
        now: &Now,
        sealer: &Sealer,
        state: &str,
        (provider, browser): (&str, Option<&str>),
    ) -> Result<Self, Error> {
        let take = "delete from oauth_flows where state_hash = $1 returning payload, expires_at";
        let row = tx.query_one_raw(sql(tx, take, [hash_token(state).to_vec().into()])).await?;
        let row = row.ok_or(Error::OauthState)?;
        let (payload, expires_at): (Vec<u8>, DateTime<Utc>) =
            (row.try_get("", "payload")?, row.try_get("", "expires_at")?);
        let flow = sealer.open(PURPOSE, &payload).ok().and_then(|flow| serde_json::from_slice::<Self>(&flow).ok());
        let is_same = |flow: &Self| {
            // Secrets are compared by their hashes, so that the time taken tells nothing.
            expires_at > now.at
                && flow.provider == provider
                && browser.is_some_and(|browser| hash_token(browser) == hash_token(&flow.browser))
        };
        flow.filter(is_same).ok_or(Error::OauthState)
    }

    /// What names the browser.
    pub fn browser<'a>(app: &App, headers: &'a HeaderMap) -> Option<&'a str> {
        COOKIE.read(&app.config, headers)
    }

    /// What the provider's answer is bound to.
    pub fn binding(&self) -> Binding {
        Binding { nonce: self.nonce.clone().into(), verifier: self.verifier.clone().into() }
    }
}
