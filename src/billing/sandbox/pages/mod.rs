//! The sandbox's pages: where people pay, look after what they pay for, and read an invoice. Whoever knows a page's address may use it, as at
//! Stripe.

mod card;
mod invoice;
mod pay;
mod portal;

use axum::Router;
use sea_orm::ConnectionTrait;
use serde_json::Value;

use super::{
    error::Error,
    lines::amount_in,
    store::{self, int, text},
};
use crate::{
    app::App,
    http::{Problem, chain},
};

/// The pages.
pub fn routes() -> Router<App> {
    pay::routes().merge(portal::routes()).merge(invoice::routes())
}

/// Where there is no sandbox there are no pages.
fn only_where_it_is(app: &App) -> Result<(), Problem> {
    if app.config.billing.sandbox { Ok(()) } else { Err(Problem::not_found()) }
}

/// An object that an address names.
async fn find(db: &impl ConnectionTrait, kind: &str, id: &str) -> Result<Value, Problem> {
    let found = store::find(db, id).await?.filter(|object| object["object"] == kind);
    found.ok_or_else(Problem::not_found)
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Database(source) => Self::database(&source),
            Error::NoSuch { .. } | Error::Route(_) => Self::not_found(),
            Error::State { code: _, message } => Self::conflict("SANDBOX_REFUSED", message),
            error @ (Error::Key
            | Error::Missing(_)
            | Error::Unknown(_)
            | Error::Invalid { .. }
            | Error::Declined(_)
            | Error::Tried(_)
            | Error::KeyReused
            | Error::KeyInUse
            | Error::Ordered(_)) => {
                tracing::error!(feature = "sandbox", error = %chain(&error), "A page of the sandbox failed");
                Self::internal(&error)
            }
        }
    }
}

/// An amount of an object, for people.
fn money(object: &Value, field: &str) -> String {
    amount_in(int(object, field), text(object, "currency"))
}

/// A day of an object, for people.
fn day(object: &Value, field: &str) -> String {
    let day = chrono::DateTime::from_timestamp(int(object, field), 0).unwrap_or_default();
    day.format("%-d %B %Y").to_string()
}
