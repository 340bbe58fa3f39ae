//! The client against a fake of Google's API that keeps what was created, and against canned failures.

use std::{
    cell::RefCell,
    convert::Infallible,
    future::ready,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers};

use super::*;
use crate::egress::{Egress, EgressError};

const KEY: &str = "0197-run:deploy_apps_script";

/// Google's side: what exists there.
#[derive(Default)]
struct Drive {
    titles: Vec<String>,
    files: Value,
    versions: Vec<Value>,
    deployments: Vec<Value>,
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Drive>>);

impl Respond for Fake {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut drive = self.0.lock().expect("the fake's state");
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let path: Vec<&str> = request.url.path_segments().expect("a path").collect();
        let answer = match (request.method.as_str(), path.as_slice()) {
            ("POST", ["google", "v1", "projects"]) => {
                drive.titles.push(body["title"].as_str().expect("a title").to_owned());
                json!({ "scriptId": "script/1", "title": body["title"] })
            }
            ("GET", ["google", "v1", "projects", "script%2F1"]) => {
                json!({ "scriptId": "script/1", "title": drive.titles[0] })
            }
            ("PUT", [.., "script%2F1", "content"]) => {
                drive.files = body["files"].clone();
                json!({ "scriptId": "script/1", "files": body["files"] })
            }
            ("GET", [.., "script%2F1", "versions"]) if drive.versions.is_empty() => json!({}),
            ("GET", [.., "script%2F1", "versions"]) => json!({ "versions": drive.versions }),
            ("POST", [.., "script%2F1", "versions"]) => {
                let number = drive.versions.len() + 1;
                let version = json!({ "versionNumber": number, "description": body["description"] });
                drive.versions.push(version.clone());
                version
            }
            ("GET", [.., "script%2F1", "deployments"]) => page(&drive.deployments, request),
            ("POST", [.., "script%2F1", "deployments"]) => {
                let deployment = json!({
                    "deploymentId": format!("AKfyc{}", drive.deployments.len() + 1),
                    "deploymentConfig": body,
                    "entryPoints": [{
                        "entryPointType": "WEB_APP",
                        "webApp": { "url": "https://script.google.com/macros/s/1/exec" },
                    }],
                });
                drive.deployments.push(deployment.clone());
                deployment
            }
            ("DELETE", [.., "script%2F1", "deployments", id]) => {
                let before = drive.deployments.len();
                drive.deployments.retain(|deployment| deployment["deploymentId"] != *id);
                if drive.deployments.len() == before {
                    return refusal(404, "NOT_FOUND", "Requested entity was not found.");
                }
                json!({})
            }
            other => panic!("unexpected call {other:?}"),
        };
        ResponseTemplate::new(200).set_body_json(answer)
    }
}

/// Two pages: the head deployment, which has no description, then ours.
fn page(deployments: &[Value], request: &Request) -> Value {
    if request.url.query_pairs().any(|(name, value)| name == "pageToken" && value == "second") {
        json!({ "deployments": deployments })
    } else {
        json!({
            "deployments": [{ "deploymentId": "HEAD", "deploymentConfig": { "scriptId": "script/1" } }],
            "nextPageToken": "second",
        })
    }
}

fn refusal(status: u16, code: &str, message: &str) -> ResponseTemplate {
    ResponseTemplate::new(status)
        .set_body_json(json!({ "error": { "code": status, "message": message, "status": code } }))
}

fn client(server: &MockServer, timeout: Duration) -> Client {
    let egress = Egress::trusted(Duration::from_secs(5)).expect("a client");
    let base = format!("{}/google/", server.uri()).parse().expect("a URL");
    Client::new(egress, base, "ya29.token".into(), timeout)
}

async fn google() -> (MockServer, Fake, Client) {
    let (server, fake) = (MockServer::start().await, Fake::default());
    Mock::given(matchers::header("authorization", "Bearer ya29.token")).respond_with(fake.clone()).mount(&server).await;
    let client = client(&server, Duration::from_secs(5));
    (server, fake, client)
}

fn script() -> Script {
    Script {
        title: "Bright Ideas".to_owned(),
        parent_id: None,
        manifest: json!({ "timeZone": "Etc/UTC", "runtimeVersion": "V8" }),
        files: vec![File {
            name: "Code".to_owned(),
            file_type: FileType::ServerJs,
            source: "function doPost() {}".to_owned(),
        }],
    }
}

async fn run(client: &Client, progress: Progress) -> Result<(Progress, Vec<Progress>), ApiError> {
    let saved = RefCell::new(Vec::new());
    let save = |progress| {
        saved.borrow_mut().push(progress);
        ready(Ok::<_, Infallible>(()))
    };
    match client.deploy(&script(), KEY, progress, save).await {
        Ok(done) => Ok((done, saved.into_inner())),
        Err(DeployError::Api(error)) => Err(error),
        Err(DeployError::Save(never)) => match never {},
    }
}

/// A server that gives `answer` to everything.
async fn always(answer: ResponseTemplate) -> ApiError {
    let server = MockServer::start().await;
    Mock::given(matchers::any()).respond_with(answer).mount(&server).await;
    let client = client(&server, Duration::from_millis(200));
    run(&client, Progress::default()).await.expect_err("a failure")
}

#[tokio::test]
async fn a_script_is_deployed_and_every_step_is_saved() {
    let (server, fake, client) = google().await;
    let (done, saved) = run(&client, Progress::default()).await.expect("deployed");
    let complete = Progress {
        script_id: Some("script/1".to_owned()),
        content_updated: true,
        version_number: Some(1),
        deployment_id: Some("AKfyc1".to_owned()),
        web_app_url: Some("https://script.google.com/macros/s/1/exec".to_owned()),
    };
    assert_eq!(done, complete);
    assert_eq!(saved.len(), 4);
    assert_eq!(saved[3], complete);
    {
        let drive = fake.0.lock().expect("the fake's state");
        assert_eq!(drive.titles, ["Bright Ideas (0197-run:deploy_apps_script)"]);
        assert_eq!(
            drive.files,
            json!([
                { "name": "appsscript", "type": "JSON", "source": r#"{"runtimeVersion":"V8","timeZone":"Etc/UTC"}"# },
                { "name": "Code", "type": "SERVER_JS", "source": "function doPost() {}" },
            ])
        );
        assert_eq!(
            drive.deployments[0]["deploymentConfig"],
            json!({ "versionNumber": 1, "manifestFileName": "appsscript", "description": KEY })
        );
    }
    let requests = server.received_requests().await.expect("recorded");
    let keys: Vec<_> =
        requests.iter().filter_map(|request| request.headers.get("idempotency-key")?.to_str().ok()).collect();
    let parts = ["project", "content", "version", "deployment"];
    assert_eq!(keys, parts.map(|part| format!("{KEY}:{part}")));
    let project = client.project("script/1").await.expect("the project");
    assert_eq!(project.title, "Bright Ideas (0197-run:deploy_apps_script)");
}

#[tokio::test]
async fn a_deployment_resumes_after_each_step_without_repeating_one() {
    let (_server, _, first) = google().await;
    let (complete, saved) = run(&first, Progress::default()).await.expect("deployed");
    for (steps, progress) in saved.into_iter().enumerate() {
        let (server, fake, client) = google().await;
        // What the steps up to here left at Google.
        {
            let mut drive = fake.0.lock().expect("the fake's state");
            drive.titles.push("made before".to_owned());
            if progress.version_number.is_some() {
                drive.versions.push(json!({ "versionNumber": 1, "description": KEY }));
            }
        }
        // The kept form survives its way through the database.
        let kept = serde_json::to_string(&progress).expect("JSON");
        let progress = serde_json::from_str(&kept).expect("JSON");
        let (done, saved) = run(&client, progress).await.expect("deployed");
        assert_eq!(done, complete);
        assert_eq!(saved.len(), 3 - steps);
        assert_eq!(fake.0.lock().expect("the fake's state").titles, ["made before"]);
        let writes = server.received_requests().await.expect("recorded");
        let writes = writes.iter().filter(|request| request.method.as_str() != "GET");
        assert_eq!(writes.count(), 3 - steps);
    }
}

#[tokio::test]
async fn what_was_created_but_not_saved_is_found_again() {
    let (_server, fake, client) = google().await;
    let (complete, saved) = run(&client, Progress::default()).await.expect("deployed");
    // The process died after the version, and again after the deployment, before it could write them down.
    for progress in &saved[1..3] {
        let (done, _) = run(&client, progress.clone()).await.expect("deployed");
        assert_eq!(done, complete);
    }
    let drive = fake.0.lock().expect("the fake's state");
    assert_eq!((drive.versions.len(), drive.deployments.len()), (1, 1));
}

#[tokio::test]
async fn a_progress_that_cannot_be_saved_stops_the_deployment() {
    let (_server, fake, client) = google().await;
    let fenced = |_| ready(Err("lease lost"));
    let stopped = client.deploy(&script(), KEY, Progress::default(), fenced).await;
    assert!(matches!(stopped, Err(DeployError::Save("lease lost"))));
    let drive = fake.0.lock().expect("the fake's state");
    assert_eq!((drive.titles.len(), &drive.files), (1, &Value::Null));
}

#[tokio::test]
async fn undo_deletes_the_deployment_known_or_not_and_is_repeatable() {
    let (_server, fake, client) = google().await;
    client.undo(&Progress::default(), KEY).await.expect("nothing to do");
    for unknown in [false, true] {
        let (mut progress, _) = run(&client, Progress::default()).await.expect("deployed");
        if unknown {
            progress.deployment_id = None;
        }
        for _ in 0..2 {
            client.undo(&progress, KEY).await.expect("undone");
            assert!(fake.0.lock().expect("the fake's state").deployments.is_empty());
        }
    }
}

#[tokio::test]
async fn overload_is_retryable_and_says_when() {
    let answer = refusal(429, "RESOURCE_EXHAUSTED", "Quota exceeded.").insert_header("retry-after", "30");
    let error = always(answer).await;
    assert!(error.is_retryable());
    assert_eq!(error.retry_after(), Some(Duration::from_secs(30)));
    assert_eq!(error.to_string(), "Google can't serve the call now (429 RESOURCE_EXHAUSTED): Quota exceeded.");
    for (status, code) in [(500, "INTERNAL"), (503, "UNAVAILABLE"), (408, ""), (409, "ABORTED")] {
        let error = always(refusal(status, code, "")).await;
        assert!(error.is_retryable(), "{error}");
        assert_eq!(error.retry_after(), None);
    }
}

#[tokio::test]
async fn refusals_are_final_and_carry_googles_reason() {
    let error = always(refusal(403, "PERMISSION_DENIED", "The Apps Script API is off.")).await;
    assert!(!error.is_retryable());
    assert_eq!(error.to_string(), "Google refused the call (403 PERMISSION_DENIED): The Apps Script API is off.");
    for status in [400, 401, 404, 409] {
        assert!(!always(refusal(status, "X", "no")).await.is_retryable(), "{status}");
    }
    // A proxy's page instead of Google's error.
    let error = always(ResponseTemplate::new(403).set_body_string("<h1>no</h1>")).await;
    assert_eq!(error.to_string(), "Google refused the call (403): no explanation given");
    let error = always(ResponseTemplate::new(200).set_body_string("<h1>hi</h1>")).await;
    assert!(matches!(error, ApiError::Unreadable(_)) && !error.is_retryable());
}

#[tokio::test]
async fn silence_is_a_retryable_timeout() {
    let error = always(ResponseTemplate::new(200).set_delay(Duration::from_mins(1))).await;
    let after = Duration::from_millis(200);
    assert_eq!(error, ApiError::Network(EgressError::Timeout { after }));
    assert!(error.is_retryable());
}
