//! Pages and their forms.
//!
//! A form is taken from our own page alone (OWASP, Cross-Site Request Forgery Prevention): browsers tell by `Sec-Fetch-Site` or `Origin` where
//! it was sent from, and its hidden `csrf` field has to fit the browser's cookie, which other sites can neither read nor
//! guess. Each rendering of a form has a `key` of its own, so that a form that is sent twice does its work once.

use askama::Template;
use axum::{
    extract::{FromRequest, FromRequestParts, RawForm, Request},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header, request::Parts},
    response::{Html, IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use secrecy::ExposeSecret;
use serde::{Deserialize, de::DeserializeOwned};

use super::{Cookie, FieldError, IdempotencyKey, Problem};
use crate::app::App;

const COOKIE: Cookie = Cookie("tenantry_csrf");
const PURPOSE: &str = "csrf";
const LIFE: TimeDelta = TimeDelta::days(30);

/// Somebody who looks at a page, and what its forms carry.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Proves that a form is from our page.
    pub csrf: String,
    /// Names one rendering of a form.
    pub key: String,
    /// Sets the cookie that the proof belongs to, for a browser that has none.
    cookie: Option<HeaderValue>,
}

impl FromRequestParts<App> for Visit {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Self::Rejection> {
        let now = app.clock.now();
        let (secret, cookie) = if let Some(secret) = COOKIE.read(&app.config, &parts.headers) {
            (secret.to_owned(), None)
        } else {
            let secret = now.secret().expose_secret().to_owned();
            let cookie = COOKIE.set(&app.config, &secret, LIFE);
            (secret, Some(cookie))
        };
        let csrf = BASE64_URL_SAFE_NO_PAD.encode(app.sealer.mac(PURPOSE, secret.as_bytes()));
        Ok(Self { csrf, key: now.id().to_string(), cookie })
    }
}

impl Visit {
    /// Answers a page with forms.
    pub fn show(&self, status: StatusCode, page: &impl Template) -> Result<Response, Problem> {
        let mut response = show(status, page)?;
        response.headers_mut().extend(self.cookie.clone().map(|cookie| (header::SET_COOKIE, cookie)));
        Ok(response)
    }
}

/// Answers a page.
pub fn show(status: StatusCode, page: &impl Template) -> Result<Response, Problem> {
    let html = page.render().map_err(|error| Problem::internal(&error))?;
    Ok((status, Html(html)).into_response())
}

/// Sends the browser to another page (303), with cookies.
pub fn go_to(path: &str, cookies: impl IntoIterator<Item = HeaderValue>) -> Response {
    let mut response = axum::response::Redirect::to(path).into_response();
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// What a form of ours sent.
#[derive(Clone, Debug)]
pub struct Form<T> {
    /// Its fields.
    pub body: T,
    /// Recognises the same form when it is sent again.
    pub key: IdempotencyKey,
}

/// A form with nothing but its button.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct NoFields {}

#[derive(Deserialize)]
struct Fields<T> {
    csrf: Option<String>,
    key: Option<String>,
    #[serde(flatten)]
    body: T,
}

impl<T: DeserializeOwned> FromRequest<App> for Form<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        from_our_page(request.headers(), request.uri())?;
        let secret = COOKIE.read(&app.config, request.headers()).map(str::to_owned);
        let route = format!("{} {}", request.method(), request.uri().path());
        let RawForm(sent) =
            RawForm::from_request(request, app).await.map_err(|rejection| unreadable(rejection.status()))?;
        let fields: Fields<T> = serde_urlencoded::from_bytes(&sent)
            .map_err(|error| Problem::malformed(format!("The form could not be read: {error}.")))?;
        let proof = fields.csrf.and_then(|csrf| BASE64_URL_SAFE_NO_PAD.decode(csrf).ok()).unwrap_or_default();
        if !secret.is_some_and(|secret| app.sealer.verify_mac(PURPOSE, secret.as_bytes(), &proof)) {
            return Err(expired());
        }
        if form_has_nul(&sent) {
            let message = "Text with a NUL character cannot be stored.";
            return Err(Problem::invalid(vec![FieldError::new("form", "INVALID_CHARACTER", message)]));
        }
        Ok(Self { body: fields.body, key: IdempotencyKey::of_form(fields.key, route, &sent) })
    }
}

fn unreadable(status: StatusCode) -> Problem {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(status, "PAYLOAD_TOO_LARGE", "The form is larger than this server reads.")
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            let detail = "Send the form as application/x-www-form-urlencoded.";
            Problem::new(status, "UNSUPPORTED_MEDIA_TYPE", detail)
        }
        _ => Problem::malformed("The form could not be read."),
    }
}

fn form_has_nul(sent: &[u8]) -> bool {
    sent.contains(&0) || sent.windows(3).any(|window| window == b"%00")
}

fn expired() -> Problem {
    let detail =
        "This form is no longer valid here. Go back, reload the page, and send it again. Cookies have to be allowed.";
    Problem::new(StatusCode::FORBIDDEN, "FORM_EXPIRED", detail)
}

/// Refuses a form that another site sent: browsers tell by `Sec-Fetch-Site`, older ones by `Origin`.
fn from_our_page(headers: &HeaderMap, uri: &Uri) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let ours = match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => site == "same-origin" || site == "none",
        (None, None) => true,
        (None, Some(origin)) => origin.split_once("://").is_some_and(|(_, authority)| {
            let host = uri.authority().map(axum::http::uri::Authority::as_str).or_else(|| text("host"));
            host.is_some_and(|host| host.eq_ignore_ascii_case(authority))
        }),
    };
    if ours { Ok(()) } else { Err(expired()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_other_sites_are_refused() {
        let sent = |pairs: &[(&'static str, &str)]| {
            let headers = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            from_our_page(&headers.collect(), &Uri::from_static("/magic-link")).is_ok()
        };
        let host = ("host", "app.test:8080");
        assert!(sent(&[host]));
        assert!(sent(&[host, ("sec-fetch-site", "same-origin")]));
        assert!(sent(&[host, ("origin", "http://app.test:8080")]));
        assert!(!sent(&[host, ("sec-fetch-site", "cross-site"), ("origin", "http://app.test:8080")]));
        assert!(!sent(&[host, ("sec-fetch-site", "same-site")]));
        assert!(!sent(&[host, ("origin", "http://evil.test")]));
        assert!(!sent(&[host, ("origin", "http://app.test:9090")]));
        assert!(!sent(&[host, ("origin", "null")]));
    }
}
