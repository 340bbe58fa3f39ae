//! One tenant's whole way with money, on the product's clock: trial, reminders, lapse, payment, a renewal that fails, grace, lock, and recovery.
//! Stripe is the sandbox, which is called over HTTP and calls back over HTTP.

use serde_json::{Value, json};

use super::{DAY, Member, register, subjects, text};
use crate::support::{Browser, FormOn, Product, Settings, eventually, healthy};

const AUTOMATIONS: &str = "/api/v1/automations";

async fn state(product: &Product, member: &mut Member) -> Value {
    member.returns(product).await;
    member.state(product).await
}

/// Waits until the subscription stands so: Stripe's events come by themselves.
async fn becomes(product: &Product, member: &Member, status: &str) {
    let query = format!("select count(*) as n from subscriptions s where s.status = '{status}'");
    eventually(&format!("{} is {status}", member.email), async || product.database.count(&query).await == 1).await;
}

async fn hears(product: &Product, member: &Member, subject: &str) {
    eventually(subject, async || subjects(product, &member.email).await.iter().any(|heard| heard.starts_with(subject)))
        .await;
}

/// The path of a page of the sandbox, which is on this very server.
fn path(url: &Value) -> String {
    let url: url::Url = text(url).parse().expect("a URL");
    url.path().to_owned()
}

fn card(browser: &Browser<'_>, action: &str, number: &str) -> FormOn {
    let typed = [
        ("name", "Ada Lovelace"),
        ("number", number),
        ("expiry", "12 / 40"),
        ("cvc", "123"),
        ("email", "acme@example.com"),
    ];
    let form = browser.form(action);
    typed.iter().fold(form, |form, (name, value)| {
        if form.fields.iter().any(|(field, _)| field == name) { form.fill(name, value) } else { form }
    })
}

on_both! {
    async fn from_trial_to_recovery(database: Database) {
        let settings = Settings::default().with("TENANTRY_BILLING__SANDBOX", "true").with("TENANTRY_BILLING__PAST_DUE_GRACE", "2d");
        let product = Product::start_with(database, settings).await;
        let mut member = register(&product, "Acme", json!({})).await;
        product.provisioned(&member.token, &member.tenant).await;
        product.prove(&member.email).await;

        product.advance(12 * DAY).await;
        hears(&product, &member, "The trial of Acme ends on").await;
        product.advance(3 * DAY).await;
        hears(&product, &member, "The trial of Acme has ended").await;
        let lapsed = state(&product, &mut member).await;
        assert_eq!((&lapsed["effective_plan"], &lapsed["subscription"]["locked_reason"]), (&json!("free"), &json!("trial_ended")));
        product.get_as(&member.token, AUTOMATIONS).await.expect_problem(402, "SUBSCRIPTION_REQUIRED");

        let session = product.post_as(&member.token, "/api/v1/billing/checkout-session", &json!({"plan_slug": "pro"})).await.expect(201);
        let pay = path(&session["url"]);
        let mut browser = Browser::new(&product);
        browser.go(&pay).await;
        // A card that pays now, and not when the period ends.
        browser.send(&card(&browser, &pay, "4000000000000341")).await;
        becomes(&product, &member, "active").await;
        let paid = state(&product, &mut member).await;
        assert_eq!((&paid["effective_plan"], &paid["credits"]["balance"]), (&json!("pro"), &json!(100_000)));
        assert_eq!((&paid["billing"]["payment_method"]["type"], &paid["billing"]["payment_method"]["last4"]), (&json!("stripe"), &json!("0341")));
        product.get_as(&member.token, AUTOMATIONS).await.expect(200);
        hears(&product, &member, "Receipt for invoice").await;

        product.advance(32 * DAY).await;
        becomes(&product, &member, "past_due").await;
        hears(&product, &member, "A payment for Acme is missing").await;
        let late = state(&product, &mut member).await;
        assert_eq!((&late["subscription"]["entitled"], &late["explain"]["plan"]["source"]), (&json!(true), &json!("grace")));
        product.get_as(&member.token, AUTOMATIONS).await.expect(200);

        product.advance(2 * DAY + DAY / 2).await;
        let locked = state(&product, &mut member).await;
        assert_eq!((&locked["effective_plan"], &locked["subscription"]["locked_reason"]), (&json!("free"), &json!("past_due")));
        product.get_as(&member.token, AUTOMATIONS).await.expect_problem(402, "SUBSCRIPTION_REQUIRED");

        let portal = product.post_as(&member.token, "/api/v1/billing/portal-session", &json!({})).await.expect(201);
        let portal = path(&portal["url"]);
        browser.go(&portal).await;
        browser.send(&card(&browser, &format!("{portal}/card"), "4242424242424242")).await;
        browser.go(&portal).await;
        if browser.html.contains(&format!("action=\"{portal}/pay\"")) {
            browser.send(&browser.form(&format!("{portal}/pay"))).await;
        }
        becomes(&product, &member, "active").await;
        let recovered = state(&product, &mut member).await;
        assert_eq!((&recovered["effective_plan"], &recovered["credits"]["balance"]), (&json!("pro"), &json!(150_000)));
        product.get_as(&member.token, AUTOMATIONS).await.expect(200);

        product.post_as(&member.token, "/api/v1/billing/cancel", &json!({})).await.expect(200);
        let leaving = state(&product, &mut member).await;
        assert_eq!((&leaving["subscription"]["cancel_at_period_end"], &leaving["subscription"]["entitled"]), (&json!(true), &json!(true)));
        product.advance(40 * DAY).await;
        becomes(&product, &member, "canceled").await;
        let gone = state(&product, &mut member).await;
        assert_eq!((&gone["effective_plan"], &gone["subscription"]["locked_reason"]), (&json!("free"), &json!("canceled")));
        healthy(&product).await;
    }
}
