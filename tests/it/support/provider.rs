//! A sign-in provider of the test's own: oauth2-mock-server, told what to answer (e2e/support/mock-provider.js).

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use super::Settings;

/// A running provider. It ends with its standard input, so with the test.
pub struct Provider {
    child: Child,
    /// Where it is, and what it calls itself.
    pub issuer: String,
    client: reqwest::Client,
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Provider {
    pub fn start() -> Self {
        // An error means that a product in this process has installed one before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/support/mock-provider.js");
        let mut node = Command::new("node");
        node.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = node.spawn().expect("node is there: scripts/setup installs it");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let said: Value =
            serde_json::from_str(&line).expect("the provider starts: scripts/setup installs what it needs");
        let issuer = said["issuer"].as_str().expect("an issuer").to_owned();
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build();
        Self { child, issuer, client: client.expect("a client") }
    }

    /// Settings with this provider under a name.
    pub fn settings(&self, name: &str) -> Settings {
        self.configure(Settings::default(), name)
    }

    /// Adds this provider under a name.
    pub fn configure(&self, settings: Settings, name: &str) -> Settings {
        let key = |field: &str| format!("TENANTRY_OAUTH__{}__{field}", name.to_uppercase());
        settings
            .with(&key("CLIENT_ID"), "tenantry-tests")
            .with(&key("CLIENT_SECRET"), "a-client-secret-for-tests")
            .with(&key("ISSUER"), &self.issuer)
    }

    /// What holds until it is said anew; the script says what can be.
    pub async fn next(&self, what: Value) {
        let said =
            self.client.post(format!("{}/next", self.issuer)).json(&what).send().await.expect("the provider hears");
        assert_eq!(said.status(), 200);
    }

    /// Agrees to everything: where the provider sends the browser, as path and query.
    pub async fn agree(&self, url: &str) -> String {
        let answer = self.client.get(url).send().await.expect("the provider answers");
        assert_eq!(answer.status(), 302, "{}", answer.text().await.unwrap_or_default());
        let back = answer.headers()["location"].to_str().expect("text");
        let back = url::Url::parse(back).expect("a URL");
        format!("{}?{}", back.path(), back.query().unwrap_or_default())
    }
}
