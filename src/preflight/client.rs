//! Calls to the server under examination, and reading what it answers.

use std::time::Duration;

use anyhow::Context;
use axum::http::{HeaderMap, Method, StatusCode};
use reqwest::redirect;
use serde_json::Value;
use url::{Host, Url};

use crate::http::chain;

/// Why a check failed.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    /// In words.
    pub why: String,
    /// Nobody answered.
    pub unreachable: bool,
}

impl Failed {
    /// The server answered, and not as it should.
    pub fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), unreachable: false }
    }
}

/// Calls one server.
#[derive(Clone, Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    base: String,
}

/// A call to make.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Call<'a> {
    /// After the base URL, from its slash.
    pub path: &'a str,
    /// POST where there is a body, else GET.
    pub body: Option<&'a Value>,
    /// A bearer token.
    pub token: Option<&'a str>,
    /// An `Idempotency-Key`.
    pub key: Option<&'a str>,
}

/// What the server answered.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// `POST /path`, for people.
    call: String,
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Null where the body is not JSON.
    pub body: Value,
}

impl Client {
    /// A client for the operator's own server, so without the guards of [`crate::egress`]; a proxy is used as the environment says, but
    /// not for this machine.
    pub fn new(base: &Url, limit: Duration) -> anyhow::Result<Self> {
        // An error means that a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder()
            .user_agent(concat!("Tenantry-preflight/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .timeout(limit);
        let builder = if is_this_machine(base) { builder.no_proxy() } else { builder };
        let http = builder.build().context("cannot set up the HTTP client")?;
        Ok(Self { http, base: base.as_str().trim_end_matches('/').to_owned() })
    }

    /// Makes the call; any status is an answer.
    pub async fn send(&self, call: Call<'_>) -> Result<Answer, Failed> {
        let method = if call.body.is_some() { Method::POST } else { Method::GET };
        let name = format!("{method} {}", call.path);
        let mut request = self.http.request(method, format!("{}{}", self.base, call.path));
        if let Some(body) = call.body {
            request = request.json(body);
        }
        if let Some(token) = call.token {
            request = request.bearer_auth(token);
        }
        if let Some(key) = call.key {
            request = request.header("Idempotency-Key", key);
        }
        let silent = |error: reqwest::Error| Failed {
            why: format!("{name}: {}", chain(&error.without_url())),
            unreachable: true,
        };
        let answer = request.send().await.map_err(silent)?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let text = answer.bytes().await.map_err(silent)?;
        Ok(Answer { call: name, status, headers, body: serde_json::from_slice(&text).unwrap_or_default() })
    }
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

impl Answer {
    /// Refuses any other status, and another `code` where one is given.
    pub fn expect(self, status: u16, code: Option<&str>) -> Result<Self, Failed> {
        let is_it = self.status.as_u16() == status && code.is_none_or(|code| self.body["code"] == code);
        if is_it { Ok(self) } else { Err(self.unexpected(&[&status.to_string(), code.unwrap_or_default()].join(" "))) }
    }

    /// It should have been `wanted`.
    pub fn unexpected(&self, wanted: &str) -> Failed {
        let said = |member: &str| self.body[member].as_str().unwrap_or_default();
        let words = [self.status.as_str(), said("code"), said("detail")].join(" ");
        let request = match self.headers.get("x-request-id").and_then(|id| id.to_str().ok()) {
            Some(id) => format!(" (request {id})"),
            None => String::new(),
        };
        Failed::new(format!("{} answered {} instead of {}{request}", self.call, words.trim_end(), wanted.trim_end()))
    }

    /// A text in the body, by its JSON pointer (RFC 6901).
    pub fn text(&self, pointer: &str) -> Result<&str, Failed> {
        let found = self.body.pointer(pointer).and_then(Value::as_str);
        found.ok_or_else(|| Failed::new(format!("{} answered without {pointer}", self.call)))
    }

    /// A list in the body, by its JSON pointer, that must not be empty.
    pub fn list(&self, pointer: &str) -> Result<&Vec<Value>, Failed> {
        let found = self.body.pointer(pointer).and_then(Value::as_array).filter(|list| !list.is_empty());
        found.ok_or_else(|| Failed::new(format!("{} answered with nothing in {pointer}", self.call)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(status: u16, body: Value) -> Answer {
        let headers = HeaderMap::from_iter([("x-request-id".parse().unwrap(), "r1".parse().unwrap())]);
        Answer { call: "POST /x".into(), status: StatusCode::from_u16(status).unwrap(), headers, body }
    }

    #[test]
    fn an_unexpected_answer_tells_what_was_said_and_what_was_wanted() {
        let refused =
            answer(503, json!({"code": "SIGNUPS_DISABLED", "detail": "Closed."})).expect(201, None).unwrap_err();
        assert_eq!(refused.why, "POST /x answered 503 SIGNUPS_DISABLED Closed. instead of 201 (request r1)");
        let bare = answer(502, Value::Null).expect(409, Some("SLUG_TAKEN")).unwrap_err();
        assert_eq!(bare.why, "POST /x answered 502 instead of 409 SLUG_TAKEN (request r1)");
    }

    #[test]
    fn the_status_alone_is_not_enough_where_a_code_is_expected() {
        assert!(answer(409, json!({"code": "EMAIL_TAKEN"})).expect(409, Some("SLUG_TAKEN")).is_err());
        assert!(answer(409, json!({"code": "SLUG_TAKEN"})).expect(409, Some("SLUG_TAKEN")).is_ok());
    }

    #[test]
    fn members_are_found_by_pointer() {
        let answer = answer(200, json!({"tenant": {"id": "7"}, "empty": [], "full": [1]}));
        assert_eq!(answer.text("/tenant/id").unwrap(), "7");
        assert!(answer.text("/tenant/slug").is_err());
        assert!(answer.list("/empty").is_err());
        assert_eq!(answer.list("/full").unwrap().len(), 1);
    }

    #[test]
    fn this_machine_is_known_by_name_and_address() {
        let is = |url: &str| is_this_machine(&url.parse().unwrap());
        assert!(is("http://localhost:1") && is("http://127.0.0.1") && is("http://[::1]:8080"));
        assert!(!is("https://app.example.com") && !is("http://10.0.0.1"));
    }
}
