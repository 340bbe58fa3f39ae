//! Somebody who has an authenticator app, and logging in with what it shows.

use reqwest::Method;
use serde_json::{Value, json};
use totp_rs::Totp;
use uuid::Uuid;

use super::{Answer, Product, text};

const AUTH: &str = "/api/v1/auth";
const EMAIL: &str = "acme@example.com";

/// The owner of a tenant, with an app that has the secret.
pub struct Holder<'a> {
    product: &'a Product,
    pub id: Uuid,
    pub access: String,
    pub app: Totp,
    pub recovery_codes: Vec<String>,
}

impl<'a> Holder<'a> {
    /// The second factor is on.
    pub async fn with_factor(product: &'a Product) -> Self {
        let mut holder = Self::without(product).await;
        let codes = holder.post("confirm", &json!({"totp": holder.code()})).await.expect(200);
        holder.keep(&codes);
        holder
    }

    /// No code has shown yet that the app has the secret.
    pub async fn without(product: &'a Product) -> Self {
        let visitor = product.settle("Acme", "free").await;
        product.prove(EMAIL).await;
        let id = text(&visitor.started["user"]["id"]).parse().expect("an id");
        let (access, app) = scan(product).await;
        Self { product, id, access, app, recovery_codes: Vec::new() }
    }

    /// Logs in, and takes a new secret into the app.
    pub async fn set_up(&mut self) {
        (self.access, self.app) = scan(self.product).await;
    }

    /// Keeps the recovery codes of an answer, in place of those before.
    pub fn keep(&mut self, answer: &Value) {
        self.recovery_codes = answer["recovery_codes"].as_array().expect("codes").iter().map(text).collect();
    }

    /// What the app shows now.
    pub fn code(&self) -> String {
        self.code_in(0)
    }

    /// What it shows some seconds later, or showed before.
    pub fn code_in(&self, seconds: i64) -> String {
        let at = self.product.app.clock.now().at.timestamp() + seconds;
        self.app.generate(u64::try_from(at).expect("after 1970")).to_string()
    }

    /// What it shows next; the product's time moves with it.
    pub fn next_code(&self) -> String {
        self.product.app.clock.advance(chrono::TimeDelta::seconds(30));
        self.code()
    }

    /// A code that it shows neither now nor a step before or after.
    pub fn wrong_code(&self) -> String {
        let shown: Vec<_> = [-30, 0, 30].map(|seconds| self.code_in(seconds)).into();
        (0..9).map(|n| format!("{n:06}")).find(|code| !shown.contains(code)).expect("one of nine")
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.product.post_as(&self.access, &format!("{AUTH}/totp/{path}"), body).await
    }

    pub async fn status(&self) -> Value {
        self.product.get_as(&self.access, &format!("{AUTH}/totp")).await.expect(200)
    }

    pub async fn switch_off(&self, code: &str) -> Answer {
        let body = json!({"totp": code});
        self.product.call(Method::DELETE, &format!("{AUTH}/totp"), Some(&self.access), Some(&body), &[]).await
    }

    /// A log-in that waits for its code.
    pub async fn pending(&self) -> String {
        let problem = log_in(self.product, json!({})).await.expect_problem(401, "TOTP_REQUIRED");
        text(&problem["pending_token"])
    }

    /// The token of a fresh magic link.
    pub async fn link(&self) -> String {
        self.product.post(&format!("{AUTH}/magic-link"), &json!({"email": EMAIL})).await.expect(202);
        self.product.secret(EMAIL, "/magic-link").await
    }
}

/// Logs in and has a secret made: the access token, and the app that has read it.
async fn scan(product: &Product) -> (String, Totp) {
    let access = text(&log_in(product, json!({})).await.expect(200)["access_token"]);
    let made = product.post_as(&access, &format!("{AUTH}/totp/setup"), &json!({})).await.expect(201);
    let app = Totp::from_url(text(&made["otpauth_url"])).expect("what apps read");
    assert_eq!(app.secret().to_base32(), text(&made["secret"]));
    (access, app)
}

/// Logs in with the password, and what else is given.
pub async fn log_in(product: &Product, more: Value) -> Answer {
    let mut body = json!({"email": EMAIL, "password": "correct-horse-battery"});
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    product.post(&format!("{AUTH}/login"), &body).await
}

/// Brings the code that a log-in waits for.
pub async fn verify(product: &Product, pending: &str, code: &str) -> Answer {
    product.post(&format!("{AUTH}/totp/verify"), &json!({"pending_token": pending, "totp": code})).await
}
