//! To a smaller plan, and to the free one: before the first payment, and after it.

use serde_json::{Value, json};

use super::{CHANGE, Member, days, on_growth, order, pay, register, text};
use crate::support::{Product, eventually, healthy};

const CONSUME: &str = "/api/v1/billing/credits/consume";

async fn to_free(product: &Product, member: &Member) -> Value {
    product.post_as(&member.token, CHANGE, &json!({"plan_slug": "free"})).await.expect(200)
}

/// Plan, balance, and whether the plan is had.
async fn has(product: &Product, member: &Member) -> (String, i64, bool) {
    let state = member.state(product).await;
    let entitled = state["subscription"]["entitled"].as_bool().unwrap();
    (text(&state["effective_plan"]), state["credits"]["balance"].as_i64().unwrap(), entitled)
}

on_both! {
    async fn who_has_not_paid_yet_may_have_the_free_plan_and_its_credits(database: Database) {
        let product = Product::start(database).await;
        let member = register(&product, "Acme", json!({"plan_slug": "scale", "payment_method": "bank_transfer"})).await;
        assert_eq!(has(&product, &member).await, ("free".to_owned(), 200_000, false));
        let charge = json!({"amount": 1, "description": "Report"});
        let refused = product.post_as(&member.token, CONSUME, &charge).await.expect_problem(402, "SUBSCRIPTION_REQUIRED");
        assert_eq!(refused["subscription_status"], "pending_payment");

        let free = to_free(&product, &member).await;
        assert_eq!((&free["plan"], &free["status"], free.get("invoice_id")), (&json!("free"), &json!("active"), None));
        assert_eq!(has(&product, &member).await, ("free".to_owned(), 1_000, true));
        let opened = "select count(*) as n from tenants where status = 'active'";
        eventually("it is set up", async || product.database.count(opened).await == 1).await;
        let status = product.provisioned(&member.token, &member.tenant).await;
        assert_eq!((&status["status"], &status["plan"]), (&json!("complete"), &json!("free")), "{status}");
        product.post_as(&member.token, CONSUME, &charge).await.expect(201);

        // What is void brings nothing any more.
        let path = format!("/invoices/{}/mark-paid", text(&member.made["invoice"]["id"]));
        product.admin_post(&path, &json!({})).await.expect_problem(409, "INVOICE_NOT_PAYABLE");
        product.post_as(&member.token, CHANGE, &json!({"plan_slug": "free"})).await.expect_problem(409, "PLAN_UNCHANGED");
        assert_eq!(has(&product, &member).await, ("free".to_owned(), 999, true));
        healthy(&product).await;
    }
}

on_both! {
    async fn who_has_signed_up_for_more_than_it_pays_has_the_credits_of_what_it_pays(database: Database) {
        let product = Product::start(database).await;
        let member = register(&product, "Acme", json!({"plan_slug": "scale", "payment_method": "bank_transfer"})).await;
        let ordered = order(&product, &member, "starter", "month").await;
        assert_eq!(product.database.count("select count(*) as n from invoices where status = 'open'").await, 1);
        product.post_as(&member.token, CONSUME, &json!({"amount": 1, "description": "Report"})).await.expect_problem(402, "SUBSCRIPTION_REQUIRED");
        pay(&product, &ordered).await;
        assert_eq!(has(&product, &member).await, ("starter".to_owned(), 5_000, true));
        let status = product.provisioned(&member.token, &member.tenant).await;
        assert_eq!((&status["status"], &status["plan"]), (&json!("complete"), &json!("starter")), "{status}");
        let ledger = product.get_as(&member.token, "/api/v1/billing/credits").await.expect(200);
        let lines: Vec<_> = ledger["data"].as_array().unwrap().iter().map(|line| line["amount"].as_i64().unwrap()).collect();
        assert_eq!(lines, [-195_000, 200_000]);
        healthy(&product).await;
    }
}

on_both! {
    async fn what_is_paid_is_had_to_its_end_and_then_comes_the_free_plan(database: Database) {
        let product = Product::start(database).await;
        let mut member = on_growth(&product, "Acme").await;
        let ending = to_free(&product, &member).await;
        assert_eq!((&ending["plan"], &ending["cancel_at_period_end"]), (&json!("growth"), &json!(true)));
        days(&product, &mut member, 20).await;
        assert_eq!(has(&product, &member).await, ("growth".to_owned(), 20_000, true));
        days(&product, &mut member, 12).await;
        let state = member.state(&product).await;
        assert_eq!((&state["effective_plan"], &state["limits"]["max_users"]["limit"]), (&json!("free"), &json!(1)));
        assert_eq!(state["limits"]["max_sites"]["limit"], 1);
        assert_eq!(product.database.count("select count(*) as n from invoices").await, 1, "nothing more is charged");
        assert_eq!(state["credits"]["balance"], 20_000, "what is left stays");

        // Who says so once more is on it for good, with what it brings each month.
        to_free(&product, &member).await;
        assert_eq!(has(&product, &member).await, ("free".to_owned(), 20_000, true));
        days(&product, &mut member, 32).await;
        assert_eq!(has(&product, &member).await, ("free".to_owned(), 21_000, true));
        healthy(&product).await;
    }
}

on_both! {
    async fn who_cancels_and_resumes_has_what_it_had(database: Database) {
        let product = Product::start(database).await;
        let mut member = on_growth(&product, "Acme").await;
        for _ in 0..3 {
            for path in ["cancel", "resume"] {
                product.post_as(&member.token, &format!("/api/v1/billing/{path}"), &json!({})).await.expect(200);
                assert_eq!(has(&product, &member).await, ("growth".to_owned(), 20_000, true));
            }
        }
        assert_eq!(product.database.count("select count(*) as n from credit_transactions").await, 1);
        days(&product, &mut member, 32).await;
        assert_eq!(product.database.count("select count(*) as n from invoices where status = 'open'").await, 1, "it goes on");
        healthy(&product).await;
    }
}

on_both! {
    async fn who_has_told_it_to_end_is_heard_until_something_else_is_ordered(database: Database) {
        let product = Product::start(database).await;
        let ends = async |member: &Member| member.state(&product).await["subscription"]["cancel_at_period_end"].clone();
        let (mut stays, mut goes) = (on_growth(&product, "Stays").await, on_growth(&product, "Goes").await);
        product.app.clock.advance(chrono::TimeDelta::days(32));
        days(&product, &mut stays, 0).await;
        goes.returns(&product).await;
        for member in [&stays, &goes] {
            product.post_as(&member.token, "/api/v1/billing/cancel", &json!({})).await.expect(200);
        }
        // One pays the month that has begun, the other orders another plan for it.
        let renewal = product.get_as(&goes.token, "/api/v1/billing/invoices?limit=1").await.expect(200)["data"][0]["id"].clone();
        pay(&product, &renewal).await;
        product.app.clock.advance(chrono::TimeDelta::minutes(1));
        let ordered = order(&product, &stays, "pro", "month").await;
        assert_eq!(ends(&stays).await, true, "until it is paid");
        pay(&product, &ordered).await;
        assert_eq!((ends(&goes).await, ends(&stays).await), (json!(true), json!(false)));
        days(&product, &mut stays, 32).await;
        goes.returns(&product).await;
        assert_eq!(has(&product, &goes).await.0, "free");
        assert_eq!(has(&product, &stays).await.0, "pro");
        assert_eq!(product.database.count("select count(*) as n from invoices where status = 'open'").await, 1);
        healthy(&product).await;
    }
}
