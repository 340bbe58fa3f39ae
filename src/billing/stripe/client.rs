//! One call to Stripe: its tries, and how it ended.
//!
//! A POST carries an `Idempotency-Key` of what it does, so a try whose answer was lost is repeated without doing the thing twice
//! (<https://docs.stripe.com/api/idempotent_requests>). Secrets are neither logged nor part of an error.

use std::time::Duration;

use reqwest::{
    Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue},
};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use super::{Access, Error, wire};
use crate::{
    app::App,
    egress::{EgressError, Request, Response},
};

/// The version of Stripe's API that our types are of.
pub const STRIPE_VERSION: &str = "2025-03-31.basil";

/// One try.
const TRY: Duration = Duration::from_secs(10);
/// All tries of one call: within what a request of ours may take.
const ALL: Duration = Duration::from_secs(20);
const TRIES: u32 = 3;
/// The pause after the first try; it doubles.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest pause that Stripe may ask for while somebody waits.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// A hundred long invoices fit.
const BODY_CAP: usize = 8 * 1024 * 1024;

/// Parameters, nested ones in brackets: `items[0][price]`.
pub type Fields<'a> = Vec<(&'a str, String)>;

/// How a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Stripe did not answer, or had no time for us. The same again may succeed, and does nothing twice.
    #[error("Stripe is not available: {reason}")]
    Unavailable {
        /// For an operator.
        reason: String,
        /// The pause that Stripe asked for.
        after: Option<Duration>,
    },
    /// Stripe refused.
    #[error("Stripe refused with {status}: {refusal}")]
    Refused {
        /// Its status.
        status: u16,
        /// What it said.
        refusal: wire::Refusal,
    },
    /// An answer that is not what its address promises.
    #[error("Stripe's answer cannot be read: {0}")]
    Unreadable(String),
}

impl Failure {
    /// Stripe had no time for us.
    pub fn unavailable(reason: &str) -> Self {
        Self::Unavailable { reason: reason.to_owned(), after: None }
    }

    /// Whether there is no such thing at Stripe.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { status, refusal } if *status == 404 || refusal.code.as_deref() == Some("resource_missing"))
    }
}

/// Calls Stripe, or its sandbox.
pub struct Client<'a> {
    app: &'a App,
    /// Where it is.
    pub access: Access,
}

/// A call: what it is for (in logs and metrics), and where to.
struct Call<'a> {
    what: &'static str,
    method: Method,
    path: &'a str,
    fields: &'a Fields<'a>,
    key: Option<&'a str>,
}

/// How one try ended.
enum Tried {
    Answered(Response),
    Again(String, Option<Duration>),
    Failed(Failure),
}

impl<'a> Client<'a> {
    /// Where there is a Stripe to call.
    ///
    /// # Errors
    /// [`Error::NotConfigured`].
    pub fn of(app: &'a App) -> Result<Self, Error> {
        Access::of(app).map(|access| Self { app, access }).ok_or(Error::NotConfigured)
    }

    /// Reads.
    pub async fn get<T: DeserializeOwned>(
        &self,
        what: &'static str,
        path: &str,
        fields: &Fields<'_>,
    ) -> Result<T, Failure> {
        self.call(Call { what, method: Method::GET, path, fields, key: None }).await
    }

    /// Makes or changes something, once for each `key`.
    pub async fn post<T: DeserializeOwned>(
        &self,
        what: &'static str,
        path: &str,
        key: &str,
        fields: &Fields<'_>,
    ) -> Result<T, Failure> {
        self.call(Call { what, method: Method::POST, path, fields, key: Some(key) }).await
    }

    /// Ends something.
    pub async fn delete<T: DeserializeOwned>(&self, what: &'static str, path: &str) -> Result<T, Failure> {
        self.call(Call { what, method: Method::DELETE, path, fields: &Vec::new(), key: None }).await
    }

    async fn call<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, Failure> {
        let (started, mut tries) = (Instant::now(), 0);
        let answered = loop {
            tries += 1;
            match self.attempt(&call).await {
                Tried::Answered(response) => break Ok(response),
                Tried::Failed(failure) => break Err(failure),
                Tried::Again(reason, after) => {
                    let pause = PAUSE * 2_u32.pow(tries - 1);
                    let pause = pause.mul_f64(0.5 + self.app.clock.now().fraction()).max(after.unwrap_or_default());
                    if tries == TRIES || pause > LONGEST_PAUSE || started.elapsed() + pause > ALL {
                        break Err(Failure::Unavailable { reason, after });
                    }
                    sleep(pause).await;
                }
            }
        };
        let read = answered.and_then(|response| {
            serde_json::from_slice(&response.body).map_err(|error| Failure::Unreadable(error.to_string()))
        });
        report(&call, tries, started.elapsed(), read.as_ref().err());
        read
    }

    async fn attempt(&self, call: &Call<'_>) -> Tried {
        let request = match self.request(call) {
            Ok(request) => request,
            Err(reason) => return Tried::Failed(Failure::Unreadable(reason)),
        };
        match self.app.trusted.send(request).await {
            Ok(response) if response.truncated => Tried::Failed(Failure::Unreadable("it is too long".into())),
            Ok(response) => answered(response),
            Err(error @ (EgressError::Forbidden(_) | EgressError::TooManyRedirects)) => {
                Tried::Failed(Failure::Unavailable { reason: error.to_string(), after: None })
            }
            Err(error) => Tried::Again(error.to_string(), None),
        }
    }

    fn request(&self, call: &Call<'_>) -> Result<Request, String> {
        let base = self.access.api_base.as_str().trim_end_matches('/');
        let fields = serde_urlencoded::to_string(call.fields).map_err(|error| error.to_string())?;
        let mut url = url::Url::parse(&format!("{base}/v1/{}", call.path)).map_err(|error| error.to_string())?;
        let mut request = if call.method == Method::POST {
            let mut request = Request::new(call.method.clone(), url, TRY);
            request.body = fields.into_bytes();
            request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
            request
        } else {
            url.set_query(Some(&fields).filter(|fields| !fields.is_empty()).map(String::as_str));
            Request::new(call.method.clone(), url, TRY)
        };
        request.body_cap = BODY_CAP;
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", self.access.secret_key.expose_secret()))
            .map_err(|_| "the secret key does not fit into a header".to_owned())?;
        bearer.set_sensitive(true);
        request.headers.insert(AUTHORIZATION, bearer);
        request.headers.insert(HeaderName::from_static("stripe-version"), HeaderValue::from_static(STRIPE_VERSION));
        if let Some(key) = call.key {
            let key = HeaderValue::try_from(key).map_err(|error| error.to_string())?;
            request.headers.insert(HeaderName::from_static("idempotency-key"), key);
        }
        Ok(request)
    }
}

/// What a status means. Stripe says itself where a repeat is of use (<https://docs.stripe.com/error-low-level>).
fn answered(response: Response) -> Tried {
    if response.is_success() {
        return Tried::Answered(response);
    }
    let refusal = serde_json::from_slice::<wire::Refused>(&response.body).unwrap_or_default().error;
    let code = refusal.code.as_deref().unwrap_or_default();
    let is_locked = response.status == 409 || ["lock_timeout", "idempotency_key_in_use"].contains(&code);
    let advice = response.headers.get("stripe-should-retry").map(HeaderValue::as_bytes);
    let again = is_locked || response.status == StatusCode::TOO_MANY_REQUESTS || response.status >= 500;
    let (status, after) = (response.status, response.retry_after());
    match (advice, again) {
        (Some(b"false"), true) => {
            Tried::Failed(Failure::Unavailable { reason: format!("it answered {status}"), after })
        }
        (_, true) | (Some(b"true"), false) => Tried::Again(format!("it answered {status}"), after),
        (_, false) => Tried::Failed(Failure::Refused { status, refusal }),
    }
}

fn report(call: &Call<'_>, tries: u32, took: Duration, failure: Option<&Failure>) {
    let (call, outcome) = (
        call.what,
        match failure {
            None => "done",
            Some(Failure::Unavailable { .. }) => "unavailable",
            Some(Failure::Refused { .. }) => "refused",
            Some(Failure::Unreadable(_)) => "unreadable",
        },
    );
    metrics::counter!("tenantry_stripe_calls_total", "call" => call, "outcome" => outcome).increment(1);
    metrics::histogram!("tenantry_stripe_call_seconds", "call" => call).record(took.as_secs_f64());
    let duration_ms = took.as_secs_f64() * 1e3;
    match failure {
        None => tracing::info!(feature = "stripe", call, tries, duration_ms, outcome, "Stripe call"),
        Some(error) => tracing::warn!(feature = "stripe", call, tries, duration_ms, outcome, %error, "Stripe call"),
    }
}
