//! What mailed links lead to.

use axum::{
    Extension, Router,
    extract::{Query, State},
    http::StatusCode,
    response::Response,
    routing::get,
};

use super::{DASHBOARD, Link, LinkPage, ask, entered, refuse};
use crate::{
    app::App,
    http::{Form, Problem, RequestId, Visit},
    identity::{
        Client,
        api::{self, Proof},
    },
};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/verify-email", get(ask_to_verify).post(verify))
        .route("/magic-link", get(ask_to_log_in).post(log_in))
}

async fn ask_to_verify(visit: Visit, Query(link): Query<Link>) -> Result<Response, Problem> {
    let words = ("Verify your address", "One click, and we know that this address is yours.");
    ask(&visit, &link, words, "/verify-email", "Verify my address")
}

async fn ask_to_log_in(visit: Visit, Query(link): Query<Link>) -> Result<Response, Problem> {
    let words = ("Sign in to Tenantry", "This link signs you in on this device. It works once.");
    ask(&visit, &link, words, "/magic-link", "Sign in")
}

async fn verify(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    visit: Visit,
    Form { body: link, .. }: Form<Link>,
) -> Result<Response, Problem> {
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    let user = match api::prove_email(&tx, &now, &link.token, &request).await {
        Ok(user) => user,
        Err(refused) => return refuse(&visit, refused),
    };
    tx.commit().await?;
    let (heading, text) = ("Your address is verified", format!("{} is yours.", user.email));
    let page = LinkPage { door: "complete", heading, text: &text, button: None, ways: &[DASHBOARD], visit: &visit };
    visit.show(StatusCode::OK, &page)
}

async fn log_in(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    client: Client,
    visit: Visit,
    Form { body: link, .. }: Form<Link>,
) -> Result<Response, Problem> {
    match api::log_in(&app, (&Proof::Link(link.token), None), client, &request).await {
        Ok((tx, _, entry)) => {
            tx.commit().await?;
            Ok(entered(&app, &entry))
        }
        Err(refused) => refuse(&visit, refused),
    }
}
