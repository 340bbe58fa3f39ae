//! Checkout sessions: a page on which somebody pays for a subscription.

use serde_json::{Value, json};

use super::{
    cards::{self, Holder, TestCard},
    customers,
    error::{Decline, Error},
    form::Params,
    invoices::{self, Try},
    lines::{amount, list, whole},
    store::{HIDDEN, int, text},
    subscriptions::{self, Start, one_item, product_name},
    world::World,
};

/// How long a session is open.
const LIFE: i64 = 24 * 60 * 60;

/// What Stripe's page can do and this one has no use for.
const PASSED_OVER: [&str; 13] = [
    "allow_promotion_codes",
    "automatic_tax",
    "billing_address_collection",
    "consent_collection",
    "custom_text",
    "customer_update",
    "locale",
    "payment_method_collection",
    "payment_method_types",
    "saved_payment_method_options",
    "submit_type",
    "tax_id_collection",
    "ui_mode",
];

/// What is null in a new session.
const EMPTY: [&str; 19] = [
    "after_expiration",
    "allow_promotion_codes",
    "billing_address_collection",
    "client_secret",
    "consent",
    "consent_collection",
    "currency_conversion",
    "customer_details",
    "invoice",
    "invoice_creation",
    "locale",
    "payment_intent",
    "payment_link",
    "recovered_from",
    "setup_intent",
    "shipping_address_collection",
    "shipping_cost",
    "submit_type",
    "subscription",
];

/// `POST /v1/checkout/sessions`.
pub async fn create(world: &mut World<'_>, params: &mut Params) -> Result<Value, Error> {
    let mode = params.one_of("mode", &["subscription"])?.ok_or_else(|| Error::Missing("mode".into()))?;
    let success_url = params.url("success_url")?.ok_or_else(|| Error::Missing("success_url".into()))?;
    let cancel_url = params.url("cancel_url")?;
    let customer = params.text("customer")?;
    let email = params.text("customer_email")?;
    if customer.is_some() && email.is_some() {
        return Err(Error::invalid(
            "customer_email",
            "You may only specify one of these parameters: customer, customer_email.",
        ));
    }
    if let Some(customer) = &customer {
        world.need("customer", customer, "customer").await?;
    }
    let (price, quantity) = one_item(world, params.list("line_items")?, "line_items").await?;
    let mut kept = json!({"metadata": {}});
    params.metadata(&mut kept)?;
    let mut terms = json!({"metadata": {}, "description": null, "trial_end": null, "trial_length": null});
    if let Some(mut sent) = params.branch("subscription_data")? {
        sent.metadata(&mut terms)?;
        sent.set("description", &mut terms)?;
        // Days count from the payment, a date stays what it is.
        let is_date = sent.has("trial_end");
        let end = subscriptions::trial_end(world, &mut sent)?;
        terms["trial_end"] = end.filter(|_| is_date).into();
        terms["trial_length"] = end.filter(|_| !is_date).map(|end| end - world.seconds()).into();
        sent.pass_over(&["trial_settings", "proration_behavior"]);
        sent.finish()?;
    }
    let now = world.seconds();
    let expires_at = params.count("expires_at")?.unwrap_or(now + LIFE);
    if !(now + 30 * 60..=now + LIFE).contains(&expires_at) {
        return Err(Error::invalid("expires_at", "Has to be between 30 minutes and 24 hours from now."));
    }
    let id = world.id("cs_test");
    let is_free = !terms["trial_end"].is_null() || !terms["trial_length"].is_null();
    let total = if is_free { 0 } else { amount(&price, quantity) };
    let item = json!({
        "id": world.id("li"), "object": "item", "amount_discount": 0, "amount_subtotal": total, "amount_tax": 0,
        "amount_total": total, "currency": price["currency"], "description": product_name(world, &price).await?,
        "price": price, "quantity": quantity,
    });
    let mut session = json!({
        "id": id,
        "object": "checkout.session",
        "amount_subtotal": total,
        "amount_total": total,
        "automatic_tax": {"enabled": false, "liability": null, "status": null},
        "cancel_url": cancel_url,
        "client_reference_id": params.text("client_reference_id")?,
        "created": now,
        "currency": price["currency"],
        "custom_fields": [],
        "customer": customer,
        "customer_creation": if customer.is_some() { Value::Null } else { "always".into() },
        "customer_email": email,
        "discounts": [],
        "expires_at": expires_at,
        "livemode": false,
        "metadata": kept["metadata"],
        "mode": mode,
        "payment_method_collection": "always",
        "payment_method_types": ["card"],
        "payment_status": "unpaid",
        "shipping_options": [],
        "status": "open",
        "success_url": success_url,
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted",
        "url": world.page(&format!("pay/{id}")),
        HIDDEN: {"line_items": list(&[item], &format!("/v1/checkout/sessions/{id}/line_items")), "terms": terms},
    });
    for name in EMPTY {
        session[name] = Value::Null;
    }
    params.pass_over(&PASSED_OVER);
    params.finish()?;
    world.insert(&session, Some(expires_at)).await?;
    Ok(session)
}

/// The price that a session sells, and how many of it.
pub fn sold(session: &Value) -> (&Value, i64) {
    let item = &session[HIDDEN]["line_items"]["data"][0];
    (&item["price"], int(item, "quantity").max(1))
}

/// What a session sells, in a line.
pub fn words(session: &Value) -> String {
    let (price, quantity) = sold(session);
    whole(price, text(&session[HIDDEN]["line_items"]["data"][0], "description"), quantity, (0, 0)).description
}

/// Until when the subscription costs nothing that is paid for at `now`.
pub fn trial_end(session: &Value, now: i64) -> Option<i64> {
    let terms = &session[HIDDEN]["terms"];
    let length = terms["trial_length"].as_i64().map(|length| now + length);
    length.or_else(|| terms["trial_end"].as_i64()).filter(|end| *end > now)
}

/// What somebody types into the pay page.
#[derive(Debug)]
pub struct Payment {
    /// The card.
    pub card: &'static TestCard,
    /// Whose.
    pub holder: Holder,
}

/// Why a session is not paid.
#[derive(Debug)]
pub enum NotPaid {
    /// The card is declined, and another may be tried.
    Declined(Decline),
    /// It is over: paid, or expired.
    Over(Value),
}

/// Pays an open session: customer, card, subscription, first invoice, and their events in Stripe's order.
pub async fn pay(world: &mut World<'_>, id: &str, payment: Payment) -> Result<Result<Value, NotPaid>, Error> {
    let mut session = world.need("checkout.session", id, "id").await?;
    if session["status"] != "open" || int(&session, "expires_at") <= world.seconds() {
        return Ok(Err(NotPaid::Over(session)));
    }
    if let Some(decline) = payment.card.declines() {
        return Ok(Err(NotPaid::Declined(decline)));
    }
    let (email, name) = (payment.holder.email.clone(), payment.holder.name.clone());
    let customer = if let Some(customer) = session["customer"].as_str() {
        customer.to_owned()
    } else {
        let mut made = customers::make(world, &mut Params::default()).await?;
        let before = made.clone();
        made["email"] = email.as_deref().into();
        made["name"] = name.as_deref().into();
        customers::save(world, &before, &made).await?;
        text(&made, "id").to_owned()
    };
    let method = cards::make(world, payment.card, payment.holder, Some(&customer)).await?;
    let (price, quantity) = sold(&session);
    let terms = &session[HIDDEN]["terms"];
    let start = Start {
        customer: customer.clone(),
        price: price.clone(),
        quantity,
        trial_end: trial_end(&session, world.seconds()),
        default_payment_method: method["id"].clone(),
        metadata: terms["metadata"].clone(),
        description: terms["description"].clone(),
    };
    let (mut subscription, mut invoice) = subscriptions::start(world, start).await?;
    if invoice["status"] == "open" {
        // It was asked above: this card does not decline the person who types it in.
        invoices::collect(world, &mut invoice, &mut subscription, Some(method), Try::Attended).await?;
    }
    session["customer"] = customer.into();
    session["customer_details"] = json!({
        "address": null, "email": email, "name": name, "phone": null, "tax_exempt": "none", "tax_ids": [],
    });
    session["invoice"] = invoice["id"].clone();
    session["subscription"] = subscription["id"].clone();
    session["status"] = "complete".into();
    session["payment_status"] = if int(&invoice, "total") == 0 { "no_payment_required" } else { "paid" }.into();
    session["url"] = Value::Null;
    world.save(&session, None).await?;
    world.emit("checkout.session.completed", &session).await?;
    Ok(Ok(session))
}

/// `POST /v1/checkout/sessions/{id}/expire`.
pub async fn expire(world: &mut World<'_>, id: &str, params: &mut Params) -> Result<Value, Error> {
    params.finish()?;
    let session = world.need("checkout.session", id, "id").await?;
    if session["status"] != "open" {
        let message = format!(
            "Only Checkout Sessions with a status in [\"open\"] can be expired. This Checkout Session has a status of {}.",
            text(&session, "status")
        );
        return Err(Error::state("checkout_session_not_open", message));
    }
    expire_session(world, session).await
}

/// Closes an open session.
pub async fn expire_session(world: &mut World<'_>, mut session: Value) -> Result<Value, Error> {
    session["status"] = "expired".into();
    session["url"] = Value::Null;
    world.save(&session, None).await?;
    world.emit("checkout.session.expired", &session).await?;
    Ok(session)
}

/// Where a paid session leads.
pub fn success_url(session: &Value) -> String {
    text(session, "success_url").replace("{CHECKOUT_SESSION_ID}", text(session, "id"))
}
