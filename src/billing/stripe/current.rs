//! What a customer has at Stripe now.

use chrono::{DateTime, Utc};

use super::{
    Client, Error, Failure,
    wire::{
        Customer, Done, Invoice, InvoicePayment, InvoiceStatus, Line, List, PaymentMethod, Subscription,
        SubscriptionStatus,
    },
};

/// Rows in a list, as many as Stripe gives: eight years of monthly invoices.
const PAGE: &str = "100";

/// Marks a subscription that was one too many, with the id of the one that stays.
const DUPLICATE_OF: &str = "duplicate_of";

/// A customer's state. It was read in several calls, during which it may have changed; then an event tells of the change, and all is read again.
#[derive(Clone, Debug)]
pub(super) struct Current {
    /// The subscription that counts.
    pub subscription: Option<Subscription>,
    /// Those that were one too many: paid back, and ended.
    pub duplicates: Vec<Subscription>,
    /// All invoices, the oldest first.
    pub invoices: Vec<Invoice>,
    /// What it pays with.
    pub payment_method: Option<PaymentMethod>,
}

impl Current {
    /// Reads it. `linked` is the subscription that the tenant is on, as far as is known here.
    pub async fn of(client: &Client<'_>, customer: &str, linked: Option<&str>) -> Result<Self, Failure> {
        let fields = vec![("customer", customer.into()), ("status", "all".into()), ("limit", PAGE.into())];
        let subscriptions: List<Subscription> = client.get("subscription.list", "subscriptions", &fields).await?;
        let (subscription, duplicates) = choose(subscriptions.data, linked);
        let Some(subscription) = subscription else {
            return Ok(Self { subscription: None, duplicates, invoices: Vec::new(), payment_method: None });
        };
        let fields = vec![("customer", customer.into()), ("limit", PAGE.into())];
        let invoices: List<Invoice> = client.get("invoice.list", "invoices", &fields).await?;
        let mut invoices = invoices.data;
        for invoice in invoices.iter_mut().filter(|invoice| invoice.lines.has_more) {
            let path = format!("invoices/{}/lines", invoice.id);
            let fields = vec![("limit", PAGE.into())];
            invoice.lines = client.get::<List<Line>>("invoice.lines", &path, &fields).await?;
        }
        invoices.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        let payment_method = payment_method(client, customer, &subscription).await?;
        Ok(Self { subscription: Some(subscription), duplicates, invoices, payment_method })
    }

    /// Whether an invoice is of a subscription that was one too many.
    pub fn is_duplicate(&self, invoice: &Invoice) -> bool {
        let of = invoice.subscription();
        self.duplicates.iter().any(|subscription| of == Some(&subscription.id))
    }

    /// Since when a payment is missing.
    pub fn unpaid_since(&self) -> Option<DateTime<Utc>> {
        let of = self.subscription.as_ref().map(|subscription| subscription.id.as_str());
        let unpaid = self.invoices.iter().filter(|invoice| {
            invoice.subscription() == of && invoice.status == InvoiceStatus::Open && invoice.attempt_count > 0
        });
        unpaid.filter_map(|invoice| invoice.status_transitions.finalized_at.or(invoice.created)).min()
    }
}

/// The subscription that counts (the one that the tenant is on while it lives, else the oldest that lives, else the one that began last),
/// and those that our own checkout has made beside it.
fn choose(mut all: Vec<Subscription>, linked: Option<&str>) -> (Option<Subscription>, Vec<Subscription>) {
    all.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
    let (marked, rest): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|subscription| subscription.metadata.contains_key(DUPLICATE_OF));
    // What has not begun says nothing yet.
    let (mut live, rest): (Vec<_>, Vec<_>) = rest.into_iter().partition(Subscription::is_live);
    let ended = rest.into_iter().rfind(|subscription| subscription.status == SubscriptionStatus::Canceled);
    let at = live.iter().position(|subscription| Some(subscription.id.as_str()) == linked).unwrap_or_default();
    let chosen = if live.is_empty() { ended } else { Some(live.remove(at)) };
    // Somebody else's subscription of the customer is their affair.
    let extra = live.into_iter().filter(|subscription| subscription.metadata.contains_key("tenant_id"));
    let duplicates = marked.into_iter().chain(extra).collect();
    (chosen, duplicates)
}

async fn payment_method(
    client: &Client<'_>,
    customer: &str,
    subscription: &Subscription,
) -> Result<Option<PaymentMethod>, Failure> {
    let id = if subscription.default_payment_method.is_some() {
        subscription.default_payment_method.clone()
    } else {
        match client.get::<Customer>("customer.read", &format!("customers/{customer}"), &Vec::new()).await {
            Ok(customer) => customer.invoice_settings.default_payment_method.filter(|_| !customer.deleted),
            Err(failure) if failure.is_missing() => None,
            Err(failure) => return Err(failure),
        }
    };
    let Some(id) = id else { return Ok(None) };
    match client.get("payment_method.read", &format!("payment_methods/{id}"), &Vec::new()).await {
        Ok(method) => Ok(Some(method)),
        Err(failure) if failure.is_missing() => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Pays back and ends a subscription that is one too many. Each part may be repeated, and the mark comes first: a crash in between
/// leaves something that is found again. True where there was something to end.
pub(super) async fn undo(
    client: &Client<'_>,
    now: DateTime<Utc>,
    duplicate: &Subscription,
    stays: &str,
) -> Result<bool, Error> {
    if !duplicate.is_live() {
        return Ok(false);
    }
    let id = &duplicate.id;
    let path = format!("subscriptions/{id}");
    let mark = vec![("metadata[duplicate_of]", stays.to_owned())];
    client.post::<Done>("subscription.mark", &path, &format!("duplicate:{id}:{stays}"), &mark).await?;
    let fields = vec![("subscription", id.clone()), ("status", "paid".into()), ("limit", PAGE.into())];
    let paid: List<Invoice> = client.get("invoice.list", "invoices", &fields).await?;
    for invoice in paid.data.iter().filter(|invoice| invoice.total > 0) {
        refund(client, now, invoice).await?;
    }
    client.delete::<Done>("subscription.cancel", &path).await?;
    Ok(true)
}

async fn refund(client: &Client<'_>, now: DateTime<Utc>, invoice: &Invoice) -> Result<(), Failure> {
    let fields = vec![("invoice", invoice.id.clone()), ("limit", PAGE.into())];
    let paid: List<InvoicePayment> = match &invoice.payment_intent {
        Some(_) => List::default(),
        None => client.get("invoice_payment.list", "invoice_payments", &fields).await?,
    };
    let intents = paid.data.into_iter().filter_map(|paid| paid.payment.payment_intent);
    for intent in invoice.payment_intent.clone().into_iter().chain(intents) {
        let fields = vec![("payment_intent", intent.clone()), ("reason", "duplicate".into())];
        // Stripe keeps also a failure under its key: another hour asks anew, and what is paid back already is refused.
        let key = format!("refund:{intent}:{}", now.format("%Y%m%dT%H"));
        let refunded = client.post::<Done>("refund.create", "refunds", &key, &fields).await;
        match refunded {
            Err(Failure::Refused { refusal, .. }) if refusal.code.as_deref() == Some("charge_already_refunded") => {}
            Err(failure) => return Err(failure),
            Ok(Done {}) => {}
        }
    }
    Ok(())
}
