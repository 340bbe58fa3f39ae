//! One's sessions.

use axum::{Extension, Json, extract::State, http::StatusCode};
use serde_json::json;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    app::App,
    audit::{self, Actor},
    clock::Now,
    db::Tx,
    http::{self, Listing, Nothing, PageQuery, Path, Problem, Query, RequestId},
    identity::{
        CurrentUser, Error,
        sessions::{self, Ended, SessionView},
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_sessions)).routes(routes!(end_session)).routes(routes!(end_other_sessions))
}

/// One's open sessions, newest first.
#[utoipa::path(get, path = "/api/v1/auth/sessions", tag = "identity", params(PageQuery), security(("access_token" = [])),
    responses((status = 200, body = Listing<SessionView>)))]
async fn list_sessions(
    State(app): State<App>,
    user: CurrentUser,
    Query(query): Query<PageQuery>,
) -> Result<Json<Listing<SessionView>>, Problem> {
    let page = query.page()?;
    let rows = sessions::list(app.db.read(), &app.clock.now(), user.user_id, user.session_id, page).await?;
    Ok(Json(Listing::of(rows, page, |session| session.id)))
}

/// Ends one of one's own sessions. Ending it twice is no mistake.
#[utoipa::path(delete, path = "/api/v1/auth/sessions/{id}", tag = "identity", params(("id" = Uuid, Path)),
    security(("access_token" = [])), responses((status = 204, description = "Ended")))]
async fn end_session(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    user: CurrentUser,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    end_one(&app, &user, id, &request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the JSON edge and the page do alike.
pub(in crate::identity) async fn end_one(
    app: &App,
    user: &CurrentUser,
    id: Uuid,
    request: &RequestId,
) -> Result<(), Error> {
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    let ended = sessions::end(&tx, &now, user.user_id, id).await?;
    note_end(&tx, &now, request, Actor::User(user.user_id), ended, "ended_by_user").await?;
    Ok(tx.commit().await?)
}

/// Ends all of one's sessions but the one that asks.
#[utoipa::path(post, path = "/api/v1/auth/sessions/end-others", tag = "identity", request_body = Nothing,
    security(("access_token" = [])), responses((status = 204, description = "Ended")))]
async fn end_other_sessions(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    user: CurrentUser,
    http::Json(Nothing {}): http::Json<Nothing>,
) -> Result<StatusCode, Problem> {
    end_others(&app, &user, &request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the JSON edge and the page do alike.
pub(in crate::identity) async fn end_others(app: &App, user: &CurrentUser, request: &RequestId) -> Result<(), Error> {
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    user.hold(&tx, &now).await?;
    let reason = "ended_by_user";
    for ended in sessions::end_others(&tx, &now, user.user_id, Some(user.session_id), reason).await? {
        note_end(&tx, &now, request, Actor::User(user.user_id), Some(ended), reason).await?;
    }
    Ok(tx.commit().await?)
}

pub(super) async fn note_end(
    tx: &Tx,
    now: &Now,
    request: &RequestId,
    actor: Actor,
    ended: Option<Ended>,
    reason: &str,
) -> Result<(), Error> {
    let Some(session) = ended else { return Ok(()) };
    let detail = json!({"session_id": session.id, "user_id": session.user_id, "reason": reason});
    Ok(audit::note(tx, now, request, (actor, Some(session.tenant_id)), "session.revoked", detail).await?)
}
