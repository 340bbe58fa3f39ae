//! Letters about money. They go to where a tenant's invoices go.

use chrono::{DateTime, Utc};
use url::Url;
use uuid::Uuid;

use super::{Letter, line, page};
use crate::{identity::email::Email, mail::Mail};

const NOT_YOU: &str =
    "You get this because invoices for it go to this address. If that is wrong, tell whoever owns it.";

fn day(at: DateTime<Utc>) -> String {
    at.format("%-d %B %Y").to_string()
}

/// Some days before a trial ends.
pub fn trial_ending(public_url: &Url, to: &Email, tenant_name: &str, plan: &str, ends_at: DateTime<Utc>) -> Mail {
    let (name, ends) = (line(tenant_name), day(ends_at));
    let why =
        format!("The free trial of {plan} for {{name}} ends on {ends}. Choose a plan before that, and nothing stops.");
    let letter = Letter {
        subject: format!("The trial of {name} ends on {ends}"),
        why: &why,
        name: Some(name),
        action: "Choose a plan",
        link: page(public_url, "/billing"),
        code: None,
        lines: &[],
        otherwise: NOT_YOU,
    };
    letter.to(to)
}

/// When a trial has ended.
pub fn trial_ended(public_url: &Url, to: &Email, tenant_name: &str, plan: &str) -> Mail {
    let name = line(tenant_name);
    let why = format!(
        "The free trial of {plan} for {{name}} has ended. Everything is still there; until you choose a plan, the limits of the free plan hold."
    );
    let letter = Letter {
        subject: format!("The trial of {name} has ended"),
        why: &why,
        name: Some(name),
        action: "Choose a plan",
        link: page(public_url, "/billing"),
        code: None,
        lines: &[],
        otherwise: NOT_YOU,
    };
    letter.to(to)
}

/// When a payment has failed, or has not come in time.
pub fn payment_missing(public_url: &Url, to: &Email, tenant_name: &str, plan: &str) -> Mail {
    let name = line(tenant_name);
    let why = format!(
        "We have not received the payment for {plan} of {{name}}. It goes on to work for a few days; please pay in that time."
    );
    let letter = Letter {
        subject: format!("A payment for {name} is missing"),
        why: &why,
        name: Some(name),
        action: "See what is open",
        link: page(public_url, "/billing"),
        code: None,
        lines: &[],
        otherwise: NOT_YOU,
    };
    letter.to(to)
}

/// When an invoice has been paid.
pub fn receipt(public_url: &Url, to: &Email, number: &str, total: &str, invoice_id: Uuid) -> Mail {
    let number = line(number);
    let why = format!("Thank you: we have received {total} for invoice {{name}}.");
    let letter = Letter {
        subject: format!("Receipt for invoice {number}"),
        why: &why,
        name: Some(number),
        action: "Open the invoice",
        link: page(public_url, &format!("/billing/invoices/{invoice_id}")),
        code: None,
        lines: &[],
        otherwise: NOT_YOU,
    };
    letter.to(to)
}

/// When an invoice is to be paid by bank transfer, until when and where to.
pub fn invoice(
    public_url: &Url,
    to: &Email,
    number: &str,
    total: &str,
    invoice_id: Uuid,
    (due_at, bank_details): (DateTime<Utc>, &[String]),
) -> Mail {
    let number = line(number);
    let where_to = if bank_details.is_empty() { "." } else { ", with its number as the purpose, to:" };
    let why = format!("Invoice {{name}} over {total} is to be paid by bank transfer until {}{where_to}", day(due_at));
    let letter = Letter {
        subject: format!("Invoice {number}"),
        why: &why,
        name: Some(number),
        action: "Open the invoice",
        link: page(public_url, &format!("/billing/invoices/{invoice_id}")),
        code: None,
        lines: bank_details,
        otherwise: NOT_YOU,
    };
    letter.to(to)
}
