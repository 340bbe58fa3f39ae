//! Products and prices. Those of our own plans are made when somebody first asks for them.

use sea_orm::FromQueryResult;
use serde_json::{Value, json};

use super::{
    error::Error,
    form::Params,
    store::{self, int, text},
    world::World,
};
use crate::db::sql;

/// The sandbox's price of a plan: `interval` is `month` or `year`, `amount` in minor units.
pub fn price_id(slug: &str, interval: &str, amount: i64) -> String {
    format!("price_{slug}_{interval}_{amount}")
}

/// The sandbox's product of a plan.
pub fn product_id(slug: &str) -> String {
    format!("prod_{slug}")
}

#[derive(FromQueryResult)]
struct Plan {
    slug: String,
    name: String,
    description: String,
    price_amount: i64,
    price_currency: String,
    price_interval: String,
    yearly_amount: Option<i64>,
}

impl Plan {
    /// Intervals and their amounts.
    fn prices(&self) -> Vec<(&str, i64)> {
        let monthly = (self.price_interval.as_str(), self.price_amount);
        let yearly = self.yearly_amount.map(|amount| ("year", amount));
        let mut prices = vec![monthly];
        prices.extend(yearly.filter(|yearly| yearly.0 != monthly.0));
        prices.retain(|(_, amount)| *amount > 0);
        prices
    }
}

/// A price by its id; one of a plan's is made where it is not there yet.
pub async fn price(world: &mut World<'_>, id: &str, param: &str) -> Result<Value, Error> {
    mirror(world, id).await?;
    let price = world.need("price", id, param).await?;
    if price["recurring"].is_null() {
        return Err(Error::invalid(
            param,
            "The price specified is set to `type=one_time`; subscriptions need a recurring one.",
        ));
    }
    Ok(price)
}

/// Makes the product and the prices of the plan that an id names, as far as they are not there.
pub async fn mirror(world: &mut World<'_>, id: &str) -> Result<(), Error> {
    if store::find(world.tx(), id).await?.is_some() {
        return Ok(());
    }
    let slug = match id.strip_prefix("price_") {
        Some(rest) => rest.rsplitn(3, '_').nth(2),
        None => id.strip_prefix("prod_"),
    };
    let Some(slug) = slug else { return Ok(()) };
    let query = "select slug, name, description, price_amount, price_currency, price_interval, yearly_amount from plans where slug = $1";
    let plan = Plan::find_by_statement(sql(world.tx(), query, [slug.into()])).one(world.tx()).await?;
    let Some(plan) = plan.filter(|plan| !plan.prices().is_empty()) else { return Ok(()) };
    let product = product_id(&plan.slug);
    if store::find(world.tx(), &product).await?.is_none() {
        let mut object = new_product(world, &product, &plan.name);
        object["description"] = plan.description.as_str().into();
        object["metadata"] = json!({"plan": plan.slug});
        world.insert(&object, None).await?;
        world.emit("product.created", &object).await?;
    }
    for (interval, amount) in plan.prices() {
        let id = price_id(&plan.slug, interval, amount);
        if store::find(world.tx(), &id).await?.is_none() {
            let mut object = new_price(world, &id, &product, &plan.price_currency.to_lowercase(), amount);
            object["recurring"] = recurring(interval, 1);
            object["type"] = "recurring".into();
            object["metadata"] = json!({"plan": plan.slug});
            world.insert(&object, None).await?;
            world.emit("price.created", &object).await?;
        }
    }
    Ok(())
}

fn new_product(world: &World<'_>, id: &str, name: &str) -> Value {
    json!({
        "id": id,
        "object": "product",
        "active": true,
        "attributes": [],
        "created": world.seconds(),
        "default_price": null,
        "description": null,
        "images": [],
        "livemode": false,
        "marketing_features": [],
        "metadata": {},
        "name": name,
        "package_dimensions": null,
        "shippable": null,
        "statement_descriptor": null,
        "tax_code": null,
        "type": "service",
        "unit_label": null,
        "updated": world.seconds(),
        "url": null,
    })
}

fn new_price(world: &World<'_>, id: &str, product: &str, currency: &str, amount: i64) -> Value {
    json!({
        "id": id,
        "object": "price",
        "active": true,
        "billing_scheme": "per_unit",
        "created": world.seconds(),
        "currency": currency,
        "custom_unit_amount": null,
        "livemode": false,
        "lookup_key": null,
        "metadata": {},
        "nickname": null,
        "product": product,
        "recurring": null,
        "tax_behavior": "unspecified",
        "tiers_mode": null,
        "transform_quantity": null,
        "type": "one_time",
        "unit_amount": amount,
        "unit_amount_decimal": amount.to_string(),
    })
}

fn recurring(interval: &str, count: i64) -> Value {
    json!({"interval": interval, "interval_count": count, "meter": null, "trial_period_days": null, "usage_type": "licensed"})
}

/// `POST /v1/products`.
pub async fn create_product(world: &mut World<'_>, params: &mut Params) -> Result<Value, Error> {
    let id = params.text("id")?.unwrap_or_else(|| world.id("prod"));
    let name = params.required("name")?;
    if store::find(world.tx(), &id).await?.is_some() {
        return Err(Error::state("resource_already_exists", "Product already exists."));
    }
    let mut product = new_product(world, &id, &name);
    product_fields(params, &mut product)?;
    params.finish()?;
    world.insert(&product, None).await?;
    world.emit("product.created", &product).await?;
    Ok(product)
}

/// `POST /v1/products/{id}`.
pub async fn update_product(world: &mut World<'_>, id: &str, params: &mut Params) -> Result<Value, Error> {
    mirror(world, id).await?;
    let before = world.need("product", id, "id").await?;
    let mut product = before.clone();
    params.set("name", &mut product)?;
    product_fields(params, &mut product)?;
    params.finish()?;
    product["updated"] = world.seconds().into();
    world.save(&product, None).await?;
    world.emit_change("product.updated", &before, &product).await?;
    Ok(product)
}

fn product_fields(params: &mut Params, product: &mut Value) -> Result<(), Error> {
    for name in ["description", "statement_descriptor", "unit_label", "url"] {
        params.set(name, product)?;
    }
    if let Some(active) = params.flag("active")? {
        product["active"] = active.into();
    }
    params.metadata(product)
}

/// `POST /v1/prices`.
pub async fn create_price(world: &mut World<'_>, params: &mut Params) -> Result<Value, Error> {
    let currency = params.required("currency")?.to_lowercase();
    if currency.len() != 3 || !currency.bytes().all(|letter| letter.is_ascii_lowercase()) {
        return Err(Error::invalid("currency", format!("Invalid currency: {currency}")));
    }
    let amount = params.count("unit_amount")?.ok_or_else(|| Error::Missing("unit_amount".into()))?;
    let product = if let Some(mut data) = params.branch("product_data")? {
        text(&create_product(world, &mut data).await?, "id").to_owned()
    } else {
        let id = params.required("product")?;
        mirror(world, &id).await?;
        world.need("product", &id, "product").await?;
        id
    };
    let mut price = new_price(world, &world.id("price"), &product, &currency, amount);
    if let Some(mut sent) = params.branch("recurring")? {
        let words = ["day", "week", "month", "year"];
        let interval = sent.one_of("interval", &words)?.ok_or_else(|| Error::Missing("recurring[interval]".into()))?;
        let count = sent.count("interval_count")?.unwrap_or(1);
        sent.one_of("usage_type", &["licensed"])?;
        sent.finish()?;
        if !(1..=36).contains(&count) {
            return Err(Error::invalid("recurring[interval_count]", "Has to be 1 to 36."));
        }
        price["recurring"] = recurring(interval, count);
        price["type"] = "recurring".into();
    }
    price_fields(params, &mut price)?;
    params.finish()?;
    world.insert(&price, None).await?;
    world.emit("price.created", &price).await?;
    Ok(price)
}

/// `POST /v1/prices/{id}`.
pub async fn update_price(world: &mut World<'_>, id: &str, params: &mut Params) -> Result<Value, Error> {
    mirror(world, id).await?;
    let before = world.need("price", id, "id").await?;
    let mut price = before.clone();
    price_fields(params, &mut price)?;
    params.finish()?;
    world.save(&price, None).await?;
    world.emit_change("price.updated", &before, &price).await?;
    Ok(price)
}

fn price_fields(params: &mut Params, price: &mut Value) -> Result<(), Error> {
    for name in ["lookup_key", "nickname"] {
        params.set(name, price)?;
    }
    if let Some(active) = params.flag("active")? {
        price["active"] = active.into();
    }
    params.pass_over(&["tax_behavior", "billing_scheme"]);
    params.metadata(price)
}

/// How a price repeats: the interval, and how many of them.
pub fn cadence(price: &Value) -> (&str, i64) {
    (text(&price["recurring"], "interval"), int(&price["recurring"], "interval_count").max(1))
}
