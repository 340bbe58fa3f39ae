//! What others verify our tokens with: the public keys, and where to find them.

use axum::{Json, extract::State, http::header, response::IntoResponse};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::keys::Jwks;
use crate::app::App;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(jwks)).routes(routes!(discovery))
}

/// How long verifiers may keep the keys; shorter than a new key waits before it signs.
const CACHED: &str = "public, max-age=300";

/// The public keys that verify our tokens (RFC 7517).
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "identity", responses((status = 200, body = Jwks)))]
async fn jwks(State(app): State<App>) -> impl IntoResponse {
    ([(header::CACHE_CONTROL, CACHED)], Json(app.keys.jwks(&app.clock.now())))
}

/// Who issues our tokens and how they are signed (`OpenID` Connect Discovery 1.0, 3).
#[derive(Serialize, ToSchema)]
struct Discovery {
    /// The `iss` of our tokens.
    issuer: String,
    /// Where the keys are.
    jwks_uri: String,
    /// Empty: there is no authorization endpoint here.
    response_types_supported: [&'static str; 0],
    /// Empty: nor a token endpoint.
    grant_types_supported: [&'static str; 0],
    /// `public`: a user has one `sub` everywhere.
    subject_types_supported: [&'static str; 1],
    /// How tokens are signed.
    id_token_signing_alg_values_supported: [&'static str; 1],
    /// What access tokens say.
    claims_supported: [&'static str; 11],
}

/// Where to find the keys.
#[utoipa::path(get, path = "/.well-known/openid-configuration", tag = "identity", responses((status = 200, body = Discovery)))]
async fn discovery(State(app): State<App>) -> impl IntoResponse {
    let issuer = app.keys.issuer().to_owned();
    let discovery = Discovery {
        jwks_uri: format!("{issuer}/.well-known/jwks.json"),
        issuer,
        response_types_supported: [],
        grant_types_supported: [],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: ["EdDSA"],
        claims_supported: ["iss", "aud", "sub", "tid", "role", "plan", "ev", "sid", "iat", "exp", "jti"],
    };
    ([(header::CACHE_CONTROL, CACHED)], Json(discovery))
}
