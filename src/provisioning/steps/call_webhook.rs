//! `call_webhook`: the operator's own application does its part, at once or by calling back.
//!
//! It gets a signed POST (Standard Webhooks) whose id is the same at every try. It answers 2xx when it is done, or 202 when it will
//! report to the callback URL. The token in that URL is derived from run and step, so that every try names the same URL; only
//! its hash is stored.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::Outcome;
use crate::{
    provisioning::{StepName, held::Held, jobs::Worker},
    seal::{Sealer, hash_token},
    webhooks::sign::{Answer, Message, post_signed},
};

const TOKEN_PURPOSE: &str = "provision callback";

/// A longer answer is not kept.
const LONGEST_OUTPUT: usize = 16 * 1024;

pub(super) async fn run(worker: &Worker, held: &Held) -> Outcome {
    let config = &worker.app.config.provision;
    let (Some(url), Some(secret)) = (&config.app_url, &config.app_secret) else { return Outcome::Done(None) };
    let now = worker.app.clock.now();
    let id = held.idempotency_key(StepName::CallWebhook);
    let body = body(worker, held).to_string();
    let message = Message { id: &id, timestamp: now.at, body: &body };
    match post_signed(&worker.trusted, url, secret, message, config.step_timeout).await {
        Ok(Answer { status: 202, .. }) => {
            let patience = TimeDelta::from_std(config.callback_timeout).unwrap_or(TimeDelta::MAX);
            Outcome::Wait(now.at + patience)
        }
        Ok(answer) => judged(&answer),
        Err(error) if error.is_transient() => Outcome::retry(format!("the operator's application: {error}")),
        Err(error) => Outcome::Fail(format!("the operator's application: {error}")),
    }
}

fn body(worker: &Worker, held: &Held) -> Value {
    let subject = &held.subject;
    let path = format!("api/v1/provision-callbacks/{}", token(&worker.app.sealer, held));
    let callback_url = worker.app.config.public_url.join(&path).map(String::from).unwrap_or_default();
    json!({
        "type": "tenant.provisioning",
        "tenant": {"id": subject.tenant_id, "slug": subject.slug, "name": subject.name, "plan": held.plan},
        "owner": {"id": subject.owner_id, "email": subject.owner_email},
        "run_id": held.run_id,
        "callback_url": callback_url,
    })
}

fn judged(answer: &Answer) -> Outcome {
    let status = answer.status;
    match status {
        200..300 => Outcome::Done(kept(&answer.body)),
        408 | 425 | 429 | 500.. => Outcome::Retry {
            reason: format!("the operator's application answered {status}"),
            after: answer.retry_after,
        },
        _ => Outcome::Fail(format!("the operator's application refused the call with {status}")),
    }
}

fn kept(body: &[u8]) -> Option<Value> {
    if body.len() > LONGEST_OUTPUT {
        return None;
    }
    serde_json::from_slice(body).ok()
}

fn token(sealer: &Sealer, held: &Held) -> String {
    let step = held.idempotency_key(StepName::CallWebhook);
    BASE64_URL_SAFE_NO_PAD.encode(sealer.mac(TOKEN_PURPOSE, step.as_bytes()))
}

/// What is stored of a step's callback token, where it has one. Stored before the call, because the answer may come sooner than we
/// have written that we wait for it.
pub(in crate::provisioning) fn callback_hash(sealer: &Sealer, held: &Held, name: StepName) -> Option<Vec<u8>> {
    (name == StepName::CallWebhook).then(|| callback_token_hash(&token(sealer, held)))
}

/// The hash of a callback token.
pub(in crate::provisioning) fn callback_token_hash(token: &str) -> Vec<u8> {
    hash_token(token).to_vec()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn answered(status: u16, body: &[u8]) -> Outcome {
        judged(&Answer { status, body: body.to_vec(), retry_after: Some(Duration::from_secs(7)) })
    }

    #[test]
    fn answers_are_judged_by_their_status() {
        assert_eq!(answered(200, br#"{"id": 1}"#), Outcome::Done(Some(json!({"id": 1}))));
        assert_eq!(answered(204, b""), Outcome::Done(None));
        for status in [408, 425, 429, 500, 503] {
            assert!(matches!(answered(status, b""), Outcome::Retry { after: Some(_), .. }), "{status}");
        }
        for status in [301, 400, 401, 404, 410] {
            assert!(matches!(answered(status, b""), Outcome::Fail(_)), "{status}");
        }
    }

    #[test]
    fn a_long_answer_is_not_kept() {
        assert_eq!(kept(format!("\"{}\"", "x".repeat(LONGEST_OUTPUT)).as_bytes()), None);
    }
}
