//! Invoices: issued, paid by the card on file, tried again, voided.

use serde_json::{Value, json};

use super::{
    cards, customers,
    error::{Decline, Error},
    form::Params,
    lines::draft,
    payments, proration,
    store::{self, HIDDEN, int, text},
    subscriptions,
    world::World,
};

const DAY: i64 = 24 * 60 * 60;
/// The pauses before a failed renewal is tried again. After the last one the subscription is canceled.
const RETRIES: [i64; 3] = [3 * DAY, 5 * DAY, 7 * DAY];

/// Issues an invoice of these lines for a subscription, which names it as its latest. What the customer has in credit is used first.
/// One that nothing is due of is paid.
pub async fn issue(
    world: &mut World<'_>,
    subscription: &mut Value,
    lines: Vec<Value>,
    reason: &str,
) -> Result<Value, Error> {
    let before = world.need("customer", text(subscription, "customer"), "customer").await?;
    let mut customer = before.clone();
    let id = world.id("in");
    let mut invoice = draft(&id, &customer, subscription, lines, reason, world.seconds());
    let balance = int(&customer, "balance");
    let (due, left) = proration::due(int(&invoice, "total"), balance);
    invoice["starting_balance"] = balance.into();
    for name in ["amount_due", "amount_remaining"] {
        invoice[name] = due.into();
    }
    world.insert(&invoice, None).await?;
    world.emit("invoice.created", &invoice).await?;
    invoice["status"] = "open".into();
    invoice["number"] = customers::next_number(&mut customer).into();
    invoice["ending_balance"] = left.into();
    invoice["effective_at"] = world.seconds().into();
    invoice["status_transitions"]["finalized_at"] = world.seconds().into();
    invoice["hosted_invoice_url"] = world.page(&format!("invoices/{id}")).into();
    customer["balance"] = left.into();
    customer["currency"] = invoice["currency"].clone();
    let payments = payments::intend(world, &invoice).await?;
    invoice[HIDDEN] = json!({"payments": payments});
    world.emit("invoice.finalized", &invoice).await?;
    customers::save(world, &before, &customer).await?;
    subscription["latest_invoice"] = id.as_str().into();
    if due == 0 {
        paid(world, &mut invoice).await?;
    } else {
        world.save(&invoice, None).await?;
    }
    Ok(invoice)
}

async fn paid(world: &mut World<'_>, invoice: &mut Value) -> Result<(), Error> {
    let at = world.seconds();
    invoice["status"] = "paid".into();
    invoice["paid"] = true.into();
    invoice["attempted"] = true.into();
    invoice["auto_advance"] = false.into();
    invoice["next_payment_attempt"] = Value::Null;
    invoice["amount_paid"] = invoice["amount_due"].clone();
    invoice["amount_remaining"] = 0.into();
    invoice["status_transitions"]["paid_at"] = at.into();
    payments::succeed(world, invoice).await?;
    world.save(invoice, None).await?;
    world.emit("invoice.paid", invoice).await?;
    world.emit("invoice.payment_succeeded", invoice).await
}

/// Who tries to collect an invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Try {
    /// The person, who has just typed the card in.
    Attended,
    /// A program, or the person with a card that is on file.
    Asked,
    /// The sandbox, because it is due.
    Due,
}

/// Charges an open invoice to `method`, or to the card on file. The subscription follows: a payment brings it to life, a failure makes it
/// past due, and the last failure ends it. Both are written down; a decline is answered.
pub async fn collect(
    world: &mut World<'_>,
    invoice: &mut Value,
    subscription: &mut Value,
    method: Option<Value>,
    how: Try,
) -> Result<Option<Decline>, Error> {
    let method = match method {
        Some(method) => Some(method),
        None => on_file(world, subscription).await?,
    };
    let before = subscription.clone();
    let Some(decline) = cards::charge(method.as_ref(), how == Try::Attended) else {
        paid(world, invoice).await?;
        if owes_nothing_else(world, invoice, subscription).await? && subscription["status"] != "trialing" {
            subscription["status"] = "active".into();
        }
        subscriptions::save(world, &before, subscription).await?;
        return Ok(None);
    };
    let tries = int(invoice, "attempt_count");
    if tries == 0 || how == Try::Due {
        invoice["attempt_count"] = (tries + 1).into();
    }
    invoice["attempted"] = true.into();
    let is_first = invoice["billing_reason"] == "subscription_create";
    let mut next = invoice["next_payment_attempt"].as_i64();
    if tries == 0 || how == Try::Due {
        let pause = usize::try_from(tries).ok().and_then(|tries| RETRIES.get(tries)).filter(|_| !is_first);
        next = pause.map(|pause| world.seconds() + pause);
    }
    invoice["next_payment_attempt"] = next.into();
    world.save(invoice, next).await?;
    world.emit("invoice.payment_failed", invoice).await?;
    if is_first {
        return Ok(Some(decline));
    }
    subscription["status"] = "past_due".into();
    if next.is_some() || how != Try::Due {
        subscriptions::save(world, &before, subscription).await?;
    } else {
        *subscription = subscriptions::end(world, before, "payment_failed").await?;
    }
    Ok(Some(decline))
}

async fn owes_nothing_else(world: &World<'_>, invoice: &Value, subscription: &Value) -> Result<bool, Error> {
    let invoices = store::all_of(world.tx(), "invoice", text(subscription, "customer")).await?;
    let is_owed = |other: &Value| {
        other["subscription"] == subscription["id"] && other["status"] == "open" && other["id"] != invoice["id"]
    };
    Ok(!invoices.iter().any(is_owed))
}

/// The payment method that a subscription is paid by: its own, or its customer's.
pub async fn on_file(world: &World<'_>, subscription: &Value) -> Result<Option<Value>, Error> {
    let customer = world.need("customer", text(subscription, "customer"), "customer").await?;
    let own = subscription["default_payment_method"].as_str();
    let Some(id) = own.or_else(|| customer["invoice_settings"]["default_payment_method"].as_str()) else {
        return Ok(None);
    };
    let method = store::find(world.tx(), id).await?;
    // One that was detached is on file no more.
    Ok(method.filter(|method| method["customer"] == customer["id"]))
}

/// An open invoice and its subscription.
pub async fn open(world: &World<'_>, id: &str) -> Result<(Value, Value), Error> {
    let invoice = world.need("invoice", id, "id").await?;
    if invoice["status"] != "open" {
        let (code, message) = match text(&invoice, "status") {
            "paid" => ("invoice_already_paid", "Invoice is already paid"),
            _ => ("invoice_not_editable", "This invoice is no longer open."),
        };
        return Err(Error::state(code, message));
    }
    let subscription = world.need("subscription", text(&invoice, "subscription"), "subscription").await?;
    Ok((invoice, subscription))
}

/// `POST /v1/invoices/{id}/pay`.
pub async fn pay(world: &mut World<'_>, id: &str, params: &mut Params) -> Result<Value, Error> {
    let (mut invoice, mut subscription) = open(world, id).await?;
    let method = match params.text("payment_method")? {
        None => None,
        Some(method) => {
            customers::own_method(world, &method, text(&invoice, "customer"), "payment_method").await?;
            Some(world.need("payment_method", &method, "payment_method").await?)
        }
    };
    params.pass_over(&["off_session"]);
    params.finish()?;
    match settle(world, &mut invoice, &mut subscription, method, Try::Asked).await? {
        None => Ok(invoice),
        Some(decline) => Err(Error::Tried(decline)),
    }
}

/// Collects an open invoice; one whose subscription has ended is paid for its own sake.
pub async fn settle(
    world: &mut World<'_>,
    invoice: &mut Value,
    subscription: &mut Value,
    method: Option<Value>,
    how: Try,
) -> Result<Option<Decline>, Error> {
    if !subscriptions::has_ended(subscription) {
        return collect(world, invoice, subscription, method, how).await;
    }
    let method = match method {
        Some(method) => Some(method),
        None => on_file(world, subscription).await?,
    };
    if let Some(decline) = cards::charge(method.as_ref(), how == Try::Attended) {
        world.emit("invoice.payment_failed", invoice).await?;
        return Ok(Some(decline));
    }
    paid(world, invoice).await?;
    Ok(None)
}

/// `POST /v1/invoices/{id}/void`.
pub async fn void(world: &mut World<'_>, id: &str, params: &mut Params) -> Result<Value, Error> {
    params.finish()?;
    let (mut invoice, subscription) = open(world, id).await?;
    annul(world, &mut invoice).await?;
    if !subscriptions::has_ended(&subscription)
        && subscription["status"] == "past_due"
        && owes_nothing_else(world, &invoice, &subscription).await?
    {
        let mut after = subscription.clone();
        after["status"] = "active".into();
        subscriptions::save(world, &subscription, &after).await?;
    }
    Ok(invoice)
}

/// Voids an open invoice.
pub async fn annul(world: &mut World<'_>, invoice: &mut Value) -> Result<(), Error> {
    invoice["status"] = "void".into();
    invoice["auto_advance"] = false.into();
    invoice["next_payment_attempt"] = Value::Null;
    invoice["status_transitions"]["voided_at"] = world.seconds().into();
    world.save(invoice, None).await?;
    world.emit("invoice.voided", invoice).await
}
