//! What happens to customers: they buy, pay, do not pay, change their minds, and end.

use chrono::{DateTime, Months};
use serde_json::{Value, json};

use super::model::{Stripe, World};

/// What a price's name says: interval and plan.
pub fn read_price(price: &str) -> (&'static str, &str, i64) {
    let (interval, plan) = price.strip_prefix("price_").and_then(|name| name.split_once('_')).expect("a price of ours");
    let monthly = match plan {
        "starter" => 2_900,
        "growth" => 7_900,
        "pro" => 14_900,
        _ => 39_900,
    };
    if interval == "y" { ("year", plan, monthly * 10) } else { ("month", plan, monthly) }
}

fn period_end(price: &str, start: i64) -> i64 {
    let months = if read_price(price).0 == "year" { 12 } else { 1 };
    (DateTime::from_timestamp_secs(start).expect("a time") + Months::new(months)).timestamp()
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

impl World {
    fn price_of(&self, subscription: &str) -> String {
        text(&self.objects[subscription]["items"]["data"][0]["price"]["id"])
    }

    fn items(price: &str, start: i64) -> Value {
        let (interval, _, amount) = read_price(price);
        json!({"object": "list", "data": [{
            "id": "si_1", "object": "subscription_item", "quantity": 1, "current_period_start": start, "current_period_end": period_end(price, start),
            "price": {"id": price, "object": "price", "unit_amount": amount, "currency": "usd", "recurring": {"interval": interval, "interval_count": 1}},
        }]})
    }

    /// Somebody pays in a session. Answers the subscription's id.
    pub fn pay(&mut self, session: &str) -> String {
        let opened = self.objects[session].clone();
        assert_eq!(opened["status"], "open", "nobody can pay in a session that has ended");
        let customer = text(&opened["customer"]);
        let card = self.new_card(&customer);
        let id = self.subscribe(&customer, &text(&opened["price"]), &card, &opened["metadata"]);
        self.set(session, &json!({"status": "complete", "url": null, "subscription": id}));
        self.emit("checkout.session.completed", session);
        id
    }

    /// A new subscription, with its first invoice paid.
    pub fn subscribe(&mut self, customer: &str, price: &str, card: &str, metadata: &Value) -> String {
        let id = self.id("sub");
        let items = Self::items(price, self.now);
        self.put(json!({
            "id": id, "object": "subscription", "status": "active", "customer": customer, "created": self.now, "items": items,
            "cancel_at_period_end": false, "cancel_at": null, "canceled_at": null, "ended_at": null, "trial_end": null,
            "default_payment_method": card, "metadata": metadata, "livemode": false,
        }));
        self.invoice(&id, "subscription_create", price, true);
        self.emit("customer.subscription.created", &id);
        id
    }

    /// Another card of a customer. Answers its id.
    pub fn new_card(&mut self, customer: &str) -> String {
        let id = self.id("pm");
        let last4 = format!("{:0>4}", &id[id.len() - 4..]);
        self.put(json!({"id": id, "object": "payment_method", "type": "card", "customer": customer,
            "card": {"brand": "visa", "last4": last4, "exp_month": 12, "exp_year": 2040, "fingerprint": format!("print_{id}")}}));
        id
    }

    /// Pays with another card from now on.
    pub fn change_card(&mut self, subscription: &str) {
        let customer = text(&self.objects[subscription]["customer"]);
        let card = self.new_card(&customer);
        self.set(subscription, &json!({"default_payment_method": card}));
        self.emit("payment_method.attached", &card);
        self.emit("customer.subscription.updated", subscription);
    }

    /// The line of a price from some time to the end of its period: of the whole of it, or of a part that is charged or paid back.
    fn line(price: &str, subscription: &str, (start, end): (i64, i64), part: Option<i64>) -> Value {
        let amount = read_price(price).2 * part.unwrap_or(2) / 2;
        json!({"id": format!("il_{price}_{amount}_{start}"), "object": "line_item", "amount": amount, "currency": "usd", "description": format!("1 × {price}"),
            "quantity": 1, "period": {"start": start, "end": end}, "pricing": {"type": "price_details", "price_details": {"price": price, "product": "prod_1"}},
            "parent": {"type": "subscription_item_details", "subscription_item_details": {"subscription": subscription, "proration": part.is_some()}}})
    }

    fn period(&self, subscription: &str) -> (i64, i64) {
        let item = &self.objects[subscription]["items"]["data"][0];
        (item["current_period_start"].as_i64().unwrap(), item["current_period_end"].as_i64().unwrap())
    }

    /// An invoice for the period of now.
    fn invoice(&mut self, subscription: &str, reason: &str, price: &str, pays: bool) {
        let line = Self::line(price, subscription, self.period(subscription), None);
        self.invoice_of(subscription, reason, &[line], pays);
    }

    fn invoice_of(&mut self, subscription: &str, reason: &str, lines: &[Value], pays: bool) {
        let (id, customer) = (self.id("in"), text(&self.objects[subscription]["customer"]));
        let total: i64 = lines.iter().map(|line| line["amount"].as_i64().unwrap()).sum();
        self.put(json!({
            "id": id, "object": "invoice", "number": id.replace("in_", "STRIPE-"), "status": "open", "currency": "usd", "total": total, "customer": customer,
            "customer_name": "Acme, as Stripe knows it", "customer_email": "books@example.com", "customer_address": {"country": "GB"},
            "billing_reason": reason, "attempt_count": 1, "created": self.now, "due_date": null, "hosted_invoice_url": format!("https://invoice.stripe.test/{id}"),
            "status_transitions": {"finalized_at": self.now, "paid_at": null}, "lines": {"object": "list", "data": lines, "has_more": false},
            "parent": {"type": "subscription_details", "subscription_details": {"subscription": subscription, "metadata": {}}},
        }));
        self.emit("invoice.finalized", &id);
        if pays {
            self.set(
                &id,
                &json!({"status": "paid", "status_transitions": {"finalized_at": self.now, "paid_at": self.now}}),
            );
            self.emit("invoice.paid", &id);
        } else {
            self.emit("invoice.payment_failed", &id);
        }
    }

    /// The period ends: the next begins, or nothing does where that was said.
    pub fn renew(&mut self, subscription: &str, pays: bool) {
        let end = self.objects[subscription]["items"]["data"][0]["current_period_end"].as_i64().unwrap();
        self.now = self.now.max(end);
        if self.objects[subscription]["cancel_at_period_end"] == true {
            self.set(subscription, &json!({"status": "canceled", "ended_at": self.now}));
            return self.emit("customer.subscription.deleted", subscription);
        }
        let price = self.price_of(subscription);
        let items = Self::items(&price, end);
        let status = if pays { "active" } else { "past_due" };
        self.set(subscription, &json!({"items": items, "status": status}));
        self.emit("customer.subscription.updated", subscription);
        self.invoice(subscription, "subscription_cycle", &price, pays);
    }

    fn open_invoices(&self, subscription: &str) -> Vec<String> {
        let is_open = |invoice: &&Value| {
            invoice["status"] == "open" && invoice["parent"]["subscription_details"]["subscription"] == subscription
        };
        self.all("invoice").iter().filter(is_open).map(|invoice| text(&invoice["id"])).collect()
    }

    /// What is owed is paid at last.
    pub fn settle(&mut self, subscription: &str) {
        self.now += 3_600;
        for invoice in self.open_invoices(subscription) {
            let finalized = self.objects[&invoice]["status_transitions"]["finalized_at"].clone();
            self.set(
                &invoice,
                &json!({"status": "paid", "status_transitions": {"finalized_at": finalized, "paid_at": self.now}}),
            );
            self.emit("invoice.paid", &invoice);
        }
        if self.objects[subscription]["status"] == "past_due" {
            self.set(subscription, &json!({"status": "active"}));
            self.emit("customer.subscription.updated", subscription);
        }
    }

    /// What is owed is not paid, and Stripe gives up.
    pub fn give_up(&mut self, subscription: &str) {
        self.now += 21 * 86_400;
        for invoice in self.open_invoices(subscription) {
            self.set(&invoice, &json!({"status": "void"}));
            self.emit("invoice.voided", &invoice);
        }
        self.end(subscription);
    }

    /// Another price from now on. What is left of the old one is paid back; in the same interval what is left is charged, in another a new period
    /// begins.
    pub fn change(&mut self, subscription: &str, price: &str) {
        self.now += 60;
        let old = self.price_of(subscription);
        let (start, end) = self.period(subscription);
        let anew = read_price(&old).0 != read_price(price).0;
        let items = Self::items(price, if anew { self.now } else { start });
        self.set(subscription, &json!({"items": items}));
        self.emit("customer.subscription.updated", subscription);
        let left = (self.now, end);
        let begins = if anew { (self.period(subscription), None) } else { (left, Some(1)) };
        let lines = [(old.as_str(), left, Some(-1)), (price, begins.0, begins.1)];
        let lines = lines.map(|(price, period, part)| Self::line(price, subscription, period, part));
        self.invoice_of(subscription, "subscription_update", &lines, true);
    }

    /// It is to end with its period, or is to go on after all.
    pub fn schedule_end(&mut self, subscription: &str, ends: bool) {
        self.now += 60;
        let at = if ends { json!(self.now) } else { Value::Null };
        self.set(subscription, &json!({"cancel_at_period_end": ends, "canceled_at": at}));
        self.emit("customer.subscription.updated", subscription);
    }

    /// A customer is deleted, and with it go its cards and what it pays for. Of one of another account nothing at all is known.
    pub fn delete_customer(&mut self, customer: &str, is_known: bool) {
        let ids = |object: &Value| (object["customer"] == customer).then(|| text(&object["id"]));
        let live = |object: &&Value| object["status"] != "canceled";
        let subscriptions: Vec<_> = self.all("subscription").iter().filter(live).filter_map(ids).collect();
        for subscription in subscriptions {
            self.set(&subscription, &json!({"default_payment_method": null}));
            self.end(&subscription);
        }
        self.objects.remove(customer);
        if is_known {
            self.put(json!({"id": customer, "object": "customer", "deleted": true}));
        }
    }

    /// It ends now.
    pub fn end(&mut self, subscription: &str) {
        self.now += 60;
        self.set(subscription, &json!({"status": "canceled", "canceled_at": self.now, "ended_at": self.now, "cancel_at_period_end": false}));
        self.emit("customer.subscription.deleted", subscription);
    }
}

impl Stripe {
    /// Does something to the world.
    pub fn happen<T>(&self, what: impl FnOnce(&mut World) -> T) -> T {
        what(&mut self.world())
    }
}
