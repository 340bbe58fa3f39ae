//! Changing a subscription: its plan with proration, whether it goes on, and what that would cost.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    catalog::cadence,
    customers,
    error::Error,
    form::Params,
    invoices::{self, Try},
    lines::{Line, amount, draft, list, whole},
    proration::{self, unused},
    store::{HIDDEN, int, text},
    subscriptions::{
        self, details, has_ended, item_id, one_item, price_of, product_name, put_cancel, put_period, put_price,
        quantity_of, save,
    },
    world::World,
};

/// What a change of the plan comes to.
struct Change {
    lines: Vec<Value>,
    /// Whether they are charged at once, and not with the next period.
    at_once: bool,
}

/// What the caller wants done about the rest of the period.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Proration {
    Later,
    AtOnce,
    None,
}

fn proration_behavior(params: &mut Params) -> Result<Proration, Error> {
    let words = ["create_prorations", "always_invoice", "none"];
    Ok(match params.one_of("proration_behavior", &words)? {
        Some("always_invoice") => Proration::AtOnce,
        Some("none") => Proration::None,
        _ => Proration::Later,
    })
}

/// Puts a subscription on another price at `at`. Another interval begins a new period at once, which is charged at once.
async fn put_plan(
    world: &World<'_>,
    subscription: &mut Value,
    (price, quantity): (Value, i64),
    proration: Proration,
    at: DateTime<Utc>,
) -> Result<Change, Error> {
    let (old, old_quantity) = (price_of(subscription).clone(), quantity_of(subscription));
    let (id, item) = (text(subscription, "id").to_owned(), item_id(subscription).to_owned());
    let (start, end) = (int(subscription, "current_period_start"), int(subscription, "current_period_end"));
    let now = at.timestamp();
    put_price(subscription, &price, quantity);
    let mut change = Change { lines: Vec::new(), at_once: false };
    if subscription["status"] == "trialing" || (old["id"] == price["id"] && old_quantity == quantity) {
        return Ok(change);
    }
    let (was, is) = (product_name(world, &old).await?, product_name(world, &price).await?);
    let day = at.format("%-d %b %Y");
    let part = |cost: i64| unused(cost, end - now, end - start);
    let rest = |amount, description, price, quantity| {
        Line { amount, description, price, quantity, period: (now, end), is_proration: true }.written(&id, &item)
    };
    if proration != Proration::None {
        let credit = -part(amount(&old, old_quantity));
        change.lines.push(rest(credit, format!("Unused time on {was} after {day}"), &old, old_quantity));
    }
    if cadence(&old) == cadence(&price) {
        if proration != Proration::None {
            let cost = part(amount(&price, quantity));
            change.lines.push(rest(cost, format!("Remaining time on {is} after {day}"), &price, quantity));
        }
        change.at_once = proration == Proration::AtOnce;
    } else {
        let (interval, count) = cadence(&price);
        let period = (now, proration::period_end(at, interval, count, at).timestamp());
        change.lines.push(whole(&price, &is, quantity, period).written(&id, &item));
        subscription["billing_cycle_anchor"] = now.into();
        put_period(subscription, period);
        change.at_once = true;
    }
    Ok(change)
}

/// What waits for the next invoice.
pub fn pending(subscription: &Value) -> Vec<Value> {
    subscription[HIDDEN]["pending"].as_array().cloned().unwrap_or_default()
}

/// The price and quantity that `items` asks for; nothing where it does not ask.
async fn asked_plan(
    world: &mut World<'_>,
    subscription: &Value,
    params: &mut Params,
    param: &str,
) -> Result<Option<(Value, i64)>, Error> {
    let mut items = params.list("items")?;
    let Some(item) = items.first_mut() else { return Ok(None) };
    let id = item.text("id")?;
    if id.as_deref() != Some(item_id(subscription)) {
        let message = "Name the subscription's item: the sandbox does not add another to it.";
        return Err(Error::invalid(&format!("{param}[0][id]"), message));
    }
    if item.has("price") {
        let quantity = if item.has("quantity") { None } else { Some(quantity_of(subscription)) };
        let (price, sent) = one_item(world, items, param).await?;
        return Ok(Some((price, quantity.unwrap_or(sent))));
    }
    let quantity = item.count("quantity")?.unwrap_or_else(|| quantity_of(subscription));
    item.finish()?;
    Ok(Some((price_of(subscription).clone(), quantity.max(1))))
}

/// `POST /v1/subscriptions/{id}`.
pub async fn update(world: &mut World<'_>, id: &str, params: &mut Params) -> Result<Value, Error> {
    let before = world.need("subscription", id, "id").await?;
    let mut subscription = before.clone();
    details(params, &mut subscription)?;
    params.metadata(&mut subscription)?;
    if has_ended(&subscription) {
        params.finish().map_err(|_| {
            Error::state(
                "resource_missing",
                "A canceled subscription can only update its cancellation_details and metadata.",
            )
        })?;
    }
    params.set("description", &mut subscription)?;
    if let Some(method) = params.sent("default_payment_method")? {
        let customer = text(&subscription, "customer");
        subscription["default_payment_method"] =
            customers::own_method(world, &method, customer, "default_payment_method").await?;
    }
    if let Some(cancels) = params.flag("cancel_at_period_end")? {
        put_cancel(&mut subscription, cancels, world.at);
    }
    let proration = proration_behavior(params)?;
    let behavior = params.one_of("payment_behavior", &["allow_incomplete", "error_if_incomplete"])?;
    let plan = asked_plan(world, &subscription, params, "items").await?;
    let ends_trial = trial_end(world, &subscription, params)?;
    params.pass_over(&["payment_settings", "off_session"]);
    params.finish()?;
    let at = world.at;
    let change = match plan {
        Some(plan) => put_plan(world, &mut subscription, plan, proration, at).await?,
        None => Change { lines: Vec::new(), at_once: false },
    };
    let mut due = pending(&subscription);
    due.extend(change.lines);
    let pays = change.at_once && !due.is_empty();
    subscription[HIDDEN]["pending"] = if pays { json!([]) } else { due.clone().into() };
    if let Some(end) = ends_trial {
        subscription["trial_end"] = end.into();
        subscription["billing_cycle_anchor"] = end.into();
        let start = int(&subscription, "current_period_start");
        put_period(&mut subscription, (start, end));
        subscription[HIDDEN]["told_trial_end"] = false.into();
    }
    let mut invoice = None;
    if pays {
        invoice = Some(invoices::issue(world, &mut subscription, due, "subscription_update").await?);
    }
    save(world, &before, &subscription).await?;
    if let Some(mut invoice) = invoice.filter(|invoice| invoice["status"] == "open") {
        let declined = invoices::collect(world, &mut invoice, &mut subscription, None, Try::Asked).await?;
        if let Some(decline) = declined.filter(|_| behavior == Some("error_if_incomplete")) {
            return Err(Error::Declined(decline));
        }
    }
    if ends_trial == Some(at.timestamp()) {
        subscription = super::renewals::renew(world, subscription).await?;
    }
    Ok(subscription)
}

/// Another end of a trial that is under way; `now` ends it.
fn trial_end(world: &World<'_>, subscription: &Value, params: &mut Params) -> Result<Option<i64>, Error> {
    let Some(sent) = params.text("trial_end")? else { return Ok(None) };
    if subscription["status"] != "trialing" {
        return Err(Error::invalid("trial_end", "The sandbox changes the trial of a subscription that is in one."));
    }
    let now = world.seconds();
    let end = if sent == "now" { Some(now) } else { sent.parse().ok().filter(|end| *end >= now) };
    let latest = now + 730 * 24 * 60 * 60;
    end.filter(|end| *end <= latest)
        .map(Some)
        .ok_or_else(|| Error::invalid("trial_end", "A trial ends between now and in two years."))
}

/// `POST /v1/invoices/create_preview`: the next invoice of a subscription, or that of a change. Nothing is kept.
pub async fn preview(world: &mut World<'_>, params: &mut Params) -> Result<Value, Error> {
    let id = params.required("subscription")?;
    let mut subscription = world.need("subscription", &id, "subscription").await?;
    if has_ended(&subscription) {
        return Err(Error::state("invoice_upcoming_none", format!("No upcoming invoices for subscription: {id}")));
    }
    let owner = text(&subscription, "customer").to_owned();
    if params.text("customer")?.is_some_and(|customer| customer != owner) {
        return Err(Error::invalid("customer", "The subscription belongs to another customer."));
    }
    let mut due = pending(&subscription);
    let mut at_once = false;
    if let Some(mut sent) = params.branch("subscription_details")? {
        let proration = proration_behavior(&mut sent)?;
        let moment = sent.count("proration_date")?.and_then(|at| DateTime::from_timestamp(at, 0)).unwrap_or(world.at);
        if let Some(cancels) = sent.flag("cancel_at_period_end")? {
            put_cancel(&mut subscription, cancels, moment);
        }
        let plan = asked_plan(world, &subscription, &mut sent, "subscription_details[items]").await?;
        sent.finish()?;
        if let Some(plan) = plan {
            let change = put_plan(world, &mut subscription, plan, proration, moment).await?;
            due.extend(change.lines);
            at_once = change.at_once;
        }
    }
    params.finish()?;
    if !at_once && subscription["cancel_at_period_end"] == false {
        let product = product_name(world, price_of(&subscription)).await?;
        let from = subscriptions::end_of_period(&subscription);
        let period = (from.timestamp(), subscriptions::next_end(&subscription).timestamp());
        let line = whole(price_of(&subscription), &product, quantity_of(&subscription), period);
        due.push(line.written(&id, item_id(&subscription)));
    }
    let customer = world.need("customer", &owner, "customer").await?;
    let reason = if at_once { "subscription_update" } else { "upcoming" };
    let preview = world.id("upcoming_in");
    let mut invoice = draft(&preview, &customer, &subscription, due, reason, world.seconds());
    let balance = int(&customer, "balance");
    let (amount, left) = proration::due(int(&invoice, "total"), balance);
    invoice["starting_balance"] = balance.into();
    invoice["ending_balance"] = left.into();
    for name in ["amount_due", "amount_remaining"] {
        invoice[name] = amount.into();
    }
    invoice["payments"] = list(&[], "/v1/invoice_payments");
    Ok(invoice)
}
