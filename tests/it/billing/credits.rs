//! Credits: balance and ledger change together, never below zero, and once.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::{register, text};
use crate::support::{Product, fields, healthy};

const CONSUME: &str = "/api/v1/billing/credits/consume";
const CREDITS: &str = "/api/v1/billing/credits";

on_both! {
    async fn a_charge_is_a_line_of_the_ledger(database: Database) {
        let product = Product::start(database).await;
        let member = register(&product, "Acme", json!({"plan_slug": "free"})).await;
        let charge = json!({"amount": 250, "description": "Report", "metadata": {"report": 7}});
        let line = product.post_as(&member.token, CONSUME, &charge).await.expect(201);
        assert_eq!((&line["transaction_type"], &line["amount"], &line["balance_after"]), (&json!("consume"), &json!(-250), &json!(750)));
        assert_eq!((&line["description"], &line["metadata"]), (&json!("Report"), &json!({"report": 7})));
        let refused = product.post_as(&member.token, CONSUME, &json!({"amount": 751, "description": "More"})).await.expect_problem(409, "INSUFFICIENT_CREDITS");
        assert_eq!(refused["balance"], 750);
        let statement = product.get_as(&member.token, &format!("{CREDITS}?limit=1")).await.expect(200);
        assert_eq!((&statement["balance"], &statement["data"][0]["id"]), (&json!(750), &line["id"]));
        let next = text(&statement["next_cursor"]);
        let before = product.get_as(&member.token, &format!("{CREDITS}?limit=1&cursor={next}")).await.expect(200);
        assert_eq!((&before["data"][0]["transaction_type"], &before["data"][0]["amount"]), (&json!("grant"), &json!(1_000)));
        assert_eq!(before["next_cursor"], Value::Null);
        healthy(&product).await;
    }
}

on_both! {
    async fn a_charge_that_reads_badly_changes_nothing(database: Database) {
        let product = Product::start(database).await;
        let member = register(&product, "Acme", json!({"plan_slug": "free"})).await;
        for (charge, field, code) in [
            (json!({"amount": 0, "description": "x"}), "amount", "OUT_OF_RANGE"),
            (json!({"amount": -5, "description": "x"}), "amount", "OUT_OF_RANGE"),
            (json!({"amount": i64::MIN, "description": "x"}), "amount", "OUT_OF_RANGE"),
            (json!({"amount": 1, "description": " "}), "description", "REQUIRED"),
            (json!({"amount": 1, "description": "x", "metadata": {"a": "x".repeat(5_000)}}), "metadata", "TOO_LONG"),
        ] {
            let refused = product.post_as(&member.token, CONSUME, &charge).await.expect_problem(422, "VALIDATION_FAILED");
            assert_eq!(fields(&refused), [(field, code)]);
        }
        for charge in [json!({"amount": 1.5, "description": "x"}), json!({"amount": "1", "description": "x"}), json!({"amount": 1}), json!({"amount": 1, "description": "x", "balance": 9})] {
            product.post_as(&member.token, CONSUME, &charge).await.expect_problem(422, "VALIDATION_FAILED");
        }
        product.post_as(&member.token, CONSUME, &json!({"amount": i64::MAX, "description": "x"})).await.expect_problem(409, "INSUFFICIENT_CREDITS");
        product.post(CONSUME, &json!({"amount": 1, "description": "x"})).await.expect_problem(401, "UNAUTHENTICATED");
        assert_eq!(product.database.count("select balance as n from credit_balances").await, 1_000);
        assert_eq!(product.database.count("select count(*) as n from credit_transactions").await, 1);
    }
}

on_both! {
    async fn of_sixty_four_charges_at_once_as_many_pass_as_are_paid_for(database: Database) {
        let product = Product::start(database).await;
        let member = register(&product, "Acme", json!({"plan_slug": "free"})).await;
        let charge = json!({"amount": 100, "description": "Report"});
        let answers = join_all((0..64).map(|_| product.post_as(&member.token, CONSUME, &charge))).await;
        let passed = answers.iter().filter(|answer| answer.status == 201).count();
        assert_eq!(passed, 10, "1,000 credits are ten charges");
        assert!(answers.iter().all(|answer| answer.status == 201 || answer.body["code"] == "INSUFFICIENT_CREDITS"));
        let mut after: Vec<_> = answers.iter().filter_map(|answer| answer.body["balance_after"].as_i64()).collect();
        after.sort_unstable();
        assert_eq!(after, (0..10).map(|n| n * 100).collect::<Vec<_>>());
        healthy(&product).await;
    }
}

on_both! {
    async fn a_charge_under_a_key_happens_once(database: Database) {
        let product = Product::start(database).await;
        let member = register(&product, "Acme", json!({"plan_slug": "free"})).await;
        let charge = json!({"amount": 100, "description": "Report"});
        let send = || product.call(Method::POST, CONSUME, Some(&member.token), Some(&charge), &[("idempotency-key", "report-7")]);
        let answers = join_all((0..8).map(|_| send())).await;
        let lines: std::collections::BTreeSet<_> = answers.iter().filter(|answer| answer.status == 201).map(|answer| text(&answer.body["id"])).collect();
        assert_eq!(lines.len(), 1, "{answers:?}");
        assert_eq!(product.database.count("select balance as n from credit_balances").await, 900);
    }
}

on_both! {
    async fn the_tenants_own_systems_hear_once_that_few_are_left(database: Database) {
        let product = Product::start(database).await;
        let member = register(&product, "Acme", json!({})).await;
        product.provisioned(&member.token, &member.tenant).await;
        let now = product.app.clock.now().at.to_rfc3339();
        product.database.execute(&format!("insert into webhook_endpoints (tenant_id, id, url, source, secret, enabled, created_at, updated_at) select id, id, 'https://example.com/', 'tenant', '\\x00', true, '{now}', '{now}' from tenants")).await;
        product.database.execute(&format!("insert into automations (tenant_id, id, name, event_type, enabled, created_at) select id, id, 'Low', 'credits.low', true, '{now}' from tenants")).await;
        let told = "select count(*) as n from webhook_deliveries where event_type = 'credits.low'";
        for (amount, expected) in [(44_999, 0), (1, 0), (1, 1), (1, 1)] {
            product.post_as(&member.token, CONSUME, &json!({"amount": amount, "description": "Report"})).await.expect(201);
            assert_eq!(product.database.count(told).await, expected, "after {amount}");
        }
    }
}
