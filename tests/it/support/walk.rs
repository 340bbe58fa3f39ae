//! Walking through the wizard, and asking for what journeys often ask.

use reqwest::Method;
use serde_json::{Value, json};
use tenantry::doctor;

use super::{ADMIN_TOKEN, Answer, Product};

/// A webhook that is allowed everywhere; in dry run nothing calls it.
pub const MAKE_URL: &str = "https://hook.eu1.make.com/x";

/// Somebody in the wizard.
#[derive(Debug)]
pub struct Visitor {
    pub token: String,
    pub tenant: String,
    pub email: String,
    /// What step 1 answered.
    pub started: Value,
}

impl From<Value> for Visitor {
    fn from(started: Value) -> Self {
        Self {
            token: text(&started["token"]),
            tenant: text(&started["tenant"]["id"]),
            email: text(&started["user"]["email"]),
            started,
        }
    }
}

impl Product {
    /// Does step 1.
    pub async fn visit(&self, name: &str, plan: &str) -> Visitor {
        self.sign_up(name, plan).await.into()
    }

    /// Does the wizard's last step for `plan`.
    pub async fn end(&self, visitor: &Visitor, plan: &str) -> Answer {
        let (path, body) = match plan {
            "starter" | "growth" => ("/public/signup/starter/make", json!({"webhook_url": MAKE_URL})),
            "pro" | "scale" => ("/public/signup/pro/confirm", json!({})),
            _ => ("/public/signup/finish", json!({})),
        };
        self.post_as(&visitor.token, path, &body).await
    }

    /// Does the whole wizard and waits until the tenant is provisioned.
    pub async fn settle(&self, name: &str, plan: &str) -> Visitor {
        let visitor = self.visit(name, plan).await;
        self.end(&visitor, plan).await.expect(202);
        let status = self.provisioned(&visitor.token, &visitor.tenant).await;
        assert_eq!(status["status"], "complete", "{status}");
        visitor
    }

    /// Moves the product's clock.
    pub async fn advance(&self, seconds: i64) {
        self.post("/dev/clock/advance", &json!({"seconds": seconds})).await.expect(200);
    }

    /// The secret of the newest mail to `to` whose link leads to `path`.
    pub async fn secret(&self, to: &str, path: &str) -> String {
        let start = format!("http://localhost:8080{path}?token=");
        let mails = self.mails().await;
        let mut links = mails.iter().filter(|mail| mail["to"] == to).filter_map(|mail| mail["links"][0].as_str());
        links.find_map(|link| link.strip_prefix(&start)).expect("a mail with that link").to_owned()
    }

    /// Proves an address with the link that was mailed to it.
    pub async fn prove(&self, email: &str) {
        let token = self.secret(email, "/verify-email").await;
        self.post("/api/v1/auth/email/verify", &json!({"token": token})).await.expect(200);
    }

    /// Moves the kill switch; what the flag is then.
    pub async fn set_signups(&self, enabled: bool) -> Value {
        let path = "/api/v1/admin/feature-flags/signup_enabled";
        let body = json!({"enabled": enabled});
        self.call(Method::PUT, path, Some(ADMIN_TOKEN), Some(&body), &[]).await.expect(200)
    }

    /// As the operator.
    pub async fn admin_get(&self, path: &str) -> Answer {
        self.get_as(ADMIN_TOKEN, &format!("/api/v1/admin{path}")).await
    }

    /// As the operator.
    pub async fn admin_post(&self, path: &str, body: &Value) -> Answer {
        self.post_as(ADMIN_TOKEN, &format!("/api/v1/admin{path}"), body).await
    }
}

/// Holds every invariant of a product to reading 0.
pub async fn healthy(product: &Product) {
    let counts = doctor::examine(product.app.db.read(), &product.app.clock.now()).await.expect("examines");
    for count in counts {
        assert_eq!(count.count, 0, "{}", count.meaning);
    }
}

/// A problem's refused fields with their codes.
pub fn fields(problem: &Value) -> Vec<(&str, &str)> {
    problem["errors"]
        .as_array()
        .map(|errors| {
            errors.iter().map(|e| (e["field"].as_str().unwrap_or("?"), e["code"].as_str().unwrap_or("?"))).collect()
        })
        .unwrap_or_default()
}

/// The names of an object's members, sorted.
pub fn names(value: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// A value that is a text.
#[track_caller]
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// How many answers have this status.
pub fn with_status(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

/// How many answers have each status and code.
pub fn tally(answers: &[Answer]) -> Vec<(u16, String, usize)> {
    let mut tally: Vec<(u16, String, usize)> = Vec::new();
    for answer in answers {
        let code = answer.body["code"].as_str().unwrap_or_default().to_owned();
        let status = answer.status.as_u16();
        match tally.iter_mut().find(|(s, c, _)| *s == status && *c == code) {
            Some((.., n)) => *n += 1,
            None => tally.push((status, code, 1)),
        }
    }
    tally.sort();
    tally
}
