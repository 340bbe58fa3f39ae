//! Subscriptions: begun, kept, ended.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    catalog::{self, cadence},
    customers,
    error::{Decline, Error},
    form::Params,
    invoices::{self, Try},
    lines::{Line, list, whole},
    proration,
    store::{self, HIDDEN, int, text},
    world::{World, no_such},
};

const DAY: i64 = 24 * 60 * 60;
/// How long the first payment may take.
const FIRST_PAYMENT: i64 = 23 * 60 * 60;
/// The longest trial.
const TRIAL_DAYS: i64 = 730;

/// What is null in a new subscription.
const EMPTY: [&str; 18] = [
    "application",
    "application_fee_percent",
    "billing_cycle_anchor_config",
    "cancel_at",
    "canceled_at",
    "days_until_due",
    "default_source",
    "ended_at",
    "latest_invoice",
    "next_pending_invoice_item_invoice",
    "on_behalf_of",
    "pause_collection",
    "pending_invoice_item_interval",
    "pending_setup_intent",
    "pending_update",
    "schedule",
    "test_clock",
    "transfer_data",
];

/// What a subscription begins with.
#[derive(Debug)]
pub struct Start {
    /// The customer's id.
    pub customer: String,
    /// The price.
    pub price: Value,
    /// How many of it.
    pub quantity: i64,
    /// Until when it costs nothing.
    pub trial_end: Option<i64>,
    /// A payment method's id, or null for the customer's own.
    pub default_payment_method: Value,
    /// For whoever made it.
    pub metadata: Value,
    /// For people.
    pub description: Value,
}

/// Begins one and issues its first invoice, which is not paid yet unless nothing is due.
pub async fn start(world: &mut World<'_>, start: Start) -> Result<(Value, Value), Error> {
    let id = world.id("sub");
    let now = world.seconds();
    let (interval, count) = cadence(&start.price);
    let end = start.trial_end.unwrap_or_else(|| proration::period_end(world.at, interval, count, world.at).timestamp());
    let trial_start = start.trial_end.map(|_| now);
    let mut subscription = json!({
        "id": id,
        "object": "subscription",
        "automatic_tax": {"disabled_reason": null, "enabled": false, "liability": null},
        "billing_cycle_anchor": start.trial_end.unwrap_or(now),
        "cancel_at_period_end": false,
        "cancellation_details": {"comment": null, "feedback": null, "reason": null},
        "collection_method": "charge_automatically",
        "created": now,
        "currency": start.price["currency"],
        "customer": start.customer,
        "default_payment_method": start.default_payment_method,
        "default_tax_rates": [],
        "description": start.description,
        "discounts": [],
        "invoice_settings": {"account_tax_ids": null, "issuer": {"type": "self"}},
        "items": list(&[], &format!("/v1/subscription_items?subscription={id}")),
        "livemode": false,
        "metadata": start.metadata,
        "payment_settings": {"payment_method_options": null, "payment_method_types": null, "save_default_payment_method": "off"},
        "start_date": now,
        "status": if start.trial_end.is_some() { "trialing" } else { "incomplete" },
        "trial_end": start.trial_end,
        "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
        "trial_start": trial_start,
        HIDDEN: {"pending": [], "told_trial_end": false},
    });
    for name in EMPTY {
        subscription[name] = Value::Null;
    }
    let item = json!({
        "id": world.id("si"),
        "object": "subscription_item",
        "billing_thresholds": null,
        "created": now,
        "discounts": [],
        "metadata": {},
        "subscription": id,
        "tax_rates": [],
    });
    subscription["items"]["data"] = json!([item]);
    subscription["items"]["total_count"] = 1.into();
    put_price(&mut subscription, &start.price, start.quantity);
    put_period(&mut subscription, (now, end));
    world.insert(&subscription, due(&subscription)).await?;
    world.emit("customer.subscription.created", &subscription).await?;
    let line = if start.trial_end.is_some() {
        let description = "Free trial".to_owned();
        Line {
            amount: 0,
            description,
            price: &start.price,
            quantity: start.quantity,
            period: (now, end),
            is_proration: false,
        }
    } else {
        let product = product_name(world, &start.price).await?;
        whole(&start.price, &product, start.quantity, (now, end))
    };
    let before = subscription.clone();
    let line = line.written(&id, item_id(&subscription));
    let invoice = invoices::issue(world, &mut subscription, vec![line], "subscription_create").await?;
    if invoice["status"] == "paid" && subscription["status"] == "incomplete" {
        subscription["status"] = "active".into();
    }
    save(world, &before, &subscription).await?;
    Ok((subscription, invoice))
}

/// The name of a price's product.
pub async fn product_name(world: &World<'_>, price: &Value) -> Result<String, Error> {
    let product = store::find(world.tx(), text(price, "product")).await?;
    Ok(product.map(|product| text(&product, "name").to_owned()).unwrap_or_default())
}

/// The id of its one item.
pub fn item_id(subscription: &Value) -> &str {
    text(&subscription["items"]["data"][0], "id")
}

/// The price of its one item.
pub fn price_of(subscription: &Value) -> &Value {
    &subscription["items"]["data"][0]["price"]
}

/// How many of it.
pub fn quantity_of(subscription: &Value) -> i64 {
    int(&subscription["items"]["data"][0], "quantity").max(1)
}

/// Its period. Versions since 2025-03-31 have it in the item, earlier ones in the subscription; here it is in both.
pub fn put_period(subscription: &mut Value, (start, end): (i64, i64)) {
    let put = |object: &mut Value| {
        object["current_period_start"] = start.into();
        object["current_period_end"] = end.into();
    };
    put(subscription);
    put(&mut subscription["items"]["data"][0]);
}

/// When its period ends.
pub fn end_of_period(subscription: &Value) -> DateTime<Utc> {
    DateTime::from_timestamp(int(subscription, "current_period_end"), 0).unwrap_or_default()
}

/// When the period after this one ends.
pub fn next_end(subscription: &Value) -> DateTime<Utc> {
    let anchor = DateTime::from_timestamp(int(subscription, "billing_cycle_anchor"), 0).unwrap_or_default();
    let (interval, count) = cadence(price_of(subscription));
    proration::period_end(anchor, interval, count, end_of_period(subscription))
}

/// Its price, which earlier versions call plan.
pub fn put_price(subscription: &mut Value, price: &Value, quantity: i64) {
    let plan = json!({
        "id": price["id"], "object": "plan", "active": price["active"], "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"], "billing_scheme": "per_unit", "created": price["created"],
        "currency": price["currency"], "interval": price["recurring"]["interval"],
        "interval_count": price["recurring"]["interval_count"], "livemode": false, "metadata": price["metadata"],
        "nickname": price["nickname"], "product": price["product"], "usage_type": "licensed",
    });
    subscription["plan"] = plan.clone();
    subscription["quantity"] = quantity.into();
    let item = &mut subscription["items"]["data"][0];
    item["price"] = price.clone();
    item["plan"] = plan;
    item["quantity"] = quantity.into();
}

/// Whether it is over for good.
pub fn has_ended(subscription: &Value) -> bool {
    ["canceled", "incomplete_expired"].contains(&text(subscription, "status"))
}

/// When the sandbox has to look at it by itself.
pub fn due(subscription: &Value) -> Option<i64> {
    match text(subscription, "status") {
        "incomplete" => Some(int(subscription, "created") + FIRST_PAYMENT),
        "trialing" if subscription[HIDDEN]["told_trial_end"] == false => {
            Some((int(subscription, "trial_end") - 3 * DAY).max(int(subscription, "created")))
        }
        "trialing" | "active" | "past_due" => Some(int(subscription, "current_period_end")),
        _ => None,
    }
}

/// Writes one down, and tells where it has changed.
pub async fn save(world: &mut World<'_>, before: &Value, subscription: &Value) -> Result<(), Error> {
    world.save(subscription, due(subscription)).await?;
    world.emit_change("customer.subscription.updated", before, subscription).await
}

/// Ends one at once. What is owed for it stays owed, and nobody tries to collect it any more.
pub async fn end(world: &mut World<'_>, mut subscription: Value, reason: &str) -> Result<Value, Error> {
    let now = world.seconds();
    subscription["status"] = "canceled".into();
    subscription["ended_at"] = now.into();
    if subscription["canceled_at"].is_null() {
        subscription["canceled_at"] = now.into();
    }
    if subscription["cancellation_details"]["reason"].is_null() {
        subscription["cancellation_details"]["reason"] = reason.into();
    }
    world.save(&subscription, None).await?;
    for mut invoice in store::all_of(world.tx(), "invoice", text(&subscription, "customer")).await? {
        if invoice["subscription"] == subscription["id"] && invoice["status"] == "open" {
            invoice["auto_advance"] = false.into();
            invoice["next_payment_attempt"] = Value::Null;
            world.save(&invoice, None).await?;
        }
    }
    world.emit("customer.subscription.deleted", &subscription).await?;
    Ok(subscription)
}

/// `POST /v1/subscriptions`.
pub async fn create(world: &mut World<'_>, params: &mut Params) -> Result<Value, Error> {
    let customer = params.required("customer")?;
    world.need("customer", &customer, "customer").await?;
    let (price, quantity) = one_item(world, params.list("items")?, "items").await?;
    let method = params.text("default_payment_method")?.unwrap_or_default();
    let default_payment_method = customers::own_method(world, &method, &customer, "default_payment_method").await?;
    let behaviors = ["allow_incomplete", "default_incomplete", "error_if_incomplete"];
    let behavior = params.one_of("payment_behavior", &behaviors)?.unwrap_or("allow_incomplete");
    let cancels = params.flag("cancel_at_period_end")?;
    let mut kept = json!({"metadata": {}, "description": null});
    params.metadata(&mut kept)?;
    params.set("description", &mut kept)?;
    let trial_end = trial_end(world, params)?;
    params.one_of("collection_method", &["charge_automatically"])?;
    params.pass_over(&["payment_settings", "off_session", "proration_behavior"]);
    params.finish()?;
    let (metadata, description) = (kept["metadata"].take(), kept["description"].take());
    let begin = Start { customer, price, quantity, trial_end, default_payment_method, metadata, description };
    let (mut subscription, mut invoice) = start(world, begin).await?;
    if behavior != "default_incomplete" && invoice["status"] == "open" {
        match invoices::collect(world, &mut invoice, &mut subscription, None, Try::Asked).await? {
            Some(decline) if behavior == "error_if_incomplete" || decline == Decline::NoCard => {
                return Err(Error::Declined(decline));
            }
            _ => {}
        }
    }
    if cancels == Some(true) {
        let before = subscription.clone();
        put_cancel(&mut subscription, true, world.at);
        save(world, &before, &subscription).await?;
    }
    Ok(subscription)
}

/// The one price that the sandbox takes, and how many of it.
pub async fn one_item(world: &mut World<'_>, mut items: Vec<Params>, param: &str) -> Result<(Value, i64), Error> {
    let Some(mut item) = items.pop() else { return Err(Error::Missing(param.to_owned())) };
    if !items.is_empty() {
        return Err(Error::invalid(param, "The sandbox takes one item a subscription."));
    }
    let price = catalog::price(world, &item.required("price")?, &format!("{param}[0][price]")).await?;
    if price["active"] == false {
        return Err(Error::invalid(&format!("{param}[0][price]"), "The price specified is inactive."));
    }
    let quantity = item.count("quantity")?.unwrap_or(1);
    item.pass_over(&["metadata", "tax_rates", "adjustable_quantity"]);
    item.finish()?;
    if !(1..=1_000_000).contains(&quantity) {
        return Err(Error::invalid(&format!("{param}[0][quantity]"), "Has to be 1 to 1000000."));
    }
    Ok((price, quantity))
}

/// Until when a new subscription costs nothing.
pub fn trial_end(world: &World<'_>, params: &mut Params) -> Result<Option<i64>, Error> {
    let now = world.seconds();
    let days = params.count("trial_period_days")?.map(|days| now.saturating_add(days.saturating_mul(DAY)));
    let end = if params.has("trial_end") { params.count("trial_end")? } else { days };
    match end {
        Some(end) if end < now || end > now + TRIAL_DAYS * DAY => {
            Err(Error::invalid("trial_end", "A trial ends between now and in two years."))
        }
        end => Ok(end.filter(|end| *end > now)),
    }
}

/// Tells one to end with its period, or to go on.
pub fn put_cancel(subscription: &mut Value, cancels: bool, at: DateTime<Utc>) {
    if subscription["cancel_at_period_end"] == cancels {
        return;
    }
    subscription["cancel_at_period_end"] = cancels.into();
    let end = if cancels { subscription["current_period_end"].clone() } else { Value::Null };
    subscription["cancel_at"] = end;
    subscription["canceled_at"] = if cancels { at.timestamp().into() } else { Value::Null };
    let reason = if cancels { "cancellation_requested".into() } else { Value::Null };
    subscription["cancellation_details"]["reason"] = reason;
}

/// `DELETE /v1/subscriptions/{id}`.
pub async fn cancel(world: &mut World<'_>, id: &str, params: &mut Params) -> Result<Value, Error> {
    for name in ["invoice_now", "prorate"] {
        if params.flag(name)? == Some(true) {
            return Err(Error::invalid(
                name,
                "The sandbox ends a subscription without settling the rest of its period.",
            ));
        }
    }
    let mut subscription = world.need("subscription", id, "id").await?;
    if has_ended(&subscription) {
        return Err(no_such("subscription", id, "id"));
    }
    details(params, &mut subscription)?;
    params.finish()?;
    end(world, subscription, "cancellation_requested").await
}

/// What somebody says about why they leave.
pub fn details(params: &mut Params, subscription: &mut Value) -> Result<(), Error> {
    let Some(mut sent) = params.branch("cancellation_details")? else { return Ok(()) };
    for name in ["comment", "feedback"] {
        sent.set(name, &mut subscription["cancellation_details"])?;
    }
    sent.finish()
}
