//! The customer portal: a page on which a customer looks after what it pays for.

use serde_json::{Value, json};

use super::{
    cards::{self, Holder, TestCard},
    customers,
    error::{Decline, Error},
    form::Params,
    invoices::{self, Try},
    store::{int, text},
    subscriptions::{self, has_ended, put_cancel},
    world::World,
};

/// How long a link to it is good.
pub const LIFE: i64 = 60 * 60;

/// `POST /v1/billing_portal/sessions`.
pub async fn create(world: &mut World<'_>, params: &mut Params) -> Result<Value, Error> {
    let customer = params.required("customer")?;
    let return_url = params.url("return_url")?;
    params.pass_over(&["configuration", "locale"]);
    params.finish()?;
    world.need("customer", &customer, "customer").await?;
    let id = world.id("bps");
    let session = json!({
        "id": id,
        "object": "billing_portal.session",
        "configuration": "bpc_sandbox",
        "created": world.seconds(),
        "customer": customer,
        "flow": null,
        "livemode": false,
        "locale": null,
        "on_behalf_of": null,
        "return_url": return_url,
        "url": world.page(&format!("portal/{id}")),
    });
    world.insert(&session, None).await?;
    world.emit("billing_portal.session.created", &session).await?;
    Ok(session)
}

/// What can be done there.
#[derive(Debug)]
pub enum Wish {
    /// Pay by this card from now on.
    Card(&'static TestCard, Holder),
    /// Let a subscription end with its period, or not.
    Cancel(String, bool),
    /// Pay an open invoice now.
    Pay(String),
}

/// Does it for the customer of a session that is good. A declined card is answered.
pub async fn act(world: &mut World<'_>, session: &Value, wish: Wish) -> Result<Option<Decline>, Error> {
    let customer = text(session, "customer");
    match wish {
        Wish::Card(card, holder) => replace_card(world, customer, card, holder).await,
        Wish::Cancel(id, cancels) => {
            let before = world.need("subscription", &id, "id").await?;
            let mut subscription = own(customer, before.clone(), &id)?;
            if !has_ended(&subscription) {
                put_cancel(&mut subscription, cancels, world.at);
                subscriptions::save(world, &before, &subscription).await?;
            }
            Ok(None)
        }
        Wish::Pay(id) => {
            let (invoice, mut subscription) = invoices::open(world, &id).await?;
            let mut invoice = own(customer, invoice, &id)?;
            invoices::settle(world, &mut invoice, &mut subscription, None, Try::Asked).await
        }
    }
}

fn own(customer: &str, object: Value, id: &str) -> Result<Value, Error> {
    if object["customer"] == customer {
        Ok(object)
    } else {
        Err(super::world::no_such(text(&object, "object"), id, "id"))
    }
}

/// The new card is the customer's, and that of every subscription that goes on.
async fn replace_card(
    world: &mut World<'_>,
    customer: &str,
    card: &TestCard,
    holder: Holder,
) -> Result<Option<Decline>, Error> {
    if let Some(decline) = card.declines() {
        return Ok(Some(decline));
    }
    let method = cards::make(world, card, holder, Some(customer)).await?;
    let before = world.need("customer", customer, "customer").await?;
    let mut after = before.clone();
    after["invoice_settings"]["default_payment_method"] = method["id"].clone();
    customers::save(world, &before, &after).await?;
    for before in super::store::all_of(world.tx(), "subscription", customer).await? {
        if !has_ended(&before) && !before["default_payment_method"].is_null() {
            let mut after = before.clone();
            after["default_payment_method"] = method["id"].clone();
            subscriptions::save(world, &before, &after).await?;
        }
    }
    Ok(None)
}

/// Whether a link to it is still good.
pub fn is_good(session: &Value, now: i64) -> bool {
    now < int(session, "created") + LIFE
}
