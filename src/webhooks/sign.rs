//! Signs outgoing webhooks by the Standard Webhooks convention.
//!
//! The signature is HMAC-SHA256 over `{id}.{timestamp}.{body}`, so that the receiver can verify who sent a message,
//! that it is whole, and that it is fresh; the id tells a repeat from a new message.
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use standardwebhooks::Webhook;
use url::Url;

use crate::egress::{Egress, EgressError, Request};

/// The prefix that marks a symmetric secret.
const PREFIX: &str = "whsec_";

/// Why a message can't be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The secret is empty, or `whsec_` and something else than the base64 of 24 to 64 bytes.
    #[error("the signing secret is empty, or \"whsec_\" is not followed by the base64 of 24 to 64 bytes")]
    Secret,
    /// The message id is empty, has a full stop (which would blur what is signed), or is no header value.
    #[error("the message id is not fit for a header")]
    MessageId,
}

/// The answer to a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status. A redirect is an answer: a POST never follows.
    pub status: u16,
    /// The first 64 KiB of the body.
    pub body: Vec<u8>,
    /// How long the receiver asks to wait before the next try.
    pub retry_after: Option<Duration>,
}

/// Writes a new secret from 32 random bytes.
pub fn secret_from(random: &[u8; 32]) -> SecretString {
    format!("{PREFIX}{}", STANDARD.encode(random)).into()
}

/// The key that a secret stands for: what `whsec_` precedes is base64, as the convention writes secrets; anything else, such as
/// a passphrase that an operator chose for an application of their own, is the key as it is.
fn signer(secret: &SecretString) -> Result<Webhook, SignError> {
    let text = secret.expose_secret();
    let key = match text.strip_prefix(PREFIX) {
        Some(encoded) => STANDARD.decode(encoded).ok().filter(|key| (24..=64).contains(&key.len())),
        None => Some(text.as_bytes().to_vec()).filter(|key| !key.is_empty()),
    };
    Webhook::from_bytes(key.ok_or(SignError::Secret)?).map_err(|_| SignError::Secret)
}

/// The three headers of a signed message. `body` must be sent byte for byte as given here. A retry keeps `msg_id` and
/// takes a new `timestamp` (whole seconds count).
///
/// # Errors
/// See [`SignError`].
pub fn headers(
    secret: &SecretString,
    msg_id: &str,
    timestamp: DateTime<Utc>,
    body: &str,
) -> Result<[(HeaderName, HeaderValue); 3], SignError> {
    if msg_id.is_empty() || msg_id.contains('.') {
        return Err(SignError::MessageId);
    }
    let seconds = timestamp.timestamp();
    let signature = signer(secret)?.sign(msg_id, seconds, body.as_bytes()).map_err(|_| SignError::Secret)?;
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| SignError::MessageId);
    Ok([
        (name(standardwebhooks::HEADER_WEBHOOK_ID), value(msg_id)?),
        (name(standardwebhooks::HEADER_WEBHOOK_TIMESTAMP), HeaderValue::from(seconds)),
        (name(standardwebhooks::HEADER_WEBHOOK_SIGNATURE), value(&signature)?),
    ])
}

fn name(lower_case: &'static str) -> HeaderName {
    HeaderName::from_static(lower_case)
}

/// One message, ready to be signed and sent.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The same for every try of the same message; the receiver's idempotency key.
    pub id: &'a str,
    /// When this try is sent.
    pub timestamp: DateTime<Utc>,
    /// The JSON text.
    pub body: &'a str,
}

/// POSTs a signed message. Any status is an answer; the caller decides what counts. `timeout` bounds the whole call.
///
/// # Errors
/// See [`EgressError`]; [`EgressError::Request`] when it can't be signed.
pub async fn post_signed(
    egress: &Egress,
    url: &Url,
    secret: &SecretString,
    message: Message<'_>,
    timeout: Duration,
) -> Result<Answer, EgressError> {
    let signed = headers(secret, message.id, message.timestamp, message.body)
        .map_err(|error| EgressError::Request { reason: error.to_string() })?;
    let mut request = Request::new(Method::POST, url.clone(), timeout);
    request.headers.extend(signed);
    request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    request.body = message.body.into();
    let response = egress.send(request).await?;
    Ok(Answer { status: response.status, retry_after: response.retry_after(), body: response.body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderMap;
    use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const BODY: &str = r#"{"test": 2432232314}"#;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a time")
    }

    /// The vector that the reference libraries of Standard Webhooks share.
    #[test]
    fn the_reference_vector() {
        let signed = headers(&SECRET.into(), "msg_p5jXN8AQM9LWM0D4loKWxJek", at(1_614_265_330), BODY).expect("signed");
        let texts: Vec<_> = signed.iter().map(|(name, value)| (name.as_str(), value.to_str().expect("text"))).collect();
        assert_eq!(
            texts,
            [
                ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
                ("webhook-timestamp", "1614265330"),
                ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
            ]
        );
    }

    #[test]
    fn a_receiver_verifies_and_notices_a_change() {
        let secret = secret_from(&[7; 32]);
        // The crate's verifier reads the clock, so this timestamp has to be real.
        let now = crate::clock::Clock::system().now().at;
        let signed: HeaderMap = headers(&secret, "msg_1", now, BODY).expect("signed").into_iter().collect();
        let receiver = Webhook::new(secret.expose_secret()).expect("secret");
        assert!(receiver.verify(BODY.as_bytes(), &signed).is_ok());
        assert!(receiver.verify(b"{}", &signed).is_err());
        let other = Webhook::new(SECRET).expect("secret");
        assert!(other.verify(BODY.as_bytes(), &signed).is_err());
    }

    #[test]
    fn bad_secrets_and_ids_are_refused() {
        for secret in ["", "whsec_", "whsec_c2hvcnQ=", "whsec_%%%"] {
            let refused = headers(&secret.into(), "msg_1", at(0), BODY).map(drop);
            assert_eq!(refused, Err(SignError::Secret), "{secret}");
        }
        for id in ["", "a.b", "a\nb"] {
            let refused = headers(&SECRET.into(), id, at(0), BODY).map(drop);
            assert_eq!(refused, Err(SignError::MessageId), "{id:?}");
        }
    }

    #[test]
    fn a_passphrase_is_the_key_as_it_is() {
        let signed = headers(&"a passphrase".into(), "msg_1", at(0), BODY).expect("signed");
        let key = Webhook::from_bytes(b"a passphrase".to_vec()).expect("key");
        assert_eq!(signed[2].1, key.sign("msg_1", 0, BODY.as_bytes()).expect("signed"));
    }

    #[tokio::test]
    async fn the_post_carries_the_signature_and_brings_the_answer() {
        let server = MockServer::start().await;
        Mock::given(matchers::method("POST"))
            .and(matchers::header("webhook-id", "msg_1"))
            .and(matchers::header("content-type", "application/json"))
            .respond_with(ResponseTemplate::new(503).insert_header("retry-after", "7").set_body_string("later"))
            .expect(1)
            .mount(&server)
            .await;
        let egress = Egress::trusted(Duration::from_secs(2)).expect("client");
        let url = server.uri().parse().expect("url");
        let message = Message { id: "msg_1", timestamp: at(1_614_265_330), body: BODY };
        let answer =
            post_signed(&egress, &url, &SECRET.into(), message, Duration::from_secs(5)).await.expect("an answer");
        assert_eq!(answer, Answer { status: 503, body: b"later".to_vec(), retry_after: Some(Duration::from_secs(7)) });
        let received = server.received_requests().await.expect("recorded");
        let want = headers(&SECRET.into(), "msg_1", at(1_614_265_330), BODY).expect("signed");
        assert_eq!(received[0].headers[&want[2].0], want[2].1);
        assert_eq!(received[0].body, BODY.as_bytes());
    }
}
