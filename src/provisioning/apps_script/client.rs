//! The calls of the Apps Script REST API that a deployment takes.
//! <https://developers.google.com/apps-script/api/reference/rest>

use std::{fmt, time::Duration};

use reqwest::{
    Method,
    header::{AUTHORIZATION, HeaderName, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use url::Url;

use super::{File, MANIFEST};
use crate::egress::{Egress, EgressError, Request, Response};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Answers are small, but a list page may hold 200 entries.
const BODY_CAP: usize = 1024 * 1024;

/// A guard against a server whose pages never end: 20 pages of 200.
const MAX_PAGES: usize = 20;

/// What Google (or a proxy before it) answered instead of the thing asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// Not now: 408, 429, 5xx, or a conflict that Google asks to retry (`ABORTED`).
    #[error("Google can't serve the call now ({status}{code}): {message}")]
    Busy {
        /// HTTP status.
        status: u16,
        /// Google's name for it.
        code: Code,
        /// Google's explanation.
        message: String,
        /// How long Google asks to wait.
        retry_after: Option<Duration>,
    },
    /// No: the token, the permission, the project or the request is wrong. Somebody must change something first.
    #[error("Google refused the call ({status}{code}): {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Google's name for it.
        code: Code,
        /// Google's explanation.
        message: String,
    },
    /// A success whose body is not what the API promises; probably the base URL is not Google's API.
    #[error("the answer is not one of the Apps Script API: {0}")]
    Unreadable(String),
    /// The call failed on the way.
    #[error("the call to Google failed: {0}")]
    Network(#[from] EgressError),
}

impl ApiError {
    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Busy { .. } => true,
            Self::Network(error) => error.is_transient(),
            Self::Refused { .. } | Self::Unreadable(_) => false,
        }
    }

    /// How long the other side asks to wait, if it said.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    fn from_answer(answer: &Response) -> Self {
        let error = serde_json::from_slice::<ErrorBody>(&answer.body).map(|body| body.error).unwrap_or_default();
        let status = answer.status;
        let code = Code(error.status);
        let message = error.message.unwrap_or_else(|| "no explanation given".to_owned());
        let aborted = code.0.as_deref() == Some("ABORTED");
        if aborted || matches!(status, 408 | 429 | 500..) {
            let retry_after = answer.retry_after();
            Self::Busy { status, code, message, retry_after }
        } else {
            Self::Refused { status, code, message }
        }
    }
}

/// Google's canonical error name, such as `PERMISSION_DENIED`, when the answer had one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code(pub Option<String>);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(code) => write!(f, " {code}"),
            None => Ok(()),
        }
    }
}

/// Google's error envelope.
#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Deserialize, Default)]
struct ErrorDetail {
    message: Option<String>,
    status: Option<String>,
}

/// A script project.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Project {
    /// Its Drive id.
    pub script_id: String,
    /// For people.
    #[serde(default)]
    pub title: String,
}

/// An immutable snapshot of a project's content.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Version {
    pub(super) version_number: i64,
    pub(super) description: Option<String>,
}

/// A version that can be run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// Its id.
    pub deployment_id: String,
    #[serde(default, rename = "deploymentConfig")]
    config: DeploymentConfig,
    #[serde(default)]
    entry_points: Vec<EntryPoint>,
}

impl Deployment {
    /// The description it was created with.
    pub fn description(&self) -> Option<&str> {
        self.config.description.as_deref()
    }

    /// Where it answers as a web app, if it is one.
    pub fn web_app_url(&self) -> Option<String> {
        self.entry_points.iter().find_map(|entry| entry.web_app.as_ref()?.url.clone())
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
struct DeploymentConfig {
    description: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EntryPoint {
    web_app: Option<WebApp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct WebApp {
    url: Option<String>,
}

/// One page of a list; the API leaves out what is empty.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<T> {
    #[serde(alias = "versions", alias = "deployments", default = "Vec::new")]
    items: Vec<T>,
    next_page_token: Option<String>,
}

/// A client of the Apps Script API, or of something that speaks its protocol at another base URL.
#[derive(Debug, Clone)]
pub struct Client {
    egress: Egress,
    base: Url,
    token: SecretString,
    timeout: Duration,
}

impl Client {
    /// `base` is `https://script.googleapis.com` or the operator's own; `token` an OAuth access token with the scopes
    /// `script.projects` and `script.deployments`; `timeout` bounds each call.
    pub fn new(egress: Egress, base: Url, token: SecretString, timeout: Duration) -> Self {
        Self { egress, base, token, timeout }
    }

    /// `POST /v1/projects`.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn create_project(&self, title: &str, parent_id: Option<&str>, key: &str) -> Result<Project, ApiError> {
        let mut body = json!({ "title": title });
        if let Some(parent_id) = parent_id {
            body["parentId"] = parent_id.into();
        }
        let request = self.write(Method::POST, &[], key, "project")?.json(&body)?;
        self.call(request).await
    }

    /// `GET /v1/projects/{scriptId}`.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn project(&self, script_id: &str) -> Result<Project, ApiError> {
        self.call(self.request(Method::GET, &[script_id])?).await
    }

    /// `PUT /v1/projects/{scriptId}/content`: replaces all files. `files` must hold the manifest.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn update_content(&self, script_id: &str, files: &[File], key: &str) -> Result<(), ApiError> {
        let request =
            self.write(Method::PUT, &[script_id, "content"], key, "content")?.json(&json!({ "files": files }))?;
        self.answer(request).await.map(drop)
    }

    /// `GET /v1/projects/{scriptId}/versions`, all pages.
    pub(super) async fn list_versions(&self, script_id: &str) -> Result<Vec<Version>, ApiError> {
        self.list(&[script_id, "versions"]).await
    }

    /// `POST /v1/projects/{scriptId}/versions`, described by `key`.
    pub(super) async fn create_version(&self, script_id: &str, key: &str) -> Result<Version, ApiError> {
        let request =
            self.write(Method::POST, &[script_id, "versions"], key, "version")?.json(&json!({ "description": key }))?;
        self.call(request).await
    }

    /// `GET /v1/projects/{scriptId}/deployments`, all pages. Includes the head deployment, which every project has.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn list_deployments(&self, script_id: &str) -> Result<Vec<Deployment>, ApiError> {
        self.list(&[script_id, "deployments"]).await
    }

    /// `POST /v1/projects/{scriptId}/deployments`, described by `key`.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn create_deployment(
        &self,
        script_id: &str,
        version_number: i64,
        key: &str,
    ) -> Result<Deployment, ApiError> {
        let body = json!({
            "versionNumber": version_number,
            "manifestFileName": MANIFEST,
            "description": key,
        });
        let request = self.write(Method::POST, &[script_id, "deployments"], key, "deployment")?.json(&body)?;
        self.call(request).await
    }

    /// `DELETE /v1/projects/{scriptId}/deployments/{deploymentId}`.
    ///
    /// # Errors
    /// See [`ApiError`]; status 404 when it is gone already.
    pub async fn delete_deployment(&self, script_id: &str, deployment_id: &str, key: &str) -> Result<(), ApiError> {
        let path = [script_id, "deployments", deployment_id];
        let request = self.write(Method::DELETE, &path, key, "undo")?;
        self.answer(request).await.map(drop)
    }

    async fn list<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Vec<T>, ApiError> {
        let mut all = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let mut request = self.request(Method::GET, path)?;
            request.url.query_pairs_mut().append_pair("pageSize", "200");
            if let Some(token) = &token {
                request.url.query_pairs_mut().append_pair("pageToken", token);
            }
            let page: Page<T> = self.call(request).await?;
            all.extend(page.items);
            token = page.next_page_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(all);
            }
        }
        Err(ApiError::Unreadable("its list does not end".to_owned()))
    }

    /// A writing call: `part` makes `key` unique to it.
    fn write(&self, method: Method, path: &[&str], key: &str, part: &str) -> Result<Request, EgressError> {
        let mut request = self.request(method, path)?;
        let value = header_value(&format!("{key}:{part}"), "idempotency key")?;
        request.headers.insert(IDEMPOTENCY_KEY, value);
        Ok(request)
    }

    fn request(&self, method: Method, path: &[&str]) -> Result<Request, EgressError> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| unbuildable("base URL"))?
            .pop_if_empty()
            .extend(["v1", "projects"])
            .extend(path);
        let mut request = Request::new(method, url, self.timeout);
        let bearer = format!("Bearer {}", self.token.expose_secret());
        let mut bearer = header_value(&bearer, "token")?;
        bearer.set_sensitive(true);
        request.headers.insert(AUTHORIZATION, bearer);
        request.body_cap = BODY_CAP;
        Ok(request)
    }

    async fn call<T: DeserializeOwned>(&self, request: Request) -> Result<T, ApiError> {
        let answer = self.answer(request).await?;
        serde_json::from_slice(&answer.body).map_err(|error| ApiError::Unreadable(error.to_string()))
    }

    async fn answer(&self, request: Request) -> Result<Response, ApiError> {
        let answer = self.egress.send(request).await?;
        if answer.is_success() { Ok(answer) } else { Err(ApiError::from_answer(&answer)) }
    }
}

fn header_value(text: &str, what: &str) -> Result<HeaderValue, EgressError> {
    HeaderValue::from_str(text).map_err(|_| unbuildable(what))
}

fn unbuildable(what: &str) -> EgressError {
    EgressError::Request { reason: format!("the {what} is not usable") }
}
