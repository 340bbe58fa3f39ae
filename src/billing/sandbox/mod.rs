//! A Stripe of our own for development: the part of Stripe's HTTP API that we use, with state, pages to pay on, signed webhooks, and
//! time that can be moved. The billing code calls it over HTTP, as it calls Stripe.
//!
//! An object is kept as Stripe's JSON ([`store`]). A call is one transaction ([`world`]): the objects that it changes, the events that
//! tell of it, and their deliveries in the outbox. What happens by itself (a period ends, a payment is tried again) is done by a worker at
//! the moment that the product's clock says ([`renewals`], [`jobs`]). Production refuses to run it.
//!
//! It refuses what it does not know, parameters too, rather than pass over it.

mod api;
mod cards;
mod catalog;
mod changes;
mod checkout;
mod customers;
mod deliveries;
mod dev;
mod error;
mod expand;
mod faults;
mod form;
mod invoices;
pub mod jobs;
mod keys;
mod lines;
mod pages;
mod payments;
mod portal;
mod proration;
mod read;
mod renewals;
mod store;
mod subscriptions;
mod world;

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

pub use api::routes as api_routes;
pub use catalog::price_id;
pub use deliveries::deliver;
pub use dev::routes as dev_routes;
use faults::Faults;
pub use pages::routes as page_routes;

/// The version of Stripe's API that objects are written in (<https://docs.stripe.com/changelog/basil>). Fields that this version has moved
/// are in their old place as well.
pub const STRIPE_VERSION: &str = "2025-03-31.basil";

/// What a process remembers of its sandbox: all else is in the database.
#[derive(Debug, Default)]
pub struct Sandbox {
    faults: Faults,
    running: Mutex<BTreeSet<String>>,
}

/// A call under an idempotency key, while it runs.
struct Running<'a> {
    sandbox: &'a Sandbox,
    key: String,
}

impl Sandbox {
    /// Begins a call under a key; nothing where one is running.
    fn begin(&self, key: &str) -> Option<Running<'_>> {
        let is_new = self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned());
        is_new.then(|| Running { sandbox: self, key: key.to_owned() })
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.sandbox.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
