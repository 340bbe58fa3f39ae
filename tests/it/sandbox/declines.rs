//! Cards that are declined, and what follows.

use reqwest::Method;

use super::*;

const FAILS_LATER: &str = "4000 0000 0000 0341";

on_both! {
    async fn a_declined_renewal_is_tried_four_times_and_then_the_subscription_ends(database: Database) {
        let stripe = Stripe::start(database).await;
        let session = stripe.check_out(&[], FAILS_LATER).await;
        let (id, customer) = (text(&session["subscription"]), text(&session["customer"]));
        let begun = stripe.subscription(id).await;
        assert_eq!(begun["status"], "active", "it pays now");
        let left = int(&begun["current_period_end"]) - stripe.product.app.clock.now().at.timestamp();
        stripe.advance(TimeDelta::seconds(left + 60)).await;
        for (days, tries) in [(3, 1), (5, 2), (7, 3)] {
            assert_eq!(stripe.subscription(id).await["status"], "past_due");
            let invoice = &stripe.invoices(customer).await[1];
            assert_eq!((int(&invoice["attempt_count"]), text(&invoice["status"])), (tries, "open"));
            let pause = int(&invoice["next_payment_attempt"]) - stripe.product.app.clock.now().at.timestamp();
            assert!((days * DAY - 300..=days * DAY).contains(&pause), "after {days} days, not {pause} s");
            stripe.advance(TimeDelta::days(days)).await;
        }
        let ended = stripe.subscription(id).await;
        assert_eq!((text(&ended["status"]), text(&ended["cancellation_details"]["reason"])), ("canceled", "payment_failed"));
        let invoice = &stripe.invoices(customer).await[1];
        assert_eq!((int(&invoice["attempt_count"]), &invoice["next_payment_attempt"]), (4, &Value::Null));
        let events = stripe.events().await;
        let failed = events.iter().filter(|event| *event == "invoice.payment_failed").count();
        assert_eq!((failed, of_billing(&events).last()), (4, Some(&"customer.subscription.deleted")));
        stripe.advance(TimeDelta::days(60)).await;
        assert_eq!(stripe.invoices(customer).await.len(), 2, "it is over");
    }
}

on_both! {
    async fn a_new_card_in_the_portal_pays_what_is_owed(database: Database) {
        let stripe = Stripe::start(database).await;
        let session = stripe.check_out(&[], FAILS_LATER).await;
        let (id, customer) = (text(&session["subscription"]), text(&session["customer"]));
        stripe.advance(TimeDelta::days(32)).await;
        assert_eq!(stripe.subscription(id).await["status"], "past_due");
        let portal = stripe.post("billing_portal/sessions", &[("customer", customer)]).await;
        let page = path(&portal["url"]);
        let mut browser = Browser::new(&stripe.product);
        browser.go(&page).await;
        let owed = browser.form(&format!("{page}/pay"));
        browser.send(&owed).await;
        assert_eq!(browser.status, 402, "the card on file is still the old one");
        let card = browser.form(&format!("{page}/card")).fill("name", "Ada").fill("number", "5555 5555 5555 4444");
        browser.send(&card.fill("expiry", "12/44").fill("cvc", "123")).await;
        assert_eq!(browser.status, 200);
        assert!(browser.html.contains("mastercard ending in 4444"), "{}", browser.html);
        let owed = browser.form(&format!("{page}/pay"));
        browser.send(&owed).await;
        assert_eq!(browser.status, 200);
        let paid = stripe.subscription(id).await;
        assert_eq!(paid["status"], "active");
        assert_eq!(stripe.invoices(customer).await[1]["status"], "paid");
        stripe.advance(TimeDelta::days(31)).await;
        assert_eq!(stripe.subscription(id).await["status"], "active", "and by the new card from now on");
    }
}

on_both! {
    async fn a_declined_card_says_why_and_leaves_a_trace_only_where_it_was_tried(database: Database) {
        let stripe = Stripe::start(database).await;
        let customer = stripe.customer("pm_card_visa").await;
        let attach = "payment_methods/pm_card_chargeDeclinedInsufficientFunds/attach";
        let declined = stripe.refused(402, Method::POST, attach, &[("customer", &customer)]).await;
        assert_eq!((text(&declined["type"]), text(&declined["code"])), ("card_error", "card_declined"));
        assert_eq!(declined["decline_code"], "insufficient_funds");

        let failing = stripe.customer("pm_card_chargeCustomerFail").await;
        let mut fields = vec![("customer", failing.as_str()), ("items[0][price]", PRO)];
        let open = stripe.post("subscriptions", &fields).await;
        assert_eq!(open["status"], "incomplete");
        let invoice = format!("invoices/{}/pay", text(&open["latest_invoice"]));
        stripe.refused(402, Method::POST, &invoice, &[]).await;
        let events = stripe.events().await;
        assert_eq!(events.iter().filter(|event| *event == "invoice.payment_failed").count(), 2, "{events:?}");
        fields.push(("payment_behavior", "error_if_incomplete"));
        stripe.refused(402, Method::POST, "subscriptions", &fields).await;
        let all = stripe.get("subscriptions", &[("customer", &failing), ("status", "all")]).await;
        assert_eq!(all["data"].as_array().map(Vec::len), Some(1), "as if it had never been");
        assert_eq!(stripe.events().await.len(), events.len());

        stripe.advance(TimeDelta::hours(24)).await;
        let open = stripe.subscription(text(&open["id"])).await;
        assert_eq!(open["status"], "incomplete_expired");
        assert_eq!(stripe.invoices(&failing).await[0]["status"], "void");
        let nothing = stripe.post("customers", &[]).await;
        let refused = [("customer", text(&nothing["id"])), ("items[0][price]", PRO)];
        let refused = stripe.refused(400, Method::POST, "subscriptions", &refused).await;
        assert!(text(&refused["message"]).contains("no attached payment source"), "{refused}");
    }
}
