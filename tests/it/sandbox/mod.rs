//! The Stripe sandbox, over its HTTP API and its pages.

mod calls;
mod changes;
mod declines;
mod deliveries;
mod faults;
mod life;
mod pages;

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Browser, Database, Product, Settings, answer, eventually};

const DAY: i64 = 24 * 60 * 60;

/// A product, and the key to its sandbox.
pub struct Stripe {
    pub product: Product,
    key: String,
}

impl Stripe {
    pub async fn start(database: Database) -> Self {
        Self::of(Product::start_with(database, Settings::default()).await).await
    }

    pub async fn of(product: Product) -> Self {
        let reach = product.get("/dev/sandbox.json").await.expect(200);
        Self { product, key: reach["secret_key"].as_str().expect("a key").to_owned() }
    }

    pub async fn call(&self, method: Method, path: &str, fields: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
        let form = serde_urlencoded::to_string(fields).expect("a form");
        let is_get = method == Method::GET;
        let path = if is_get && !form.is_empty() { format!("/v1/{path}?{form}") } else { format!("/v1/{path}") };
        let mut request = self.product.request(method, &path).bearer_auth(&self.key);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !is_get {
            request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        }
        answer(request).await
    }

    pub async fn get(&self, path: &str, fields: &[(&str, &str)]) -> Value {
        self.call(Method::GET, path, fields, &[]).await.expect(200)
    }

    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Value {
        self.call(Method::POST, path, fields, &[]).await.expect(200)
    }

    /// What is refused: the error.
    pub async fn refused(&self, status: u16, method: Method, path: &str, fields: &[(&str, &str)]) -> Value {
        self.call(method, path, fields, &[]).await.expect(status)["error"].clone()
    }

    /// A customer with this card on file.
    pub async fn customer(&self, card: &str) -> String {
        let id = text(&self.post("customers", &[("email", "ada@example.com"), ("name", "Ada")]).await["id"]).to_owned();
        let method = self.post(&format!("payment_methods/{card}/attach"), &[("customer", &id)]).await;
        let method = [("invoice_settings[default_payment_method]", text(&method["id"]))];
        self.post(&format!("customers/{id}"), &method).await;
        id
    }

    /// A subscription of a customer to one of our own plans.
    pub async fn subscribe(&self, customer: &str, price: &str) -> Value {
        self.post("subscriptions", &[("customer", customer), ("items[0][price]", price)]).await
    }

    pub async fn subscription(&self, id: &str) -> Value {
        self.get(&format!("subscriptions/{id}"), &[]).await
    }

    /// The invoices of a customer, the oldest first.
    pub async fn invoices(&self, customer: &str) -> Vec<Value> {
        let list = self.get("invoices", &[("customer", customer), ("limit", "100")]).await;
        list["data"].as_array().expect("a list").iter().rev().cloned().collect()
    }

    /// The types of all events, the oldest first.
    pub async fn events(&self) -> Vec<String> {
        let list = self.get("events", &[("limit", "100")]).await;
        list["data"].as_array().expect("a list").iter().rev().map(|event| text(&event["type"]).to_owned()).collect()
    }

    /// Moves the clock, and waits until the sandbox has done what was due.
    pub async fn advance(&self, by: TimeDelta) {
        let now = self.product.app.clock.advance(by);
        self.product.app.wake.wake();
        eventually("the sandbox does what is due", async || {
            let next = self.product.database.all::<Due>("select min(due_at) as due_at from sandbox_objects").await;
            next[0].due_at.is_none_or(|due| due > now.at)
        })
        .await;
    }

    /// Opens a session, pays on its page by a card, and answers the session.
    pub async fn check_out(&self, fields: &[(&str, &str)], card: &str) -> Value {
        let session = self.session(fields).await;
        let mut browser = Browser::new(&self.product);
        pay(&mut browser, &session, card).await;
        self.get(&format!("checkout/sessions/{}", text(&session["id"])), &[]).await
    }

    /// A checkout session for the plan Pro by the month.
    pub async fn session(&self, fields: &[(&str, &str)]) -> Value {
        let mut all = vec![
            ("mode", "subscription"),
            ("line_items[0][price]", PRO),
            ("line_items[0][quantity]", "1"),
            ("success_url", "http://localhost:8080/pricing?session={CHECKOUT_SESSION_ID}"),
            ("cancel_url", "http://localhost:8080/pricing"),
        ];
        all.extend(fields);
        self.post("checkout/sessions", &all).await
    }

    /// The id of the one item of a subscription.
    pub fn item(subscription: &Value) -> &str {
        text(&subscription["items"]["data"][0]["id"])
    }
}

#[derive(sea_orm::FromQueryResult)]
struct Due {
    due_at: Option<chrono::DateTime<chrono::Utc>>,
}

/// The price of Pro by the month, and others, as the default plans have them.
const PRO: &str = "price_pro_month_14900";
const PRO_YEARLY: &str = "price_pro_year_149000";
const STARTER: &str = "price_starter_month_2900";

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}"))
}

fn int(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("not a number: {value}"))
}

/// The path of a page that the sandbox has named.
fn path(url: &Value) -> String {
    let url: url::Url = text(url).parse().expect("a URL");
    url.path().to_owned()
}

/// Types a card into a session's page and sends it.
async fn pay(browser: &mut Browser<'_>, session: &Value, card: &str) {
    let page = path(&session["url"]);
    browser.go(&page).await;
    let form = browser.form(&page).fill("email", "ada@example.com").fill("name", "Ada Lovelace");
    browser.send(&form.fill("number", card).fill("expiry", "12 / 44").fill("cvc", "123")).await;
}

/// What Stripe's SDKs do with what has a price.
fn amount(invoice: &Value) -> (i64, i64) {
    (int(&invoice["total"]), int(&invoice["amount_due"]))
}

/// Holds an invoice to its arithmetic: lines are the total, and total and credit are what is due and what is left.
fn adds_up(invoice: &Value) {
    let lines = invoice["lines"]["data"].as_array().expect("lines");
    let sum: i64 = lines.iter().map(|line| int(&line["amount"])).sum();
    assert_eq!(sum, int(&invoice["total"]), "{invoice}");
    assert!(int(&invoice["amount_due"]) >= 0, "{invoice}");
    assert!(int(&invoice["ending_balance"]) <= 0, "{invoice}");
    let (start, end) = (int(&invoice["starting_balance"]), int(&invoice["ending_balance"]));
    assert_eq!(sum + start, int(&invoice["amount_due"]) + end, "{invoice}");
    assert_eq!(int(&invoice["amount_paid"]) + int(&invoice["amount_remaining"]), int(&invoice["amount_due"]));
}

/// The names of events that are about subscriptions, invoices and checkouts.
fn of_billing(events: &[String]) -> Vec<&str> {
    let kinds = ["customer.subscription.", "invoice.", "checkout."];
    events.iter().map(String::as_str).filter(|event| kinds.iter().any(|kind| event.starts_with(kind))).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "its callers read better")]
fn order(request: Value) -> Value {
    json!({"request": request})
}
