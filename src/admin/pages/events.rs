//! Stripe's events, and processing one again.

use std::collections::BTreeMap;

use askama::Template;
use axum::{Extension, extract::State, http::StatusCode, response::Response};
use serde::Deserialize;
use uuid::Uuid;

use super::{Choice, Narrowed, address, choices, word};
use crate::{
    app::App,
    billing::stripe::admin::{self, Status, StripeEvent},
    http::{Form, Path, Problem, Query, RequestId, Visit, go_to},
    identity::SignedInAdmin,
    tenants,
};

const PATH: &str = "/admin/stripe-events";

#[derive(Template)]
#[template(path = "admin/pages/events.html")]
struct Page<'a> {
    events: Vec<StripeEvent>,
    slugs: BTreeMap<Uuid, String>,
    choices: Vec<Choice>,
    newest: Option<String>,
    next: Option<String>,
    asked: &'a Narrowed,
    visit: &'a Visit,
}

impl Page<'_> {
    /// The tenant that an event is about, where it is one's.
    fn slug(&self, event: &StripeEvent) -> Option<&str> {
        self.slugs.get(&event.tenant_id?).map(String::as_str)
    }
}

/// A status as a pill's state.
fn state(status: &str) -> &str {
    match status {
        "processed" => "complete",
        other => other,
    }
}

pub(super) async fn page(
    State(app): State<App>,
    _: SignedInAdmin,
    Query(asked): Query<Narrowed>,
    visit: Visit,
) -> Result<Response, Problem> {
    let status = asked.among(&Status::ALL, Status::as_str);
    let found = admin::list(&app, status, None, asked.cursor.as_deref()).await?;
    let page = Page {
        slugs: tenants::slugs(app.db.read(), found.data.iter().filter_map(|event| event.tenant_id)).await?,
        next: found.next_cursor.as_deref().map(|cursor| asked.link(PATH, Some(cursor))),
        newest: asked.cursor.as_ref().map(|_| asked.link(PATH, None)),
        choices: choices(&Status::ALL, Status::as_str, status),
        events: found.data,
        asked: &asked,
        visit: &visit,
    };
    visit.show(StatusCode::OK, &page)
}

/// Which list to go back to.
#[derive(Deserialize)]
pub(super) struct Sent {
    #[serde(default)]
    shown: String,
}

/// Processes an event again.
pub(super) async fn replay(
    State(app): State<App>,
    SignedInAdmin(admin): SignedInAdmin,
    Extension(request): Extension<RequestId>,
    Path(id): Path<String>,
    Form { body: sent, key }: Form<Sent>,
) -> Result<Response, Problem> {
    admin::replay(&app, &key, admin, &request, &id).await?;
    Ok(go_to(&address(PATH, &[("status", Some(&sent.shown)), ("done", Some("replayed"))]), []))
}
