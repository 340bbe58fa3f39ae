//! Setting out to a provider, and the providers that one is linked with.

use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode},
};
use serde_json::json;
use url::Url;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    audit::{self, Actor},
    db::Batch,
    http::{Listing, Path, Problem, RequestId},
    identity::{
        CurrentUser, Error,
        oauth::{
            self, IdentityView,
            flow::{self, Aim},
            provider::{Provider, ProviderError},
        },
        reauth,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_identities)).routes(routes!(unlink_identity))
}

/// A provider that is configured.
///
/// # Errors
/// 503 `OAUTH_NOT_CONFIGURED` for Google and Microsoft where they are not; 404 for any other name.
pub fn configured<'a>(app: &'a App, name: &str) -> Result<&'a Provider, Problem> {
    app.providers.get(name).ok_or_else(|| match name {
        "google" | "microsoft" => {
            let label = oauth::provider::label(name);
            Error::OauthNotConfigured(label).into()
        }
        _ => Problem::not_found(),
    })
}

/// Keeps what a browser sets out for. Answers where to, and what names the browser from now on.
pub async fn set_out(
    app: &App,
    headers: &HeaderMap,
    provider: &Provider,
    aim: Aim,
) -> Result<(Url, HeaderValue), Problem> {
    let now = app.clock.now();
    let mut batch = Batch::default();
    let begun = flow::begin(app, &mut batch, &now, headers, provider.name(), aim);
    let url =
        provider.authorize_url(&now, &begun.state, &begun.binding).await.map_err(|error| refused(provider, &error))?;
    let tx = app.db.begin().await?;
    batch.send(&tx).await.map_err(|refused| Problem::database(&refused.source))?;
    tx.commit().await?;
    Ok((url, begun.cookie))
}

/// What a caller is told of a provider's refusal; the log is told why.
pub fn refused(provider: &Provider, error: &ProviderError) -> Problem {
    tracing::warn!(feature = "oauth", provider = provider.name(), %error, "Sign-in with a provider failed");
    match error {
        ProviderError::Unavailable(_) => Error::OauthUnavailable(provider.label()).into(),
        ProviderError::Refused(_) => Error::OauthFailed(provider.label()).into(),
    }
}

/// The providers that one can sign in with.
#[utoipa::path(get, path = "/api/v1/auth/identities", tag = "identity", security(("access_token" = [])),
    responses((status = 200, body = Listing<IdentityView>)))]
async fn list_identities(State(app): State<App>, user: CurrentUser) -> Result<Json<Listing<IdentityView>>, Problem> {
    let data = oauth::linked(app.db.read(), user.user_id).await?;
    Ok(Json(Listing { data, next_cursor: None }))
}

/// Takes a provider away. The last way in stays. Asks for a log-in within the last 10 minutes.
#[utoipa::path(delete, path = "/api/v1/auth/identities/{provider}", tag = "identity", params(("provider" = String, Path)),
    security(("access_token" = [])),
    responses((status = 204, description = "Taken away"), (status = 403, description = "`REAUTHENTICATION_REQUIRED`"),
        (status = 409, description = "`LAST_WAY_IN`")))]
async fn unlink_identity(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    user: CurrentUser,
    Path(provider): Path<String>,
) -> Result<StatusCode, Problem> {
    unlink(&app, &user, &provider, &request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the JSON edge and the page do alike.
pub(in crate::identity) async fn unlink(
    app: &App,
    user: &CurrentUser,
    provider: &str,
    request: &RequestId,
) -> Result<(), Error> {
    reauth::fresh(app, user).await?;
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    user.hold(&tx, &now).await?;
    oauth::unlink(&tx, &now, &app.post, user.user_id, provider).await?;
    let who = (Actor::User(user.user_id), Some(user.tenant_id));
    audit::note(&tx, &now, request, who, "identity.unlinked", json!({"user_id": user.user_id, "provider": provider}))
        .await?;
    tx.commit().await?;
    app.wake.wake();
    Ok(())
}
