//! A run's changes as Server-Sent Events.
//!
//! An event's id is the run's version up to which everything has been told, so a client that comes back with it
//! (`Last-Event-ID`) hears what it has missed and nothing else. Versions go on from run to run of a tenant.

use std::{convert::Infallible, time::Duration};

use async_stream::stream;
use axum::response::sse::Event;
use chrono::{DateTime, Utc};
use futures_util::Stream;
use serde_json::{Value, json};
use tokio::time::sleep;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{RunStatus, Status, current};
use crate::{app::App, http::chain};

/// How often to look where nobody in this process has said anything: another replica may have the run.
const POLL: Duration = Duration::from_millis(250);
/// Wakes are for everybody's work, so after one there is a pause before the next look.
const PAUSE: Duration = Duration::from_millis(20);

/// One event.
#[derive(Clone, Debug, PartialEq, ToSchema)]
#[schema(as = ProvisionEvent)]
pub(super) struct News {
    /// `step` or `status`
    #[schema(rename = "event", pattern = "^(step|status)$")]
    kind: &'static str,
    /// What to send as `Last-Event-ID` to hear what comes after it.
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    id: i64,
    /// A `ProvisionStep` or a `ProvisionStatus`, by the event.
    #[schema(value_type = String, content_media_type = "application/json")]
    data: Value,
}

/// What a client knows.
#[derive(Debug)]
struct Told {
    /// Everything up to this version.
    version: i64,
    /// The run's own state, beside its steps.
    headline: Option<Headline>,
}

type Headline = (Uuid, RunStatus, Option<String>, Option<DateTime<Utc>>);

impl Told {
    /// What is new. Only the last event says that all of it has been told, so a client that loses the connection in the middle hears
    /// the whole of it again.
    fn catch_up(&mut self, status: &Status) -> Vec<News> {
        let known = self.version;
        let headline = (status.run_id, status.status, status.reason.clone(), status.queued_at);
        let steps = status.steps.iter().filter(|step| step.version > known);
        let mut news: Vec<_> = steps.map(|step| News { kind: "step", id: known, data: json!(step) }).collect();
        if status.version > known && self.headline.as_ref() != Some(&headline) {
            news.push(News { kind: "status", id: known, data: json!(status) });
        }
        self.version = known.max(status.version);
        self.headline = Some(headline);
        if let Some(last) = news.last_mut() {
            last.id = self.version;
        }
        news
    }
}

/// Whether there is nothing to tell a client that knows everything up to `version`, now or later.
pub(super) fn is_over(status: &Status, version: i64) -> bool {
    status.status.is_terminal() && version >= status.version
}

/// What happens to a tenant's run from `version` on, until it has ended or the server stops.
pub(super) fn events(app: App, mut status: Status, version: i64) -> impl Stream<Item = Result<Event, Infallible>> {
    stream! {
        let mut told = Told { version, headline: None };
        loop {
            for News { kind, id, data } in told.catch_up(&status) {
                yield Ok(Event::default().event(kind).id(id.to_string()).data(data.to_string()));
            }
            if status.status.is_terminal() {
                return;
            }
            match changed(&app, &status).await {
                Some(changed) => status = changed,
                None => return,
            }
        }
    }
}

/// Waits for the next change; nothing where the tenant is gone or the server stops.
async fn changed(app: &App, known: &Status) -> Option<Status> {
    loop {
        let woken = app.wake.woken();
        match current(app.db.read(), known.tenant_id).await {
            Ok(Some(status)) if status.version == known.version => {}
            Ok(status) => return status,
            Err(error) => tracing::debug!(feature = "provision", error = %chain(&error), "Could not look for news"),
        }
        tokio::select! {
            () = woken => sleep(PAUSE).await,
            () = sleep(POLL) => {}
            () = app.stop.cancelled() => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provisioning::{StepName, StepState, StepStatus};

    fn step(name: StepName, version: i64) -> StepState {
        StepState {
            name,
            status: StepStatus::Complete,
            attempts: 1,
            started_at: None,
            finished_at: None,
            duration_ms: None,
            error: None,
            version,
        }
    }

    fn status(status: RunStatus, version: i64, steps: &[i64]) -> Status {
        let names = [StepName::SeedDefaults, StepName::ConfigureRouting, StepName::SendMagicLink];
        Status {
            tenant_id: Uuid::nil(),
            run_id: Uuid::nil(),
            plan: "free".into(),
            status,
            reason: None,
            queued_at: None,
            updated_at: DateTime::UNIX_EPOCH,
            duration_ms: None,
            dry_run: true,
            steps: names.into_iter().zip(steps).map(|(name, version)| step(name, *version)).collect(),
            version,
        }
    }

    fn heard(told: &mut Told, status: &Status) -> Vec<(&'static str, i64)> {
        told.catch_up(status).into_iter().map(|news| (news.kind, news.id)).collect()
    }

    #[test]
    fn a_newcomer_hears_every_step_and_the_status_last() {
        let mut told = Told { version: 0, headline: None };
        let news = heard(&mut told, &status(RunStatus::Processing, 4, &[4, 4, 1]));
        assert_eq!(news, [("step", 0), ("step", 0), ("step", 0), ("status", 4)]);
        assert_eq!(heard(&mut told, &status(RunStatus::Processing, 4, &[4, 4, 1])), []);
    }

    #[test]
    fn afterwards_only_changes_are_told_and_the_status_when_it_changes() {
        let mut told = Told { version: 0, headline: None };
        told.catch_up(&status(RunStatus::Processing, 4, &[4, 4, 1]));
        let news = heard(&mut told, &status(RunStatus::Processing, 5, &[4, 5, 5]));
        assert_eq!(news, [("step", 4), ("step", 5)]);
        let news = heard(&mut told, &status(RunStatus::Complete, 6, &[4, 5, 6]));
        assert_eq!(news, [("step", 5), ("status", 6)]);
    }

    #[test]
    fn who_comes_back_hears_what_was_missed_and_a_client_that_knows_the_end_hears_that_it_is_over() {
        let ended = status(RunStatus::Complete, 6, &[4, 5, 6]);
        let mut told = Told { version: 4, headline: None };
        assert_eq!(heard(&mut told, &ended), [("step", 4), ("step", 4), ("status", 6)]);
        assert!(is_over(&ended, 6));
        assert!(!is_over(&ended, 5));
        assert!(!is_over(&status(RunStatus::Processing, 6, &[6]), 6));
    }
}
