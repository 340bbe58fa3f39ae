//! Journeys across slices, each on SQLite and on PostgreSQL.
//!
//! Run by `scripts/test`, which starts a PostgreSQL and names it in `TEST_DATABASE_URL`. Without that variable the PostgreSQL
//! half fails rather than passing unseen.

#[macro_use]
mod support;

mod atomic;
mod house;
mod identity;
mod outage;
mod outbox;
mod process;
mod wizard;
