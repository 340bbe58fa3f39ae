//! Failures that are ordered: what a network and a payment provider do now and then, on demand. Kept in memory, by each process for
//! itself, and there in development only.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::http::Method;
use serde::Deserialize;
use serde_json::Value;
use utoipa::{
    ToSchema,
    openapi::{Object, ObjectBuilder, Type, schema::SchemaType},
};

/// How the next calls of a kind fail. Without `status` and `drop` they are answered as usual, after the stall.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The method; any where it is missing.
    #[schema(example = "POST")]
    pub method: Option<String>,
    /// The address, or its beginning and a `*`.
    #[schema(example = "/v1/checkout/sessions")]
    pub path: String,
    /// How many calls.
    #[serde(default = "once")]
    #[schema(minimum = 1, maximum = 1000, default = 1)]
    pub times: u32,
    /// What is answered.
    #[schema(schema_with = status_schema)]
    pub status: Option<u16>,
    /// Seconds in `Retry-After`, a day at most.
    #[schema(maximum = 86_400)]
    pub retry_after: Option<u32>,
    /// Milliseconds before anything happens, a minute at most.
    #[serde(default)]
    #[schema(maximum = 60_000)]
    pub stall_ms: u64,
    /// Whether the call is done before it fails.
    #[serde(default)]
    pub effect: bool,
    /// Whether the connection breaks instead of an answer.
    #[serde(default)]
    pub drop: bool,
}

const fn once() -> u32 {
    1
}

/// What can be ordered: a declined card, too many calls, and what comes from servers and from those before them.
const STATUSES: [u16; 6] = [402, 429, 500, 502, 503, 504];

fn status_schema() -> Object {
    let values = STATUSES.map(Value::from).into_iter().chain([Value::Null]);
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Integer, Type::Null]))
        .enum_values(Some(values))
        .build()
}

impl Fault {
    /// How long to wait first.
    pub fn stall(&self) -> Duration {
        Duration::from_millis(self.stall_ms)
    }

    /// What is wrong with an order: the field, and words.
    pub fn fault(&self) -> Option<(&'static str, &'static str)> {
        if self.status.is_some_and(|status| !STATUSES.contains(&status)) {
            return Some(("request.status", "Has to be 402, 429, 500, 502, 503 or 504."));
        }
        if self.stall_ms > 60_000 {
            return Some(("request.stall_ms", "Has to be 60000 at most."));
        }
        if self.retry_after.is_some_and(|seconds| seconds > 86_400) {
            return Some(("request.retry_after", "Has to be 86400 at most."));
        }
        (!(1..=1000).contains(&self.times)).then_some(("request.times", "Has to be 1 to 1000."))
    }

    fn fits(&self, method: &Method, path: &str) -> bool {
        let same_method = self.method.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method.as_str()));
        let same_path = match self.path.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => path == self.path,
        };
        same_method && same_path
    }
}

/// What happens to events on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// They are sent once, at once.
    Usual,
    /// They are kept until they are released.
    Held,
    /// Each is sent twice.
    Duplicated,
    /// Each is sent after a while of its own, at most `seconds`.
    Shuffled,
    /// Each is sent after `seconds`.
    Late,
}

/// How events are delivered from now on.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Deliveries {
    /// What happens to them.
    pub mode: Mode,
    /// By the product's clock, for `shuffled` and `late`.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 31_536_000)]
    pub seconds: i64,
}

#[derive(Debug, Default)]
struct Ordered {
    faults: Vec<Fault>,
    deliveries: Option<Deliveries>,
    held: Vec<String>,
}

/// What was ordered.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Ordered>);

impl Faults {
    fn ordered(&self) -> MutexGuard<'_, Ordered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Orders a failure, after those that were ordered before.
    pub fn order(&self, fault: Fault) {
        self.ordered().faults.push(fault);
    }

    /// Orders how events are delivered.
    pub fn deliver(&self, deliveries: Deliveries) {
        self.ordered().deliveries = Some(deliveries);
    }

    /// The failure that a call is to have, if any; it is used up.
    pub fn take(&self, method: &Method, path: &str) -> Option<Fault> {
        let mut ordered = self.ordered();
        let place = ordered.faults.iter().position(|fault| fault.fits(method, path))?;
        let fault = ordered.faults[place].clone();
        ordered.faults[place].times -= 1;
        if ordered.faults[place].times == 0 {
            ordered.faults.remove(place);
        }
        Some(fault)
    }

    /// How events are delivered.
    pub fn deliveries(&self) -> Deliveries {
        self.ordered().deliveries.unwrap_or(Deliveries { mode: Mode::Usual, seconds: 0 })
    }

    /// Holds an event.
    pub fn hold(&self, event: String) {
        self.ordered().held.push(event);
    }

    /// The events that are held, in the order in which they were to be delivered; they are no longer.
    pub fn release(&self) -> Vec<String> {
        std::mem::take(&mut self.ordered().held)
    }

    /// Takes every order back; what is held stays so until it is released.
    pub fn clear(&self) {
        let mut ordered = self.ordered();
        ordered.faults.clear();
        ordered.deliveries = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(path: &str, times: u32) -> Fault {
        let json = serde_json::json!({"method": "post", "path": path, "times": times, "status": 500});
        serde_json::from_value(json).expect("a fault")
    }

    #[test]
    fn a_fault_is_for_as_many_calls_as_it_says() {
        let faults = Faults::default();
        faults.order(fault("/v1/customers", 2));
        faults.order(fault("/v1/sub*", 1));
        let taken = |method, path| faults.take(&method, path).is_some();
        assert!(!taken(Method::GET, "/v1/customers"));
        assert!(!taken(Method::POST, "/v1/customers/cus_1"));
        assert!(taken(Method::POST, "/v1/customers"));
        assert!(taken(Method::POST, "/v1/customers"));
        assert!(!taken(Method::POST, "/v1/customers"));
        assert!(taken(Method::POST, "/v1/subscriptions/sub_1"));
        faults.order(fault("/v1/customers", 5));
        faults.clear();
        assert!(!taken(Method::POST, "/v1/customers"));
        assert!(fault("/v1", 0).fault().is_some());
    }
}
