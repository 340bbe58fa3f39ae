//! The steps, one file each.
//!
//! What is a fact of our own database happens in the transaction that records it ([`here`]); what leaves the house happens with
//! no transaction open and is recorded afterwards ([`outside`]), under an idempotency key that is the same at every try. In dry run
//! nothing leaves the house, so every step happens here.

mod call_webhook;
mod configure_routing;
mod deploy_apps_script;
mod deploy_automations;
mod seed_defaults;
mod send_magic_link;
mod validate_webhook;

use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::DbErr;
use serde_json::{Value, json};

pub(super) use call_webhook::{callback_hash, callback_token_hash};

use super::{StepName, held::Held, jobs::Worker, record::Halt};
use crate::{
    clock::Now,
    db::{Batch, Tx},
    http::chain,
};

/// How a step's attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// Done, with what is to be kept of it.
    Done(Option<Value>),
    /// Taken; somebody will report back, at the latest then.
    Wait(DateTime<Utc>),
    /// Not now; for this reason, and not before this pause where one was asked for.
    Retry { reason: String, after: Option<Duration> },
    /// Never, for this reason.
    Fail(String),
}

impl Outcome {
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry { reason: reason.into(), after: None }
    }

    /// Nobody but the operator can do anything about it.
    pub fn internal() -> Self {
        Self::retry("something went wrong on our side; the operator finds the cause in the log")
    }
}

/// What the database refuses is not told to the tenant, and may pass.
impl From<DbErr> for Outcome {
    fn from(error: DbErr) -> Self {
        tracing::warn!(feature = "provision", error = %chain(&error), "A step met an error of the database");
        Self::internal()
    }
}

/// A step that leaves the house.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outside {
    ValidateWebhook,
    DeployAppsScript,
    CallWebhook,
}

/// How a step leaves the house, where it does in this run.
pub(super) fn leaves(name: StepName, dry_run: bool) -> Option<Outside> {
    if dry_run {
        return None;
    }
    match name {
        StepName::ValidateWebhook => Some(Outside::ValidateWebhook),
        StepName::DeployAppsScript => Some(Outside::DeployAppsScript),
        StepName::CallWebhook => Some(Outside::CallWebhook),
        StepName::SeedDefaults | StepName::ConfigureRouting | StepName::DeployAutomations | StepName::SendMagicLink => {
            None
        }
    }
}

/// Whether a step has nothing to do: no webhook was given, or the operator has not configured what it needs.
pub(super) fn is_idle(worker: &Worker, held: &Held, name: StepName) -> bool {
    match name {
        StepName::ValidateWebhook => held.subject.webhook_url.is_none(),
        StepName::DeployAppsScript => worker.apps_script.is_none(),
        StepName::CallWebhook => worker.app.config.provision.app_url.is_none(),
        StepName::SeedDefaults | StepName::ConfigureRouting | StepName::DeployAutomations | StepName::SendMagicLink => {
            false
        }
    }
}

/// Does a step within the transaction that records it.
pub(super) async fn here(
    worker: &Worker,
    tx: &Tx,
    batch: &mut Batch,
    now: &Now,
    held: &Held,
    name: StepName,
) -> Result<Option<Value>, Outcome> {
    match name {
        StepName::SeedDefaults => seed_defaults::run(tx, now, held).await,
        StepName::ConfigureRouting => {
            configure_routing::run(tx, now, &held.subject, &worker.app.config.base_domain).await
        }
        StepName::DeployAutomations => deploy_automations::run(tx, now, held).await,
        StepName::SendMagicLink => send_magic_link::run(batch, now, &held.subject, &worker.app.post),
        StepName::ValidateWebhook | StepName::DeployAppsScript | StepName::CallWebhook => {
            Ok(Some(json!({"dry_run": true})))
        }
    }
}

/// Does a step's outside call. Only `deploy_apps_script` writes meanwhile, its progress, in transactions of its own.
pub(super) async fn outside(worker: &Worker, held: &mut Held, position: usize, step: Outside) -> Result<Outcome, Halt> {
    match step {
        Outside::ValidateWebhook => Ok(validate_webhook::run(worker, &held.subject).await),
        Outside::DeployAppsScript => deploy_apps_script::run(worker, held, position).await,
        Outside::CallWebhook => Ok(call_webhook::run(worker, held).await),
    }
}

/// Undoes, with no transaction open, what steps did outside; as far as it goes, and noted in the step's output.
pub(super) async fn undo_outside(worker: &Worker, held: &mut Held) {
    if let Some(position) = held.steps.iter().position(|step| step.name == StepName::DeployAppsScript) {
        deploy_apps_script::undo(worker, held, position).await;
    }
}

/// Undoes what completed steps did here, the last first.
pub(super) async fn undo_here(tx: &Tx, held: &mut Held) -> Result<(), DbErr> {
    for position in (0..held.steps.len()).rev() {
        let step = &held.steps[position];
        if !step.status.is_finished() {
            continue;
        }
        let (tenant_id, output) = (held.subject.tenant_id, step.output.as_ref());
        match step.name {
            StepName::ConfigureRouting => configure_routing::undo(tx, tenant_id, output).await?,
            StepName::DeployAutomations => deploy_automations::undo(tx, tenant_id, output).await?,
            // Content does no harm, a check leaves nothing, a mail cannot be called back, the operator's application hears of
            // the next try, and Apps Script has been undone outside.
            StepName::SeedDefaults
            | StepName::ValidateWebhook
            | StepName::DeployAppsScript
            | StepName::CallWebhook
            | StepName::SendMagicLink => continue,
        }
        held.undone(position, Some(json!({"undone": true})));
    }
    Ok(())
}
