//! The pages: what is typed, what is refused, and what cannot be done twice.

use super::*;

on_both! {
    async fn a_declined_card_may_be_followed_by_a_better_one_and_nothing_is_bought_twice(database: Database) {
        let stripe = Stripe::start(database).await;
        let session = stripe.session(&[("customer_email", "grace@example.com")]).await;
        let page = path(&session["url"]);
        let mut browser = Browser::new(&stripe.product);
        browser.go(&page).await;
        assert!(browser.html.contains("Sandbox: no real money") && browser.html.contains("149 USD"), "{}", browser.html);
        let typed = |browser: &Browser, name: &str| {
            browser.form(&page).fields.into_iter().find(|(field, _)| field == name).map(|(_, value)| value)
        };
        assert_eq!(typed(&browser, "email").as_deref(), Some("grace@example.com"));
        browser.send(&browser.form(&page).fill("number", "4111 1111 1111 1111")).await;
        assert_eq!(browser.status, 422);
        assert!(browser.html.contains("Only the test cards"), "{}", browser.html);
        for (card, words) in [("4000000000000002", "Your card was declined"), ("4000000000009995", "insufficient funds")] {
            pay(&mut browser, &session, card).await;
            assert_eq!(browser.status, 402);
            assert!(browser.html.contains(words), "{}", browser.html);
            assert_eq!(typed(&browser, "name").as_deref(), Some("Ada Lovelace"), "what was typed stays");
        }
        assert_eq!(stripe.get("customers", &[]).await["data"], json!([]), "a declined card leaves nothing");
        let form = browser.form(&page).fill("fill", "4242");
        browser.send(&form).await;
        assert_eq!(typed(&browser, "number").as_deref(), Some("4242 4242 4242 4242"));
        let form = browser.form(&page);
        browser.go(&page).await;
        browser.send(&form).await;
        assert_eq!(browser.path, format!("/pricing?session={}", text(&session["id"])));
        browser.send(&form).await;
        assert_eq!(browser.status, 409);
        assert!(browser.html.contains("cannot be paid twice"), "{}", browser.html);
        browser.go(&page).await;
        assert_eq!(browser.status, 200);
        assert!(browser.html.contains("<h1>Paid</h1>"));
        let subscriptions = stripe.get("subscriptions", &[("status", "all")]).await;
        assert_eq!(subscriptions["data"].as_array().map(Vec::len), Some(1));
    }
}

on_both! {
    async fn two_tabs_at_once_pay_once(database: Database) {
        let stripe = Stripe::start(database).await;
        let session = stripe.session(&[]).await;
        let page = path(&session["url"]);
        let mut first = Browser::new(&stripe.product);
        first.go(&page).await;
        let form = first.form(&page).fill("fill", "4242").fill("email", "ada@example.com");
        first.send(&form).await;
        let form = first.form(&page);
        let mut second = first.clone();
        tokio::join!(first.send(&form), second.send(&form));
        let mut statuses = [first.status.as_u16(), second.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409]);
        assert_eq!(stripe.get("subscriptions", &[]).await["data"].as_array().map(Vec::len), Some(1));
    }
}

on_both! {
    async fn an_expired_session_says_so_and_an_old_portal_too(database: Database) {
        let stripe = Stripe::start(database).await;
        let session = stripe.session(&[]).await;
        let customer = stripe.customer("pm_card_visa").await;
        let portal = stripe.post("billing_portal/sessions", &[("customer", &customer), ("return_url", "http://localhost:8080/")]).await;
        let mut browser = Browser::new(&stripe.product);
        let page = path(&session["url"]);
        browser.go(&page).await;
        let form = browser.form(&page).fill("fill", "4242").fill("email", "ada@example.com");
        browser.send(&form).await;
        let form = browser.form(&page);
        stripe.advance(TimeDelta::hours(25)).await;
        browser.send(&form).await;
        assert_eq!(browser.status, 409);
        assert!(browser.html.contains("This checkout has expired"), "{}", browser.html);
        browser.go(&path(&portal["url"])).await;
        assert_eq!(browser.status, 410);
        assert!(browser.html.contains("http://localhost:8080/"), "{}", browser.html);
        for unknown in ["/sandbox/pay/cs_test_0", "/sandbox/portal/bps_0", "/sandbox/invoices/in_0"] {
            browser.go(unknown).await;
            assert_eq!(browser.status, 404);
        }
    }
}

on_both! {
    async fn the_portal_ends_and_resumes_and_shows_invoices_of_its_customer_alone(database: Database) {
        let stripe = Stripe::start(database).await;
        let customer = stripe.customer("pm_card_visa").await;
        let subscription = stripe.subscribe(&customer, PRO).await;
        let other = stripe.customer("pm_card_visa").await;
        let theirs = stripe.subscribe(&other, PRO).await;
        let portal = stripe.post("billing_portal/sessions", &[("customer", &customer)]).await;
        let page = path(&portal["url"]);
        let mut browser = Browser::new(&stripe.product);
        browser.go(&page).await;
        let cancel = browser.form(&format!("{page}/cancel"));
        browser.send(&cancel).await;
        assert_eq!(stripe.subscription(text(&subscription["id"])).await["cancel_at_period_end"], true);
        let resume = browser.form(&format!("{page}/resume"));
        browser.send(&resume).await;
        assert_eq!(stripe.subscription(text(&subscription["id"])).await["cancel_at_period_end"], false);
        browser.send(&cancel.fill("which", text(&theirs["id"]))).await;
        assert_eq!(browser.status, 404);
        assert_eq!(stripe.subscription(text(&theirs["id"])).await["cancel_at_period_end"], false);
        let invoice = &stripe.invoices(&customer).await[0];
        browser.go(&page).await;
        assert!(browser.html.contains(text(&invoice["number"])), "{}", browser.html);
        browser.go(&path(&invoice["hosted_invoice_url"])).await;
        assert!(browser.html.contains("1 × Pro (at 149 USD / month)"), "{}", browser.html);
    }
}
