//! Security headers, on every answer (OWASP Secure Headers Project).

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

const CSP: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: https:; font-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);
const HSTS_OPERATOR: HeaderValue = HeaderValue::from_static("max-age=31536000; includeSubDomains; preload");
const HSTS_TENANT: HeaderValue = HeaderValue::from_static("max-age=31536000");
const FIXED: [(HeaderName, HeaderValue); 6] = [
    (header::CONTENT_SECURITY_POLICY, CSP),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("strict-origin-when-cross-origin")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), geolocation=(), microphone=()"),
    ),
];

/// Adds them. On a hostname that is a tenant's own, HSTS speaks for that hostname alone.
pub(super) fn secure(headers: &mut HeaderMap, on_operators_host: bool) {
    headers.extend(FIXED);
    headers.insert(header::STRICT_TRANSPORT_SECURITY, if on_operators_host { HSTS_OPERATOR } else { HSTS_TENANT });
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}
