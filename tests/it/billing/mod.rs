//! What a tenant pays for and what it gets: plans that lapse, limits, credits, and bank transfers.

mod bank;
mod change;
mod credits;
mod leaving;
mod orders;
mod pages;
mod repeats;
mod rounds;
mod state;
mod time;
mod walk;

use serde_json::{Value, json};

use crate::support::Product;

const REGISTER: &str = "/api/v1/auth/register";
const LOGIN: &str = "/api/v1/auth/login";
const CHANGE: &str = "/api/v1/billing/change-plan";
const STATE: &str = "/api/v1/billing/state";
const PASSWORD: &str = "correct-horse-battery";
const DAY: i64 = 24 * 60 * 60;

/// A tenant of the register door.
struct Member {
    tenant: String,
    email: String,
    token: String,
    made: Value,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// Signs a tenant up, with what else the form says.
async fn register(product: &Product, name: &str, more: Value) -> Member {
    let email = format!("{}@example.com", name.to_lowercase());
    let mut form = json!({"email": email, "password": PASSWORD, "password_confirm": PASSWORD, "account_name": name});
    form.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made = product.post(REGISTER, &form).await.expect(201);
    Member { tenant: text(&made["tenant"]["id"]), email, token: text(&made["access_token"]), made }
}

impl Member {
    /// Comes back after a while: access tokens do not live as long as subscriptions.
    async fn returns(&mut self, product: &Product) {
        let login = json!({"email": self.email, "password": PASSWORD});
        self.token = text(&product.post(LOGIN, &login).await.expect(200)["access_token"]);
    }

    async fn state(&self, product: &Product) -> Value {
        product.get_as(&self.token, STATE).await.expect(200)
    }
}

/// The subjects of the letters to an address, oldest first.
async fn subjects(product: &Product, to: &str) -> Vec<String> {
    let mails = product.mails().await;
    mails.iter().rev().filter(|mail| mail["to"] == to).map(|mail| text(&mail["subject"])).collect()
}

/// Does what billing has to do by itself, now.
async fn round(product: &Product) {
    tenantry::billing::jobs::round(&product.app).await.expect("a round");
}

/// A tenant on Growth that has paid its first month by bank transfer, and is set up.
async fn on_growth(product: &Product, name: &str) -> Member {
    let member = register(product, name, json!({"plan_slug": "growth", "payment_method": "bank_transfer"})).await;
    pay(product, &member.made["invoice"]["id"]).await;
    product.provisioned(&member.token, &member.tenant).await;
    member
}

/// The operator marks an invoice paid.
async fn pay(product: &Product, invoice: &Value) {
    product.admin_post(&format!("/invoices/{}/mark-paid", text(invoice)), &json!({})).await.expect(200);
}

/// Orders a plan by bank transfer. Answers the invoice's id.
async fn order(product: &Product, member: &Member, plan: &str, interval: &str) -> Value {
    let body = json!({"plan_slug": plan, "interval": interval, "payment_method": "bank_transfer"});
    product.post_as(&member.token, CHANGE, &body).await.expect(200)["invoice_id"].clone()
}

/// Lets days go by, and what they bring.
async fn days(product: &Product, member: &mut Member, days: i64) {
    product.app.clock.advance(chrono::TimeDelta::days(days));
    round(product).await;
    member.returns(product).await;
}
