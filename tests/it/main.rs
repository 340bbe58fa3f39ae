//! Journeys across slices, each on SQLite and on PostgreSQL.
//!
//! Run by `scripts/test`, which starts a PostgreSQL and names it in `TEST_DATABASE_URL`. Without that variable the PostgreSQL
//! half fails rather than passing unseen.

#[macro_use]
mod support;

mod admin;
mod atomic;
mod attempts;
mod backfill;
mod billing;
mod claims;
mod connections;
mod console;
mod console_lists;
mod doctor;
mod doors;
mod edge;
mod ended_sessions;
mod grace;
mod hostile_jwts;
mod house;
mod idempotency;
mod identity;
mod invites;
mod limits;
mod mail;
mod migrations;
mod oauth;
mod outage;
mod outbox;
mod pages;
mod plan_files;
mod plans;
mod process;
mod provisioning;
mod races;
mod refusals;
mod register;
mod replicas;
mod sandbox;
mod second_factor;
mod security_mails;
mod settings;
mod signup;
mod site;
mod storefront;
mod stripe;
mod tokens;
mod typed_code;
mod upkeep;
mod wizard;
