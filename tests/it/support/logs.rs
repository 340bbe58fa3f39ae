//! What the product logs, caught in the test's own process.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use tracing::{Event, Level, Subscriber, field::Visit};
use tracing_subscriber::{
    Layer,
    filter::LevelFilter,
    layer::{Context, SubscriberExt},
    util::SubscriberInitExt,
};

/// One event with its own fields, as text.
#[derive(Clone, Debug)]
pub struct Logged {
    pub level: Level,
    pub fields: BTreeMap<String, String>,
}

impl Logged {
    /// A field's text; empty where it is missing.
    pub fn get(&self, field: &str) -> &str {
        self.fields.get(field).map_or("", String::as_str)
    }
}

/// All events since the last look.
#[derive(Clone, Default)]
pub struct Logs(Arc<Mutex<Vec<Logged>>>);

impl Logs {
    /// Catches what the process logs from now on, at INFO and above. Once a process: nextest gives each test its own.
    pub fn catch() -> Self {
        let logs = Self::default();
        let caught = tracing_subscriber::registry().with(LevelFilter::INFO).with(logs.clone()).try_init();
        caught.expect("nobody else catches: run the tests with cargo-nextest");
        logs
    }

    /// Takes what was caught so far.
    pub fn take(&self) -> Vec<Logged> {
        std::mem::take(&mut self.0.lock().expect("nobody panicked here"))
    }
}

impl<S: Subscriber> Layer<S> for Logs {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields(BTreeMap::new());
        event.record(&mut fields);
        let logged = Logged { level: *event.metadata().level(), fields: fields.0 };
        self.0.lock().expect("nobody panicked here").push(logged);
    }
}

struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}
