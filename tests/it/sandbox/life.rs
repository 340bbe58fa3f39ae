//! The life of a subscription, over the clock.

use reqwest::Method;

use super::*;

on_both! {
    async fn a_paid_checkout_makes_everything_and_tells_of_it_in_order(database: Database) {
        let stripe = Stripe::start(database).await;
        let session = stripe.check_out(&[
            ("client_reference_id", "tenant-7"),
            ("metadata[tenant_id]", "7"),
            ("subscription_data[metadata][tenant_id]", "7"),
        ], "4242 4242 4242 4242").await;
        assert_eq!((text(&session["status"]), text(&session["payment_status"])), ("complete", "paid"));
        assert_eq!(session["client_reference_id"], "tenant-7");
        assert!(session["url"].is_null() && session.get("_sandbox").is_none(), "{session}");

        let path = format!("subscriptions/{}", text(&session["subscription"]));
        let wanted = [
            ("expand[]", "latest_invoice.payments"),
            ("expand[]", "default_payment_method"),
            ("expand[]", "customer"),
            ("expand[]", "items.data.price.product"),
        ];
        let subscription = stripe.get(&path, &wanted).await;
        assert_eq!(subscription["status"], "active");
        assert_eq!(subscription["metadata"]["tenant_id"], "7");
        let item = &subscription["items"]["data"][0];
        assert_eq!(item["price"]["product"]["name"], "Pro");
        assert_eq!(item["current_period_end"], subscription["current_period_end"], "in its old place and in its new one");
        assert_eq!(subscription["customer"]["email"], "ada@example.com");
        let card = &subscription["default_payment_method"]["card"];
        assert_eq!((text(&card["brand"]), text(&card["last4"]), int(&card["exp_year"])), ("visa", "4242", 2044));
        assert!(!text(&card["fingerprint"]).is_empty());
        let invoice = &subscription["latest_invoice"];
        adds_up(invoice);
        assert_eq!((text(&invoice["status"]), amount(invoice)), ("paid", (14_900, 14_900)));
        assert_eq!(invoice["parent"]["subscription_details"]["subscription"], subscription["id"]);
        assert_eq!(invoice["parent"]["subscription_details"]["metadata"]["tenant_id"], "7");
        assert_eq!(invoice["lines"]["data"][0]["pricing"]["price_details"]["price"], PRO);
        assert_eq!(invoice["payments"]["data"][0]["status"], "paid");

        let events = stripe.events().await;
        let expected = [
            "product.created", "price.created", "price.created", "customer.created", "customer.updated",
            "payment_method.attached", "customer.subscription.created", "invoice.created", "invoice.finalized",
            "customer.updated", "customer.subscription.updated", "payment_intent.succeeded", "invoice.paid", "invoice.payment_succeeded",
            "customer.subscription.updated", "checkout.session.completed",
        ];
        assert_eq!(events, expected);
    }
}

on_both! {
    async fn a_jump_over_periods_renews_each_in_order_and_at_its_own_moment(database: Database) {
        let stripe = Stripe::start(database).await;
        let customer = stripe.customer("pm_card_visa").await;
        let begun = stripe.subscribe(&customer, PRO).await;
        assert_eq!(begun["status"], "active");
        stripe.advance(TimeDelta::days(100)).await;
        let invoices = stripe.invoices(&customer).await;
        assert_eq!(invoices.len(), 4, "the first, and three renewals in 100 days");
        let reasons: Vec<_> = invoices.iter().map(|invoice| text(&invoice["billing_reason"])).collect();
        assert_eq!(reasons, ["subscription_create", "subscription_cycle", "subscription_cycle", "subscription_cycle"]);
        for pair in invoices.windows(2) {
            adds_up(&pair[1]);
            assert_eq!(pair[0]["status"], "paid");
            let ended = &pair[0]["lines"]["data"][0]["period"]["end"];
            assert_eq!(pair[1]["lines"]["data"][0]["period"]["start"], *ended, "no gap and no overlap");
            assert_eq!(pair[1]["created"], *ended, "when it was due, not when it was noticed");
        }
        let numbers: Vec<_> = invoices.iter().map(|invoice| text(&invoice["number"]).rsplit('-').next().unwrap()).collect();
        assert_eq!(numbers, ["0001", "0002", "0003", "0004"]);
        let now = stripe.subscription(text(&begun["id"])).await;
        assert_eq!(now["latest_invoice"], invoices[3]["id"]);
        assert!(int(&now["current_period_end"]) > stripe.product.app.clock.now().at.timestamp());
    }
}

on_both! {
    async fn one_that_is_told_to_end_ends_with_its_period_unless_it_is_told_to_go_on(database: Database) {
        let stripe = Stripe::start(database).await;
        let customer = stripe.customer("pm_card_visa").await;
        let subscription = stripe.subscribe(&customer, PRO).await;
        let path = format!("subscriptions/{}", text(&subscription["id"]));
        let told = stripe.post(&path, &[("cancel_at_period_end", "true")]).await;
        assert_eq!(told["cancel_at"], subscription["current_period_end"]);
        assert_eq!((text(&told["status"]), told["canceled_at"].is_i64()), ("active", true));
        let kept = stripe.post(&path, &[("cancel_at_period_end", "false")]).await;
        assert!(kept["cancel_at"].is_null() && kept["canceled_at"].is_null());
        stripe.post(&path, &[("cancel_at_period_end", "true")]).await;
        stripe.advance(TimeDelta::days(40)).await;
        let ended = stripe.subscription(text(&subscription["id"])).await;
        assert_eq!((text(&ended["status"]), &ended["ended_at"]), ("canceled", &subscription["current_period_end"]));
        assert_eq!(stripe.invoices(&customer).await.len(), 1, "nothing more is charged");
        assert_eq!(of_billing(&stripe.events().await).last(), Some(&"customer.subscription.deleted"));
        let gone = stripe.refused(404, Method::DELETE, &path, &[]).await;
        assert_eq!(gone["code"], "resource_missing");
        let list = stripe.get("subscriptions", &[("customer", &customer)]).await;
        assert_eq!(list["data"], json!([]), "canceled ones are listed on demand");
        let list = stripe.get("subscriptions", &[("customer", &customer), ("status", "all")]).await;
        assert_eq!(list["data"][0]["id"], ended["id"]);
    }
}

on_both! {
    async fn a_trial_costs_nothing_says_when_it_ends_and_is_charged_then(database: Database) {
        let stripe = Stripe::start(database).await;
        let customer = stripe.customer("pm_card_visa").await;
        let fields = [("customer", customer.as_str()), ("items[0][price]", PRO), ("trial_period_days", "14")];
        let trial = stripe.post("subscriptions", &fields).await;
        assert_eq!((text(&trial["status"]), &trial["trial_end"]), ("trialing", &trial["current_period_end"]));
        stripe.advance(TimeDelta::days(10)).await;
        assert!(!stripe.events().await.contains(&"customer.subscription.trial_will_end".to_owned()));
        stripe.advance(TimeDelta::days(2)).await;
        assert!(stripe.events().await.contains(&"customer.subscription.trial_will_end".to_owned()), "three days before");
        assert_eq!(stripe.subscription(text(&trial["id"])).await["status"], "trialing");
        stripe.advance(TimeDelta::days(3)).await;
        let after = stripe.subscription(text(&trial["id"])).await;
        assert_eq!(after["status"], "active");
        assert_eq!(after["current_period_start"], trial["trial_end"]);
        let totals: Vec<_> = stripe.invoices(&customer).await.iter().map(amount).collect();
        assert_eq!(totals, [(0, 0), (14_900, 14_900)]);
    }
}

on_both! {
    async fn a_session_that_nobody_pays_expires_after_a_day(database: Database) {
        let stripe = Stripe::start(database).await;
        let session = stripe.session(&[]).await;
        let other = stripe.session(&[]).await;
        let path = format!("checkout/sessions/{}", text(&other["id"]));
        let expired = stripe.post(&format!("{path}/expire"), &[]).await;
        assert_eq!(expired["status"], "expired");
        let again = stripe.refused(400, Method::POST, &format!("{path}/expire"), &[]).await;
        assert_eq!(again["type"], "invalid_request_error");
        stripe.advance(TimeDelta::hours(25)).await;
        let session = stripe.get(&format!("checkout/sessions/{}", text(&session["id"])), &[]).await;
        assert_eq!(session["status"], "expired");
        let events = stripe.events().await;
        assert_eq!(of_billing(&events), ["checkout.session.expired", "checkout.session.expired"]);
    }
}
