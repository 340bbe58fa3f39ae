//! A tenant is deleted: what it pays for ends first.

use serde_json::json;

use super::{CHECKOUT, buy, deliver, model::Fault, register, settings, start_idle, text};
use crate::support::{cli, cli_with, healthy};

const TENANTS: &str = "select count(*) as n from tenants";

on_both! {
    async fn who_pays_is_charged_no_more_and_then_is_gone(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let acme = register(&product, "Acme").await;
        register(&product, "Pear").await;
        let subscription = buy(&product, &stripe, &acme, "pro", "month").await;
        tenantry::billing::stripe::sync(&product.app, acme.id.parse().unwrap(), "test").await.unwrap();
        let delete = |more: &[&str]| cli_with(&product.database, &settings(&stripe), &[&["tenant", "delete", "acme"], more].concat());

        let told = delete(&["--json"]).json(0);
        assert_eq!((&told["deleted"], &told["users"], &told["invoices"]), (&json!(false), &json!(1), &json!(0)));
        assert!(cli(&product.database, &["tenant", "delete", "acme", "--yes"]).expect(2).contains("nothing is deleted"));
        stripe.fail("DELETE /v1/subscriptions", [Fault::Status(500); 3]);
        assert!(delete(&["--yes"]).expect(2).contains("nothing is deleted"));
        assert_eq!(product.database.count(TENANTS).await, 2, "who cannot be told to stop keeps its tenant");

        let gone = delete(&["--yes", "--json"]).json(0);
        assert_eq!((&gone["deleted"], &gone["users"], &gone["subscriptions_ended"]), (&json!(true), &json!(1), &json!(1)));
        assert_eq!(stripe.world().objects[&subscription]["status"], "canceled");
        assert_eq!(product.database.count("select count(*) as n from tenants where slug = 'pear'").await, 1);
        assert_eq!((product.database.count(TENANTS).await, product.database.count("select count(*) as n from users").await), (1, 1));
        for table in ["subscriptions", "memberships", "credit_transactions", "payment_methods", "sessions", "checkouts"] {
            let of = format!("select count(distinct tenant_id) as n from {table}");
            assert!(product.database.count(&of).await <= 1, "{table}");
        }
        let noted = "select count(*) as n from audit_events where action = 'tenant.deleted' and actor_type = 'cli'";
        assert_eq!(product.database.count(noted).await, 1);
        // What Stripe tells of it afterwards is of nobody here.
        let event = stripe.take_events().pop().unwrap();
        deliver(&product, &event).await.expect(200);
        assert!(delete(&["--yes"]).expect(1).contains("no tenant"));
        healthy(&product).await;
    }
}

on_both! {
    async fn issued_invoices_go_only_where_that_is_said(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let acme = register(&product, "Acme").await;
        let order = json!({"plan_slug": "growth", "payment_method": "bank_transfer"});
        product.post_as(&acme.token, "/api/v1/billing/change-plan", &order).await.expect(200);
        let session = product.post_as(&acme.token, CHECKOUT, &json!({"plan_slug": "pro"})).await.expect(201);
        let delete = |more: &[&str]| cli_with(&product.database, &settings(&stripe), &[&["tenant", "delete", &acme.id, "--yes"], more].concat());
        assert!(delete(&[]).expect(1).contains("invoices issued to acme: 1"));
        assert_eq!(product.database.count(TENANTS).await, 1);
        assert!(delete(&["--with-invoices"]).expect(0).contains("Deleted acme, with its users (1) and invoices (1)"));
        assert_eq!((product.database.count(TENANTS).await, product.database.count("select count(*) as n from invoices").await), (0, 0));
        assert_eq!(stripe.world().objects[&text(&session["id"])]["status"], "expired", "nobody can pay any more");
    }
}
