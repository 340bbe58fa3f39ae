//! What happens by itself: periods and trials end, payments are tried again, sessions expire.

use serde_json::{Value, json};

use super::{
    changes::pending,
    checkout,
    error::Error,
    invoices::{self, Try},
    lines::whole,
    store::{HIDDEN, int, text},
    subscriptions::{
        self, end, end_of_period, has_ended, item_id, next_end, price_of, product_name, put_period, quantity_of, save,
    },
    world::World,
};

/// Does what an object is due for. The world's moment is the one at which it was due.
pub async fn act(world: &mut World<'_>, object: Value) -> Result<(), Error> {
    match text(&object, "object") {
        "subscription" => subscription(world, object).await,
        "invoice" => try_again(world, object).await,
        "checkout.session" => checkout::expire_session(world, object).await.map(drop),
        // Nothing else is ever due; looked at once, it is not looked at again.
        _ => world.save(&object, None).await,
    }
}

async fn subscription(world: &mut World<'_>, subscription: Value) -> Result<(), Error> {
    match text(&subscription, "status") {
        "incomplete" => expire(world, subscription).await,
        "trialing" if subscription[HIDDEN]["told_trial_end"] == false => {
            let mut told = subscription;
            told[HIDDEN]["told_trial_end"] = true.into();
            world.save(&told, subscriptions::due(&told)).await?;
            world.emit("customer.subscription.trial_will_end", &told).await
        }
        _ if subscription["cancel_at_period_end"] == true => {
            end(world, subscription, "cancellation_requested").await.map(drop)
        }
        _ => renew(world, subscription).await.map(drop),
    }
}

/// Begins the next period, and charges it to the card on file.
pub async fn renew(world: &mut World<'_>, before: Value) -> Result<Value, Error> {
    let mut subscription = before.clone();
    let period = (end_of_period(&before).timestamp(), next_end(&before).timestamp());
    put_period(&mut subscription, period);
    if subscription["status"] == "trialing" {
        subscription["status"] = "active".into();
    }
    let product = product_name(world, price_of(&subscription)).await?;
    let mut lines = pending(&subscription);
    let line = whole(price_of(&subscription), &product, quantity_of(&subscription), period);
    lines.push(line.written(text(&subscription, "id"), item_id(&subscription)));
    subscription[HIDDEN]["pending"] = json!([]);
    let mut invoice = invoices::issue(world, &mut subscription, lines, "subscription_cycle").await?;
    save(world, &before, &subscription).await?;
    if invoice["status"] == "open" {
        invoices::collect(world, &mut invoice, &mut subscription, None, Try::Due).await?;
    }
    Ok(subscription)
}

/// Nobody has paid the first invoice in time.
async fn expire(world: &mut World<'_>, before: Value) -> Result<(), Error> {
    let mut subscription = before.clone();
    subscription["status"] = "incomplete_expired".into();
    subscription["ended_at"] = world.seconds().into();
    save(world, &before, &subscription).await?;
    let mut invoice = world.need("invoice", text(&before, "latest_invoice"), "latest_invoice").await?;
    if invoice["status"] == "open" {
        invoices::annul(world, &mut invoice).await?;
    }
    Ok(())
}

async fn try_again(world: &mut World<'_>, mut invoice: Value) -> Result<(), Error> {
    let mut subscription = world.need("subscription", text(&invoice, "subscription"), "subscription").await?;
    if invoice["status"] != "open" || has_ended(&subscription) || int(&invoice, "next_payment_attempt") == 0 {
        return world.save(&invoice, None).await;
    }
    invoices::collect(world, &mut invoice, &mut subscription, None, Try::Due).await.map(drop)
}
