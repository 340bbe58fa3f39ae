//! `validate_webhook`: does anything answer at the tenant's webhook?

use std::time::Duration;

use serde_json::json;

use super::Outcome;
use crate::{
    egress::{probe::probe, validate::check_url},
    provisioning::{jobs::Worker, store::Subject},
};

/// For each of HEAD, GET and OPTIONS.
const PER_TRY: Duration = Duration::from_secs(5);

pub(super) async fn run(worker: &Worker, subject: &Subject) -> Outcome {
    let config = &worker.app.config.provision;
    let Some(url) = &subject.webhook_url else { return Outcome::Done(None) };
    // The operator may have narrowed the list since the URL was taken.
    let url = match check_url(url, &config.webhook_hosts, worker.app.egress.policy()) {
        Ok(url) => url,
        Err(refused) => return Outcome::Fail(format!("the webhook's URL is not allowed: {refused}")),
    };
    match probe(&worker.app.egress, &url, &config.webhook_hosts, config.strict_webhooks, PER_TRY).await {
        Ok(accepted) => Outcome::Done(Some(json!({"method": accepted.method.as_str(), "status": accepted.status}))),
        Err(failed) if failed.is_transient() => Outcome::retry(failed.to_string()),
        Err(failed) => Outcome::Fail(failed.to_string()),
    }
}
