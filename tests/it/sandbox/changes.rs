//! Changing the plan: what is charged, what is credited, and when.

use reqwest::Method;

use super::*;

async fn half_way(stripe: &Stripe, price: &str) -> (String, Value) {
    let customer = stripe.customer("pm_card_visa").await;
    let subscription = stripe.subscribe(&customer, price).await;
    let length = int(&subscription["current_period_end"]) - int(&subscription["current_period_start"]);
    stripe.advance(TimeDelta::seconds(length / 2)).await;
    (customer, subscription)
}

fn near(amount: i64, wanted: i64) {
    assert!((amount - wanted).abs() <= 3, "{amount} is not about {wanted}: seconds pass while a test runs");
}

on_both! {
    async fn an_upgrade_is_charged_by_the_second_at_once_or_with_the_next_invoice(database: Database) {
        let stripe = Stripe::start(database).await;
        let (customer, subscription) = half_way(&stripe, STARTER).await;
        let (path, item) = (format!("subscriptions/{}", text(&subscription["id"])), Stripe::item(&subscription));
        let fields = [("items[0][id]", item), ("items[0][price]", PRO), ("proration_behavior", "always_invoice")];
        let preview = [
            ("subscription", text(&subscription["id"])),
            ("subscription_details[items][0][id]", item),
            ("subscription_details[items][0][price]", PRO),
            ("subscription_details[proration_behavior]", "always_invoice"),
        ];
        let before = stripe.events().await.len();
        let preview = stripe.post("invoices/create_preview", &preview).await;
        assert_eq!(stripe.events().await.len(), before + 3, "only the product and prices of Pro are new");
        adds_up(&preview);
        let changed = stripe.post(&path, &fields).await;
        assert_eq!((text(&changed["status"]), &changed["items"]["data"][0]["price"]["id"]), ("active", &json!(PRO)));
        assert_eq!(changed["current_period_end"], subscription["current_period_end"]);
        let invoices = stripe.invoices(&customer).await;
        adds_up(&invoices[1]);
        assert_eq!((text(&invoices[1]["billing_reason"]), text(&invoices[1]["status"])), ("subscription_update", "paid"));
        near(int(&invoices[1]["total"]), (14_900 - 2_900) / 2);
        near(int(&invoices[1]["total"]), int(&preview["total"]));
        assert!(invoices[1]["lines"]["data"].as_array().unwrap().iter().all(|line| line["proration"] == true));

        let back = [("items[0][id]", item), ("items[0][price]", STARTER)];
        stripe.post(&path, &back).await;
        assert_eq!(stripe.invoices(&customer).await.len(), 2, "it waits");
        stripe.advance(TimeDelta::days(20)).await;
        let invoices = stripe.invoices(&customer).await;
        adds_up(&invoices[2]);
        assert_eq!(amount(&invoices[2]), (int(&invoices[2]["total"]), 0), "the credit is more than a month of Starter");
        near(int(&invoices[2]["total"]), 2_900 - (14_900 - 2_900) / 2);
        let owed = stripe.get(&format!("customers/{customer}"), &[]).await;
        assert_eq!(int(&owed["balance"]), int(&invoices[2]["total"]), "the rest is kept for the next one");
        stripe.advance(TimeDelta::days(31)).await;
        let next = &stripe.invoices(&customer).await[3];
        adds_up(next);
        assert_eq!(next["starting_balance"], owed["balance"]);
    }
}

on_both! {
    async fn another_interval_begins_a_new_period_at_once(database: Database) {
        let stripe = Stripe::start(database).await;
        let (customer, subscription) = half_way(&stripe, PRO).await;
        let path = format!("subscriptions/{}", text(&subscription["id"]));
        let fields = [("items[0][id]", Stripe::item(&subscription)), ("items[0][price]", PRO_YEARLY)];
        let changed = stripe.post(&path, &fields).await;
        let (start, end) = (int(&changed["current_period_start"]), int(&changed["current_period_end"]));
        assert!((365 * DAY..=366 * DAY).contains(&(end - start)));
        assert!(stripe.product.app.clock.now().at.timestamp() - start < 60);
        let invoice = &stripe.invoices(&customer).await[1];
        adds_up(invoice);
        near(int(&invoice["total"]), 149_000 - 14_900 / 2);
        assert_eq!(invoice["status"], "paid");
    }
}

on_both! {
    async fn no_proration_charges_nothing_until_the_period_ends(database: Database) {
        let stripe = Stripe::start(database).await;
        let (customer, subscription) = half_way(&stripe, STARTER).await;
        let path = format!("subscriptions/{}", text(&subscription["id"]));
        let item = Stripe::item(&subscription);
        let fields = [("items[0][id]", item), ("items[0][price]", PRO), ("proration_behavior", "none")];
        stripe.post(&path, &fields).await;
        let preview = stripe.post("invoices/create_preview", &[("subscription", text(&subscription["id"]))]).await;
        assert_eq!(amount(&preview), (14_900, 14_900));
        stripe.advance(TimeDelta::days(20)).await;
        let totals: Vec<_> = stripe.invoices(&customer).await.iter().map(amount).collect();
        assert_eq!(totals, [(2_900, 2_900), (14_900, 14_900)]);

        let without = stripe.refused(400, Method::POST, &path, &[("items[0][price]", STARTER)]).await;
        assert_eq!(without["param"], "items[0][id]", "the sandbox adds no second item");
    }
}

on_both! {
    async fn an_upgrade_that_cannot_be_paid_is_past_due_or_never_was(database: Database) {
        let stripe = Stripe::start(database).await;
        let session = stripe.check_out(&[], "4000000000000341").await;
        let subscription = stripe.subscription(text(&session["subscription"])).await;
        let path = format!("subscriptions/{}", text(&subscription["id"]));
        let item = Stripe::item(&subscription);
        let mut fields = vec![("items[0][id]", item), ("items[0][price]", PRO_YEARLY)];
        fields.push(("payment_behavior", "error_if_incomplete"));
        stripe.refused(402, Method::POST, &path, &fields).await;
        assert_eq!(stripe.subscription(text(&subscription["id"])).await, subscription);
        fields.pop();
        assert_eq!(stripe.post(&path, &fields).await["status"], "past_due");
        let voided = &stripe.invoices(text(&session["customer"])).await[1];
        let voided = stripe.post(&format!("invoices/{}/void", text(&voided["id"])), &[]).await;
        assert_eq!(voided["status"], "void");
        assert_eq!(stripe.subscription(text(&subscription["id"])).await["status"], "active");
    }
}

on_both! {
    async fn a_payment_is_refunded_once_and_never_by_more_than_it_was(database: Database) {
        let stripe = Stripe::start(database).await;
        let customer = stripe.customer("pm_card_visa").await;
        let subscription = stripe.subscribe(&customer, PRO).await;
        let paid = stripe.get("invoice_payments", &[("invoice", text(&subscription["latest_invoice"]))]).await;
        let intent = text(&paid["data"][0]["payment"]["payment_intent"]).to_owned();
        let refund = |amount| vec![("payment_intent", intent.as_str()), ("reason", "duplicate"), ("amount", amount)];
        stripe.refused(400, Method::POST, "refunds", &refund("14901")).await;
        assert_eq!(stripe.post("refunds", &refund("900")).await["status"], "succeeded");
        let rest = stripe.post("refunds", &refund("")).await;
        assert_eq!(int(&rest["amount"]), 14_000);
        let again = stripe.refused(400, Method::POST, "refunds", &refund("")).await;
        assert_eq!(again["code"], "charge_already_refunded");
        let list = stripe.get("refunds", &[("payment_intent", &intent)]).await;
        assert_eq!(list["data"].as_array().map(Vec::len), Some(2));
    }
}
