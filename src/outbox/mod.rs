//! The outbox: work that was committed with the fact that caused it, and is done afterwards.
//!
//! A row is `pending` until its mail is accepted or its webhook delivered (`done`), or until nothing is left to try
//! (`failed`). It is claimed by lease: a worker that dies or stalls loses it to another, and the fence that each claim
//! raises refuses the late write of the one that lost it. So each row is done at least once; what repeats carries the same
//! id (a mail's `Message-ID`, a webhook's `webhook-id`).
//!
//! The payload is sealed at rest, because it holds links that log people in, and erased when the row is done.

mod backoff;
pub mod jobs;
mod store;

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{
    clock::Now,
    db::Batch,
    seal::{SealError, Sealer},
};

pub use store::{Kind, SealedMail, Status, erase_mails, mails};

const PURPOSE: &str = "outbox";

/// A sealed payload that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// It does not open.
    #[error("the payload does not open")]
    Sealed(#[from] SealError),
    /// It opens, and is not what its kind says.
    #[error("the payload is not of its kind")]
    Shape(#[from] serde_json::Error),
}

/// What became of one try at a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The other side has it.
    Done,
    /// Done, and the payload stays readable: the development mailbox.
    Kept,
    /// A later try may succeed.
    Retry {
        /// What stood in the way, fit to show to an operator.
        error: String,
        /// The pause that the other side asked for.
        after: Option<Duration>,
    },
    /// No later try can succeed.
    Refused {
        /// Why, fit to show to an operator.
        error: String,
    },
}

/// Adds a row that is due at once; answers its id. Wake the workers after the commit.
///
/// # Panics
/// Where `payload` cannot be JSON, which no payload of ours is.
pub fn enqueue(
    batch: &mut Batch,
    sealer: &Sealer,
    now: &Now,
    tenant_id: Option<Uuid>,
    kind: Kind,
    payload: &impl Serialize,
) -> Uuid {
    let plain = serde_json::to_vec(payload).expect("payloads are plain data");
    let id = now.id();
    batch.insert(store::row::Model {
        id,
        tenant_id,
        kind,
        payload: Some(sealer.seal(PURPOSE, now.bytes(), &plain)),
        status: Status::Pending,
        attempts: 0,
        due_at: now.at,
        fence: 0,
        lease_expires_at: None,
        last_error: None,
        created_at: now.at,
        finished_at: None,
    });
    id
}

/// Opens what [`enqueue`] sealed.
///
/// # Errors
/// See [`PayloadError`].
pub fn open<T: DeserializeOwned>(sealer: &Sealer, payload: &[u8]) -> Result<T, PayloadError> {
    Ok(serde_json::from_slice(&sealer.open(PURPOSE, payload)?)?)
}
