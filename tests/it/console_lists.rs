//! The operator's lists: sales leads, invoices and Stripe's events, by API and at the console.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    console::admin,
    support::{ADMIN_TOKEN, Answer, Browser, Product, Settings, healthy, names},
};

async fn ask(product: &Product, company: &str) -> Value {
    let lead = json!({"email": "cto@example.com", "name": "Grace", "company": company, "team_size": "11-50", "message": "Do you <b>have</b> room?"});
    product.post("/public/contact-sales", &lead).await.expect(201)["id"].clone()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

async fn patch(product: &Product, path: &str, body: &Value) -> Answer {
    product.call(Method::PATCH, &format!("/api/v1/admin{path}"), Some(ADMIN_TOKEN), Some(body), &[]).await
}

async fn audited(product: &Product, action: &str) -> i64 {
    product.database.count(&format!("select count(*) as n from audit_events where action = '{action}'")).await
}

#[track_caller]
fn shows(browser: &Browser<'_>, texts: &[&str]) {
    for text in texts {
        assert!(browser.html.contains(text), "{text:?} at {}:\n{}", browser.path, browser.html);
    }
}

on_both! {
    async fn leads_are_listed_by_page_and_status_and_go_on(database: Database) {
        let product = Product::start(database).await;
        let mut ids = Vec::new();
        for company in ["Acme", "Pear", "Plum"] {
            ids.push(ask(&product, company).await);
        }
        let first = product.admin_get("/sales-leads?limit=2").await.expect(200);
        assert_eq!((&first["data"][0]["company"], &first["data"][1]["company"]), (&json!("Plum"), &json!("Pear")), "newest first");
        assert_eq!(names(&first["data"][0]), ["company", "created_at", "email", "id", "message", "name", "status", "team_size", "updated_at"]);
        let rest = product.admin_get(&format!("/sales-leads?limit=2&cursor={}", text(&first["next_cursor"]))).await.expect(200);
        assert_eq!((rest["data"].as_array().unwrap().len(), &rest["data"][0]["id"], &rest["next_cursor"]), (1, &ids[0], &Value::Null));

        let path = format!("/sales-leads/{}", text(&ids[1]));
        for status in ["contacted", "qualified", "lost", "won", "won", "new"] {
            let lead = patch(&product, &path, &json!({"status": status})).await.expect(200);
            assert_eq!((&lead["status"], &lead["company"]), (&json!(status), &json!("Pear")));
        }
        assert_eq!(audited(&product, "sales_lead.changed").await, 5, "the same again is no change");
        patch(&product, &path, &json!({"status": "won"})).await.expect(200);
        let won = product.admin_get("/sales-leads?status=won").await.expect(200);
        assert_eq!((won["data"].as_array().unwrap().len(), &won["data"][0]["id"]), (1, &ids[1]));
        assert!(won["data"][0]["updated_at"].as_str() > won["data"][0]["created_at"].as_str());
        let log = product.admin_get("/audit-events?limit=1").await.expect(200);
        assert_eq!((&log["data"][0]["detail"]["from"], &log["data"][0]["detail"]["to"]), (&json!("new"), &json!("won")));

        for (body, code) in [(json!({"status": "bought"}), "VALIDATION_FAILED"), (json!({}), "VALIDATION_FAILED"), (json!({"status": "won", "name": "x"}), "VALIDATION_FAILED")] {
            patch(&product, &path, &body).await.expect_problem(422, code);
        }
        for query in ["?status=bought", "?limit=0", "?cursor=x"] {
            product.admin_get(&format!("/sales-leads{query}")).await.expect_problem(422, "VALIDATION_FAILED");
        }
        let nobody = "/sales-leads/018f0000-0000-7000-8000-000000000000";
        patch(&product, nobody, &json!({"status": "won"})).await.expect_problem(404, "NOT_FOUND");
        product.get("/api/v1/admin/sales-leads").await.expect_problem(401, "UNAUTHENTICATED");
        let visitor = product.settle("Acme", "free").await;
        let login = json!({"email": visitor.email, "password": "correct-horse-battery"});
        let token = text(&product.post("/api/v1/auth/login", &login).await.expect(200)["access_token"]);
        product.get_as(&token, "/api/v1/admin/sales-leads").await.expect_problem(403, "FORBIDDEN");
        product.call(Method::PATCH, &format!("/api/v1/admin{path}"), Some(&token), Some(&json!({"status": "lost"})), &[]).await.expect_problem(403, "FORBIDDEN");
    }
}

on_both! {
    async fn leads_go_on_at_the_console(database: Database) {
        let product = Product::start(database).await;
        let mut browser = admin(&product).await;
        shows(&browser, &["href=\"/admin/invoices\"", "href=\"/admin/stripe-events\"", "href=\"/admin/sales-leads\""]);
        browser.go("/admin/sales-leads").await;
        shows(&browser, &["Nobody has asked yet."]);
        let id = text(&ask(&product, "Acme").await);
        browser.go("/admin/sales-leads?status=new").await;
        shows(&browser, &["Acme", "cto@example.com", "11-50 people", "Do you &#60;b&#62;have&#60;/b&#62; room?"]);
        browser.send(&browser.form(&format!("/admin/sales-leads/{id}")).fill("status", "contacted")).await;
        assert_eq!(browser.path, "/admin/sales-leads?status=new&done=changed");
        shows(&browser, &["It is noted", "There are none of that status."]);
        browser.go("/admin/sales-leads?status=contacted").await;
        shows(&browser, &["Acme", "<option value=\"contacted\" selected>Contacted</option>"]);
        assert_eq!(audited(&product, "sales_lead.changed").await, 1);
    }
}

on_both! {
    async fn an_invoice_is_marked_paid_at_the_console(database: Database) {
        let product = Product::start(database).await;
        let form = json!({"email": "acme@example.com", "password": "correct-horse-battery", "password_confirm": "correct-horse-battery", "account_name": "Acme", "plan_slug": "growth", "payment_method": "bank_transfer"});
        let made = product.post("/api/v1/auth/register", &form).await.expect(201);
        let mut browser = admin(&product).await;
        product.admin_get("/invoices?status=bought").await.expect_problem(422, "VALIDATION_FAILED");
        assert_eq!(product.admin_get("/invoices?status=void").await.expect(200)["data"], json!([]));
        browser.go("/admin/invoices?status=open").await;
        shows(&browser, &[&text(&made["invoice"]["number"]), "79 USD", "href=\"/admin/tenants/acme\"", "Open</span>"]);
        let action = format!("/admin/invoices/{}/mark-paid", text(&made["invoice"]["id"]));
        let form = browser.form(&action).fill("external_payment_id", "SEPA 4711");
        for _ in 0..2 {
            browser.send(&form).await;
            assert_eq!(browser.path, "/admin/invoices?status=open&done=paid", "{}", browser.html);
        }
        shows(&browser, &["The invoice is paid", "There are none of that status."]);
        browser.go("/admin/invoices").await;
        shows(&browser, &["Paid</span>", "SEPA 4711"]);
        assert!(!browser.html.contains("mark-paid"), "{}", browser.html);
        assert_eq!(audited(&product, "invoice.paid").await, 1);
        let token = text(&made["access_token"]);
        product.provisioned(&token, &text(&made["tenant"]["id"])).await;
        assert_eq!(product.database.count("select count(*) as n from tenants where status = 'active'").await, 1);
        browser.send(&form.fill("external_payment_id", &"x".repeat(201)).fill("key", "another")).await;
        assert_eq!(browser.status, 422);
        healthy(&product).await;
    }
}

on_both! {
    async fn stripes_events_are_seen_and_replayed_at_the_console(database: Database) {
        let roles = tenantry::serve::Roles { http: true, worker: false };
        let product = Product::start_as(database, Settings::default(), roles).await;
        let event = |id: &str, status: &str, error: &str| {
            format!(
                "insert into stripe_events (id, event_type, object_id, livemode, payload, status, attempts, last_error, created_at, received_at) \
                 values ('{id}', 'invoice.paid', 'in_1', (1 = 0), '{{}}', '{status}', 2, {error}, '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00')"
            )
        };
        product.database.execute(&event("evt_1", "failed", "'Stripe does not <answer>'")).await;
        product.database.execute(&event("evt_2", "processed", "null")).await;
        let mut browser = admin(&product).await;
        browser.go("/admin/stripe-events").await;
        shows(&browser, &["evt_1", "evt_2", "invoice.paid", "Processed"]);
        browser.go("/admin/stripe-events?status=failed").await;
        shows(&browser, &["evt_1", "Failed", "2 attempts", "Stripe does not &#60;answer&#62;"]);
        assert!(!browser.html.contains("evt_2"), "{}", browser.html);
        let form = browser.form("/admin/stripe-events/evt_1/replay");
        for _ in 0..2 {
            browser.send(&form).await;
            assert_eq!(browser.path, "/admin/stripe-events?status=failed&done=replayed", "{}", browser.html);
        }
        shows(&browser, &["The event is processed again"]);
        browser.go("/admin/stripe-events?status=pending").await;
        shows(&browser, &["evt_1"]);
        assert!(!browser.html.contains("/replay"), "it waits already: {}", browser.html);
        assert_eq!(audited(&product, "stripe_event.replayed").await, 1);
        assert_eq!(product.database.count("select count(*) as n from outbox where kind = 'stripe_event'").await, 1);
    }
}
