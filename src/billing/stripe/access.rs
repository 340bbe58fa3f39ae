//! Where Stripe is, and by which secrets it and we know each other.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::app::App;

/// What the sandbox's secrets are derived under: development needs no key, and no two installations have the same.
const PURPOSE: &str = "stripe_sandbox";

/// How Stripe is reached: the real one, or the sandbox in this binary.
#[derive(Clone, Debug)]
pub struct Access {
    /// The address before `/v1/…`.
    pub api_base: Url,
    /// A bearer token for the API.
    pub secret_key: SecretString,
    /// What its webhooks are signed with; without it none is accepted.
    pub webhook_secret: Option<SecretString>,
    /// Whether real money moves: events of the other mode are refused.
    pub livemode: bool,
}

impl Access {
    /// The configured Stripe; the sandbox where that is on; nothing where neither is, and billing is done without.
    pub fn of(app: &App) -> Option<Self> {
        if app.config.billing.sandbox {
            return Some(Self::sandbox(app));
        }
        let stripe = &app.config.stripe;
        let secret_key = stripe.secret_key.clone()?;
        let livemode = ["sk_live_", "rk_live_"].iter().any(|live| secret_key.expose_secret().starts_with(live));
        let webhook_secret = stripe.webhook_secret.clone();
        Some(Self { api_base: stripe.api_base.clone(), secret_key, webhook_secret, livemode })
    }

    /// The sandbox in this binary. Its secrets stay the same when it starts again, and are not sent anywhere else.
    pub fn sandbox(app: &App) -> Self {
        let secret = |name: &str| BASE64_URL_SAFE_NO_PAD.encode(app.sealer.mac(PURPOSE, name.as_bytes()));
        let api_base = app.own_url.get().unwrap_or(&app.config.public_url).clone();
        let secret_key = format!("sk_test_{}", secret("secret_key")).into();
        let webhook_secret = app.config.stripe.webhook_secret.clone();
        let webhook_secret = webhook_secret.unwrap_or_else(|| format!("whsec_{}", secret("webhook_secret")).into());
        Self { api_base, secret_key, webhook_secret: Some(webhook_secret), livemode: false }
    }
}
