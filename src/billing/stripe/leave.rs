//! Ending what a tenant pays for at Stripe, before the tenant goes.

use uuid::Uuid;

use super::{
    Client, Error, checkout, subscriptions,
    wire::{Done, List, Subscription, SubscriptionStatus},
};
use crate::app::App;

/// Ends the tenant's checkout and all that it has subscribed to, at once; what is paid stays paid. Answers how many subscriptions that were. Call it
/// again where it fails: what has ended stays so.
///
/// # Errors
/// [`Error::NotConfigured`] where the tenant is a customer and Stripe can't be asked; Stripe; the database.
pub async fn leave(app: &App, tenant_id: Uuid) -> Result<usize, Error> {
    let row = subscriptions::find(app.db.read(), tenant_id).await?;
    let Some(customer) = row.and_then(|row| row.stripe_customer_id) else { return Ok(0) };
    let client = Client::of(app)?;
    checkout::close(app, tenant_id).await?;
    let fields = vec![("customer", customer), ("status", "all".into()), ("limit", "100".into())];
    let all = match client.get::<List<Subscription>>("subscription.list", "subscriptions", &fields).await {
        Err(failure) if failure.is_missing() => List::default(),
        all => all?,
    };
    let mut ended = 0;
    for subscription in all.data {
        if matches!(subscription.status, SubscriptionStatus::Canceled | SubscriptionStatus::IncompleteExpired) {
            continue;
        }
        client.delete::<Done>("subscription.cancel", &format!("subscriptions/{}", subscription.id)).await?;
        ended += 1;
    }
    Ok(ended)
}
