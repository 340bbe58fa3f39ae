//! The development mailbox: what would have been sent, to read and to follow its links. In other environments it is not there.

use askama::Template;
use axum::{Json, extract::State, http::StatusCode, response::Response, routing::post};
use chrono::{DateTime, Utc};
use sea_orm::DbErr;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{Mail, links};
use crate::{
    app::App,
    config::Environment,
    http::{Form, NoFields, Problem, Visit, go_to},
    outbox,
};

/// As many as are shown; older ones stay where they are.
const SHOWN: i64 = 200;

/// This part's routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(json, empty_json))
        .routes(routes!(page, empty_page))
        .route("/dev/mailbox/empty", post(empty_by_form))
}

/// A mail in the mailbox.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Received {
    /// Its id, which is also its `Message-ID`.
    id: Uuid,
    /// Whom it is for.
    to: String,
    /// Its subject.
    subject: String,
    /// The plain part.
    text: String,
    /// The HTML part.
    html: String,
    /// Every URL in the plain part.
    links: Vec<String>,
    /// When it was queued.
    created_at: DateTime<Utc>,
}

/// The mailbox.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Mailbox {
    /// The newest 200, newest first.
    data: Vec<Received>,
}

#[derive(Template)]
#[template(path = "mail/mailbox.html")]
struct Page<'a> {
    mails: Vec<Received>,
    visit: &'a Visit,
}

impl Received {
    /// Each link, by the page it leads to.
    fn named_links(&self) -> Vec<(&str, &str)> {
        self.links.iter().map(|link| (page_of(link).unwrap_or(link), link.as_str())).collect()
    }
}

/// A link's path without what comes before and after it.
fn page_of(link: &str) -> Option<&str> {
    let (_, path) = link.split_once("://")?.1.split_once('/')?;
    path.split(['?', '#']).next().filter(|path| !path.is_empty())
}

fn only_in_development(app: &App) -> Result<(), Problem> {
    if app.config.environment == Environment::Development { Ok(()) } else { Err(Problem::not_found()) }
}

async fn received(app: &App) -> Result<Vec<Received>, DbErr> {
    let rows = outbox::mails(app.db.read(), SHOWN).await?;
    let open = |row: outbox::SealedMail| match outbox::open::<Mail>(&app.sealer, &row.payload) {
        Ok(mail) => Some(Received {
            id: row.id,
            to: mail.to.into(),
            subject: mail.subject,
            links: links(&mail.text),
            text: mail.text,
            html: mail.html,
            created_at: row.created_at,
        }),
        Err(error) => {
            // Sealed under a secret that was since replaced: the others can still be read.
            tracing::warn!(feature = "mail", id = %row.id, %error, "A mail cannot be opened");
            None
        }
    };
    Ok(rows.into_iter().filter_map(open).collect())
}

async fn empty(app: &App) -> Result<StatusCode, Problem> {
    only_in_development(app)?;
    let tx = app.db.begin().await?;
    outbox::erase_mails(&tx).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What would have been mailed. In development only.
#[utoipa::path(get, path = "/dev/mailbox.json", operation_id = "mailbox", tag = "development",
    responses((status = 200, body = Mailbox), (status = 404, description = "Not in development")))]
async fn json(State(app): State<App>) -> Result<Json<Mailbox>, Problem> {
    only_in_development(&app)?;
    Ok(Json(Mailbox { data: received(&app).await? }))
}

/// Empties the mailbox. In development only.
#[utoipa::path(delete, path = "/dev/mailbox.json", operation_id = "empty_mailbox", tag = "development",
    responses((status = 204, description = "Empty"), (status = 404, description = "Not in development")))]
async fn empty_json(State(app): State<App>) -> Result<StatusCode, Problem> {
    empty(&app).await
}

/// The mailbox as a page. In development only.
#[utoipa::path(get, path = "/dev/mailbox", operation_id = "mailbox_page", tag = "development",
    responses((status = 200, body = String, content_type = "text/html"), (status = 404, description = "Not in development")))]
async fn page(State(app): State<App>, visit: Visit) -> Result<Response, Problem> {
    only_in_development(&app)?;
    visit.show(StatusCode::OK, &Page { mails: received(&app).await?, visit: &visit })
}

/// Empties the mailbox. In development only.
#[utoipa::path(delete, path = "/dev/mailbox", operation_id = "empty_mailbox_page", tag = "development",
    responses((status = 204, description = "Empty"), (status = 404, description = "Not in development")))]
async fn empty_page(State(app): State<App>) -> Result<StatusCode, Problem> {
    empty(&app).await
}

async fn empty_by_form(State(app): State<App>, _: Form<NoFields>) -> Result<Response, Problem> {
    empty(&app).await?;
    Ok(go_to("/dev/mailbox", []))
}
