//! A server on loopback that plays everybody whom the product calls: the operator's application, customers' webhooks, Google.
//!
//! It keeps every request with its idempotency key. It answers 200, or what a test has told it to, at once or when the test
//! opens the gate that it holds the answer with. What is below `/google` behaves like the Apps Script API and keeps what is
//! created.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::HeaderMap,
    response::Response,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

/// Longer than anything takes here that is going to happen at all.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// One request that came in.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    pub body: String,
}

impl Seen {
    /// What the caller says makes this request one with its repeats.
    pub fn key(&self) -> Option<&str> {
        ["webhook-id", "idempotency-key"].into_iter().find_map(|name| self.headers.get(name)?.to_str().ok())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// What the fake answers.
#[derive(Clone, Debug)]
pub struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Value,
    gate: Option<Gate>,
    usual: bool,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: json!({}), gate: None, usual: false }
    }

    /// What is answered where nothing was told.
    pub fn usual() -> Self {
        Self { usual: true, ..Self::status(200) }
    }

    pub fn json(mut self, body: Value) -> Self {
        self.body = body;
        self
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Is answered when the gate is open.
    pub fn behind(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }
}

/// Holds answers until it is opened, and then no more.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    pub fn shut() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    pub fn open(&self) {
        self.0.send_replace(true);
    }

    async fn passed(&self) {
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

#[derive(Default)]
struct Inner {
    seen: Vec<Seen>,
    /// By method (or `*`) and path: what comes next, the last of it for ever.
    told: HashMap<(String, String), VecDeque<Reply>>,
    projects: HashMap<String, Project>,
}

impl Inner {
    /// Keeps a request, lets it have its effect, and decides on the answer.
    fn take(&mut self, seen: &Seen) -> Reply {
        self.seen.push(seen.clone());
        let at = |method: &str| (method.to_owned(), seen.path.clone());
        let told = [at(&seen.method), at("*")].iter().find_map(|key| {
            let replies = self.told.get_mut(key)?;
            if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() }
        });
        match told {
            Some(reply) if !reply.usual => reply,
            told => Reply { gate: told.and_then(|reply| reply.gate), ..self.usual(seen) },
        }
    }

    fn usual(&mut self, seen: &Seen) -> Reply {
        match seen.path.strip_prefix("/google/v1/projects") {
            Some(path) => google(&mut self.projects, seen, path),
            None => Reply::status(200),
        }
    }
}

/// An Apps Script project.
#[derive(Clone, Debug, Default)]
pub struct Project {
    pub title: String,
    pub files: Value,
    pub versions: Vec<Value>,
    pub deployments: Vec<Value>,
}

#[derive(Clone)]
struct Shared {
    inner: Arc<Mutex<Inner>>,
    count: Arc<watch::Sender<usize>>,
}

/// The running fake.
pub struct Fake {
    pub base: String,
    shared: Shared,
    serving: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Fake {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Shared { inner: Arc::default(), count: Arc::new(watch::Sender::new(0)) };
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
        Self { base, shared, serving }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Tells what to answer at `path` (to `*`: any method): one after the other, the last one for ever.
    pub fn tell(&self, method: &str, path: &str, replies: impl IntoIterator<Item = Reply>) {
        let replies = replies.into_iter().collect();
        self.inner().told.insert((method.to_owned(), path.to_owned()), replies);
    }

    /// Goes back to answering 200 at `path`.
    pub fn forget(&self, method: &str, path: &str) {
        self.inner().told.remove(&(method.to_owned(), path.to_owned()));
    }

    /// Every request so far whose path begins so.
    pub fn seen(&self, path: &str) -> Vec<Seen> {
        self.inner().seen.iter().filter(|seen| seen.path.starts_with(path)).cloned().collect()
    }

    /// Waits until so many requests have come whose path begins so.
    pub async fn wait_for(&self, path: &str, requests: usize) -> Vec<Seen> {
        let mut count = self.shared.count.subscribe();
        let come = count.wait_for(|_| self.seen(path).len() >= requests);
        let come = tokio::time::timeout(PATIENCE, come).await.map(drop);
        come.unwrap_or_else(|_| panic!("{requests} requests at {path}; seen: {:?}", self.seen("")));
        self.seen(path)
    }

    /// The Apps Script projects whose title has this in it.
    pub fn projects(&self, title: &str) -> Vec<Project> {
        self.inner().projects.values().filter(|project| project.title.contains(title)).cloned().collect()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.shared.inner.lock().expect("the fake's state")
    }
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let seen = Seen {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        headers: parts.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let reply = shared.inner.lock().expect("the fake's state").take(&seen);
    shared.count.send_modify(|count| *count += 1);
    if let Some(gate) = &reply.gate {
        gate.passed().await;
    }
    let mut response = Response::builder().status(reply.status).header("content-type", "application/json");
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(reply.body.to_string())).expect("an answer")
}

/// `path` is what comes after `/v1/projects`.
fn google(projects: &mut HashMap<String, Project>, seen: &Seen, path: &str) -> Reply {
    let body = seen.json();
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    if parts.is_empty() {
        let id = format!("script-{}", projects.len() + 1);
        let title = body["title"].as_str().unwrap_or_default().to_owned();
        projects.insert(id.clone(), Project { title, ..Project::default() });
        return Reply::status(200).json(json!({"scriptId": id, "title": body["title"]}));
    }
    let Some(project) = projects.get_mut(parts[0]) else { return not_found() };
    let answer = match (seen.method.as_str(), &parts[1..]) {
        ("PUT", ["content"]) => {
            project.files = body["files"].clone();
            body
        }
        ("GET", ["versions"]) => json!({"versions": project.versions}),
        ("POST", ["versions"]) => {
            let version = json!({"versionNumber": project.versions.len() + 1, "description": body["description"]});
            project.versions.push(version.clone());
            version
        }
        ("GET", ["deployments"]) => json!({"deployments": project.deployments}),
        ("POST", ["deployments"]) => {
            let id = format!("deployment-{}", project.deployments.len() + 1);
            let deployment = json!({
                "deploymentId": id, "deploymentConfig": body,
                "entryPoints": [{"entryPointType": "WEB_APP", "webApp": {"url": format!("https://script.test/{id}")}}],
            });
            project.deployments.push(deployment.clone());
            deployment
        }
        ("DELETE", ["deployments", id]) => {
            let before = project.deployments.len();
            project.deployments.retain(|deployment| deployment["deploymentId"] != *id);
            if project.deployments.len() == before {
                return not_found();
            }
            json!({})
        }
        _ => return not_found(),
    };
    Reply::status(200).json(answer)
}

fn not_found() -> Reply {
    let error = json!({"error": {"code": 404, "message": "Requested entity was not found.", "status": "NOT_FOUND"}});
    Reply::status(404).json(error)
}
