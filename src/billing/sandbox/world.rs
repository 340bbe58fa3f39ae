//! One change of the sandbox: the open transaction, the moment at which it happens, and the events that it causes.
//!
//! Changes come one after the other, by the lock on the counter, so that an object's place in the order is also the order in which others
//! see it. What happens by itself happens at its own moment, also where it is only noticed later.

use std::fmt::Write;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use url::Url;

use super::{
    STRIPE_VERSION,
    deliveries::Queued,
    error::Error,
    store::{self, hide, text},
};
use crate::{
    clock::Now,
    db::{Batch, Tx},
    outbox::{self, Kind},
    seal::Sealer,
};

/// What a change needs to know of its surroundings.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Seals what goes into the outbox.
    pub sealer: &'a Sealer,
    /// Where people reach the sandbox's pages.
    pub public_url: &'a Url,
}

/// The call that a change is made by; nothing where it happens by itself.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// The request's id.
    pub request_id: Option<String>,
    /// The idempotency key that was sent.
    pub idempotency_key: Option<String>,
}

/// One change under way.
pub struct World<'a> {
    tx: &'a Tx,
    now: &'a Now,
    place: Place<'a>,
    /// When it happens.
    pub at: DateTime<Utc>,
    caller: Caller,
    last_number: i64,
    batch: Batch,
}

impl<'a> World<'a> {
    /// Begins a change that happens now.
    pub async fn open(tx: &'a Tx, now: &'a Now, place: Place<'a>, caller: Caller) -> Result<Self, Error> {
        let last_number = store::lock(tx).await?;
        Ok(Self { tx, now, place, at: now.at, caller, last_number, batch: Batch::default() })
    }

    /// Writes down the counter and queues the events' deliveries. The edge commits, and wakes the workers.
    pub async fn close(self) -> Result<(), Error> {
        store::count(self.tx, self.last_number).await?;
        Ok(self.batch.send(self.tx).await?)
    }

    /// The transaction, to read in.
    pub fn tx(&self) -> &Tx {
        self.tx
    }

    /// Its moment in Unix seconds.
    pub fn seconds(&self) -> i64 {
        self.at.timestamp()
    }

    /// A new id of Stripe's form.
    pub fn id(&self, prefix: &str) -> String {
        let mut id = format!("{prefix}_");
        for byte in self.now.bytes::<12>() {
            let _ = write!(id, "{byte:02x}");
        }
        id
    }

    /// A page of the sandbox.
    pub fn page(&self, path: &str) -> String {
        format!("{}/sandbox/{path}", self.place.public_url.as_str().trim_end_matches('/'))
    }

    /// An object that a parameter names; `id` is the address.
    pub async fn need(&self, kind: &str, id: &str, param: &str) -> Result<Value, Error> {
        let found = store::find(self.tx, id).await?;
        let found = found.filter(|object| object["object"] == kind && object["deleted"] != true);
        found.ok_or_else(|| no_such(kind, id, param))
    }

    /// Adds an object.
    pub async fn insert(&mut self, object: &Value, due_at: Option<i64>) -> Result<(), Error> {
        self.last_number += 1;
        Ok(store::insert(self.tx, self.last_number, object, moment(due_at)).await?)
    }

    /// Puts an object in the place of what it was.
    pub async fn save(&self, object: &Value, due_at: Option<i64>) -> Result<(), Error> {
        Ok(store::update(self.tx, object, moment(due_at)).await?)
    }

    /// Tells that something has happened to an object.
    pub async fn emit(&mut self, event_type: &str, object: &Value) -> Result<(), Error> {
        self.tell(event_type, object, None).await
    }

    /// Tells that an object has changed, and what it was before; nothing where it has not.
    pub async fn emit_change(&mut self, event_type: &str, before: &Value, after: &Value) -> Result<(), Error> {
        let (mut before, mut after) = (before.clone(), after.clone());
        hide(&mut before);
        hide(&mut after);
        let previous = previous(&before, &after);
        if previous.is_empty() { Ok(()) } else { self.tell(event_type, &after, Some(previous)).await }
    }

    async fn tell(
        &mut self,
        event_type: &str,
        object: &Value,
        previous: Option<Map<String, Value>>,
    ) -> Result<(), Error> {
        let mut object = object.clone();
        hide(&mut object);
        let mut data = json!({"object": object});
        if let Some(previous) = previous {
            data["previous_attributes"] = previous.into();
        }
        let event = json!({
            "id": self.id("evt"),
            "object": "event",
            "api_version": STRIPE_VERSION,
            "created": self.seconds(),
            "data": data,
            "livemode": false,
            "pending_webhooks": 1,
            "request": {"id": self.caller.request_id, "idempotency_key": self.caller.idempotency_key},
            "type": event_type,
        });
        self.insert(&event, None).await?;
        let queued = Queued::new(text(&event, "id"));
        outbox::enqueue(&mut self.batch, self.place.sealer, self.now, None, Kind::SandboxEvent, &queued);
        Ok(())
    }
}

/// The refusal of an id that nothing has.
pub fn no_such(kind: &str, id: &str, param: &str) -> Error {
    let kind = match kind {
        "payment_method" => "PaymentMethod",
        "checkout.session" => "checkout session",
        kind => kind,
    };
    Error::NoSuch { kind: kind.to_owned(), id: id.to_owned(), param: param.to_owned() }
}

fn moment(seconds: Option<i64>) -> Option<DateTime<Utc>> {
    seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0))
}

/// The fields that differ, as they were.
fn previous(before: &Value, after: &Value) -> Map<String, Value> {
    let (Some(before), Some(after)) = (before.as_object(), after.as_object()) else { return Map::new() };
    let differs = |(name, value): &(&String, &Value)| after.get(*name) != Some(value);
    before.iter().filter(differs).map(|(name, value)| (name.clone(), value.clone())).collect()
}
