//! The portal's page.

use askama::Template;
use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::Response,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::Value;

use super::{card::Typed, day, find, money, only_where_it_is, pay::declined};
use crate::{
    app::App,
    billing::sandbox::{
        api::place,
        cards::TestCard,
        lines,
        portal::{self, Wish},
        store::{all_of, find as stored, text},
        subscriptions::{has_ended, price_of, quantity_of},
        world::{Caller, World},
    },
    db::Db,
    http::{Form, Path, Problem, Refused, Visit, go_to, show},
};

/// This page's routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/sandbox/portal/{id}", get(look))
        .route("/sandbox/portal/{id}/card", post(card))
        .route("/sandbox/portal/{id}/cancel", post(cancel))
        .route("/sandbox/portal/{id}/resume", post(resume))
        .route("/sandbox/portal/{id}/pay", post(pay))
}

/// A subscription as it is shown.
struct Shown {
    id: String,
    words: String,
    status: String,
    period_end: String,
    ends: bool,
    has_ended: bool,
}

/// An invoice as it is shown.
struct Issued {
    id: String,
    number: String,
    day: String,
    total: String,
    status: String,
}

#[derive(Template)]
#[template(path = "billing/sandbox/pages/portal.html")]
struct Page<'a> {
    id: &'a str,
    back: &'a str,
    subscriptions: Vec<Shown>,
    card: Option<String>,
    invoices: Vec<Issued>,
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

#[derive(Debug, Deserialize)]
struct Which {
    which: String,
}

async fn look(State(app): State<App>, visit: Visit, Path(id): Path<String>) -> Result<Response, Problem> {
    match session(&app, &id).await? {
        Ok(session) => page(&app, &visit, &session, Typed::default(), Refused::default()).await,
        Err(over) => Ok(over),
    }
}

async fn card(
    State(app): State<App>,
    visit: Visit,
    Path(id): Path<String>,
    Form { body: typed, .. }: Form<Typed>,
) -> Result<Response, Problem> {
    let session = match session(&app, &id).await? {
        Ok(session) => session,
        Err(over) => return Ok(over),
    };
    let now = app.clock.now();
    if let Some(typed) = typed.clone().filled(now.at) {
        return page(&app, &visit, &session, typed, Refused::default()).await;
    }
    let (card, holder) = match typed.read(now.at, false) {
        Ok(read) => read,
        Err(refused) => return page(&app, &visit, &session, typed, refused).await,
    };
    act(&app, &visit, &session, Wish::Card(card, holder), typed).await
}

async fn cancel(app: State<App>, visit: Visit, id: Path<String>, form: Form<Which>) -> Result<Response, Problem> {
    simple(app, visit, id, Wish::Cancel(form.body.which, true)).await
}

async fn resume(app: State<App>, visit: Visit, id: Path<String>, form: Form<Which>) -> Result<Response, Problem> {
    simple(app, visit, id, Wish::Cancel(form.body.which, false)).await
}

async fn pay(app: State<App>, visit: Visit, id: Path<String>, form: Form<Which>) -> Result<Response, Problem> {
    simple(app, visit, id, Wish::Pay(form.body.which)).await
}

async fn simple(State(app): State<App>, visit: Visit, Path(id): Path<String>, wish: Wish) -> Result<Response, Problem> {
    match session(&app, &id).await? {
        Ok(session) => act(&app, &visit, &session, wish, Typed::default()).await,
        Err(over) => Ok(over),
    }
}

/// The session, or the page that says that it is over.
async fn session(app: &App, id: &str) -> Result<Result<Value, Response>, Problem> {
    only_where_it_is(app)?;
    let session = find(app.db.read(), "billing_portal.session", id).await?;
    if portal::is_good(&session, app.clock.now().at.timestamp()) {
        return Ok(Ok(session));
    }
    let back = Some((text(&session, "return_url").to_owned(), "Go back")).filter(|(url, _)| !url.is_empty());
    let words = "Go back and open the portal again.";
    show(StatusCode::GONE, &Over { heading: "This link is no longer good", words, onwards: back }).map(Err)
}

async fn act(app: &App, visit: &Visit, session: &Value, wish: Wish, typed: Typed) -> Result<Response, Problem> {
    let (tx, now) = (app.db.begin().await?, app.clock.now());
    let mut world = World::open(&tx, &now, place(app), Caller::default()).await?;
    let refused = portal::act(&mut world, session, wish).await?;
    world.close().await?;
    tx.commit().await?;
    app.wake.wake();
    match refused {
        None => Ok(go_to(&format!("/sandbox/portal/{}", text(session, "id")), [])),
        Some(decline) => page(app, visit, session, typed, declined(decline)).await,
    }
}

async fn page(app: &App, visit: &Visit, session: &Value, typed: Typed, refused: Refused) -> Result<Response, Problem> {
    let (db, customer) = (app.db.read(), text(session, "customer"));
    let mut subscriptions = Vec::new();
    for it in all_of(db, "subscription", customer).await? {
        subscriptions.push(shown(&app.db, &it).await?);
    }
    let invoices = all_of(db, "invoice", customer).await?.iter().map(issued).collect();
    let status = refused.status;
    let page = Page {
        id: text(session, "id"),
        back: text(session, "return_url"),
        card: on_file(&app.db, customer).await?,
        subscriptions,
        invoices,
        typed,
        cards: TestCard::all(),
        refused,
        visit,
    };
    visit.show(status, &page)
}

async fn shown(db: &Db, it: &Value) -> Result<Shown, Problem> {
    let price = price_of(it);
    let product = stored(db.read(), text(price, "product")).await?.unwrap_or_default();
    let period = (0, 0);
    Ok(Shown {
        id: text(it, "id").to_owned(),
        words: lines::whole(price, text(&product, "name"), quantity_of(it), period).description,
        status: text(it, "status").replace('_', " "),
        period_end: day(it, "current_period_end"),
        ends: it["cancel_at_period_end"] == true,
        has_ended: has_ended(it),
    })
}

fn issued(it: &Value) -> Issued {
    Issued {
        id: text(it, "id").to_owned(),
        number: text(it, "number").to_owned(),
        day: day(it, "created"),
        total: money(it, "total"),
        status: text(it, "status").to_owned(),
    }
}

/// The card that is charged next, in words.
async fn on_file(db: &Db, customer: &str) -> Result<Option<String>, Problem> {
    let db = db.read();
    let own = stored(db, customer).await?.unwrap_or_default();
    let subscriptions = all_of(db, "subscription", customer).await?;
    let live = subscriptions.iter().find(|it| !has_ended(it));
    let id = live.and_then(|it| it["default_payment_method"].as_str());
    let Some(id) = id.or_else(|| own["invoice_settings"]["default_payment_method"].as_str()) else { return Ok(None) };
    let method = stored(db, id).await?.unwrap_or_default();
    let card = &method["card"];
    Ok(Some(format!(
        "{} ending in {}, until {}/{}",
        text(card, "brand"),
        text(card, "last4"),
        card["exp_month"],
        card["exp_year"]
    )))
}
