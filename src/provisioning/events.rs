//! A run's changes as Server-Sent Events.
//!
//! Every event has an id of its own: the run's version that it tells of, and its place among what that version told. A client that
//! comes back with the last one it heard (`Last-Event-ID`) hears what comes after it and nothing else. Versions go on from run
//! to run of a tenant.

use std::{convert::Infallible, fmt, str::FromStr, time::Duration};

use async_stream::stream;
use axum::response::sse::Event;
use chrono::{DateTime, Utc};
use futures_util::Stream;
use serde_json::{Value, json};
use tokio::time::sleep;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{RunStatus, Status, StepState, current};
use crate::{app::App, http::chain};

/// How often to look where nobody in this process has said anything: another replica may have the run.
const POLL: Duration = Duration::from_millis(250);
/// Wakes are for everybody's work, so after one there is a pause before the next look.
const PAUSE: Duration = Duration::from_millis(20);

/// An event's id, in the order in which events are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EventId {
    /// The run's version.
    version: i64,
    /// The step's place in the run; behind the last step's, for the run itself.
    place: usize,
}

impl EventId {
    /// Of the event that tells of the run itself, after which there is nothing to tell of this version.
    fn last_of(status: &Status) -> Self {
        Self { version: status.version, place: status.steps.len() }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.version, self.place)
    }
}

impl FromStr for EventId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (version, place) = text.split_once('.').ok_or(())?;
        Ok(Self { version: version.parse().map_err(drop)?, place: place.parse().map_err(drop)? })
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, ToSchema)]
#[schema(as = ProvisionEvent)]
pub(super) struct News {
    /// `step` or `status`
    #[schema(rename = "event", pattern = "^(step|status)$")]
    kind: &'static str,
    /// What to send as `Last-Event-ID` to hear what comes after it.
    #[schema(value_type = String, pattern = "^[0-9]+\\.[0-9]+$")]
    id: EventId,
    /// A `ProvisionStep` or a `ProvisionStatus`, by the event.
    #[schema(value_type = String, content_media_type = "application/json")]
    data: Value,
}

/// What a client knows.
#[derive(Debug)]
struct Told {
    /// Everything up to this event.
    last: EventId,
    /// The run's own state, beside its steps.
    headline: Option<Headline>,
}

type Headline = (Uuid, RunStatus, Option<String>, Option<DateTime<Utc>>);

impl Told {
    /// What is new: steps as they changed, the run itself last.
    fn catch_up(&mut self, status: &Status) -> Vec<News> {
        let steps = status.steps.iter().enumerate();
        let id = |place, step: &StepState| EventId { version: step.version, place };
        let mut news: Vec<_> =
            steps.map(|(place, step)| News { kind: "step", id: id(place, step), data: json!(step) }).collect();
        let headline = (status.run_id, status.status, status.reason.clone(), status.queued_at);
        if self.headline.as_ref() != Some(&headline) {
            news.push(News { kind: "status", id: EventId::last_of(status), data: json!(status) });
        }
        news.retain(|news| news.id > self.last);
        news.sort_by_key(|news| news.id);
        self.last = self.last.max(EventId::last_of(status));
        self.headline = Some(headline);
        news
    }
}

/// Whether there is nothing to tell a client that has heard everything up to `last`, now or later.
pub(super) fn is_over(status: &Status, last: EventId) -> bool {
    status.status.is_terminal() && last >= EventId::last_of(status)
}

/// What happens to a tenant's run after the event `last`, until it has ended or the server stops.
pub(super) fn events(app: App, mut status: Status, last: EventId) -> impl Stream<Item = Result<Event, Infallible>> {
    stream! {
        let mut told = Told { last, headline: None };
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
    use crate::provisioning::{StepName, StepStatus};

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

    fn heard(told: &mut Told, status: &Status) -> Vec<(&'static str, String)> {
        told.catch_up(status).into_iter().map(|news| (news.kind, news.id.to_string())).collect()
    }

    fn newcomer() -> Told {
        Told { last: EventId::default(), headline: None }
    }

    fn since(id: &str) -> Told {
        Told { last: id.parse().unwrap(), headline: None }
    }

    fn news<const N: usize>(expected: [(&'static str, &str); N]) -> Vec<(&'static str, String)> {
        expected.map(|(kind, id)| (kind, id.to_owned())).to_vec()
    }

    #[test]
    fn a_newcomer_hears_every_step_in_the_order_of_change_and_the_status_last() {
        let mut told = newcomer();
        let status = status(RunStatus::Processing, 4, &[4, 4, 1]);
        assert_eq!(
            heard(&mut told, &status),
            news([("step", "1.2"), ("step", "4.0"), ("step", "4.1"), ("status", "4.3")])
        );
        assert_eq!(heard(&mut told, &status), []);
    }

    #[test]
    fn afterwards_only_changes_are_told_and_the_status_when_it_changes() {
        let mut told = newcomer();
        told.catch_up(&status(RunStatus::Processing, 4, &[4, 4, 1]));
        let changed = status(RunStatus::Processing, 5, &[4, 5, 5]);
        assert_eq!(heard(&mut told, &changed), news([("step", "5.1"), ("step", "5.2")]));
        let ended = status(RunStatus::Complete, 6, &[4, 5, 6]);
        assert_eq!(heard(&mut told, &ended), news([("step", "6.2"), ("status", "6.3")]));
    }

    #[test]
    fn who_was_cut_off_in_the_middle_of_a_burst_hears_the_rest_of_it_alone() {
        let burst = status(RunStatus::Processing, 5, &[5, 5, 5]);
        assert_eq!(heard(&mut since("5.1"), &burst), news([("step", "5.2"), ("status", "5.3")]));
        let later = status(RunStatus::Processing, 6, &[6, 5, 5]);
        assert_eq!(heard(&mut since("5.1"), &later), news([("step", "5.2"), ("step", "6.0"), ("status", "6.3")]));
    }

    #[test]
    fn who_knows_the_end_hears_that_it_is_over() {
        let ended = status(RunStatus::Complete, 6, &[4, 5, 6]);
        let is_over_after = |status: &Status, id: &str| is_over(status, id.parse().unwrap());
        assert!(is_over_after(&ended, "6.3"));
        assert!(!is_over_after(&ended, "6.2"));
        assert!(!is_over_after(&ended, "5.3"));
        assert!(!is_over_after(&status(RunStatus::Processing, 6, &[6]), "6.1"));
    }

    #[test]
    fn an_id_reads_as_it_is_written() {
        for wrong in ["", "5", "5.", ".5", "5.x", "-", "5.1.2", "5.-1"] {
            assert_eq!(wrong.parse::<EventId>(), Err(()), "{wrong}");
        }
        assert_eq!("12.3".parse(), Ok(EventId { version: 12, place: 3 }));
    }
}
