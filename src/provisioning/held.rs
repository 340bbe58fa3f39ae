//! A run in a worker's hands, and what comes next in it. Everything here is in memory; [`super::record`] writes it.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{
    StepName, StepStatus,
    store::{Subject, step},
};
use crate::clock::Now;

/// A claimed run.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub run_id: Uuid,
    pub plan: String,
    pub dry_run: bool,
    /// What this claim's writes have to show.
    pub fence: i64,
    /// The run's version as this worker knows it; somebody else's change shows as another.
    pub version: i64,
    pub queued_at: Option<DateTime<Utc>>,
    pub started_at: DateTime<Utc>,
    pub steps: Vec<step::Model>,
    pub subject: Subject,
}

/// What is to be done with a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Run this step, which has been begun.
    Run(usize),
    /// Give up, because of this step.
    Fail(usize, String),
    /// Every step is finished.
    Complete,
}

/// What decides over a step before it begins.
pub(super) trait Rules {
    /// Attempts of a step, at least 1.
    fn max_attempts(&self) -> i64;

    /// Whether a step has nothing to do for this tenant.
    fn is_idle(&self, held: &Held, name: StepName) -> bool;

    /// The hash of the token with which a step is reported from outside.
    fn callback_hash(&self, held: &Held, name: StepName) -> Option<Vec<u8>>;
}

/// In a step's output: until when it waits for its callback.
pub(super) const WAITING_UNTIL: &str = "waiting_until";

impl Held {
    /// Begins the first step that is not finished. The attempt is counted here, before the step has any effect, so that a step
    /// which takes the whole process down with it comes to an end, too.
    pub fn begin_next(&mut self, now: &Now, rules: &impl Rules) -> Next {
        while let Some(position) = self.steps.iter().position(|step| !step.status.is_finished()) {
            let name = self.steps[position].name;
            if self.steps[position].status == StepStatus::Failed {
                return Next::Fail(position, self.steps[position].error.clone().unwrap_or_default());
            }
            if rules.is_idle(self, name) {
                self.finish(position, now, StepStatus::Skipped, None);
                continue;
            }
            let callback_hash = rules.callback_hash(self, name);
            let step = &mut self.steps[position];
            if step.output.as_ref().is_some_and(|output| output.get(WAITING_UNTIL).is_some()) {
                step.error = Some("the application took the call but did not report back in time".to_owned());
                step.output = None;
            }
            if step.attempts >= rules.max_attempts() {
                let never_ended = || "it was begun and never came to an end".to_owned();
                return Next::Fail(position, step.error.clone().unwrap_or_else(never_ended));
            }
            step.status = StepStatus::Processing;
            step.attempts += 1;
            step.started_at = step.started_at.or(Some(now.at));
            step.finished_at = None;
            step.callback_hash = callback_hash.or(step.callback_hash.take());
            return Next::Run(position);
        }
        Next::Complete
    }

    /// Ends a step that was done, or had nothing to do.
    pub fn finish(&mut self, position: usize, now: &Now, status: StepStatus, output: Option<Value>) {
        let step = &mut self.steps[position];
        step.status = status;
        step.finished_at = Some(now.at);
        step.started_at = step.started_at.or(Some(now.at));
        step.error = None;
        step.output = output;
    }

    /// Sends a step back to wait for another try.
    pub fn postpone(&mut self, position: usize, reason: &str) {
        let step = &mut self.steps[position];
        step.status = StepStatus::Pending;
        step.error = Some(reason.to_owned());
    }

    /// Leaves a step waiting for its callback.
    pub fn wait(&mut self, position: usize, until: DateTime<Utc>) {
        self.steps[position].output = Some(serde_json::json!({ WAITING_UNTIL: until }));
    }

    /// Gives a step up.
    pub fn give_up(&mut self, position: usize, now: &Now, reason: &str) {
        let step = &mut self.steps[position];
        step.status = StepStatus::Failed;
        step.finished_at = Some(now.at);
        step.error = Some(reason.to_owned());
    }

    /// Notes that a completed step was undone; a retry of the run does it again.
    pub fn undone(&mut self, position: usize, output: Option<Value>) {
        let step = &mut self.steps[position];
        step.status = StepStatus::Pending;
        step.attempts = 0;
        step.started_at = None;
        step.finished_at = None;
        step.output = output;
    }

    /// The steps that differ from `before`, with the version that the change has.
    pub fn changed_since(&self, before: &Self, version: i64) -> Vec<step::Model> {
        let pairs = self.steps.iter().zip(&before.steps);
        let changed = pairs.filter(|(after, before)| after != before);
        changed.map(|(after, _)| step::Model { version, ..after.clone() }).collect()
    }

    /// What every outside call of a step carries, the same at every try.
    pub fn idempotency_key(&self, name: StepName) -> String {
        format!("{}:{}", self.run_id, name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    /// Two attempts; these steps are idle.
    struct Idle(&'static [StepName]);

    impl Rules for Idle {
        fn max_attempts(&self) -> i64 {
            2
        }

        fn is_idle(&self, _: &Held, name: StepName) -> bool {
            self.0.contains(&name)
        }

        fn callback_hash(&self, _: &Held, _: StepName) -> Option<Vec<u8>> {
            None
        }
    }

    const NEVER_IDLE: Idle = Idle(&[]);

    fn held(names: &[StepName]) -> Held {
        let now = Clock::seeded(1).now();
        let step = |(position, name): (i64, &StepName)| step::Model {
            tenant_id: Uuid::nil(),
            run_id: Uuid::nil(),
            position,
            name: *name,
            status: StepStatus::Pending,
            attempts: 0,
            started_at: None,
            finished_at: None,
            error: None,
            output: None,
            callback_hash: None,
            version: 1,
        };
        Held {
            run_id: Uuid::nil(),
            plan: "pro".into(),
            dry_run: false,
            fence: 1,
            version: 1,
            queued_at: None,
            started_at: now.at,
            steps: (0..).zip(names).map(step).collect(),
            subject: Subject::sample(),
        }
    }

    #[test]
    fn steps_come_in_order_and_what_is_finished_is_not_repeated() {
        let now = Clock::seeded(1).now();
        let mut held = held(&[StepName::SeedDefaults, StepName::ConfigureRouting, StepName::SendMagicLink]);
        assert_eq!(held.begin_next(&now, &NEVER_IDLE), Next::Run(0));
        held.finish(0, &now, StepStatus::Complete, None);
        assert_eq!(held.begin_next(&now, &NEVER_IDLE), Next::Run(1));
        assert_eq!((held.steps[0].attempts, held.steps[1].attempts), (1, 1));
        held.finish(1, &now, StepStatus::Complete, None);
        held.begin_next(&now, &NEVER_IDLE);
        held.finish(2, &now, StepStatus::Complete, None);
        assert_eq!(held.begin_next(&now, &NEVER_IDLE), Next::Complete);
    }

    #[test]
    fn a_step_with_nothing_to_do_is_passed_by_without_an_attempt() {
        let now = Clock::seeded(1).now();
        let mut held = held(&[StepName::DeployAppsScript, StepName::CallWebhook, StepName::SendMagicLink]);
        let rules = Idle(&[StepName::DeployAppsScript, StepName::CallWebhook]);
        let before = held.clone();
        assert_eq!(held.begin_next(&now, &rules), Next::Run(2));
        assert_eq!(held.steps[0].status, StepStatus::Skipped);
        assert_eq!((held.steps[0].attempts, held.steps[2].attempts), (0, 1));
        let versions: Vec<_> = held.changed_since(&before, 9).iter().map(|step| step.version).collect();
        assert_eq!(versions, [9, 9, 9]);
    }

    #[test]
    fn a_step_that_never_ends_is_given_up_after_its_attempts() {
        let now = Clock::seeded(1).now();
        let mut held = held(&[StepName::SeedDefaults]);
        assert_eq!(held.begin_next(&now, &NEVER_IDLE), Next::Run(0));
        assert_eq!(held.begin_next(&now, &NEVER_IDLE), Next::Run(0));
        assert!(matches!(held.begin_next(&now, &NEVER_IDLE), Next::Fail(0, reason) if reason.contains("never")));
        assert_eq!(held.steps[0].attempts, 2);
    }

    #[test]
    fn a_callback_that_does_not_come_uses_up_an_attempt() {
        let now = Clock::seeded(1).now();
        let mut held = held(&[StepName::CallWebhook]);
        held.begin_next(&now, &NEVER_IDLE);
        held.wait(0, now.at);
        assert_eq!(held.begin_next(&now, &NEVER_IDLE), Next::Run(0));
        assert!(held.steps[0].error.as_ref().is_some_and(|error| error.contains("in time")));
        held.postpone(0, "busy");
        assert_eq!(held.begin_next(&now, &NEVER_IDLE), Next::Fail(0, "busy".into()));
    }
}
