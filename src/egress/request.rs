//! One outbound call and its answer.

use std::time::Duration;

use chrono::DateTime;
use reqwest::{
    Method,
    header::{DATE, HeaderMap, RETRY_AFTER},
};
use serde::Serialize;
use url::Url;

use super::EgressError;

/// How many bytes of an answer are read unless the request says otherwise.
pub const DEFAULT_BODY_CAP: usize = 64 * 1024;

/// One outbound call.
#[derive(Clone)]
pub struct Request {
    /// The verb. Only GET and HEAD follow redirects.
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// Sent as they are; credentials are dropped when a redirect leaves the origin.
    pub headers: HeaderMap,
    /// Sent as it is; empty for none.
    pub body: Vec<u8>,
    /// For the whole call: name lookup, every redirect, and the answer's body.
    pub timeout: Duration,
    /// How many bytes of the answer's body are read; the rest is left. 0 answers as soon as the status is known.
    pub body_cap: usize,
    /// When given, every hop's host must be on this list (see [`check_url`](super::validate::check_url)).
    pub hosts: Option<Vec<String>>,
}

impl Request {
    /// A call without headers and body, any host, reading up to [`DEFAULT_BODY_CAP`] bytes.
    pub fn new(method: Method, url: Url, timeout: Duration) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: Vec::new(),
            timeout,
            body_cap: DEFAULT_BODY_CAP,
            hosts: None,
        }
    }

    /// Sets `body` as JSON with its content type.
    ///
    /// # Errors
    /// [`EgressError::Request`] when `body` can't be written as JSON.
    pub fn json(mut self, body: &impl Serialize) -> Result<Self, EgressError> {
        self.body = serde_json::to_vec(body).map_err(|error| EgressError::Request { reason: error.to_string() })?;
        self.headers
            .insert(reqwest::header::CONTENT_TYPE, reqwest::header::HeaderValue::from_static("application/json"));
        Ok(self)
    }
}

/// The answer to a [`Request`].
#[derive(Debug, Clone)]
pub struct Response {
    /// The last hop's status code.
    pub status: u16,
    /// The last hop's headers.
    pub headers: HeaderMap,
    /// The first [`Request::body_cap`] bytes of its body.
    pub body: Vec<u8>,
    /// Whether the body may go on beyond that.
    pub truncated: bool,
}

impl Response {
    /// Reads `answer` up to `cap` bytes.
    pub(super) async fn read(mut answer: reqwest::Response, cap: usize) -> Result<Self, reqwest::Error> {
        let mut body = Vec::new();
        let mut truncated = cap == 0;
        while !truncated && let Some(chunk) = answer.chunk().await? {
            let room = cap - body.len();
            truncated = chunk.len() > room;
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
        Ok(Self { status: answer.status().as_u16(), headers: std::mem::take(answer.headers_mut()), body, truncated })
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// How long the other side asks to wait (RFC 9110, 10.2.3), as seconds or as a date. A date counts from the
    /// answer's own `Date`, so no clock of ours comes into it.
    pub fn retry_after(&self) -> Option<Duration> {
        let text = |name| self.headers.get(name)?.to_str().ok();
        let value: &str = text(RETRY_AFTER)?;
        if let Ok(seconds) = value.trim().parse() {
            return Some(Duration::from_secs(seconds));
        }
        let until = DateTime::parse_from_rfc2822(value).ok()?;
        let sent = DateTime::parse_from_rfc2822(text(DATE)?).ok()?;
        Some((until - sent).to_std().unwrap_or(Duration::ZERO))
    }
}
