//! A card and a bank transfer, one beside the other: what is paid is had, and nothing is sold twice.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{CHECKOUT, Tenant, buy, form, model::Fault, register, start_idle, synced, text};
use crate::support::{Answer, Product, healthy};

const BALANCE: &str = "select balance as n from credit_balances";
const ON_PRO_BY_CARD: &str = "select count(*) as n from subscriptions s join plans p on p.id = s.plan_id where s.status = 'active' and p.slug = 'pro' \
                              and s.stripe_subscription_id is not null";

async fn mark_paid(product: &Product, invoice: &Value) -> Answer {
    product.admin_post(&format!("/invoices/{}/mark-paid", text(invoice)), &json!({})).await
}

async fn order(product: &Product, tenant: &Tenant, plan: &str) -> Value {
    let body = json!({"plan_slug": plan, "payment_method": "bank_transfer"});
    product.post_as(&tenant.token, "/api/v1/billing/change-plan", &body).await.expect(200)["invoice_id"].clone()
}

on_both! {
    async fn what_is_paid_by_bank_transfer_is_not_sold_by_card_before_its_end(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let body = form("Acme", &json!({"plan_slug": "growth", "payment_method": "bank_transfer"}));
        let made = product.post("/api/v1/auth/register", &body).await.expect(201);
        mark_paid(&product, &made["invoice"]["id"]).await.expect(200);
        let token = text(&made["access_token"]);
        for plan in ["growth", "pro"] {
            let refused = product.post_as(&token, CHECKOUT, &json!({"plan_slug": plan})).await.expect_problem(409, "ALREADY_SUBSCRIBED");
            assert!(text(&refused["detail"]).contains("bank transfer until"), "{refused}");
        }
        assert!(stripe.calls("POST").is_empty());
        // The next month is not paid yet, and may be paid in either way.
        product.app.clock.advance(TimeDelta::days(32));
        tenantry::billing::jobs::round(&product.app).await.unwrap();
        let login = json!({"email": "acme@example.com", "password": "correct-horse-battery"});
        let acme = Tenant { token: text(&product.post("/api/v1/auth/login", &login).await.expect(200)["access_token"]), id: text(&made["tenant"]["id"]) };
        stripe.happen(|world| world.now = product.app.clock.now().at.timestamp());
        buy(&product, &stripe, &acme, "pro", "month").await;
        synced(&product, &acme).await;
        assert_eq!(product.database.count(ON_PRO_BY_CARD).await, 1);
        assert_eq!(product.database.count("select count(*) as n from invoices where status = 'open'").await, 0);
        assert_eq!(product.database.count(BALANCE).await, 70_000);
        healthy(&product).await;
    }
}

on_both! {
    async fn a_payment_by_bank_transfer_closes_the_page_on_which_the_card_would_have_paid(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let acme = register(&product, "Acme").await;
        let invoice = order(&product, &acme, "growth").await;
        let session = product.post_as(&acme.token, CHECKOUT, &json!({"plan_slug": "pro"})).await.expect(201);
        let status = || stripe.world().objects[&text(&session["id"])]["status"].clone();
        // Stripe being down holds no payment up; whoever repeats it closes the page.
        stripe.fail("POST /v1/checkout/sessions", [Fault::Status(500); 3]);
        mark_paid(&product, &invoice).await.expect(200);
        assert_eq!(status(), "open");
        mark_paid(&product, &invoice).await.expect(200);
        assert_eq!((status(), product.database.count("select count(*) as n from checkouts").await), (json!("expired"), 0));
        product.post_as(&acme.token, CHECKOUT, &json!({"plan_slug": "pro"})).await.expect_problem(409, "ALREADY_SUBSCRIBED");
        let state = product.get_as(&acme.token, "/api/v1/billing/state").await.expect(200);
        assert_eq!((&state["effective_plan"], &state["credits"]["balance"]), (&json!("growth"), &json!(70_000)));
        healthy(&product).await;
    }
}

on_both! {
    async fn who_pays_by_card_goes_on_when_an_invoice_is_paid_by_bank_transfer_too(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let acme = register(&product, "Acme").await;
        let invoice = order(&product, &acme, "growth").await;
        let subscription = buy(&product, &stripe, &acme, "pro", "month").await;
        synced(&product, &acme).await;
        mark_paid(&product, &invoice).await.expect_problem(409, "INVOICE_NOT_PAYABLE");
        // Who asks for a bank transfer is not charged by card.
        let by_bank = json!({"plan_slug": "scale", "payment_method": "bank_transfer"});
        product.post_as(&acme.token, "/api/v1/billing/change-plan", &by_bank).await.expect_problem(409, "ALREADY_SUBSCRIBED");
        assert!(stripe.calls("POST /v1/subscriptions").is_empty());
        // As one that was left open by whatever means.
        product.database.execute("update invoices set status = 'open' where issuer = 'tenantry'").await;
        let standing = async || product.get_as(&acme.token, "/api/v1/billing/state").await.expect(200)["subscription"].clone();
        let before = standing().await;
        let had = product.database.count(BALANCE).await;
        mark_paid(&product, &invoice).await.expect(200);
        assert_eq!(standing().await, before);
        let linked = format!("select count(*) as n from subscriptions where stripe_subscription_id = '{subscription}'");
        assert_eq!(product.database.count(&linked).await, 1);
        assert_eq!(stripe.world().objects[&subscription]["status"], "active");
        assert_eq!(product.database.count(BALANCE).await, had + 20_000, "what was paid for is there");
        synced(&product, &acme).await;
        assert_eq!((standing().await, product.database.count(BALANCE).await), (before, had + 20_000));
        healthy(&product).await;
    }
}

on_both! {
    async fn who_has_paid_in_both_ways_at_once_has_both_credits_and_goes_on_by_card(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let acme = register(&product, "Acme").await;
        let invoice = order(&product, &acme, "growth").await;
        // The operator is faster than Stripe's event.
        let subscription = buy(&product, &stripe, &acme, "pro", "month").await;
        mark_paid(&product, &invoice).await.expect(200);
        assert_eq!(product.database.count(ON_PRO_BY_CARD).await, 0);
        synced(&product, &acme).await;
        assert_eq!(product.database.count(ON_PRO_BY_CARD).await, 1);
        assert_eq!(stripe.world().objects[&subscription]["status"], "active");
        assert_eq!(product.database.count(BALANCE).await, 120_000);
        assert_eq!(product.database.count("select count(*) as n from invoices where status = 'paid'").await, 2);
        healthy(&product).await;
    }
}

on_both! {
    async fn what_has_ended_at_stripe_is_followed_by_a_bank_transfer_before_its_event_comes(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let acme = register(&product, "Acme").await;
        let subscription = buy(&product, &stripe, &acme, "pro", "month").await;
        synced(&product, &acme).await;
        stripe.happen(|world| world.end(&subscription));
        // Stripe's clock is ahead of ours here.
        product.app.clock.advance(TimeDelta::minutes(5));
        let invoice = order(&product, &acme, "growth").await;
        assert_eq!(product.database.count("select count(*) as n from subscriptions where status = 'canceled'").await, 1);
        mark_paid(&product, &invoice).await.expect(200);
        let by_bank = "select count(*) as n from subscriptions s join plans p on p.id = s.plan_id where s.status = 'active' and p.slug = 'growth' \
                       and s.stripe_subscription_id is null";
        assert_eq!(product.database.count(by_bank).await, 1);
        stripe.happen(|world| world.now += 60);
        synced(&product, &acme).await;
        assert_eq!(product.database.count(by_bank).await, 1, "what has ended stays so");
        healthy(&product).await;
    }
}
