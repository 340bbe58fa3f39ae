//! `deploy_apps_script`: a Google Apps Script project of the tenant's own, deployed as a web app.

use serde::Deserialize;
use serde_json::{json, to_value};
use tokio::sync::Mutex;

use super::Outcome;
use crate::provisioning::{
    StepName,
    apps_script::{DeployError, File, FileType, Progress, Script},
    held::Held,
    jobs::Worker,
    record::{self, Ahead, Halt},
};

pub(super) async fn run(worker: &Worker, held: &mut Held, position: usize) -> Result<Outcome, Halt> {
    let Some(client) = &worker.apps_script else { return Ok(Outcome::Done(None)) };
    let key = held.idempotency_key(StepName::DeployAppsScript);
    let script = script(held);
    let before = progress(held, position);
    let kept = Mutex::new(held.clone());
    let save = |progress: Progress| {
        let kept = &kept;
        async move { save(worker, &mut *kept.lock().await, position, &progress).await }
    };
    let deployed = client.deploy(&script, &key, before, save).await;
    *held = kept.into_inner();
    match deployed {
        Ok(progress) => Ok(Outcome::Done(to_value(progress).ok())),
        Err(DeployError::Save(halt)) => Err(halt),
        Err(DeployError::Api(error)) if error.is_retryable() => {
            Ok(Outcome::Retry { reason: error.to_string(), after: error.retry_after() })
        }
        Err(DeployError::Api(error)) => Ok(Outcome::Fail(error.to_string())),
    }
}

fn progress(held: &Held, position: usize) -> Progress {
    let output = held.steps[position].output.as_ref();
    output.and_then(|output| Progress::deserialize(output).ok()).unwrap_or_default()
}

/// Keeps what is done so far, and the lease with it.
async fn save(worker: &Worker, held: &mut Held, position: usize, progress: &Progress) -> Result<(), Halt> {
    let now = worker.app.clock.now();
    let mut after = held.clone();
    after.steps[position].output = to_value(progress).ok();
    let tx = worker.app.db.begin().await?;
    after.version = record::fence(&tx, &now, held, &Ahead::GoesOn(worker.lease())).await?;
    record::write_steps(&tx, after.changed_since(held, after.version)).await?;
    tx.commit().await?;
    *held = after;
    Ok(())
}

/// Deletes the deployment, where there may be one. The project stays and serves the next try.
pub(super) async fn undo(worker: &Worker, held: &mut Held, position: usize) {
    let progress = progress(held, position);
    let Some(client) = worker.apps_script.as_ref().filter(|_| progress.script_id.is_some()) else { return };
    let key = held.idempotency_key(StepName::DeployAppsScript);
    let undone = tokio::time::timeout(worker.app.config.provision.step_timeout, client.undo(&progress, &key)).await;
    let error = match undone {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("Google did not answer in time".to_owned()),
    };
    if let Some(error) = &error {
        tracing::warn!(feature = "provision", tenant_id = %held.subject.tenant_id, error, "Could not undo a deployment");
    }
    let mut output = match &error {
        None => json!(Progress { deployment_id: None, web_app_url: None, ..progress }),
        Some(_) => json!(progress),
    };
    output["undone"] = json!(error.is_none());
    output["undo_error"] = json!(error);
    if held.steps[position].status.is_finished() {
        held.undone(position, Some(output));
    } else {
        held.steps[position].output = Some(output);
    }
}

/// Answers the tenant's own calls and says whose it is: a place to build automations on.
fn script(held: &Held) -> Script {
    let subject = &held.subject;
    let tenant = json!({"id": subject.tenant_id, "slug": subject.slug, "name": subject.name});
    let source = format!(
        "const TENANT = {tenant};\n\n\
         function doGet() {{\n  return answer({{ tenant: TENANT }});\n}}\n\n\
         function doPost(e) {{\n  const event = JSON.parse(e.postData.contents);\n  \
         console.log(event.type);\n  return answer({{ received: event.type }});\n}}\n\n\
         function answer(value) {{\n  return ContentService.createTextOutput(JSON.stringify(value))\n    \
         .setMimeType(ContentService.MimeType.JSON);\n}}\n"
    );
    Script {
        title: format!("{} automations", subject.name),
        parent_id: None,
        manifest: json!({
            "timeZone": "Etc/UTC",
            "exceptionLogging": "STACKDRIVER",
            "runtimeVersion": "V8",
            "webapp": {"executeAs": "USER_DEPLOYING", "access": "ANYONE_ANONYMOUS"},
        }),
        files: vec![File { name: "Code".to_owned(), file_type: FileType::ServerJs, source }],
    }
}
