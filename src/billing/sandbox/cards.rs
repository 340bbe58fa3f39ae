//! Cards: the numbers that Stripe has for tests (<https://docs.stripe.com/testing>), what becomes of a charge on each, and payment methods.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    error::{Decline, Error},
    form::Params,
    store::{HIDDEN, text},
    world::World,
};

/// What becomes of charges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Charges {
    /// They are paid.
    Paid,
    /// The person who types the card in pays; later ones are declined.
    FirstOnly,
    /// They are declined.
    Declined(Decline),
}

/// A number that stands for a card.
#[derive(Debug)]
pub struct TestCard {
    number: &'static str,
    /// What Stripe's own examples call it, instead of a number.
    token: &'static str,
    brand: &'static str,
    charges: Charges,
    /// For the pay page.
    pub hint: &'static str,
}

const CARDS: [TestCard; 5] = [
    TestCard { number: "4242424242424242", token: "pm_card_visa", brand: "visa", charges: Charges::Paid, hint: "Pays" },
    TestCard {
        number: "5555555555554444",
        token: "pm_card_mastercard",
        brand: "mastercard",
        charges: Charges::Paid,
        hint: "Pays, a Mastercard",
    },
    TestCard {
        number: "4000000000000341",
        token: "pm_card_chargeCustomerFail",
        brand: "visa",
        charges: Charges::FirstOnly,
        hint: "Pays now, is declined at the renewal",
    },
    TestCard {
        number: "4000000000000002",
        token: "pm_card_chargeDeclined",
        brand: "visa",
        charges: Charges::Declined(Decline::Generic),
        hint: "Is declined",
    },
    TestCard {
        number: "4000000000009995",
        token: "pm_card_chargeDeclinedInsufficientFunds",
        brand: "visa",
        charges: Charges::Declined(Decline::Funds),
        hint: "Has insufficient funds",
    },
];

impl TestCard {
    /// All, in the order in which the pay page shows them.
    pub fn all() -> &'static [Self] {
        &CARDS
    }

    /// The number in groups of four.
    pub fn grouped(&self) -> String {
        let groups: Vec<_> = self.number.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
        groups.join(" ")
    }

    /// Its last four digits.
    pub fn last4(&self) -> &'static str {
        &self.number[12..]
    }

    /// By the number as somebody typed it.
    pub fn by_number(typed: &str) -> Option<&'static Self> {
        let digits: String = typed.chars().filter(|letter| !letter.is_whitespace() && *letter != '-').collect();
        CARDS.iter().find(|card| card.number == digits)
    }

    fn by_token(token: &str) -> Option<&'static Self> {
        let token = token.replacen("tok_", "pm_card_", 1);
        CARDS.iter().find(|card| card.token == token)
    }

    /// Whether the bank refuses even the person who types it in.
    pub fn declines(&self) -> Option<Decline> {
        match self.charges {
            Charges::Declined(decline) => Some(decline),
            Charges::Paid | Charges::FirstOnly => None,
        }
    }
}

/// A card, and whose.
#[derive(Clone, Debug)]
pub struct Holder {
    /// 1 to 12.
    pub exp_month: i64,
    /// Four digits.
    pub exp_year: i64,
    /// On the card.
    pub name: Option<String>,
    /// For the receipt.
    pub email: Option<String>,
}

/// Makes a payment method; with a customer it is attached to, and known by.
pub async fn make(
    world: &mut World<'_>,
    card: &TestCard,
    holder: Holder,
    customer: Option<&str>,
) -> Result<Value, Error> {
    let digest = Sha256::digest(card.number.as_bytes());
    // The same for the same card, whoever has it: that is what it is for.
    let fingerprint = BASE64_URL_SAFE_NO_PAD.encode(&digest[..12]);
    let method = json!({
        "id": world.id("pm"),
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": {
            "address": {"city": null, "country": null, "line1": null, "line2": null, "postal_code": null, "state": null},
            "email": holder.email, "name": holder.name, "phone": null, "tax_id": null,
        },
        "card": {
            "brand": card.brand,
            "checks": {"address_line1_check": null, "address_postal_code_check": null, "cvc_check": "pass"},
            "country": "US",
            "display_brand": card.brand,
            "exp_month": holder.exp_month,
            "exp_year": holder.exp_year,
            "fingerprint": fingerprint,
            "funding": "credit",
            "generated_from": null,
            "last4": card.last4(),
            "networks": {"available": [card.brand], "preferred": null},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": true},
            "wallet": null,
        },
        "created": world.seconds(),
        "customer": customer,
        "livemode": false,
        "metadata": {},
        "type": "card",
        HIDDEN: {"card": card.number},
    });
    world.insert(&method, None).await?;
    if customer.is_some() {
        world.emit("payment_method.attached", &method).await?;
    }
    Ok(method)
}

/// Whether a charge is declined. `attended` is one by the person who has just typed the card in.
pub fn charge(method: Option<&Value>, attended: bool) -> Option<Decline> {
    let Some(method) = method else { return Some(Decline::NoCard) };
    let card = TestCard::by_number(text(&method[HIDDEN], "card"));
    match card.map_or(Charges::Declined(Decline::Generic), |card| card.charges) {
        Charges::Paid => None,
        Charges::FirstOnly if attended => None,
        Charges::FirstOnly => Some(Decline::Generic),
        Charges::Declined(decline) => Some(decline),
    }
}

/// `POST /v1/payment_methods`: a card by Stripe's token for tests, or by a number for tests.
pub async fn create(world: &mut World<'_>, params: &mut Params) -> Result<Value, Error> {
    params.one_of("type", &["card"])?;
    let mut sent = params.branch("card")?.ok_or_else(|| Error::Missing("card".into()))?;
    let card = match sent.text("token")? {
        Some(token) => TestCard::by_token(&token),
        None => TestCard::by_number(&sent.required("number")?),
    };
    let card = card.ok_or_else(|| Error::invalid("card[number]", "The sandbox takes Stripe's test cards only."))?;
    let mut holder = Holder { exp_month: 12, exp_year: next_year(world), name: None, email: None };
    holder.exp_month = sent.count("exp_month")?.unwrap_or(holder.exp_month);
    holder.exp_year = sent.count("exp_year")?.unwrap_or(holder.exp_year);
    sent.pass_over(&["cvc"]);
    sent.finish()?;
    if let Some(mut details) = params.branch("billing_details")? {
        holder.name = details.text("name")?;
        holder.email = details.text("email")?;
        details.pass_over(&["address", "phone"]);
        details.finish()?;
    }
    params.finish()?;
    make(world, card, holder, None).await
}

/// `POST /v1/payment_methods/{id}/attach`. Stripe's tokens for tests become a payment method of the customer's own.
pub async fn attach(world: &mut World<'_>, id: &str, params: &mut Params) -> Result<Value, Error> {
    let customer = params.required("customer")?;
    params.finish()?;
    world.need("customer", &customer, "customer").await?;
    if let Some(card) = TestCard::by_token(id) {
        refuse_declined(card)?;
        let holder = Holder { exp_month: 12, exp_year: next_year(world), name: None, email: None };
        return make(world, card, holder, Some(&customer)).await;
    }
    let mut method = world.need("payment_method", id, "id").await?;
    if method["customer"] == customer.as_str() {
        return Ok(method);
    }
    if !method["customer"].is_null() {
        let message = "The payment method you provided has already been attached to a customer.";
        return Err(Error::state("payment_method_unexpected_state", message));
    }
    TestCard::by_number(text(&method[HIDDEN], "card")).map_or(Ok(()), refuse_declined)?;
    method["customer"] = customer.into();
    world.save(&method, None).await?;
    world.emit("payment_method.attached", &method).await?;
    Ok(method)
}

/// Attaching asks the bank.
fn refuse_declined(card: &TestCard) -> Result<(), Error> {
    card.declines().map_or(Ok(()), |decline| Err(Error::Declined(decline)))
}

/// `POST /v1/payment_methods/{id}/detach`.
pub async fn detach(world: &mut World<'_>, id: &str, params: &mut Params) -> Result<Value, Error> {
    params.finish()?;
    let before = world.need("payment_method", id, "id").await?;
    let mut method = before.clone();
    method["customer"] = Value::Null;
    world.save(&method, None).await?;
    world.emit_change("payment_method.detached", &before, &method).await?;
    Ok(method)
}

fn next_year(world: &World<'_>) -> i64 {
    use chrono::Datelike;
    i64::from(world.at.year()) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_card_does_what_stripe_says_of_it() {
        let charged = |number: &str, attended| {
            charge(Some(&json!({HIDDEN: {"card": TestCard::by_number(number).unwrap().number}})), attended)
        };
        assert_eq!(charged("4242 4242 4242 4242", false), None);
        assert_eq!(charged("4000-0000-0000-0341", true), None);
        assert_eq!(charged("4000000000000341", false), Some(Decline::Generic));
        assert_eq!(charged("4000000000000002", true), Some(Decline::Generic));
        assert_eq!(charged("4000000000009995", true), Some(Decline::Funds));
        assert_eq!(charge(None, true), Some(Decline::NoCard));
        assert!(TestCard::by_number("4111111111111111").is_none());
        assert_eq!(TestCard::by_token("tok_visa").map(TestCard::last4), Some("4242"));
    }
}
