//! Where one is signed in.

use askama::Template;
use axum::{
    Extension,
    extract::{Query, State},
    http::StatusCode,
    response::Response,
};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    app::App,
    http::{Form, Listing, NoFields, PageQuery, Problem, RequestId, Visit, go_to},
    identity::{
        SignedIn, api, device,
        sessions::{self, SessionView},
        users::{self, MembershipView},
    },
};

#[derive(Template)]
#[template(path = "identity/settings/sessions.html")]
struct Page<'a> {
    here: &'static str,
    sessions: Vec<Shown>,
    has_others: bool,
    next_cursor: Option<String>,
    has_ended: bool,
    visit: &'a Visit,
}

/// A session in words.
struct Shown {
    id: Uuid,
    device: String,
    place: String,
    /// Which tenant it is in, for somebody who has several.
    tenant: String,
    created_at: DateTime<Utc>,
    is_current: bool,
}

impl Shown {
    fn of(session: SessionView, memberships: &[MembershipView]) -> Self {
        let tenant = memberships.iter().find(|tenant| memberships.len() > 1 && tenant.tenant_id == session.tenant_id);
        Self {
            id: session.id,
            device: capitalised(&device::words(session.user_agent.as_deref())),
            place: session.ip.map_or_else(|| "From an unknown address".to_owned(), |ip| format!("From {ip}")),
            tenant: tenant.map(|tenant| tenant.name.clone()).unwrap_or_default(),
            created_at: session.created_at,
            is_current: session.current,
        }
    }
}

/// Words of ours begin as a sentence does; a program's own name stays as it is.
fn capitalised(words: &str) -> String {
    match words.split_once(' ') {
        Some((article @ ("a" | "an"), rest)) => format!("A{} {rest}", &article[1..]),
        _ => words.to_owned(),
    }
}

/// Which of the list, and whether one was just ended.
#[derive(Deserialize)]
pub(super) struct Wanted {
    cursor: Option<String>,
    done: Option<String>,
}

pub(super) async fn page(
    State(app): State<App>,
    SignedIn(who): SignedIn,
    visit: Visit,
    Query(Wanted { cursor, done }): Query<Wanted>,
) -> Result<Response, Problem> {
    let is_first = cursor.is_none();
    let page = PageQuery { limit: None, cursor }.page()?;
    let db = app.db.read();
    let rows = sessions::list(db, &app.clock.now(), who.user_id, who.session_id, page).await?;
    let memberships = users::memberships(db, who.user_id).await?;
    let Listing { data, next_cursor } = Listing::of(rows, page, |session| session.id);
    let page = Page {
        here: "/settings/sessions",
        has_others: !is_first || data.iter().any(|session| !session.current),
        sessions: data.into_iter().map(|session| Shown::of(session, &memberships)).collect(),
        next_cursor,
        has_ended: done.is_some(),
        visit: &visit,
    };
    visit.show(StatusCode::OK, &page)
}

/// A session.
#[derive(Deserialize)]
pub(super) struct One {
    id: Uuid,
}

pub(super) async fn end(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    SignedIn(who): SignedIn,
    Form { body: One { id }, .. }: Form<One>,
) -> Result<Response, Problem> {
    api::end_one(&app, &who, id, &request).await?;
    Ok(go_to("/settings/sessions?done=ended", []))
}

pub(super) async fn end_others(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    SignedIn(who): SignedIn,
    _: Form<NoFields>,
) -> Result<Response, Problem> {
    api::end_others(&app, &who, &request).await?;
    Ok(go_to("/settings/sessions?done=ended", []))
}
