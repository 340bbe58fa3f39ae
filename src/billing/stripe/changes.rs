//! Changing a subscription at Stripe. Afterwards the tenant is brought to what Stripe says, so that the caller sees it.

use uuid::Uuid;

use super::{
    Client, Error, Failure, Interval, Standing, customer, prices, subscriptions, sync,
    wire::{Done, PortalSession, Subscription},
};
use crate::app::App;

/// A subscription of ours as it is at Stripe.
struct Held<'a> {
    client: Client<'a>,
    row: subscriptions::Row,
    there: Subscription,
}

/// The tenant's subscription at Stripe, while it lives.
async fn held(app: &App, tenant_id: Uuid) -> Result<Held<'_>, Error> {
    let row = subscriptions::find(app.db.read(), tenant_id).await?.ok_or(Error::NoSubscription)?;
    let id = row.stripe_subscription_id.clone().ok_or(Error::NoSubscription)?;
    let client = Client::of(app)?;
    let there = client.get::<Subscription>("subscription.read", &format!("subscriptions/{id}"), &Vec::new()).await;
    match there {
        Ok(there) if there.is_live() => Ok(Held { client, row, there }),
        Ok(_) => Err(Error::Ended),
        Err(failure) if failure.is_missing() => {
            tracing::error!(feature = "stripe", %tenant_id, subscription = id, "Stripe does not know a subscription that is paid there");
            Err(Error::UnknownThere)
        }
        Err(failure) => Err(failure.into()),
    }
}

impl Held<'_> {
    async fn update(&self, app: &App, what: &str, fields: Vec<(&str, String)>) -> Result<(), Error> {
        let id = &self.there.id;
        let key = format!("{what}:{id}:{}", app.clock.now().id());
        self.client.post::<Done>("subscription.update", &format!("subscriptions/{id}"), &key, &fields).await?;
        Ok(())
    }
}

/// What the tenant is on after a change.
async fn standing(app: &App, tenant_id: Uuid, cause: &str) -> Result<Standing, Error> {
    sync(app, tenant_id, cause).await?;
    let row = subscriptions::find(app.db.read(), tenant_id).await?;
    Ok(row.ok_or(Error::NoSubscription)?.standing())
}

/// Ends the subscription with its period. One that is ending already stays so.
///
/// # Errors
/// [`Error::NoSubscription`], [`Error::Ended`]; Stripe; the database.
pub async fn cancel(app: &App, tenant_id: Uuid) -> Result<Standing, Error> {
    let held = held(app, tenant_id).await?;
    if !held.there.cancel_at_period_end && held.there.cancel_at.is_none() {
        held.update(app, "cancel", vec![("cancel_at_period_end", "true".into())]).await?;
    }
    standing(app, tenant_id, "cancel").await
}

/// Goes on with a subscription that would end with its period.
///
/// # Errors
/// As [`cancel`].
pub async fn resume(app: &App, tenant_id: Uuid) -> Result<Standing, Error> {
    let held = held(app, tenant_id).await?;
    if held.there.cancel_at_period_end {
        held.update(app, "resume", vec![("cancel_at_period_end", "false".into())]).await?;
    } else if held.there.cancel_at.is_some() {
        held.update(app, "resume", vec![("cancel_at", String::new())]).await?;
    }
    standing(app, tenant_id, "resume").await
}

/// Puts the subscription onto another plan or interval at once. More is charged at once, and nothing changes where that is declined;
/// less is set off against the next invoice.
///
/// # Errors
/// What is wrong with the plan; as [`cancel`].
pub async fn change_plan(
    app: &App,
    tenant_id: Uuid,
    plan_slug: &str,
    interval: Option<Interval>,
) -> Result<Standing, Error> {
    let held = held(app, tenant_id).await?;
    let in_sandbox = app.config.billing.sandbox;
    let interval = interval.or_else(|| Interval::parse(&held.row.billing_interval));
    let offer = prices::offer(app.db.read(), in_sandbox, plan_slug, interval).await?;
    let item = held.there.items.data.first().ok_or(Error::Ended)?;
    if item.price.as_ref().is_some_and(|price| price.id == offer.price_id) {
        return standing(app, tenant_id, "change-plan").await;
    }
    let paid = (held.row.plan.as_str(), held.row.billing_interval.as_str());
    let is_more = offer.is_more_than(app.db.read(), in_sandbox, paid).await?;
    let mut fields = vec![
        ("items[0][id]", item.id.clone()),
        ("items[0][price]", offer.price_id.clone()),
        ("metadata[plan]", offer.plan.slug.clone()),
        ("proration_behavior", if is_more { "always_invoice" } else { "create_prorations" }.into()),
    ];
    if is_more {
        fields.push(("payment_behavior", "error_if_incomplete".into()));
    }
    held.update(app, "change-plan", fields).await?;
    standing(app, tenant_id, "change-plan").await
}

/// A page of Stripe's on which the tenant manages its subscription, cards and invoices.
///
/// # Errors
/// [`Error::NoSubscription`] where the tenant is no customer; Stripe; the database.
pub async fn portal(app: &App, tenant_id: Uuid) -> Result<String, Error> {
    let client = Client::of(app)?;
    let row = subscriptions::find(app.db.read(), tenant_id).await?.ok_or(Error::NoSubscription)?;
    let customer = row.stripe_customer_id.ok_or(Error::NoSubscription)?;
    let back = format!("{}/billing", app.config.public_url.as_str().trim_end_matches('/'));
    let key = format!("portal:{tenant_id}:{}", app.clock.now().id());
    let fields = vec![("customer", customer.clone()), ("return_url", back)];
    match client.post::<PortalSession>("portal.create", "billing_portal/sessions", &key, &fields).await {
        Ok(session) => Ok(session.url),
        Err(Failure::Refused { refusal, .. }) if refusal.is_missing("customer") => {
            customer::forget(app, tenant_id, &customer).await?;
            Err(Error::NoSubscription)
        }
        Err(failure) => Err(failure.into()),
    }
}
