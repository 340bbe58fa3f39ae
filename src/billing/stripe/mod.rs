//! Stripe, by its HTTP API: a thin client of our own, for the handful of calls that we make.
//!
//! A tenant that pays by Stripe is a **customer** there (`subscriptions.stripe_customer_id`). It buys in a **checkout** session, of which it
//! has one at a time, and changes its subscription here or in Stripe's portal. An **event** of Stripe's only says that something has
//! changed: what a customer has now is asked of Stripe ([`sync`]) and applied in one transaction. What was asked is thrown away where
//! somebody else has applied theirs meanwhile, so nothing ever moves backwards, whatever the order of events. The same is done
//! on a schedule, for events that never came ([`reconcile`]).

mod access;
pub mod admin;
pub mod api;
mod apply;
mod changes;
mod checkout;
mod client;
mod current;
mod customer;
mod events;
pub mod inbox;
mod invoices;
mod leave;
pub mod prices;
pub mod reconcile;
pub mod signature;
mod subscriptions;
mod sync;
mod webhook;
pub mod wire;

use std::time::Duration;

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use sea_orm::DbErr;

pub use access::Access;
pub use apply::Applied;
pub use changes::{cancel, change_plan, portal, resume};
pub use checkout::{Buyer, Session, close as close_checkout, is_open as has_checkout, open as open_checkout};
pub use client::{Client, Failure, STRIPE_VERSION};
pub use leave::leave;
pub use prices::Interval;
pub use subscriptions::{Standing, is_customer, standing};
pub use sync::sync;

use crate::{
    billing::credits,
    db::BatchError,
    http::{FieldError, NotKept, Problem},
};

/// What a caller can run into here, Stripe, and the database.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no Stripe to call, or no price for the plan at it.
    #[error("billing is not configured")]
    NotConfigured,
    /// No plan has that slug.
    #[error("there is no such plan")]
    UnknownPlan,
    /// The plan is free, or sold by people.
    #[error("the plan is not self-serve")]
    NotSelfServe,
    /// The plan is not sold by that interval.
    #[error("the plan is not sold by the {}", .0.as_str())]
    NotSoldBy(Interval),
    /// The tenant has a subscription at Stripe.
    #[error("the tenant has a subscription already")]
    AlreadySubscribed,
    /// The tenant has paid by bank transfer, until then.
    #[error("the tenant has paid by bank transfer until {0}")]
    PaidUntil(DateTime<Utc>),
    /// Another checkout of the tenant was opened at the same moment, for something else.
    #[error("another checkout was opened at the same time")]
    CheckoutInProgress,
    /// The tenant has no subscription at Stripe.
    #[error("the tenant has no subscription at Stripe")]
    NoSubscription,
    /// Stripe does not know the tenant's subscription: it was bought with the keys of another account, or its test data is gone.
    #[error("Stripe does not know the subscription")]
    UnknownThere,
    /// The subscription has ended, and cannot be gone on with.
    #[error("the subscription has ended")]
    Ended,
    /// Others kept changing the tenant's subscription.
    #[error("the subscription kept changing")]
    Busy,
    /// Stripe.
    #[error(transparent)]
    Stripe(#[from] Failure),
    /// The ledger refused.
    #[error(transparent)]
    Credits(#[from] credits::Error),
    /// Inserts that were refused.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A request under the same Idempotency-Key is being committed.
    #[error(transparent)]
    NotKept(#[from] NotKept),
    /// The database.
    #[error(transparent)]
    Database(#[from] DbErr),
}

/// When it is worth to try again where Stripe has not said so.
const TRY_AGAIN: Duration = Duration::from_secs(5);

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
        match error {
            Error::NotConfigured => {
                let detail = "Payment by card is not available here. Choose another way to pay.";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "BILLING_NOT_CONFIGURED", detail)
                    .retry_after(Duration::from_mins(1))
            }
            Error::UnknownPlan => {
                Self::invalid(vec![FieldError::new("plan_slug", "UNKNOWN_PLAN", "There is no such plan.")])
            }
            Error::NotSelfServe => {
                let detail = "This plan is not sold here: it is free, or made to measure. Please contact sales.";
                Self::new(unprocessable, "PLAN_NOT_SELF_SERVE", detail)
            }
            Error::NotSoldBy(interval) => {
                let message = format!("This plan is not sold by the {}.", interval.as_str());
                Self::invalid(vec![FieldError::new("interval", "NOT_SOLD", message)])
            }
            Error::AlreadySubscribed => {
                Self::conflict("ALREADY_SUBSCRIBED", "There is a subscription already. Change its plan instead.")
            }
            Error::PaidUntil(until) => {
                let detail = format!(
                    "This is paid by bank transfer until {}. Pay by card from then on, or change the plan.",
                    until.format("%-d %B %Y")
                );
                Self::conflict("ALREADY_SUBSCRIBED", detail)
            }
            Error::CheckoutInProgress => {
                let detail = "Another checkout was opened at the same time, for another plan. Try again.";
                Self::conflict("CHECKOUT_IN_PROGRESS", detail)
            }
            Error::NoSubscription => {
                Self::conflict("NO_STRIPE_SUBSCRIPTION", "There is no subscription that is paid by card.")
            }
            Error::UnknownThere => {
                let detail =
                    "The payment service does not know this subscription. Please write to us: nothing was changed.";
                Self::conflict("NO_STRIPE_SUBSCRIPTION", detail)
            }
            Error::Ended => {
                Self::conflict("SUBSCRIPTION_ENDED", "The subscription has ended. Choose a plan to begin another.")
            }
            Error::Busy => unavailable(None),
            Error::Stripe(failure) => refused(failure),
            Error::Credits(error) => error.into(),
            Error::Batch(refused) => Self::database(&refused.source),
            Error::NotKept(error) => error.into(),
            Error::Database(error) => Self::database(&error),
        }
    }
}

fn unavailable(after: Option<Duration>) -> Problem {
    let detail = "The payment service cannot answer right now. Nothing was charged twice; try again in a moment.";
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE", detail);
    problem.retry_after(after.unwrap_or(TRY_AGAIN))
}

/// What Stripe's refusal is to our caller: a card is their affair, a key or a price that it does not know is ours.
fn refused(failure: Failure) -> Problem {
    match failure {
        Failure::Unavailable { after, .. } => unavailable(after),
        Failure::Refused { refusal, .. } if refusal.kind == "card_error" => {
            let detail = refusal.message.unwrap_or_else(|| "The payment was declined.".to_owned());
            Problem::new(StatusCode::PAYMENT_REQUIRED, "PAYMENT_FAILED", detail)
        }
        failure @ (Failure::Refused { .. } | Failure::Unreadable(_)) => Problem::internal(&failure),
    }
}
