//! Payment intents, one for each invoice that something is due of, and refunds of them.

use serde_json::{Value, json};

use super::{
    error::Error,
    form::Params,
    lines::list,
    store::{HIDDEN, int, text},
    world::World,
};

/// Makes the intent to collect an invoice; answers the invoice's `payments`, as they are shown when asked for. Nothing due, no intent.
pub async fn intend(world: &mut World<'_>, invoice: &Value) -> Result<Value, Error> {
    let id = text(invoice, "id");
    let url = format!("/v1/invoice_payments?invoice={id}");
    if int(invoice, "amount_due") == 0 {
        return Ok(list(&[], &url));
    }
    let intent = json!({
        "id": world.id("pi"),
        "object": "payment_intent",
        "amount": invoice["amount_due"],
        "amount_received": 0,
        "canceled_at": null,
        "created": world.seconds(),
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "description": null,
        "last_payment_error": null,
        "latest_charge": null,
        "livemode": false,
        "metadata": {},
        "payment_method": null,
        "payment_method_types": ["card"],
        "status": "requires_payment_method",
        HIDDEN: {"refunded": 0},
    });
    world.insert(&intent, None).await?;
    let payment = json!({
        "id": world.id("inpay"),
        "object": "invoice_payment",
        "amount_paid": null,
        "amount_requested": invoice["amount_due"],
        "created": world.seconds(),
        "currency": invoice["currency"],
        "invoice": id,
        "is_default": true,
        "livemode": false,
        "payment": {"type": "payment_intent", "payment_intent": intent["id"]},
        "status": "open",
        "status_transitions": {"canceled_at": null, "paid_at": null},
    });
    Ok(list(&[payment], &url))
}

/// Writes the payment of an invoice down, in the invoice and in its intent.
pub async fn succeed(world: &mut World<'_>, invoice: &mut Value) -> Result<(), Error> {
    let at = world.seconds();
    let Some(payment) = invoice.pointer_mut(&format!("/{HIDDEN}/payments/data/0")) else { return Ok(()) };
    payment["status"] = "paid".into();
    payment["amount_paid"] = payment["amount_requested"].clone();
    payment["status_transitions"]["paid_at"] = at.into();
    let id = text(&payment["payment"], "payment_intent").to_owned();
    let mut intent = world.need("payment_intent", &id, "payment_intent").await?;
    intent["status"] = "succeeded".into();
    intent["amount_received"] = intent["amount"].clone();
    intent["latest_charge"] = world.id("ch").into();
    world.save(&intent, None).await?;
    world.emit("payment_intent.succeeded", &intent).await
}

/// `POST /v1/refunds`: of all that is left of a payment, or of a part.
pub async fn refund(world: &mut World<'_>, params: &mut Params) -> Result<Value, Error> {
    let id = params.required("payment_intent")?;
    let amount = params.count("amount")?;
    let reason = params.one_of("reason", &["duplicate", "fraudulent", "requested_by_customer"])?;
    let mut kept = json!({"metadata": {}});
    params.metadata(&mut kept)?;
    params.finish()?;
    let mut intent = world.need("payment_intent", &id, "payment_intent").await?;
    if intent["status"] != "succeeded" {
        let message = format!("The PaymentIntent {id} does not have a successful charge to refund.");
        return Err(Error::state("payment_intent_unexpected_state", message));
    }
    let left = int(&intent, "amount_received") - int(&intent[HIDDEN], "refunded");
    if left == 0 {
        let message = format!("Charge {} has already been refunded.", text(&intent, "latest_charge"));
        return Err(Error::state("charge_already_refunded", message));
    }
    let amount = amount.unwrap_or(left);
    if !(1..=left).contains(&amount) {
        return Err(Error::invalid("amount", format!("Refund amount has to be 1 to {left}.")));
    }
    intent[HIDDEN]["refunded"] = (int(&intent[HIDDEN], "refunded") + amount).into();
    world.save(&intent, None).await?;
    let refund = json!({
        "id": world.id("re"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": null,
        "charge": intent["latest_charge"],
        "created": world.seconds(),
        "currency": intent["currency"],
        "metadata": kept["metadata"],
        "payment_intent": id,
        "reason": reason,
        "receipt_number": null,
        "status": "succeeded",
    });
    world.insert(&refund, None).await?;
    world.emit("refund.created", &refund).await?;
    Ok(refund)
}
