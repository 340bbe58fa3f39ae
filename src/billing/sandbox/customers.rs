//! Customers.

use serde_json::{Value, json};

use super::{
    error::Error,
    form::Params,
    store::{self, int, text},
    subscriptions,
    world::World,
};

/// A customer as it is made.
pub async fn make(world: &mut World<'_>, params: &mut Params) -> Result<Value, Error> {
    let id = world.id("cus");
    let prefix = id[id.len() - 8..].to_uppercase();
    let mut customer = json!({
        "id": id,
        "object": "customer",
        "address": null,
        "balance": 0,
        "created": world.seconds(),
        "currency": null,
        "default_source": null,
        "delinquent": false,
        "description": null,
        "discount": null,
        "email": null,
        "invoice_prefix": prefix,
        "invoice_settings": {"custom_fields": null, "default_payment_method": null, "footer": null, "rendering_options": null},
        "livemode": false,
        "metadata": {},
        "name": null,
        "next_invoice_sequence": 1,
        "phone": null,
        "preferred_locales": [],
        "shipping": null,
        "tax_exempt": "none",
        "test_clock": null,
    });
    fields(world, params, &mut customer).await?;
    world.insert(&customer, None).await?;
    world.emit("customer.created", &customer).await?;
    Ok(customer)
}

/// `POST /v1/customers`.
pub async fn create(world: &mut World<'_>, params: &mut Params) -> Result<Value, Error> {
    let method = params.text("payment_method")?;
    let customer = make(world, params).await?;
    params.finish()?;
    if let Some(method) = method {
        let mut attach = Params::read(format!("customer={}", text(&customer, "id")).as_bytes())?;
        super::cards::attach(world, &method, &mut attach).await?;
    }
    Ok(customer)
}

/// `POST /v1/customers/{id}`.
pub async fn update(world: &mut World<'_>, id: &str, params: &mut Params) -> Result<Value, Error> {
    let before = world.need("customer", id, "id").await?;
    let mut customer = before.clone();
    fields(world, params, &mut customer).await?;
    params.finish()?;
    save(world, &before, &customer).await?;
    Ok(customer)
}

/// Writes a customer down, and tells where it has changed.
pub async fn save(world: &mut World<'_>, before: &Value, customer: &Value) -> Result<(), Error> {
    world.save(customer, None).await?;
    world.emit_change("customer.updated", before, customer).await
}

async fn fields(world: &World<'_>, params: &mut Params, customer: &mut Value) -> Result<(), Error> {
    for name in ["description", "email", "name", "phone", "tax_exempt"] {
        params.set(name, customer)?;
    }
    params.metadata(customer)?;
    if let Some(mut sent) = params.branch("address")? {
        let mut address =
            json!({"city": null, "country": null, "line1": null, "line2": null, "postal_code": null, "state": null});
        for name in ["city", "country", "line1", "line2", "postal_code", "state"] {
            sent.set(name, &mut address)?;
        }
        sent.finish()?;
        customer["address"] = address;
    }
    if let Some(mut settings) = params.branch("invoice_settings")? {
        if let Some(method) = settings.sent("default_payment_method")? {
            customer["invoice_settings"]["default_payment_method"] =
                own_method(world, &method, text(customer, "id"), "invoice_settings[default_payment_method]").await?;
        }
        settings.finish()?;
    }
    params.pass_over(&["preferred_locales"]);
    Ok(())
}

/// The id of a payment method that is attached to the customer; null for an empty one.
pub async fn own_method(world: &World<'_>, id: &str, customer: &str, param: &str) -> Result<Value, Error> {
    if id.is_empty() {
        return Ok(Value::Null);
    }
    let method = world.need("payment_method", id, param).await?;
    if text(&method, "customer") != customer {
        let message = format!(
            "The customer does not have a payment method with the ID {id}. The payment method must be attached to the customer."
        );
        return Err(Error::invalid(param, message));
    }
    Ok(id.into())
}

/// `DELETE /v1/customers/{id}`: subscriptions end at once.
pub async fn delete(world: &mut World<'_>, id: &str, params: &mut Params) -> Result<Value, Error> {
    params.finish()?;
    let customer = world.need("customer", id, "id").await?;
    for subscription in store::all_of(world.tx(), "subscription", id).await? {
        if !subscriptions::has_ended(&subscription) {
            subscriptions::end(world, subscription, "cancellation_requested").await?;
        }
    }
    let deleted = json!({"id": id, "object": "customer", "deleted": true});
    world.save(&deleted, None).await?;
    world.emit("customer.deleted", &customer).await?;
    Ok(deleted)
}

/// What a new invoice of the customer is called; counts it.
pub fn next_number(customer: &mut Value) -> String {
    let number = int(customer, "next_invoice_sequence");
    customer["next_invoice_sequence"] = (number + 1).into();
    format!("{}-{number:04}", text(customer, "invoice_prefix"))
}
