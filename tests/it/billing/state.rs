//! `billing/state`, `entitlements/check` and the guards: they all say the same.

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use super::{DAY, STATE, register};
use crate::support::{Product, Settings, fields};

const CHECK: &str = "/api/v1/entitlements/check";
const AUTOMATIONS: &str = "/api/v1/automations";

on_both! {
    async fn a_trial_gives_all_of_its_plan_and_says_until_when(database: Database) {
        let product = Product::start(database).await;
        let member = register(&product, "Acme", json!({})).await;
        let state = member.state(&product).await;
        assert_eq!((&state["subscription"]["status"], &state["subscription"]["plan"]), (&json!("trialing"), &json!("pro")));
        assert_eq!((&state["subscription"]["entitled"], &state["subscription"]["locked_reason"]), (&json!(true), &Value::Null));
        assert_eq!((&state["effective_plan"], &state["credits"]["balance"]), (&json!("pro"), &json!(50_000)));
        let ends = &state["subscription"]["trial_ends_at"];
        assert_eq!(state["limits"]["max_users"], json!({"limit": 25, "used": 1, "source": "trial", "until": ends}));
        assert_eq!(state["limits"]["max_sectors_per_site"]["limit"], 0);
        assert_eq!(state["features"], json!({"apps_script": true, "automations": true}));
        assert_eq!(state["explain"]["plan"], json!({"source": "trial", "until": ends}));
        assert_eq!(state["explain"]["features"]["automations"], json!({"enabled": true, "source": "trial", "until": ends}));
        assert_eq!(state["billing"]["email"], "acme@example.com");
        assert_eq!(state["billing"]["payment_method"], Value::Null);
        assert_eq!(state["billing"]["prices"], json!({"month": {"amount": 14_900, "currency": "USD"}, "year": {"amount": 149_000, "currency": "USD"}}));
        assert_eq!(state["urls"]["billing"], "http://localhost:8080/billing");
        product.get_as(&member.token, AUTOMATIONS).await.expect(200);
    }
}

on_both! {
    async fn a_trial_that_has_ended_locks_what_was_pro_and_nothing_that_helps(database: Database) {
        let product = Product::start(database).await;
        let mut member = register(&product, "Acme", json!({})).await;
        product.prove(&member.email).await;
        let ends = member.state(&product).await["subscription"]["trial_ends_at"].clone();
        product.advance(14 * DAY).await;
        member.returns(&product).await;
        let before = "select count(*) as n from subscriptions where status = 'trialing'";
        let refused = product.get_as(&member.token, AUTOMATIONS).await.expect_problem(402, "SUBSCRIPTION_REQUIRED");
        assert_eq!((&refused["subscription_status"], &refused["plan"], &refused["ended_at"]), (&json!("trialing"), &json!("pro"), &ends));
        assert_eq!(refused["billing_url"], "http://localhost:8080/billing");
        let state = member.state(&product).await;
        assert_eq!((&state["subscription"]["entitled"], &state["subscription"]["locked_reason"]), (&json!(false), &json!("trial_ended")));
        assert_eq!((&state["subscription"]["ended_at"], &state["effective_plan"]), (&ends, &json!("free")));
        assert_eq!(state["limits"]["max_users"], json!({"limit": 1, "used": 1, "source": "lapsed", "until": null}));
        assert_eq!(state["features"]["automations"], false);
        assert_eq!(product.database.count(before).await, 1, "no read has written anything down");
        for open in ["/api/v1/auth/me", STATE, "/api/v1/billing/credits", "/api/v1/billing/invoices", "/api/v1/auth/sessions"] {
            product.get_as(&member.token, open).await.expect(200);
        }
        let token = jsonwebtoken::dangerous::insecure_decode::<Value>(&member.token).expect("claims").claims;
        assert_eq!(token["plan"], "free", "the token says so too");
    }
}

on_both! {
    async fn a_check_answers_as_the_state_does_and_says_why(database: Database) {
        let product = Product::start(database).await;
        let member = register(&product, "Acme", json!({"plan_slug": "free"})).await;
        let ask = async |question: Value| product.post_as(&member.token, CHECK, &question).await;
        let answer = ask(json!({"feature": "automations"})).await.expect(200);
        assert_eq!(answer, json!({"allowed": false, "reason": "not_in_plan", "plan": "free", "source": "plan", "until": null}));
        let answer = ask(json!({"limit": "max_users"})).await.expect(200);
        assert_eq!(answer, json!({"allowed": false, "reason": "limit_reached", "plan": "free", "limit": 1, "used": 1, "source": "plan", "until": null}));
        let answer = ask(json!({"limit": "max_sites", "quantity": 1})).await.expect(200);
        assert_eq!((&answer["allowed"], &answer["used"]), (&json!(true), &json!(0)));
        for (question, field, code) in [
            (json!({}), "feature", "REQUIRED"),
            (json!({"feature": "automations", "limit": "max_users"}), "feature", "REQUIRED"),
            (json!({"feature": "signup_enabled"}), "feature", "UNKNOWN"),
            (json!({"limit": "max_dragons"}), "limit", "UNKNOWN"),
            (json!({"limit": "max_users", "quantity": 0}), "quantity", "OUT_OF_RANGE"),
            (json!({"feature": "automations", "quantity": 2}), "quantity", "NOT_ALLOWED"),
        ] {
            let refused = ask(question).await.expect_problem(422, "VALIDATION_FAILED");
            assert_eq!(fields(&refused), [(field, code)]);
        }
        let most = ask(json!({"limit": "max_users", "quantity": i64::MAX})).await.expect(200);
        assert_eq!(most["allowed"], false);
        product.post(CHECK, &json!({"feature": "automations"})).await.expect_problem(401, "UNAUTHENTICATED");
    }
}

on_both! {
    async fn a_plan_without_automations_is_told_what_it_needs(database: Database) {
        let product = Product::start(database).await;
        let member = register(&product, "Acme", json!({"plan_slug": "starter"})).await;
        let refused = product.get_as(&member.token, AUTOMATIONS).await.expect_problem(402, "SUBSCRIPTION_REQUIRED");
        assert_eq!((&refused["subscription_status"], &refused["ended_at"]), (&json!("trialing"), &Value::Null));
        let now: DateTime<Utc> = product.app.clock.now().at;
        let text = now.to_rfc3339();
        product.database.execute(&format!("insert into tenant_feature_overrides (tenant_id, flag, enabled, created_at) select id, 'automations', true, '{text}' from tenants")).await;
        product.get_as(&member.token, AUTOMATIONS).await.expect(200);
        assert_eq!(member.state(&product).await["explain"]["features"]["automations"]["source"], "override");
    }
}

on_both! {
    async fn the_state_has_a_tag_that_changes_with_it(database: Database) {
        let product = Product::start(database).await;
        let member = register(&product, "Acme", json!({"plan_slug": "free"})).await;
        let first = product.get_as(&member.token, STATE).await;
        let tag = first.headers["etag"].to_str().unwrap().to_owned();
        assert_eq!(first.headers["cache-control"], "private, no-cache");
        let again = async |tag: &str| product.call(Method::GET, STATE, Some(&member.token), None, &[("if-none-match", tag)]).await;
        for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}")] {
            let unchanged = again(&known).await;
            assert_eq!((unchanged.status.as_u16(), unchanged.text.as_str()), (304, ""));
            assert_eq!(unchanged.headers["etag"].to_str().unwrap(), tag);
        }
        assert_eq!(again("\"other\"").await.status, 200);
        product.post_as(&member.token, "/api/v1/billing/credits/consume", &json!({"amount": 1, "description": "Report"})).await.expect(201);
        let changed = again(&tag).await;
        assert_eq!(changed.status, 200);
        assert_ne!(changed.headers["etag"].to_str().unwrap(), tag);
    }
}

on_both! {
    async fn a_state_is_of_ones_own_tenant_alone(database: Database) {
        let product = Product::start_with(database, Settings::default()).await;
        let acme = register(&product, "Acme", json!({"plan_slug": "free"})).await;
        let pear = register(&product, "Pear", json!({"plan_slug": "growth", "payment_method": "bank_transfer"})).await;
        assert_eq!(acme.state(&product).await["effective_plan"], "free");
        let state = pear.state(&product).await;
        assert_eq!((&state["subscription"]["status"], &state["subscription"]["locked_reason"]), (&json!("pending_payment"), &json!("payment_pending")));
        assert_eq!(state["billing"]["payment_method"]["type"], "bank_transfer");
        let invoice = pear.made["invoice"]["id"].as_str().unwrap();
        product.get_as(&acme.token, &format!("/api/v1/billing/invoices/{invoice}")).await.expect_problem(404, "NOT_FOUND");
        assert_eq!(product.get_as(&acme.token, "/api/v1/billing/invoices").await.expect(200)["data"], json!([]));
        let mine = product.get_as(&pear.token, &format!("/api/v1/billing/invoices/{invoice}")).await.expect(200);
        assert_eq!(mine["lines"], json!([{"description": "Growth, one month", "quantity": 1, "unit_amount": 7_900, "amount": 7_900}]));
    }
}
