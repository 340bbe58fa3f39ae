//! Deploys a tenant's Apps Script: project, content, version, deployment, through Google's REST API.
//!
//! Google's API has no idempotency keys, so [`Client::deploy`] is made to be resumed. It goes in four sub-steps; after
//! each, the [`Progress`] is handed to the caller, who keeps it and gives it back after a crash. What a crash between
//! Google's answer and that write leaves behind:
//!
//! - **Content**: nothing; the PUT is repeated with the same result.
//! - **Version, deployment**: nothing; both carry the idempotency key as description and are looked up by it first.
//! - **Project**: an empty project without a version or deployment. The API can't list projects, so the next try can't
//!   find it and creates another. The same holds when the answer to the creation is lost (timeout). Its title carries
//!   the idempotency key, so that a person who sees two in Drive knows which belongs to which run; nothing is ever
//!   deployed from the lost one.
//!
//! Every writing call also sends `Idempotency-Key: {run}:{step}:{part}`. Google ignores it; an operator's proxy at the
//! configured base URL can close the remaining gap by honouring it. Reading calls carry none, for a replayed list would
//! hide what was created since.

mod client;
#[cfg(test)]
mod tests;

use std::future::Future;

use serde::{Deserialize, Serialize};

use client::Version;
pub use client::{ApiError, Client, Deployment, Project};

/// The name of the manifest file, without extension; every project has exactly one.
const MANIFEST: &str = "appsscript";

/// How a source file is to be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FileType {
    /// Server-side code, `.gs`.
    ServerJs,
    /// The manifest.
    Json,
    /// A page or template.
    Html,
}

/// One file of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Without extension.
    pub name: String,
    /// Its kind.
    #[serde(rename = "type")]
    pub file_type: FileType,
    /// Its text.
    pub source: String,
}

/// What is to be deployed.
#[derive(Debug, Clone)]
pub struct Script {
    /// For people; the idempotency key is added to it.
    pub title: String,
    /// The Drive file (a document or sheet) to bind the project to; `None` for a stand-alone one.
    pub parent_id: Option<String>,
    /// The `appsscript` manifest: time zone, run-time version, web app settings.
    pub manifest: serde_json::Value,
    /// Code and pages, without the manifest.
    pub files: Vec<File>,
}

impl Script {
    /// All files, the manifest first.
    fn all_files(&self) -> Vec<File> {
        let manifest = File { name: MANIFEST.to_owned(), file_type: FileType::Json, source: self.manifest.to_string() };
        std::iter::once(manifest).chain(self.files.iter().cloned()).collect()
    }
}

/// What of a deployment is done. Kept with the provisioning step; the default is "nothing yet".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// The project, once created.
    pub script_id: Option<String>,
    /// Whether the project holds our files.
    pub content_updated: bool,
    /// The immutable version made of them.
    pub version_number: Option<i64>,
    /// The deployment of that version; the last thing to come.
    pub deployment_id: Option<String>,
    /// Where the deployment answers, when the manifest makes it a web app.
    pub web_app_url: Option<String>,
}

impl Progress {
    /// Whether nothing is left to do.
    pub fn is_complete(&self) -> bool {
        self.deployment_id.is_some()
    }
}

/// Why a deployment stopped. What was done up to there has been given to `save`.
#[derive(Debug, thiserror::Error)]
pub enum DeployError<E> {
    /// Google, or the way there.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The caller could not keep the progress.
    #[error("the progress could not be saved")]
    Save(E),
}

impl Client {
    /// Goes on from `progress` until the script is deployed, giving the new progress to `save` after each sub-step and
    /// stopping when `save` fails (a worker that lost its lease must not go on).
    ///
    /// `key` is `run:step`, the same at every try.
    ///
    /// # Errors
    /// See [`DeployError`]; [`ApiError::is_retryable`] tells whether to try again.
    pub async fn deploy<S, F, E>(
        &self,
        script: &Script,
        key: &str,
        mut progress: Progress,
        mut save: S,
    ) -> Result<Progress, DeployError<E>>
    where
        S: FnMut(Progress) -> F,
        F: Future<Output = Result<(), E>>,
    {
        while !progress.is_complete() {
            progress = self.advance(script, key, progress).await?;
            save(progress.clone()).await.map_err(DeployError::Save)?;
        }
        Ok(progress)
    }

    /// Does the first sub-step that `progress` lacks.
    async fn advance(&self, script: &Script, key: &str, mut progress: Progress) -> Result<Progress, ApiError> {
        let Some(script_id) = &progress.script_id else {
            let title = format!("{} ({key})", script.title);
            let project = self.create_project(&title, script.parent_id.as_deref(), key).await?;
            progress.script_id = Some(project.script_id);
            return Ok(progress);
        };
        if !progress.content_updated {
            self.update_content(script_id, &script.all_files(), key).await?;
            progress.content_updated = true;
            return Ok(progress);
        }
        let Some(version_number) = progress.version_number else {
            let version = match self.find_version(script_id, key).await? {
                Some(version) => version,
                None => self.create_version(script_id, key).await?,
            };
            progress.version_number = Some(version.version_number);
            return Ok(progress);
        };
        let deployment = match self.find_deployment(script_id, key).await? {
            Some(deployment) => deployment,
            None => self.create_deployment(script_id, version_number, key).await?,
        };
        progress.web_app_url = deployment.web_app_url();
        progress.deployment_id = Some(deployment.deployment_id);
        Ok(progress)
    }

    /// The version that an earlier try under `key` made.
    async fn find_version(&self, script_id: &str, key: &str) -> Result<Option<Version>, ApiError> {
        let versions = self.list_versions(script_id).await?;
        Ok(versions.into_iter().find(|version| version.description.as_deref() == Some(key)))
    }

    /// The deployment that an earlier try under `key` made.
    async fn find_deployment(&self, script_id: &str, key: &str) -> Result<Option<Deployment>, ApiError> {
        let deployments = self.list_deployments(script_id).await?;
        Ok(deployments.into_iter().find(|deployment| deployment.description() == Some(key)))
    }

    /// Undoes a deployment: deletes it when it exists. The project stays, for the API can't delete one.
    ///
    /// # Errors
    /// See [`ApiError`]; a deployment or project that is gone already is no error.
    pub async fn undo(&self, progress: &Progress, key: &str) -> Result<(), ApiError> {
        let Some(script_id) = &progress.script_id else {
            return Ok(());
        };
        let found = match &progress.deployment_id {
            Some(id) => Ok(Some(id.clone())),
            // The process may have died between the creation and the write.
            None => {
                self.find_deployment(script_id, key).await.map(|found| found.map(|deployment| deployment.deployment_id))
            }
        };
        let deleted = match found {
            Ok(Some(id)) => self.delete_deployment(script_id, &id, key).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        match deleted {
            Err(ApiError::Refused { status: 404, .. }) => Ok(()),
            other => other,
        }
    }
}
