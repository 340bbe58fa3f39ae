//! The product, running in the test's own process on a free port.

use std::collections::BTreeMap;

use reqwest::{Method, RequestBuilder, StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use tenantry::{app::App, clock::Clock, config::Config, serve, serve::Roles, telemetry};
use tokio::task::JoinHandle;

use super::Database;

/// Configuration of one product, as environment variables. Starts from development with every network call allowed to loopback.
#[derive(Clone, Debug)]
pub struct Settings(BTreeMap<String, String>);

impl Default for Settings {
    fn default() -> Self {
        let base = [
            ("TENANTRY_HTTP__BIND", "127.0.0.1:0"),
            ("TENANTRY_PUBLIC_URL", "http://localhost:8080"),
            ("TENANTRY_ADMIN_TOKEN", ADMIN_TOKEN),
            ("TENANTRY_RATE_LIMIT__ENABLED", "false"),
            // The least that Argon2 takes: these tests are not about the cost of a hash.
            ("TENANTRY_PASSWORD__MEMORY_KIB", "8"),
            ("TENANTRY_PASSWORD__ITERATIONS", "1"),
        ];
        Self(base.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }
}

pub const ADMIN_TOKEN: &str = "an-admin-token-for-tests";

impl Settings {
    /// Sets one more.
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.0.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Webhooks are really called, here as anywhere, and one refusal is the end of a run.
    pub fn calling() -> Self {
        Self::default()
            .with("TENANTRY_PROVISION__DRY_RUN", "false")
            .with("TENANTRY_PROVISION__ALLOW_PRIVATE_ADDRESSES", "true")
            .with("TENANTRY_PROVISION__STRICT_WEBHOOKS", "true")
            .with("TENANTRY_PROVISION__MAX_ATTEMPTS", "1")
    }

    /// All of them, with those that lead to a database.
    pub fn variables(&self, database: &Database) -> BTreeMap<String, String> {
        let mut variables = self.0.clone();
        variables.insert("TENANTRY_DATA_DIR".into(), database.folder().display().to_string());
        variables.extend(database.url.clone().map(|url| ("DATABASE_URL".to_owned(), url)));
        variables
    }
}

/// A running product.
pub struct Product {
    pub database: Database,
    pub app: App,
    pub url: String,
    client: reqwest::Client,
    serving: JoinHandle<()>,
}

/// What it answered.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
    pub text: String,
}

impl Answer {
    /// The body, if the status is the one expected.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.body
    }

    /// Holds the answer to being a problem with this status and code.
    #[track_caller]
    pub fn expect_problem(self, status: u16, code: &str) -> Value {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{}", self.text);
        let body = self.expect(status);
        assert_eq!(body["code"], code, "{body}");
        assert_eq!(body["status"], status);
        assert!(body["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{body}");
        body
    }
}

/// Sends a request as it is.
pub async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.expect("a body");
    Answer { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::Null), text }
}

impl Product {
    /// With the default settings.
    pub async fn start(database: Database) -> Self {
        Self::start_with(database, Settings::default()).await
    }

    /// With settings of the test's own.
    pub async fn start_with(database: Database, settings: Settings) -> Self {
        Self::start_as(database, settings, Roles { http: true, worker: true }).await
    }

    /// As a server, a worker, or both.
    pub async fn start_as(database: Database, settings: Settings, roles: Roles) -> Self {
        Self::start_prepared(database, settings, roles, |_| ()).await
    }

    /// With something done to the product before it runs.
    pub async fn start_prepared(
        database: Database,
        settings: Settings,
        roles: Roles,
        prepare: impl FnOnce(&App),
    ) -> Self {
        let variables = settings.variables(&database).into_iter();
        let config = Config::load_from(variables, database.folder()).expect("good settings");
        telemetry::metrics();
        let app = App::new(config, Clock::system()).await.expect("starts");
        app.keys.load(&app.clock.now()).await.expect("keys load");
        prepare(&app);
        let (bound, address) = tokio::sync::oneshot::channel();
        let running = app.clone();
        let serving = tokio::spawn(async move {
            serve::until_stopped(running, roles, bound).await.expect("serves");
        });
        let address = address.await.expect("listens");
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build();
        Self { database, app, url: format!("http://{address}"), client: client.expect("a client"), serving }
    }

    /// Stops as on SIGTERM, and waits until everything has ended.
    pub async fn stop(self) -> Database {
        self.app.stop.cancel();
        self.serving.await.expect("stops in order");
        self.database
    }

    /// Sends a request. `token` goes into the Authorization header.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = self.request(method, path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        answer(request).await
    }

    /// A request to add to; [`answer`] sends it.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// Begins to read an answer whose body comes as it happens.
    pub async fn stream(&self, token: &str, path: &str) -> reqwest::Response {
        self.client.get(format!("{}{path}", self.url)).bearer_auth(token).send().await.expect("an answer")
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None, None, &[]).await
    }

    pub async fn get_as(&self, token: &str, path: &str) -> Answer {
        self.call(Method::GET, path, Some(token), None, &[]).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, None, Some(body), &[]).await
    }

    pub async fn post_as(&self, token: &str, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, Some(token), Some(body), &[]).await
    }

    /// The wizard's first step for `name`, with the plan given.
    pub async fn sign_up(&self, name: &str, plan: &str) -> Value {
        let body = signup_body(name, plan);
        self.post("/public/signup/start", &body).await.expect(201)
    }

    /// Reads a run's events to their end: what `provision-status` says then. Waits on events, not on time.
    pub async fn provisioned(&self, token: &str, tenant_id: &str) -> Value {
        let events = format!("/api/v1/tenants/{tenant_id}/provision-events");
        self.get_as(token, &events).await;
        self.get_as(token, &format!("/api/v1/tenants/{tenant_id}/provision-status")).await.expect(200)
    }

    /// The mails in the development mailbox, newest first.
    pub async fn mails(&self) -> Vec<Value> {
        let body = self.get("/dev/mailbox.json").await.expect(200);
        body["data"].as_array().expect("mails").clone()
    }
}

/// What a person called `name` types into step 1.
pub fn signup_body(name: &str, plan: &str) -> Value {
    let email = format!("{}@example.com", name.to_lowercase().replace(' ', "."));
    json!({"email": email, "password": "correct-horse-battery", "tenant_name": name, "plan": plan})
}
