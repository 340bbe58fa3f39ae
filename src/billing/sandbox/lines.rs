//! What an invoice is made of: its lines, and itself before it has a number.

use serde_json::{Value, json};

use super::{
    catalog::cadence,
    store::{int, text},
};

/// What is charged, or credited.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// Minor units; below zero for a credit.
    pub amount: i64,
    /// For people.
    pub description: String,
    /// The price that it comes from.
    pub price: &'a Value,
    /// How many of it.
    pub quantity: i64,
    /// From when to when, in Unix seconds.
    pub period: (i64, i64),
    /// Whether it is for a part of a period.
    pub is_proration: bool,
}

impl Line<'_> {
    /// As Stripe writes it, for a subscription and its item; where versions differ, in both ways.
    pub fn written(&self, subscription: &str, item: &str) -> Value {
        let price = self.price;
        json!({
            "object": "line_item",
            "amount": self.amount,
            "currency": price["currency"],
            "description": self.description,
            "discount_amounts": [],
            "discountable": !self.is_proration,
            "discounts": [],
            "livemode": false,
            "metadata": {},
            "parent": {
                "type": "subscription_item_details",
                "invoice_item_details": null,
                "subscription_item_details": {
                    "invoice_item": null,
                    "proration": self.is_proration,
                    "proration_details": {"credited_items": null},
                    "subscription": subscription,
                    "subscription_item": item,
                },
            },
            "period": {"start": self.period.0, "end": self.period.1},
            "pretax_credit_amounts": [],
            "pricing": {
                "type": "price_details",
                "price_details": {"price": price["id"], "product": price["product"]},
                "unit_amount_decimal": price["unit_amount_decimal"],
            },
            "quantity": self.quantity,
            "taxes": [],
            // Before 2025-03-31.
            "price": price,
            "proration": self.is_proration,
            "subscription": subscription,
            "subscription_item": item,
            "type": if self.is_proration { "invoiceitem" } else { "subscription" },
        })
    }
}

/// The line of a whole period.
pub fn whole<'a>(price: &'a Value, product: &str, quantity: i64, period: (i64, i64)) -> Line<'a> {
    let (interval, count) = cadence(price);
    let every = if count == 1 { interval.to_owned() } else { format!("{count} {interval}s") };
    let description = format!("{quantity} × {product} (at {} / {every})", money(price));
    Line { amount: amount(price, quantity), description, price, quantity, period, is_proration: false }
}

/// What a period costs.
pub fn amount(price: &Value, quantity: i64) -> i64 {
    int(price, "unit_amount").saturating_mul(quantity)
}

/// A price for people.
pub fn money(price: &Value) -> String {
    amount_in(int(price, "unit_amount"), text(price, "currency"))
}

/// An amount for people.
pub fn amount_in(amount: i64, currency: &str) -> String {
    crate::plans::Money { amount, currency: currency.to_uppercase() }.to_string()
}

/// A list as it is part of an object.
pub fn list(data: &[Value], url: &str) -> Value {
    json!({"object": "list", "data": data, "has_more": false, "total_count": data.len(), "url": url})
}

// What a draft has of each kind.
const EMPTY: [&str; 21] = [
    "application",
    "automatically_finalizes_at",
    "custom_fields",
    "customer_shipping",
    "default_payment_method",
    "default_source",
    "description",
    "due_date",
    "effective_at",
    "ending_balance",
    "footer",
    "hosted_invoice_url",
    "invoice_pdf",
    "last_finalization_error",
    "latest_revision",
    "next_payment_attempt",
    "number",
    "on_behalf_of",
    "receipt_number",
    "statement_descriptor",
    "test_clock",
];
const ZERO: [&str; 7] = [
    "amount_overpaid",
    "amount_paid",
    "amount_shipping",
    "attempt_count",
    "post_payment_credit_notes_amount",
    "pre_payment_credit_notes_amount",
    "starting_balance",
];
const LISTS: [&str; 6] = [
    "customer_tax_ids",
    "default_tax_rates",
    "discounts",
    "total_discount_amounts",
    "total_pretax_credit_amounts",
    "total_taxes",
];
const TOTALS: [&str; 4] = ["subtotal", "subtotal_excluding_tax", "total", "total_excluding_tax"];
const OF_CUSTOMER: [&str; 5] = ["address", "email", "name", "phone", "tax_exempt"];

/// An invoice that is not issued yet, of a customer for a subscription.
pub fn draft(id: &str, customer: &Value, subscription: &Value, lines: Vec<Value>, reason: &str, at: i64) -> Value {
    let total = lines.iter().map(|line| int(line, "amount")).sum::<i64>();
    let lines: Vec<_> = lines
        .into_iter()
        .enumerate()
        .map(|(n, mut line)| {
            line["id"] = format!("il_{}{n}", id.rsplit('_').next().unwrap_or_default()).into();
            line["invoice"] = id.into();
            line
        })
        .collect();
    let start = lines.iter().map(|line| int(&line["period"], "start")).min().unwrap_or(at);
    let end = lines.iter().map(|line| int(&line["period"], "end")).max().unwrap_or(at);
    let mut invoice = json!({
        "id": id,
        "object": "invoice",
        "account_country": "US",
        "account_name": "Sandbox",
        "amount_due": total.max(0),
        "amount_remaining": total.max(0),
        "attempted": false,
        "auto_advance": true,
        "automatic_tax": {"disabled_reason": null, "enabled": false, "liability": null, "status": null},
        "billing_reason": reason,
        "collection_method": "charge_automatically",
        "created": at,
        "currency": subscription["currency"],
        "customer": customer["id"],
        "issuer": {"type": "self"},
        "lines": list(&lines, &format!("/v1/invoices/{id}/lines")),
        "livemode": false,
        "metadata": {},
        "parent": {
            "type": "subscription_details",
            "quote_details": null,
            "subscription_details": {"metadata": subscription["metadata"], "subscription": subscription["id"]},
        },
        "payment_settings": {"default_mandate": null, "payment_method_options": null, "payment_method_types": null},
        "period_end": end,
        "period_start": start,
        "status": "draft",
        "status_transitions": {"finalized_at": null, "marked_uncollectible_at": null, "paid_at": null, "voided_at": null},
        "webhooks_delivered_at": at,
        // Before 2025-03-31.
        "paid": false,
        "subscription": subscription["id"],
        "subscription_details": {"metadata": subscription["metadata"]},
    });
    for name in EMPTY {
        invoice[name] = Value::Null;
    }
    for name in ZERO {
        invoice[name] = 0.into();
    }
    for name in LISTS {
        invoice[name] = json!([]);
    }
    for name in TOTALS {
        invoice[name] = total.into();
    }
    for name in OF_CUSTOMER {
        invoice[format!("customer_{name}")] = customer[name].clone();
    }
    invoice
}
