//! `POST /public/contact-sales`, and all of this slice's routes.

use axum::{extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{Status, store::lead};
use crate::{
    app::App,
    db::Batch,
    http::{FieldError, IdempotencyKey, Once, Posted, Problem, Reply, line},
    identity::email::Email,
};

/// This slice's routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(contact_sales)).merge(super::admin::routes())
}

/// Who asks, and for what.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ContactSales {
    /// Where to answer to.
    #[schema(example = "cto@example.com", max_length = 254)]
    pub email: String,
    /// Who asks.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// For which company.
    #[schema(min_length = 1, max_length = 100)]
    pub company: String,
    /// How many would use it: a number, or a range such as `11-50`.
    pub team_size: Option<TeamSize>,
    /// What they want.
    #[schema(max_length = 4000)]
    pub message: Option<String>,
}

/// How large a team is, as people say it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(super) enum TeamSize {
    /// Counted.
    Number(i64),
    /// Estimated.
    Range(String),
}

/// It was noted.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Noted {
    /// The lead's id.
    id: Uuid,
}

/// Asks to be called.
#[utoipa::path(post, path = "/public/contact-sales", tag = "plans", request_body = ContactSales,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 201, body = Noted), (status = 409, description = "`IDEMPOTENCY_IN_PROGRESS`")))]
async fn contact_sales(State(app): State<App>, Posted { body, key }: Posted<ContactSales>) -> Result<Reply, Problem> {
    note(&app, &key, &body).await
}

/// What the JSON edge and the page do alike.
pub(super) async fn note(app: &App, key: &IdempotencyKey, body: &ContactSales) -> Result<Reply, Problem> {
    let once = Once::new(app, key, "");
    once.run(async {
        let now = app.clock.now();
        let (email, name, company, team_size) = read(body)?;
        let id = now.id();
        let mut batch = Batch::default();
        batch.insert(lead::Model {
            id,
            email: email.as_str().to_owned(),
            name,
            company,
            team_size,
            message: body.message.clone(),
            status: Status::New,
            created_at: now.at,
            updated_at: now.at,
        });
        let tx = app.db.begin().await?;
        batch.send(&tx).await.map_err(|refused| Problem::database(&refused.source))?;
        Ok(once.commit(tx, &now, Reply::new(StatusCode::CREATED, &Noted { id })).await?)
    })
    .await
}

fn read(body: &ContactSales) -> Result<(Email, String, String, Option<String>), Problem> {
    let mut errors = Vec::new();
    let mut keep = |error: FieldError| errors.push(error);
    let email = Email::parse(&body.email).map_err(|e| keep(FieldError::new("email", e.code(), e.to_string()))).ok();
    let name = line("name", &body.name, 100).map_err(&mut keep).ok();
    let company = line("company", &body.company, 100).map_err(&mut keep).ok();
    let team_size = match &body.team_size {
        Some(TeamSize::Number(size @ 1..=10_000_000)) => Some(size.to_string()),
        Some(TeamSize::Range(range)) => line("team_size", range, 50).map_err(&mut keep).ok(),
        Some(TeamSize::Number(_)) => {
            keep(FieldError::new("team_size", "OUT_OF_RANGE", "Give a number from 1 to 10,000,000."));
            None
        }
        None => None,
    };
    if body.message.as_ref().is_some_and(|message| message.chars().count() > 4000) {
        keep(FieldError::new("message", "TOO_LONG", "At most 4000 characters, please."));
    }
    match (email, name, company) {
        (Some(email), Some(name), Some(company)) if errors.is_empty() => Ok((email, name, company, team_size)),
        _ => Err(Problem::invalid(errors)),
    }
}
