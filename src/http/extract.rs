//! Reading a request's parts; what cannot be read is a [`Problem`].

use axum::{
    RequestPartsExt,
    body::Bytes,
    extract::{FromRequest, FromRequestParts, OptionalFromRequestParts, Request, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{FieldError, Problem};

/// A JSON object as `T`. Not JSON or not an object is 400; a missing, unknown or mistyped field 422.
#[derive(Clone, Debug)]
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        typed(object(request, state).await?).map(Self)
    }
}

/// The body as a JSON object; an absent one is empty.
pub(super) async fn object<S: Send + Sync>(request: Request, state: &S) -> Result<Value, Problem> {
    let is_json = is_json(request.headers());
    let body = Bytes::from_request(request, state).await.map_err(|rejection| unreadable(&rejection))?;
    if body.is_empty() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    if !is_json {
        let detail = "Send the body as application/json.";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", detail));
    }
    parse(&body)
}

fn is_json(headers: &HeaderMap) -> bool {
    let sent = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = sent.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn unreadable(rejection: &BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "PAYLOAD_TOO_LARGE",
            "The body is larger than this server reads.",
        );
    }
    Problem::malformed("The body could not be read.")
}

fn parse(body: &[u8]) -> Result<Value, Problem> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| Problem::malformed(format!("The body is not valid JSON: {error}.")))?;
    if !value.is_object() {
        return Err(Problem::malformed("The body has to be a JSON object."));
    }
    if let Some(field) = nul(&value, "") {
        let message = "Text with a NUL character cannot be stored.";
        return Err(Problem::invalid(vec![FieldError::new(field, "INVALID_CHARACTER", message)]));
    }
    Ok(value)
}

/// An object as `T`.
pub(super) fn typed<T: DeserializeOwned>(value: Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        Problem::invalid(vec![field_error(&path, &error.into_inner().to_string())])
    })
}

/// Where below `path` there is U+0000, which PostgreSQL cannot store in text. A name that has it counts as its parent's.
fn nul(value: &Value, path: &str) -> Option<String> {
    let within = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::String(text) => text.contains('\0').then(|| path.to_owned()),
        Value::Array(items) => items.iter().enumerate().find_map(|(at, item)| nul(item, &within(&at.to_string()))),
        Value::Object(members) => {
            members.iter().find_map(
                |(name, value)| {
                    if name.contains('\0') { Some(path.to_owned()) } else { nul(value, &within(name)) }
                },
            )
        }
        _ => None,
    }
}

/// serde tells a missing, an unknown and a mistyped field apart only in its message.
fn field_error(path: &str, message: &str) -> FieldError {
    let named = |prefix: &str| message.strip_prefix(prefix)?.split('`').next().map(str::to_owned);
    let within = |name: &str| match path {
        "." => name.to_owned(),
        path if path == name || path.ends_with(&format!(".{name}")) => path.to_owned(),
        path => format!("{path}.{name}"),
    };
    if let Some(name) = named("missing field `") {
        return FieldError::new(within(&name), "REQUIRED", format!("{name} is required."));
    }
    if let Some(name) = named("unknown field `") {
        return FieldError::new(within(&name), "UNKNOWN_FIELD", format!("There is no field {name} here."));
    }
    // What comes before says what was sent, which may be a password.
    let expected = message.rsplit_once("expected ").map_or("another type or value", |(_, expected)| expected);
    FieldError::new(path, "INVALID_TYPE", format!("This has to be {expected}."))
}

/// Path parameters as `T`; an id that cannot be one is 404.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send + 'static> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        if parts.uri.path().contains("%00") {
            return Err(Problem::not_found());
        }
        let path = parts.extract::<axum::extract::Path<T>>().await;
        path.map(|axum::extract::Path(value)| Self(value)).map_err(|_| Problem::not_found())
    }
}

/// Query parameters as `T`; what it does not know is 422.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        if parts.uri.query().is_some_and(|query| query.contains("%00")) {
            let message = "Text with a NUL character cannot be looked for.";
            return Err(Problem::invalid(vec![FieldError::new("query", "INVALID", message)]));
        }
        let query = axum::extract::Query::<T>::try_from_uri(&parts.uri);
        query.map(|axum::extract::Query(value)| Self(value)).map_err(|rejection| {
            let message = rejection.body_text();
            Problem::invalid(vec![FieldError::new("query", "INVALID", message)])
        })
    }
}

/// The token of `Authorization: Bearer …` (RFC 6750, 2.1). Absent or of another scheme is 401, unless it is asked for as an option.
#[derive(Clone, Debug)]
pub struct Bearer(pub SecretString);

impl Bearer {
    fn of(headers: &HeaderMap) -> Option<Self> {
        // Two of them could be read differently by whoever stands in front of us.
        let mut sent = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (sent.next(), sent.next()) else { return None };
        let value = value.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        let token = token.trim();
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| Self(token.into()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Bearer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(&parts.headers).ok_or_else(Problem::unauthenticated)
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Bearer {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Self::Rejection> {
        Ok(Self::of(&parts.headers))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        #[expect(dead_code, reason = "only parsed")]
        name: String,
        #[expect(dead_code, reason = "only parsed")]
        inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[expect(dead_code, reason = "only parsed")]
        size: u8,
    }

    fn refused(body: &str) -> (&'static str, Vec<(String, String)>) {
        let problem = parse(body.as_bytes()).and_then(typed::<Body>).unwrap_err();
        (problem.code, problem.errors.into_iter().map(|e| (e.field, e.code)).collect())
    }

    #[test]
    fn each_kind_of_bad_body_has_its_answer() {
        for malformed in ["{", "[]", "\"x\"", "null"] {
            assert_eq!(refused(malformed), ("MALFORMED_REQUEST", vec![]), "{malformed}");
        }
        let field = |field: &str, code: &str| ("VALIDATION_FAILED", vec![(field.to_owned(), code.to_owned())]);
        assert_eq!(refused("{}"), field("name", "REQUIRED"));
        assert_eq!(refused(r#"{"name": "a\u0000b"}"#), field("name", "INVALID_CHARACTER"));
        assert_eq!(
            refused(r#"{"name": "a", "inner": {"x": ["", "\u0000"]}}"#),
            field("inner.x.1", "INVALID_CHARACTER")
        );
        assert_eq!(refused(r#"{"name": 3}"#), field("name", "INVALID_TYPE"));
        assert_eq!(refused(r#"{"name": "a", "nam": "b"}"#), field("nam", "UNKNOWN_FIELD"));
        assert_eq!(refused(r#"{"name": "a", "inner": {}}"#), field("inner.size", "REQUIRED"));
        assert_eq!(refused(r#"{"name": "a", "inner": {"size": 300}}"#), field("inner.size", "INVALID_TYPE"));
    }
}
