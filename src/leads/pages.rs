//! The form by which somebody asks to be called.

use askama::Template;
use axum::{Router, extract::State, http::StatusCode, response::Response, routing::get};
use serde::Deserialize;

use super::api::{self, ContactSales, TeamSize};
use crate::{
    app::App,
    http::{Form, Problem, Refused, Visit, go_to, show},
};

/// This slice's pages.
pub fn routes() -> Router<App> {
    Router::new().route("/contact-sales", get(page).post(send)).route("/contact-sales/thanks", get(thanks))
}

/// What was typed.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Typed {
    email: String,
    name: String,
    company: String,
    team_size: String,
    message: String,
}

impl From<&Typed> for ContactSales {
    fn from(typed: &Typed) -> Self {
        let size = Some(typed.team_size.trim()).filter(|size| !size.is_empty());
        let counted = |size: &str| size.parse().map_or_else(|_| TeamSize::Range(size.to_owned()), TeamSize::Number);
        Self {
            email: typed.email.clone(),
            name: typed.name.clone(),
            company: typed.company.clone(),
            team_size: size.map(counted),
            message: Some(typed.message.trim().to_owned()).filter(|message| !message.is_empty()),
        }
    }
}

#[derive(Template)]
#[template(path = "leads/contact.html")]
struct Page<'a> {
    typed: Typed,
    refused: Refused,
    visit: &'a Visit,
}

async fn page(visit: Visit) -> Result<Response, Problem> {
    visit.show(StatusCode::OK, &Page { typed: Typed::default(), refused: Refused::default(), visit: &visit })
}

async fn send(
    State(app): State<App>,
    visit: Visit,
    Form { body: typed, key }: Form<Typed>,
) -> Result<Response, Problem> {
    match api::note(&app, &key, &ContactSales::from(&typed)).await {
        Ok(_) => Ok(go_to("/contact-sales/thanks", [])),
        Err(refused) => {
            let refused = Refused::usual(refused)?;
            visit.show(refused.status, &Page { typed, refused, visit: &visit })
        }
    }
}

#[derive(Template)]
#[template(path = "leads/thanks.html")]
struct Thanks;

async fn thanks() -> Result<Response, Problem> {
    show(StatusCode::OK, &Thanks)
}
