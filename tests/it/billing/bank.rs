//! Paying by bank transfer.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{Member, PASSWORD, REGISTER, register, round, subjects, text};
use crate::support::{Product, healthy};

async fn by_bank(product: &Product, name: &str) -> Member {
    register(product, name, json!({"plan_slug": "growth", "payment_method": "bank_transfer"})).await
}

async fn mark_paid(product: &Product, invoice: &Value) -> Value {
    let path = format!("/invoices/{}/mark-paid", text(invoice));
    product.admin_post(&path, &json!({"external_payment_id": "SEPA 4711"})).await.expect(200)
}

on_both! {
    async fn the_first_payment_opens_the_tenant(database: Database) {
        let product = Product::start(database).await;
        let member = by_bank(&product, "Acme").await;
        let paid = mark_paid(&product, &member.made["invoice"]["id"]).await;
        assert_eq!((&paid["status"], &paid["tenant_id"]), (&json!("paid"), &json!(member.tenant)));
        assert!(paid["provision"]["run_id"].is_string() && paid["paid_at"].is_string());
        let status = product.provisioned(&member.token, &member.tenant).await;
        assert_eq!(status["status"], "complete", "{status}");
        let state = member.state(&product).await;
        assert_eq!((&state["subscription"]["status"], &state["effective_plan"]), (&json!("active"), &json!("growth")));
        assert_eq!(state["credits"]["balance"], 20_000, "the first month came with the sign-up");
        assert_eq!(product.database.count("select count(*) as n from tenants where status = 'active'").await, 1);
        assert!(subjects(&product, &member.email).await.contains(&"Receipt for invoice INV-2026-000001".replace("2026", &product.app.clock.now().at.format("%Y").to_string())));
        let again = mark_paid(&product, &member.made["invoice"]["id"]).await;
        assert_eq!((&again["paid_at"], again.get("provision")), (&paid["paid_at"], None));
        assert_eq!(product.database.count("select count(*) as n from audit_events where action = 'invoice.paid'").await, 1);
        healthy(&product).await;
    }
}

on_both! {
    async fn of_sixteen_who_mark_one_invoice_paid_one_does(database: Database) {
        let product = Product::start(database).await;
        let member = by_bank(&product, "Acme").await;
        let path = format!("/invoices/{}/mark-paid", text(&member.made["invoice"]["id"]));
        let body = json!({});
        let answers = join_all((0..16).map(|_| product.admin_post(&path, &body))).await;
        assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
        assert_eq!(answers.iter().filter(|answer| answer.body.get("provision").is_some()).count(), 1);
        assert_eq!(product.database.count("select count(*) as n from audit_events where action = 'invoice.paid'").await, 1);
        assert_eq!(product.database.count("select count(*) as n from credit_transactions").await, 1);
    }
}

on_both! {
    async fn numbers_have_no_gaps_however_many_sign_up_or_fail_at_once(database: Database) {
        let product = Product::start(database).await;
        let names: Vec<_> = (0..24).map(|n| format!("Tenant{}", n / 2)).collect();
        // Each name twice: half of them are refused after a number was drawn.
        let forms = names.iter().map(|name| {
            let email = format!("{}@example.com", name.to_lowercase());
            json!({"email": email, "password": PASSWORD, "password_confirm": PASSWORD, "account_name": name, "plan_slug": "growth", "payment_method": "bank_transfer"})
        });
        let forms: Vec<_> = forms.collect();
        let answers = join_all(forms.iter().map(|form| product.post(REGISTER, form))).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 12);
        let mut numbers: Vec<_> = answers.iter().filter(|answer| answer.status == 201).map(|answer| text(&answer.body["invoice"]["number"])).collect();
        numbers.sort();
        let year = product.app.clock.now().at.format("%Y").to_string();
        assert_eq!(numbers, (1..=12).map(|n| format!("INV-{year}-{n:06}")).collect::<Vec<_>>());
    }
}

on_both! {
    async fn an_invoice_follows_each_month_and_one_that_is_not_paid_locks_after_its_grace(database: Database) {
        let product = Product::start(database).await;
        let mut member = by_bank(&product, "Acme").await;
        mark_paid(&product, &member.made["invoice"]["id"]).await;
        product.provisioned(&member.token, &member.tenant).await;
        product.app.clock.advance(chrono::TimeDelta::days(32));
        round(&product).await;
        member.returns(&product).await;
        let invoices = product.get_as(&member.token, "/api/v1/billing/invoices").await.expect(200);
        assert_eq!(invoices["data"].as_array().unwrap().len(), 2);
        let second = invoices["data"][0].clone();
        assert_eq!((&second["status"], &second["total"]["amount"]), (&json!("open"), &json!(7_900)));
        assert!(subjects(&product, &member.email).await.iter().any(|subject| subject == &format!("Invoice {}", text(&second["number"]))));
        assert_eq!(member.state(&product).await["subscription"]["status"], "active", "it has two weeks");

        product.app.clock.advance(chrono::TimeDelta::days(15));
        round(&product).await;
        member.returns(&product).await;
        let state = member.state(&product).await;
        assert_eq!((&state["subscription"]["status"], &state["subscription"]["entitled"]), (&json!("past_due"), &json!(true)));
        assert_eq!(state["explain"]["plan"]["source"], "grace");
        assert!(subjects(&product, &member.email).await.contains(&"A payment for Acme is missing".to_owned()));

        product.app.clock.advance(chrono::TimeDelta::days(7));
        round(&product).await;
        member.returns(&product).await;
        let state = member.state(&product).await;
        assert_eq!((&state["effective_plan"], &state["subscription"]["locked_reason"]), (&json!("free"), &json!("past_due")));
        let missing = subjects(&product, &member.email).await.iter().filter(|subject| *subject == "A payment for Acme is missing").count();
        assert_eq!(missing, 1, "it is told once");

        mark_paid(&product, &second["id"]).await;
        let state = member.state(&product).await;
        assert_eq!((&state["effective_plan"], &state["subscription"]["status"], &state["credits"]["balance"]), (&json!("growth"), &json!("active"), &json!(40_000)));
        healthy(&product).await;
    }
}

on_both! {
    async fn only_the_operator_marks_invoices_paid(database: Database) {
        let product = Product::start(database).await;
        let member = by_bank(&product, "Acme").await;
        let path = format!("/api/v1/admin/invoices/{}/mark-paid", text(&member.made["invoice"]["id"]));
        product.post(&path, &json!({})).await.expect_problem(401, "UNAUTHENTICATED");
        product.post_as(&member.token, &path, &json!({})).await.expect_problem(403, "FORBIDDEN");
        product.admin_post("/invoices/01890000-0000-7000-8000-000000000000/mark-paid", &json!({})).await.expect_problem(404, "NOT_FOUND");
        product.database.execute("update invoices set status = 'void'").await;
        product.admin_post(&path["/api/v1/admin".len()..], &json!({})).await.expect_problem(409, "INVOICE_NOT_PAYABLE");
        let open = product.admin_get("/invoices?status=void").await.expect(200);
        assert_eq!(open["data"][0]["tenant_id"], json!(member.tenant));
        assert_eq!(product.admin_get("/invoices?status=open").await.expect(200)["data"], json!([]));
    }
}
