//! Changing what was bought.

use serde_json::{Value, json};

use super::{Tenant, model::Fault, on_pro, register, start_idle, text};
use crate::support::{Answer, Browser, Product};

async fn post(product: &Product, tenant: &Tenant, path: &str, body: &Value) -> Answer {
    product.post_as(&tenant.token, &format!("/api/v1/billing/{path}"), body).await
}

on_both! {
    async fn canceled_with_its_period_and_resumed(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let (acme, subscription) = on_pro(&product, &stripe, "Acme").await;
        for _ in 0..2 {
            let ending = post(&product, &acme, "cancel", &json!({})).await.expect(200);
            assert_eq!((&ending["status"], &ending["cancel_at_period_end"], &ending["plan"]), (&json!("active"), &json!(true), &json!("pro")));
        }
        assert_eq!(stripe.calls(&format!("POST /v1/subscriptions/{subscription}")).len(), 1, "once is enough");
        let on = post(&product, &acme, "resume", &json!({})).await.expect(200);
        assert_eq!(on["cancel_at_period_end"], false);
        post(&product, &acme, "cancel", &json!({})).await.expect(200);
        stripe.happen(|world| world.renew(&subscription, true));
        post(&product, &acme, "resume", &json!({})).await.expect_problem(409, "SUBSCRIPTION_ENDED");
        let told = "select count(*) as n from audit_events where action = 'subscription.changed'";
        assert_eq!(product.database.count(told).await, 4);
    }
}

on_both! {
    async fn more_is_charged_at_once_and_less_is_set_off(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let (acme, subscription) = on_pro(&product, &stripe, "Acme").await;
        let up = post(&product, &acme, "change-plan", &json!({"plan_slug": "scale"})).await.expect(200);
        assert_eq!((&up["plan"], &up["interval"], &up["status"]), (&json!("scale"), &json!("month"), &json!("active")));
        let down = post(&product, &acme, "change-plan", &json!({"plan_slug": "starter"})).await.expect(200);
        assert_eq!(down["plan"], "starter");
        let year = post(&product, &acme, "change-plan", &json!({"plan_slug": "starter", "interval": "year"})).await.expect(200);
        assert_eq!((&year["plan"], &year["interval"]), (&json!("starter"), &json!("year")));
        let asked: Vec<_> = stripe.calls(&format!("POST /v1/subscriptions/{subscription}")).iter().map(|call| {
            (call.fields["items[0][price]"].clone(), call.fields["proration_behavior"].clone())
        }).collect();
        let pair = |price: &str, behavior: &str| (price.to_owned(), behavior.to_owned());
        assert_eq!(asked, [
            pair("price_m_scale", "always_invoice"),
            pair("price_m_starter", "create_prorations"),
            // Another interval begins a period, which is charged at once.
            pair("price_y_starter", "always_invoice"),
        ]);
        // The sign-up's, and what the last of the three plans brings for the month that has just begun: to and fro mints none.
        let balance = product.database.count("select balance as n from credit_balances").await;
        assert!((55_000..55_050).contains(&balance), "{balance}");
        let same = post(&product, &acme, "change-plan", &json!({"plan_slug": "starter", "interval": "year"})).await.expect(200);
        assert_eq!((same["plan"].clone(), stripe.calls(&format!("POST /v1/subscriptions/{subscription}")).len()), (json!("starter"), 3));
        assert_eq!(product.database.count("select count(*) as n from subscriptions where not plan_followed").await, 1);
    }
}

on_both! {
    async fn a_declined_card_changes_nothing(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let (acme, subscription) = on_pro(&product, &stripe, "Acme").await;
        stripe.fail(&format!("POST /v1/subscriptions/{subscription}"), [Fault::Declined]);
        let refused = post(&product, &acme, "change-plan", &json!({"plan_slug": "scale"})).await.expect_problem(402, "PAYMENT_FAILED");
        assert_eq!(refused["detail"], "Your card was declined.");
        let pro = "select count(*) as n from subscriptions s join plans p on p.id = s.plan_id where p.slug = 'pro' and s.status = 'active'";
        assert_eq!(product.database.count(pro).await, 1);
        post(&product, &acme, "change-plan", &json!({"plan_slug": "enterprise"})).await.expect_problem(422, "PLAN_NOT_SELF_SERVE");
    }
}

on_both! {
    async fn what_stripe_does_not_know_is_not_changed(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let (acme, subscription) = on_pro(&product, &stripe, "Acme").await;
        stripe.world().objects.remove(&subscription);
        for (path, body) in [("change-plan", json!({"plan_slug": "scale"})), ("cancel", json!({})), ("resume", json!({}))] {
            post(&product, &acme, path, &body).await.expect_problem(409, "NO_STRIPE_SUBSCRIPTION");
        }
        let pro = "select count(*) as n from subscriptions where status = 'active' and not cancel_at_period_end";
        assert_eq!(product.database.count(pro).await, 1);
    }
}

on_both! {
    async fn who_is_not_at_stripe_changes_without_it(database: Database) {
        let (product, _stripe) = start_idle(database).await;
        let acme = register(&product, "Acme").await;
        post(&product, &acme, "portal-session", &json!({})).await.expect_problem(409, "NO_STRIPE_SUBSCRIPTION");
        for path in ["cancel", "resume"] {
            post(&product, &acme, path, &json!({})).await.expect_problem(409, "SUBSCRIPTION_NOT_ACTIVE");
        }
        let changed = post(&product, &acme, "change-plan", &json!({"plan_slug": "scale"})).await.expect(200);
        assert_eq!((&changed["plan"], &changed["status"]), (&json!("scale"), &json!("trialing")), "a trial keeps its end");
    }
}

on_both! {
    async fn the_portal_is_for_those_who_pay(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let (acme, _) = on_pro(&product, &stripe, "Acme").await;
        let portal = post(&product, &acme, "portal-session", &json!({})).await.expect(201);
        assert_eq!(text(&portal["url"]), "https://portal.stripe.test/1");
        let asked = &stripe.calls("POST /v1/billing_portal/sessions")[0];
        assert_eq!(asked.fields["return_url"], "http://localhost:8080/billing");
        product.database.execute("update memberships set role = 'viewer'").await;
        for path in ["portal-session", "cancel", "resume"] {
            post(&product, &acme, path, &json!({})).await.expect_problem(403, "FORBIDDEN");
        }
    }
}

on_both! {
    async fn a_page_says_what_a_change_costs_before_anything_is_charged(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let (acme, subscription) = on_pro(&product, &stripe, "Acme").await;
        let mut browser = Browser::new(&product);
        browser.go("/signin").await;
        browser.send(&browser.form("/signin").fill("email", "acme@example.com").fill("password", "correct-horse-battery")).await;
        let shows = |browser: &Browser<'_>, text: &str| assert!(browser.html.contains(text), "{text}: {}", browser.html);
        browser.go("/billing").await;
        shows(&browser, "/billing/change?plan=growth&amp;interval=month");
        assert!(!browser.html.contains("/billing/checkout") && !browser.html.contains("/billing/bank-transfer"), "{}", browser.html);
        // By the year everything is offered again, this plan too.
        browser.go("/billing?interval=year").await;
        shows(&browser, "/billing/change?plan=pro&amp;interval=year");

        browser.go("/billing/change?plan=growth&interval=month").await;
        shows(&browser, "What you have paid too much is set off");
        browser.go("/billing/change?plan=scale&interval=year").await;
        shows(&browser, "Scale, 3,990 USD a year; the difference for what is left of this period is charged to your card now");
        let mut form = browser.form("/billing/change-plan");
        form.action = "/billing/checkout".into();
        browser.send(&form).await;
        assert_eq!(browser.path, "/billing/change?plan=scale&interval=year", "who pays already is not charged by one press");
        let changes = || stripe.calls(&format!("POST /v1/subscriptions/{subscription}")).len();
        assert_eq!(changes(), 0);
        let form = browser.form("/billing/change-plan");
        for _ in 0..2 {
            browser.send(&form).await;
            assert_eq!(browser.path, "/billing?done=changed", "{}", browser.html);
        }
        assert_eq!(changes(), 1);
        shows(&browser, "3,990 USD a year");
        shows(&browser, "href=\"/billing?interval=year#offers\" aria-current=\"true\"");
        let state = product.get_as(&acme.token, "/api/v1/billing/state").await.expect(200);
        assert_eq!((&state["subscription"]["plan"], &state["subscription"]["interval"]), (&json!("scale"), &json!("year")));

        browser.go("/billing/change?plan=free").await;
        browser.send(&browser.form("/billing/change-plan")).await;
        assert_eq!(browser.path, "/billing?done=canceled", "{}", browser.html);
        shows(&browser, "Ends with its period");
        let keep = browser.form("/billing/resume");
        browser.send(&keep).await;
        shows(&browser, "The subscription goes on");
        stripe.fail(&format!("POST /v1/subscriptions/{subscription}"), [Fault::Declined]);
        browser.send(&browser.form("/billing/cancel")).await;
        shows(&browser, "That did not work");
    }
}
