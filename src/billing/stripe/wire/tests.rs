//! Our types against Stripe's own examples of its objects (`fixtures3.json` of <https://github.com/stripe/openapi>, of April 2025, when
//! the version that we ask for was the newest, and of July 2026).

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

const EXAMPLES: [&str; 2] =
    [include_str!("../fixtures/fixtures3-2025-04.json"), include_str!("../fixtures/fixtures3-2026-07.json")];

/// What reads an object as its type, and says what it read.
type Reader = fn(&Value) -> String;

fn read<T: DeserializeOwned + std::fmt::Debug>(object: &Value) -> String {
    format!("{:?}", serde_json::from_value::<T>(object.clone()).unwrap_or_else(|error| panic!("{error}: {object}")))
}

const READERS: [(&str, Reader); 10] = [
    ("billing_portal.session", read::<PortalSession>),
    ("checkout.session", read::<CheckoutSession>),
    ("customer", read::<Customer>),
    ("deleted_customer", read::<Customer>),
    ("event", read::<Event>),
    ("invoice", read::<Invoice>),
    ("invoice_payment", read::<InvoicePayment>),
    ("payment_method", read::<PaymentMethod>),
    ("refund", read::<Done>),
    ("subscription", read::<Subscription>),
];

fn examples(kind: &str) -> impl Iterator<Item = Value> + '_ {
    EXAMPLES.iter().map(move |all| {
        let all: Value = serde_json::from_str(all).expect("examples");
        all[kind].clone()
    })
}

fn example<T: DeserializeOwned>(kind: &str) -> T {
    serde_json::from_value(examples(kind).next().expect("an example")).expect(kind)
}

#[test]
fn every_example_is_read() {
    for (kind, read) in READERS {
        for object in examples(kind) {
            assert!(object.is_object(), "{kind}");
            read(&object);
        }
    }
    let subscription: Subscription = example("subscription");
    assert_eq!(
        (subscription.status, subscription.price().unwrap().id.as_str()),
        (SubscriptionStatus::Active, "price_1PgafmB7WZ01zgkW6dKueIc5")
    );
    assert!(subscription.period().0.is_some() && subscription.period().1.is_some());
    let method: PaymentMethod = example("payment_method");
    let card = method.card.unwrap();
    assert_eq!((card.brand.as_deref(), card.last4.as_deref(), card.exp_year), (Some("visa"), Some("4242"), Some(2025)));
    let invoice: Invoice = example("invoice");
    assert_eq!((invoice.status, invoice.total, invoice.lines.data.len()), (InvoiceStatus::Draft, 1_000, 1));
    assert!(example::<Customer>("deleted_customer").deleted);
    assert_eq!(example::<CheckoutSession>("checkout.session").status, SessionStatus::Open);
}

/// Adds to every object below a field that nobody knows.
fn with_unknown_fields(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(with_unknown_fields);
            members.insert("a_field_of_next_year".into(), json!({"deep": [1, {"x": null}]}));
        }
        Value::Array(items) => items.iter_mut().for_each(with_unknown_fields),
        _ => {}
    }
}

#[test]
fn unknown_fields_change_nothing() {
    // Metadata is the customer's own, and an address is kept as it is: their fields are not ours to know.
    let kept = ["metadata", "customer_address"];
    for (kind, read) in READERS {
        for mut object in examples(kind) {
            let before = read(&object);
            let own = kept.map(|name| object.get_mut(name).map(Value::take));
            with_unknown_fields(&mut object);
            for (name, own) in kept.into_iter().zip(own) {
                if let Some(own) = own {
                    object[name] = own;
                }
            }
            assert_eq!(read(&object), before, "{kind}");
        }
    }
}

#[test]
fn unknown_words_are_read_as_unknown() {
    let with = |kind: &str, field: &str| {
        let mut object = examples(kind).next().unwrap();
        object[field] = json!("a_word_of_next_year");
        object
    };
    let subscription: Subscription = serde_json::from_value(with("subscription", "status")).unwrap();
    assert_eq!(subscription.status, SubscriptionStatus::Unknown);
    assert!(!subscription.is_live());
    let invoice: Invoice = serde_json::from_value(with("invoice", "status")).unwrap();
    assert_eq!(invoice.status, InvoiceStatus::Unknown);
    let session: CheckoutSession = serde_json::from_value(with("checkout.session", "status")).unwrap();
    assert_eq!(session.status, SessionStatus::Unknown);
    for (kind, field) in [("payment_method", "type"), ("event", "type"), ("invoice", "billing_reason")] {
        let (_, read) = READERS.iter().find(|(name, _)| *name == kind).unwrap();
        read(&with(kind, field));
    }
}

/// Whatever may be null in one object or another is read as absent.
#[test]
fn nulls_are_read_as_absent() {
    const NEEDED: [&str; 5] = ["id", "url", "type", "livemode", "object"];
    for (kind, read) in READERS {
        for mut object in examples(kind) {
            for (name, value) in object.as_object_mut().unwrap() {
                if !NEEDED.contains(&name.as_str()) && name != "deleted" {
                    *value = Value::Null;
                }
            }
            read(&object);
        }
    }
}

#[test]
fn what_moved_between_versions_is_read_at_both_places() {
    let old = json!({
        "id": "sub_1", "status": "active", "current_period_start": 10, "current_period_end": 20,
        "items": {"data": [{"id": "si_1", "price": {"id": "price_1"}}]}, "default_payment_method": {"id": "pm_1", "object": "payment_method"},
    });
    let old: Subscription = serde_json::from_value(old).unwrap();
    let new = json!({
        "id": "sub_1", "status": "active",
        "items": {"data": [{"id": "si_1", "price": {"id": "price_1"}, "current_period_start": 10, "current_period_end": 20}]}, "default_payment_method": "pm_1",
    });
    let new: Subscription = serde_json::from_value(new).unwrap();
    assert_eq!(old.period(), new.period());
    assert_eq!((old.period().1.unwrap().timestamp(), old.default_payment_method), (20, new.default_payment_method));

    let line = |line: Value| -> (bool, Option<String>) {
        let line: Line = serde_json::from_value(line).unwrap();
        (line.is_whole_period(), line.price_id().map(str::to_owned))
    };
    let price = Some("price_1".to_owned());
    let new = |proration: bool| {
        line(
            json!({"parent": {"type": "subscription_item_details", "subscription_item_details": {"proration": proration}},
            "pricing": {"price_details": {"price": "price_1", "product": "prod_1"}}}),
        )
    };
    let old =
        |proration: bool| line(json!({"type": "subscription", "proration": proration, "price": {"id": "price_1"}}));
    assert_eq!([new(false), old(false)], [(true, price.clone()), (true, price.clone())]);
    assert_eq!([new(true), old(true)], [(false, price.clone()), (false, price.clone())]);
    assert_eq!(line(json!({"type": "invoiceitem", "proration": false})), (false, None));

    for invoice in [
        json!({"id": "in_1", "subscription": "sub_1"}),
        json!({"id": "in_1", "subscription": {"id": "sub_1"}}),
        json!({"id": "in_1", "parent": {"type": "subscription_details", "subscription_details": {"subscription": "sub_1"}}}),
    ] {
        let invoice: Invoice = serde_json::from_value(invoice).unwrap();
        assert_eq!(invoice.subscription(), Some("sub_1"));
    }
}

#[test]
fn an_event_says_whose_it_is() {
    let event = |kind: &str, object: Value| -> Event {
        serde_json::from_value(json!({"id": "evt_1", "type": kind, "livemode": false, "data": {"object": object}}))
            .unwrap()
    };
    let of = event("customer.updated", json!({"id": "cus_1", "object": "customer"}));
    assert_eq!((of.customer(), of.is_followed()), (Some("cus_1"), true));
    let of = event("invoice.paid", json!({"id": "in_1", "object": "invoice", "customer": {"id": "cus_2"}}));
    assert_eq!((of.object_id(), of.customer(), of.is_followed()), (Some("in_1"), Some("cus_2"), true));
    assert!(!event("price.created", json!({"id": "price_1", "object": "price"})).is_followed());
    assert!(!event("invoice.upcoming", json!({"object": "invoice", "customer": null})).is_followed());
}
