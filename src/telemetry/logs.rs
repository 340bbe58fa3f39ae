//! Log lines: one JSON object each, `{ts, level, feature, msg, …}` with lower-case levels and the fields of the event and of the
//! spans around it, flat; in development, text for a person.

use std::{fmt, io::IsTerminal};

use serde_json::{Map, Value};
use tracing::{Event, Subscriber, field::Visit, span};
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, format::Writer},
    layer::Context,
    registry::LookupSpan,
};

use crate::{clock::Clock, config::LogFormat};

/// Writes to standard error. `RUST_LOG` chooses what; information and above where it is unset.
pub(super) fn layer<S>(format: LogFormat, clock: Clock) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn,sea_orm_migration=warn"));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Json => SpanFields.and_then(lines.event_format(JsonLines { clock })).with_filter(filter).boxed(),
        LogFormat::Pretty => {
            lines.with_target(false).with_ansi(std::io::stderr().is_terminal()).with_filter(filter).boxed()
        }
    }
}

/// Remembers a span's fields as JSON, for the lines inside it.
struct SpanFields;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for SpanFields {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_f64(&mut self, field: &tracing::field::Field, value: f64) {
        // Milliseconds to the microsecond are enough for a log.
        self.0.insert(field.name().to_owned(), ((value * 1000.0).round() / 1000.0).into());
    }

    fn record_i64(&mut self, field: &tracing::field::Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &tracing::field::Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &tracing::field::Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }
}

struct JsonLines {
    clock: Clock,
}

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = Map::new();
        line.insert("ts".into(), self.clock.now().at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true).into());
        line.insert("level".into(), event.metadata().level().as_str().to_ascii_lowercase().into());
        for span in context.event_scope().into_iter().flat_map(tracing_subscriber::registry::Scope::from_root) {
            let extensions = span.extensions();
            debug_assert!(extensions.get::<FormattedFields<N>>().is_some());
            if let Some(fields) = extensions.get::<Fields>() {
                line.extend(fields.0.clone());
            }
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        if let Some(message) = fields.0.remove("message") {
            line.insert("msg".into(), message);
        }
        line.extend(fields.0);
        line.entry("feature").or_insert_with(|| event.metadata().target().into());
        writeln!(writer, "{}", Value::Object(line))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(log: impl FnOnce()) -> Vec<Value> {
        let (written, clock) = (Written::default(), Clock::seeded(1));
        let writer = written.clone();
        let json =
            tracing_subscriber::fmt::layer().event_format(JsonLines { clock }).with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(SpanFields).with(json), log);
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).expect("one JSON object a line")).collect()
    }

    #[test]
    fn a_line_is_flat_json_with_the_fields_of_its_spans() {
        let lines = lines(|| {
            let span = tracing::info_span!("run", tenant_id = "t-1", plan = "pro", step = tracing::field::Empty);
            let _inside = span.enter();
            span.record("step", "seed_defaults");
            tracing::warn!(
                feature = "provision",
                duration_ms = 1.234_567,
                attempt = 2,
                "Provision \"failed\"\n{}",
                "again"
            );
        });
        let mut line = lines[0].clone();
        let ts = line["ts"].take();
        assert!(
            chrono::DateTime::parse_from_rfc3339(ts.as_str().unwrap()).is_ok() && ts.as_str().unwrap().ends_with('Z')
        );
        let expected = serde_json::json!({
            "ts": null, "level": "warn", "feature": "provision", "msg": "Provision \"failed\"\nagain",
            "tenant_id": "t-1", "plan": "pro", "step": "seed_defaults", "duration_ms": 1.235, "attempt": 2,
        });
        assert_eq!((lines.len(), line), (1, expected));
    }

    #[test]
    fn an_event_has_the_last_word_and_every_line_a_feature() {
        let lines = lines(|| {
            let inside = tracing::info_span!("request", feature = "http", route = "/").entered();
            tracing::info!(feature = "signup", "Sign-up refused");
            tracing::error!(error = ?std::fmt::Error, "Oops");
            drop(inside);
            tracing::debug!("Outside");
        });
        let features: Vec<_> = lines.iter().map(|line| line["feature"].as_str().unwrap()).collect();
        assert_eq!(features, ["signup", "http", "tenantry::telemetry::logs::tests"]);
        assert_eq!((&lines[1]["level"], &lines[1]["error"]), (&"error".into(), &"Error".into()));
    }
}
