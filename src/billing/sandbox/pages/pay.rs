//! The page on which a checkout session is paid.

use askama::Template;
use axum::{Router, extract::State, http::StatusCode, response::Response, routing::get};
use serde_json::Value;

use super::{card::Typed, day, find, only_where_it_is};
use crate::{
    app::App,
    billing::sandbox::{
        api::place,
        cards::TestCard,
        checkout::{self, NotPaid, Payment},
        error::Decline,
        lines::amount_in,
        store::{int, text},
        world::{Caller, World},
    },
    http::{FieldError, Form, Path, Problem, Refused, Visit, go_to, show},
};

/// This page's routes.
pub fn routes() -> Router<App> {
    Router::new().route("/sandbox/pay/{id}", get(look).post(pay))
}

#[derive(Template)]
#[template(path = "billing/sandbox/pages/pay.html")]
struct Page<'a> {
    id: &'a str,
    sold: String,
    due: String,
    trial_end: Option<String>,
    back: &'a str,
    typed: Typed,
    cards: &'static [TestCard],
    refused: Refused,
    visit: &'a Visit,
}

#[derive(Template)]
#[template(path = "billing/sandbox/pages/over.html")]
struct Over<'a> {
    heading: &'a str,
    words: &'a str,
    onwards: Option<(String, &'a str)>,
}

async fn look(State(app): State<App>, visit: Visit, Path(id): Path<String>) -> Result<Response, Problem> {
    only_where_it_is(&app)?;
    let session = find(app.db.read(), "checkout.session", &id).await?;
    if !is_open(&app, &session) {
        return over(&session, StatusCode::OK);
    }
    let email = match session["customer"].as_str() {
        Some(customer) => text(&find(app.db.read(), "customer", customer).await?, "email").to_owned(),
        None => text(&session, "customer_email").to_owned(),
    };
    page(&app, &visit, &session, Typed { email, ..Typed::default() }, Refused::default())
}

async fn pay(
    State(app): State<App>,
    visit: Visit,
    Path(id): Path<String>,
    Form { body: typed, .. }: Form<Typed>,
) -> Result<Response, Problem> {
    only_where_it_is(&app)?;
    let session = find(app.db.read(), "checkout.session", &id).await?;
    if !is_open(&app, &session) {
        return over(&session, StatusCode::CONFLICT);
    }
    let now = app.clock.now();
    if let Some(typed) = typed.clone().filled(now.at) {
        return page(&app, &visit, &session, typed, Refused::default());
    }
    let (card, holder) = match typed.read(now.at, true) {
        Ok(read) => read,
        Err(refused) => return page(&app, &visit, &session, typed, refused),
    };
    let tx = app.db.begin().await?;
    let mut world = World::open(&tx, &now, place(&app), Caller::default()).await?;
    match checkout::pay(&mut world, &id, Payment { card, holder }).await? {
        Ok(paid) => {
            world.close().await?;
            tx.commit().await?;
            app.wake.wake();
            onwards(&app, &paid)
        }
        Err(NotPaid::Declined(decline)) => page(&app, &visit, &session, typed, declined(decline)),
        Err(NotPaid::Over(session)) => over(&session, StatusCode::CONFLICT),
    }
}

fn is_open(app: &App, session: &Value) -> bool {
    session["status"] == "open" && int(session, "expires_at") > app.clock.now().at.timestamp()
}

/// What a declined card is told.
pub fn declined(decline: Decline) -> Refused {
    Refused {
        heading: "The card was not charged".into(),
        errors: vec![FieldError::new("number", "DECLINED", decline.message())],
        status: StatusCode::PAYMENT_REQUIRED,
        ..Refused::default()
    }
}

fn page(app: &App, visit: &Visit, session: &Value, typed: Typed, refused: Refused) -> Result<Response, Problem> {
    let trial_end = checkout::trial_end(session, app.clock.now().at.timestamp());
    let trial_end = trial_end.map(|end| day(&serde_json::json!({"end": end}), "end"));
    let status = refused.status;
    let page = Page {
        id: text(session, "id"),
        sold: checkout::words(session),
        due: amount_in(int(session, "amount_total"), text(session, "currency")),
        trial_end,
        back: text(session, "cancel_url"),
        typed,
        cards: TestCard::all(),
        refused,
        visit,
    };
    visit.show(status, &page)
}

/// Where somebody goes who has paid. A form may lead to our own pages only (`form-action` of the content security policy); to others
/// they go by a link.
fn onwards(app: &App, session: &Value) -> Result<Response, Problem> {
    let url = checkout::success_url(session);
    let here = app.config.public_url.origin();
    if url::Url::parse(&url).is_ok_and(|url| url.origin() == here) {
        return Ok(go_to(&url, []));
    }
    over(session, StatusCode::OK)
}

fn over(session: &Value, status: StatusCode) -> Result<Response, Problem> {
    let (heading, words, onwards) = if session["status"] == "complete" {
        let onwards = (checkout::success_url(session), "Go on");
        ("Paid", "This checkout is complete. It cannot be paid twice.", Some(onwards))
    } else {
        let back = text(session, "cancel_url").to_owned();
        let back = Some((back, "Go back")).filter(|(url, _)| !url.is_empty());
        ("This checkout has expired", "Nothing was charged. Go back and begin again.", back)
    };
    show(status, &Over { heading, words, onwards })
}
