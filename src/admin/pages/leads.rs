//! Who asked to be called, and how far that has come.

use askama::Template;
use axum::{Extension, extract::State, http::StatusCode, response::Response};
use serde::Deserialize;
use uuid::Uuid;

use super::{Choice, Narrowed, address, choices, word};
use crate::{
    app::App,
    http::{Form, PageQuery, Path, Problem, Query, RequestId, Visit, go_to},
    identity::SignedInAdmin,
    leads::{self, Lead, Status},
};

const PATH: &str = "/admin/sales-leads";

#[derive(Template)]
#[template(path = "admin/pages/leads.html")]
struct Page<'a> {
    leads: Vec<Lead>,
    choices: Vec<Choice>,
    newest: Option<String>,
    next: Option<String>,
    asked: &'a Narrowed,
    visit: &'a Visit,
}

pub(super) async fn page(
    State(app): State<App>,
    _: SignedInAdmin,
    Query(asked): Query<Narrowed>,
    visit: Visit,
) -> Result<Response, Problem> {
    let status = asked.among(&Status::ALL, Status::as_str);
    let page = PageQuery { limit: None, cursor: asked.cursor.clone() }.page()?;
    let found = leads::list(app.db.read(), status, page).await?;
    let page = Page {
        next: found.next_cursor.as_deref().map(|cursor| asked.link(PATH, Some(cursor))),
        newest: asked.cursor.as_ref().map(|_| asked.link(PATH, None)),
        choices: choices(&Status::ALL, Status::as_str, status),
        leads: found.data,
        asked: &asked,
        visit: &visit,
    };
    visit.show(StatusCode::OK, &page)
}

/// How far it has come, and which list to go back to.
#[derive(Deserialize)]
pub(super) struct Sent {
    status: Status,
    #[serde(default)]
    shown: String,
}

/// Says how far a lead has come.
pub(super) async fn change(
    State(app): State<App>,
    SignedInAdmin(admin): SignedInAdmin,
    Extension(request): Extension<RequestId>,
    Path(id): Path<Uuid>,
    Form { body: sent, .. }: Form<Sent>,
) -> Result<Response, Problem> {
    leads::admin::set(&app, admin, &request, (id, sent.status)).await?;
    Ok(go_to(&address(PATH, &[("status", Some(&sent.shown)), ("done", Some("changed"))]), []))
}
