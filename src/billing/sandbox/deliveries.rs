//! Events on their way to our own webhook, signed as Stripe signs them (<https://docs.stripe.com/webhooks#verify-manually>).

use std::{fmt::Write, time::Duration};

use chrono::TimeDelta;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{
    faults::{Deliveries, Mode},
    store,
};
use crate::{
    app::App,
    billing::stripe::Access,
    clock::Now,
    db::Batch,
    egress::Request,
    http::chain,
    outbox::{self, Kind, Outcome},
};

const SIGNATURE: HeaderName = HeaderName::from_static("stripe-signature");
/// A receiver that takes longer has not answered.
const TIMEOUT: Duration = Duration::from_secs(10);

/// An event's place in the outbox.
#[derive(Debug, Serialize, Deserialize)]
pub struct Queued {
    event: String,
    /// Whether it has waited as long as it was told to.
    has_waited: bool,
}

impl Queued {
    /// For an event that has just happened.
    pub fn new(event: &str) -> Self {
        Self { event: event.to_owned(), has_waited: false }
    }
}

/// Tries to deliver an event once.
pub async fn deliver(app: &App, payload: &[u8]) -> Outcome {
    let queued: Queued = match outbox::open(&app.sealer, payload) {
        Ok(queued) => queued,
        Err(error) => return Outcome::Refused { error: chain(&error) },
    };
    if !app.config.billing.sandbox {
        return Outcome::Refused { error: "the sandbox is switched off".into() };
    }
    let Deliveries { mode, seconds } = app.sandbox.faults.deliveries();
    let now = app.clock.now();
    let wait = match mode {
        Mode::Held if !queued.has_waited => {
            app.sandbox.faults.hold(queued.event);
            return Outcome::Done;
        }
        Mode::Late => Some(TimeDelta::seconds(seconds)),
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a year of milliseconds fits")]
        Mode::Shuffled => Some(TimeDelta::milliseconds((seconds as f64 * 1e3 * now.fraction()) as i64)),
        Mode::Usual | Mode::Duplicated | Mode::Held => None,
    };
    if let Some(wait) = wait.filter(|_| !queued.has_waited) {
        return requeue(app, &now, &[queued.event], wait).await;
    }
    let first = post(app, &now, &queued.event).await;
    if mode == Mode::Duplicated && first == Outcome::Done { post(app, &now, &queued.event).await } else { first }
}

/// Puts events into the outbox again, to be delivered as usual after `wait`.
async fn requeue(app: &App, now: &Now, events: &[String], wait: TimeDelta) -> Outcome {
    let mut later = now.clone();
    later.at += wait;
    let mut batch = Batch::default();
    for event in events {
        let queued = Queued { event: event.clone(), has_waited: true };
        outbox::enqueue(&mut batch, &app.sealer, &later, None, Kind::SandboxEvent, &queued);
    }
    let sent = async {
        let tx = app.db.begin().await?;
        batch.send(&tx).await.map_err(|refused| refused.source)?;
        tx.commit().await
    };
    match sent.await {
        Ok(()) => {
            app.wake.wake();
            Outcome::Done
        }
        Err(error) => Outcome::Retry { error: chain(&error), after: None },
    }
}

/// Sends what is held; answers how many that are.
pub async fn release(app: &App) -> usize {
    let held = app.sandbox.faults.release();
    if let Outcome::Retry { error, .. } = requeue(app, &app.clock.now(), &held, TimeDelta::zero()).await {
        tracing::warn!(feature = "sandbox", error, "Could not release what is held");
        for event in &held {
            app.sandbox.faults.hold(event.clone());
        }
        return 0;
    }
    held.len()
}

async fn post(app: &App, now: &Now, event: &str) -> Outcome {
    let retry = |error: String, after| Outcome::Retry { error, after };
    let event = match store::find(app.db.read(), event).await {
        Ok(Some(event)) => event,
        Ok(None) => return Outcome::Refused { error: "there is no such event".into() },
        Err(error) => return retry(chain(&error), None),
    };
    let here = app.own_url.get().unwrap_or(&app.config.public_url);
    let url = match here.join("api/v1/webhooks/stripe") {
        Ok(url) => url,
        Err(error) => return Outcome::Refused { error: error.to_string() },
    };
    let Some(secret) = Access::sandbox(app).webhook_secret else {
        return Outcome::Refused { error: "there is no secret to sign with".into() };
    };
    let body = format!("{event:#}");
    let mut request = Request::new(Method::POST, url, TIMEOUT);
    request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    let signature = HeaderValue::from_str(&signed(&secret, now.at.timestamp(), &body));
    request.headers.extend(signature.ok().map(|signature| (SIGNATURE, signature)));
    request.body = body.into_bytes();
    match app.trusted.send(request).await {
        Ok(answer) if answer.is_success() => Outcome::Done,
        Ok(answer) => retry(format!("the webhook answered {}", answer.status), answer.retry_after()),
        Err(error) => retry(error.to_string(), None),
    }
}

/// The header: when it was signed, and HMAC-SHA256 of that, a full stop and the body.
fn signed(secret: &SecretString, at: i64, body: &str) -> String {
    let key = secret.expose_secret().as_bytes();
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(format!("{at}.{body}").as_bytes());
    let mut header = format!("t={at},v1=");
    for byte in mac.finalize().into_bytes() {
        let _ = write!(header, "{byte:02x}");
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `stripe.webhooks.generateTestHeaderString` of the official SDK.
    #[test]
    fn the_header_is_the_one_that_the_official_sdk_makes() {
        let header = signed(&"whsec_test_secret".into(), 1_700_000_000, r#"{"id":"evt_test"}"#);
        assert_eq!(header, "t=1700000000,v1=13941114bb88ac44a76abcfddea5b92aa6182a4b63d8be3aae908a616083bd7e");
    }
}
