//! Changing plans without Stripe, one trial a person, and invoices as files.

use serde_json::{Value, json};

use super::{Member, register, round, text};
use crate::support::{Product, Settings, healthy};

async fn change(product: &Product, member: &Member, plan: &str) -> Value {
    product.post_as(&member.token, "/api/v1/billing/change-plan", &json!({"plan_slug": plan})).await.expect(200)
}

/// No Stripe at all: neither the real one nor the sandbox.
fn without_stripe() -> Settings {
    Settings::default().with("TENANTRY_BILLING__SANDBOX", "false")
}

on_both! {
    async fn a_trial_keeps_its_end_and_the_free_plan_holds_at_once(database: Database) {
        let product = Product::start_with(database, without_stripe()).await;
        let member = register(&product, "Acme", json!({})).await;
        let ends = member.state(&product).await["subscription"]["trial_ends_at"].clone();
        assert_eq!(change(&product, &member, "starter").await["status"], "trialing");
        let state = member.state(&product).await;
        assert_eq!((&state["effective_plan"], &state["subscription"]["trial_ends_at"]), (&json!("starter"), &ends));
        product.post_as(&member.token, "/api/v1/billing/change-plan", &json!({"plan_slug": "starter"})).await.expect_problem(409, "PLAN_UNCHANGED");
        assert_eq!(change(&product, &member, "free").await["status"], "active");
        let state = member.state(&product).await;
        assert_eq!((&state["effective_plan"], &state["subscription"]["trial_ends_at"]), (&json!("free"), &Value::Null));
        let ask = async |body: Value| product.post_as(&member.token, "/api/v1/billing/change-plan", &body).await;
        ask(json!({"plan_slug": "enterprise"})).await.expect_problem(422, "PLAN_NOT_SELF_SERVE");
        ask(json!({"plan_slug": "dragon"})).await.expect_problem(422, "VALIDATION_FAILED");
        ask(json!({"plan_slug": "pro", "interval": "week"})).await.expect_problem(422, "VALIDATION_FAILED");
        product.database.execute("update memberships set role = 'member'").await;
        ask(json!({"plan_slug": "pro"})).await.expect_problem(403, "FORBIDDEN");
        product.post_as(&member.token, "/api/v1/billing/checkout-session", &json!({"plan_slug": "pro"})).await.expect_problem(403, "FORBIDDEN");
        product.database.execute("update memberships set role = 'owner'").await;
        healthy(&product).await;
    }
}

on_both! {
    async fn what_costs_something_is_ordered_and_holds_when_it_is_paid(database: Database) {
        let product = Product::start_with(database, without_stripe()).await;
        let mut member = register(&product, "Acme", json!({"plan_slug": "free"})).await;
        product.provisioned(&member.token, &member.tenant).await;
        product.post_as(&member.token, "/api/v1/billing/checkout-session", &json!({"plan_slug": "pro"})).await.expect_problem(503, "BILLING_NOT_CONFIGURED");
        let first = change(&product, &member, "growth").await;
        assert_eq!((&first["plan"], &first["status"]), (&json!("free"), &json!("active")));
        let ordered = product.post_as(&member.token, "/api/v1/billing/change-plan", &json!({"plan_slug": "pro", "interval": "year"})).await.expect(200);
        let invoices = product.get_as(&member.token, "/api/v1/billing/invoices").await.expect(200);
        let stands: Vec<_> = invoices["data"].as_array().unwrap().iter().map(|one| (text(&one["status"]), one["total"]["amount"].clone())).collect();
        assert_eq!(stands, [("open".to_owned(), json!(149_000)), ("void".to_owned(), json!(7_900))], "the second order takes the first one's place");
        product.admin_post(&format!("/invoices/{}/mark-paid", text(&ordered["invoice_id"])), &json!({})).await.expect(200);
        let state = member.state(&product).await;
        assert_eq!((&state["effective_plan"], &state["subscription"]["interval"], &state["credits"]["balance"]), (&json!("pro"), &json!("year"), &json!(51_000)));
        // The steps that Pro adds come by themselves.
        crate::support::eventually("automations are deployed", async || product.database.count("select count(*) as n from automations").await == 3).await;
        product.app.clock.advance(chrono::TimeDelta::days(40));
        round(&product).await;
        member.returns(&product).await;
        assert_eq!(member.state(&product).await["credits"]["balance"], 101_000, "within the year each month brings its own");
        product.post_as(&member.token, "/api/v1/billing/cancel", &json!({})).await.expect(200);
        product.app.clock.advance(chrono::TimeDelta::days(400));
        round(&product).await;
        member.returns(&product).await;
        let state = member.state(&product).await;
        assert_eq!((&state["subscription"]["status"], &state["effective_plan"]), (&json!("canceled"), &json!("free")));
        healthy(&product).await;
    }
}

on_both! {
    async fn a_mailbox_has_one_trial_however_it_is_spelled(database: Database) {
        let product = Product::start_with(database, Settings::default().with("TENANTRY_RATE_LIMIT__ENABLED", "true")).await;
        let first = register(&product, "Acme", json!({})).await;
        let second = register(&product, "Acme+again", json!({"slug": "second"})).await;
        let other = register(&product, "Pear", json!({})).await;
        let standing = async |member: &Member| member.state(&product).await["subscription"]["locked_reason"].clone();
        assert_eq!((standing(&first).await, standing(&second).await, standing(&other).await), (Value::Null, json!("trial_ended"), Value::Null));
        assert_eq!(product.database.count("select count(*) as n from trial_claims").await, 2);
        let free = register(&product, "Acme+free", json!({"slug": "third", "plan_slug": "free"})).await;
        assert_eq!(free.state(&product).await["subscription"]["entitled"], true);
    }
}

on_both! {
    async fn an_invoice_is_a_file_for_its_own_tenant(database: Database) {
        let product = Product::start(database).await;
        let member = register(&product, "Acme", json!({"plan_slug": "growth", "payment_method": "bank_transfer"})).await;
        let pear = register(&product, "Pear", json!({"plan_slug": "free"})).await;
        let path = format!("/api/v1/billing/invoices/{}.pdf", text(&member.made["invoice"]["id"]));
        let file = product.get_as(&member.token, &path).await;
        assert_eq!((file.status.as_u16(), file.headers["content-type"].to_str().unwrap()), (200, "application/pdf"));
        assert!(file.headers["content-disposition"].to_str().unwrap().contains("filename=\"INV-"), "{:?}", file.headers);
        product.get_as(&pear.token, &path).await.expect_problem(404, "NOT_FOUND");
        product.get_as(&member.token, "/api/v1/billing/invoices/x.pdf").await.expect_problem(404, "NOT_FOUND");
    }
}
