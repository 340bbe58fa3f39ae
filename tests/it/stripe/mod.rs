//! Billing by Stripe, against a Stripe of the tests' own: what is bought, what comes by webhook, and what happens when either side is late, down or wrong.

mod admin;
mod bank;
mod changes;
mod checkout;
mod credits;
mod customers;
mod duplicates;
mod faults;
mod inbox;
mod leaving;
mod life;
mod model;
mod reconcile;
mod repeats;
mod seeds;
mod webhook;

use serde_json::{Value, json};
use tenantry::{billing::stripe::signature, clock::Clock, serve::Roles};

use crate::support::{Answer, Database, Product, Settings, answer};
use model::Stripe;

const SECRET: &str = "whsec_of_these_tests";
const WEBHOOK: &str = "/api/v1/webhooks/stripe";
const CHECKOUT: &str = "/api/v1/billing/checkout-session";

/// A product that pays at `stripe`.
fn settings(stripe: &Stripe) -> Settings {
    Settings::default()
        .with("TENANTRY_BILLING__SANDBOX", "false")
        .with("STRIPE_SECRET_KEY", "sk_test_of_these_tests")
        .with("STRIPE_WEBHOOK_SECRET", SECRET)
        .with("TENANTRY_STRIPE__API_BASE", &stripe.base)
}

/// Gives every paid plan prices at Stripe, named as the model names them.
async fn price(database: &Database) {
    database
        .execute(
            "update plan_billing set stripe_price_monthly = 'price_m_' || (select slug from plans where id = plan_id), \
             stripe_price_yearly = 'price_y_' || (select slug from plans where id = plan_id)",
        )
        .await;
}

/// A product at a Stripe of its own, with workers.
async fn start(database: Database) -> (Product, Stripe) {
    let stripe = Stripe::start().await;
    price(&database).await;
    (Product::start_with(database, settings(&stripe)).await, stripe)
}

/// The same without workers: what comes in is processed when the test says so.
async fn start_idle(database: Database) -> (Product, Stripe) {
    let stripe = Stripe::start().await;
    price(&database).await;
    (Product::start_as(database, settings(&stripe), Roles { http: true, worker: false }).await, stripe)
}

/// Somebody who has registered.
struct Tenant {
    token: String,
    id: String,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn form(name: &str, more: &Value) -> Value {
    let email = format!("{}@example.com", name.to_lowercase());
    let password = "correct-horse-battery";
    let mut form = json!({"email": email, "password": password, "password_confirm": password, "account_name": name});
    form.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    form
}

/// Registers a trial of Pro.
async fn register(product: &Product, name: &str) -> Tenant {
    let made = product.post("/api/v1/auth/register", &form(name, &json!({}))).await.expect(201);
    Tenant { token: text(&made["access_token"]), id: text(&made["tenant"]["id"]) }
}

/// Opens a checkout and pays in it.
async fn buy(product: &Product, stripe: &Stripe, tenant: &Tenant, plan: &str, interval: &str) -> String {
    let body = json!({"plan_slug": plan, "interval": interval});
    let session = product.post_as(&tenant.token, CHECKOUT, &body).await.expect(201);
    stripe.pay(&text(&session["id"]))
}

/// Delivers an event as Stripe does.
async fn deliver(product: &Product, event: &Value) -> Answer {
    let body = event.to_string();
    let signed = signature::sign(&SECRET.into(), body.as_bytes(), product.app.clock.now().at);
    send(product, &body, Some(&signed)).await
}

async fn send(product: &Product, body: &str, signed: Option<&str>) -> Answer {
    let mut request = product.request(reqwest::Method::POST, WEBHOOK).header("content-type", "application/json");
    if let Some(signed) = signed {
        request = request.header("stripe-signature", signed);
    }
    answer(request.body(body.to_owned())).await
}

/// A number of chance that a seed leads to.
struct Chance(tenantry::clock::Now);

impl Chance {
    fn seeded(seed: u64) -> Self {
        Self(Clock::seeded(seed).now())
    }

    fn below(&self, n: usize) -> usize {
        usize::try_from(u64::from_be_bytes(self.0.bytes()) % n as u64).expect("small")
    }

    fn is(&self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn shuffle<T>(&self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

/// Brings a tenant to what Stripe says.
async fn synced(product: &Product, tenant: &Tenant) {
    tenantry::billing::stripe::sync(&product.app, tenant.id.parse().unwrap(), "test").await.expect("asks Stripe");
}

/// A tenant that pays for Pro by the month, as it is known here too; and its subscription at Stripe.
async fn on_pro(product: &Product, stripe: &Stripe, name: &str) -> (Tenant, String) {
    let tenant = register(product, name).await;
    let subscription = buy(product, stripe, &tenant, "pro", "month").await;
    synced(product, &tenant).await;
    (tenant, subscription)
}
