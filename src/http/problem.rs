//! The only error that answers HTTP: RFC 9457 problem details.
//!
//! A handler returns a [`Problem`]; it travels as data in the response's extensions until [`super::edge`] writes it, with the request id that
//! only the edge knows. Each slice maps its own error to a problem exhaustively, so a forgotten error does not compile.

use std::time::Duration;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use sea_orm::DbErr;
use serde::Serialize;
use utoipa::ToSchema;

/// What went wrong, for a program (`code`) and a person (`detail`).
#[derive(Clone, Debug)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// Stable, SCREAMING_SNAKE_CASE.
    pub code: &'static str,
    /// Fit to show to a person.
    pub detail: String,
    /// On validation only.
    pub errors: Vec<FieldError>,
    /// Further members, such as `suggestions`.
    pub more: serde_json::Map<String, serde_json::Value>,
    /// When a repeat may succeed.
    pub retry_after: Option<Duration>,
}

/// A problem as it is sent, for the API's description.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// Names the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// Fit to show to a person.
    pub detail: String,
    /// Stable, SCREAMING_SNAKE_CASE.
    pub code: String,
    /// The request's id, as in `X-Request-Id`.
    pub request_id: String,
    /// On validation only.
    pub errors: Option<Vec<FieldError>>,
}

/// One refused field.
#[derive(Clone, Debug, Serialize, ToSchema, PartialEq, Eq)]
pub struct FieldError {
    /// The field's name; nested ones with dots.
    pub field: String,
    /// Stable, SCREAMING_SNAKE_CASE.
    pub code: String,
    /// Fit to show beside the field.
    pub message: String,
}

impl FieldError {
    /// A refused field.
    pub fn new(field: impl Into<String>, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), code: code.into(), message: message.into() }
    }
}

/// Text that has to be there, within `max` characters and without control characters.
pub fn line(field: &str, value: &str, max: usize) -> Result<String, FieldError> {
    let value = value.trim();
    if value.is_empty() {
        return Err(FieldError::new(field, "REQUIRED", "This is needed."));
    }
    if value.chars().count() > max {
        return Err(FieldError::new(field, "TOO_LONG", format!("At most {max} characters, please.")));
    }
    if !value.chars().any(is_visible) {
        return Err(FieldError::new(field, "REQUIRED", "This needs something that can be seen."));
    }
    if value.chars().any(|letter| letter.is_control() || is_bidi_control(letter)) {
        return Err(FieldError::new(field, "INVALID_CHARACTER", "Control characters cannot be used here."));
    }
    Ok(value.to_owned())
}

/// Letters, digits, signs and pictures; not spaces, joiners or fillers.
fn is_visible(letter: char) -> bool {
    let is_filler = matches!(
        letter,
        '\u{ad}' | '\u{115f}' | '\u{1160}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
    );
    !letter.is_whitespace() && !is_filler && !is_bidi_control(letter)
}

/// What turns the direction of the text around it, and can make a name read as another (Unicode Standard Annex 9).
fn is_bidi_control(letter: char) -> bool {
    matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl Problem {
    /// Any problem.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            errors: Vec::new(),
            more: serde_json::Map::new(),
            retry_after: None,
        }
    }

    /// 400 `MALFORMED_REQUEST`: not JSON, or not an object.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "MALFORMED_REQUEST", detail)
    }

    /// 422 `VALIDATION_FAILED` with its fields.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match &errors[..] {
            [one] => one.message.clone(),
            several => format!("{} fields need another look.", several.len()),
        };
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "VALIDATION_FAILED", detail) }
    }

    /// 401 `UNAUTHENTICATED`.
    pub fn unauthenticated() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", "Send a valid bearer token in the Authorization header.")
    }

    /// 403 `FORBIDDEN`.
    pub fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", "You may not do this.")
    }

    /// 404 `NOT_FOUND`, for another tenant's row too.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", "There is nothing here.")
    }

    /// 408 `REQUEST_TIMEOUT`.
    pub fn body_late() -> Self {
        let detail = "The body did not come in time. Send the request again.";
        Self::new(StatusCode::REQUEST_TIMEOUT, "REQUEST_TIMEOUT", detail)
    }

    /// 409 with a code.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 500 `INTERNAL`: logs the cause, and tells nothing of it.
    pub fn internal(cause: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = %chain(cause), "Request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "Something went wrong on our side.")
    }

    /// 503 `SERVICE_UNAVAILABLE`.
    pub fn unavailable() -> Self {
        let detail = "The service cannot answer right now. Repeat the request with the same Idempotency-Key.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE", detail).retry_after(Duration::from_secs(1))
    }

    /// A database error: 503 where the database could not be reached, 500 otherwise.
    pub fn database(error: &DbErr) -> Self {
        if !crate::db::is_unavailable(error) {
            return Self::internal(error);
        }
        tracing::warn!(error = %chain(error), "Database unavailable");
        Self::unavailable()
    }

    /// Adds a member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// Adds `Retry-After`, in whole seconds.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// The body (RFC 9457, 3).
    pub fn body(&self, request_id: &str) -> serde_json::Value {
        let mut body = self.more.clone();
        let title = self.status.canonical_reason().unwrap_or("Error");
        let kind = format!("urn:tenantry:problem:{}", self.code.to_ascii_lowercase().replace('_', "-"));
        body.insert("type".into(), kind.into());
        body.insert("title".into(), title.into());
        body.insert("status".into(), self.status.as_u16().into());
        body.insert("detail".into(), self.detail.clone().into());
        body.insert("code".into(), self.code.into());
        body.insert("request_id".into(), request_id.into());
        if !self.errors.is_empty() {
            body.insert("errors".into(), serde_json::json!(self.errors));
        }
        body.into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tenantry\""));
        }
        if let Some(after) = self.retry_after {
            // Rounded up, for somebody who comes a moment too early is refused again.
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<DbErr> for Problem {
    fn from(error: DbErr) -> Self {
        Self::database(&error)
    }
}

/// An error and its causes, in one line for a log.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
