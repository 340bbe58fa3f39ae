//! Steps in words for a tenant's owner.

use super::{StepName, StepState, StepStatus};

/// A step, as pages show it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Which.
    pub name: StepName,
    /// In a word: `pending`, `processing`, `complete`, `failed` or `skipped`.
    pub state: &'static str,
    /// What it is about.
    pub label: &'static str,
    /// What it does for this tenant.
    pub hint: String,
    /// How it stands.
    pub outcome: String,
}

impl Shown {
    /// A step of the tenant at `host`, with its webhook, if it gave one, and its owner's address.
    pub fn of(step: &StepState, host: &str, webhook: &str, email: &str) -> Self {
        let (label, hint) = match step.name {
            StepName::SeedDefaults => ("First content", "A welcome post and a sample fixture".to_owned()),
            StepName::ConfigureRouting => ("Your address", host.to_owned()),
            StepName::ValidateWebhook => ("Webhook", place(webhook)),
            StepName::DeployAutomations => ("Automations", "Switched on, and delivering".to_owned()),
            StepName::DeployAppsScript => ("Apps Script", "Your script, deployed".to_owned()),
            StepName::CallWebhook => ("Application", "Told that you are coming".to_owned()),
            StepName::SendMagicLink => ("Sign-in link", format!("To {email}")),
        };
        let outcome = outcome(step);
        Self { name: step.name, state: step.status.as_str(), label, hint, outcome }
    }
}

/// How a step stands.
pub fn outcome(step: &StepState) -> String {
    match (step.status, step.duration_ms) {
        (StepStatus::Complete, Some(millis)) => seconds(millis),
        (StepStatus::Complete, None) => "Done".to_owned(),
        (StepStatus::Processing, _) if step.attempts > 1 => format!("Try {}", step.attempts),
        (StepStatus::Processing, _) => "Working".to_owned(),
        (StepStatus::Pending, _) => "Waiting".to_owned(),
        (StepStatus::Failed, _) => "Failed".to_owned(),
        (StepStatus::Skipped, _) => "Not needed".to_owned(),
    }
}

/// Where a webhook goes, without the code that makes it one's own.
fn place(webhook: &str) -> String {
    let host = url::Url::parse(webhook).ok().and_then(|url| url.host_str().map(str::to_owned));
    host.map_or_else(|| "A check that it answers".to_owned(), |host| format!("A check that {host} answers"))
}

/// Milliseconds, for people.
pub fn seconds(millis: i64) -> String {
    match millis {
        ..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        _ => format!("{} min {} s", millis / 60_000, millis % 60_000 / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        let read = [1, 999, 1_000, 1_449, 59_999, 60_000, 61_500].map(seconds);
        assert_eq!(read, ["1 ms", "999 ms", "1.0 s", "1.4 s", "59.9 s", "1 min 0 s", "1 min 1 s"]);
    }

    #[test]
    fn a_webhooks_secret_part_is_not_shown() {
        assert_eq!(place("https://hook.eu1.make.com/4f0c2d9a"), "A check that hook.eu1.make.com answers");
        assert_eq!(place(""), "A check that it answers");
    }
}
