//! Where somebody pays who signs up for a plan that is paid by card.

use uuid::Uuid;

use super::Error;
use crate::{
    app::App,
    audit,
    billing::stripe::{
        self,
        prices::{self, Offer},
    },
    http::{Once, Reply, RequestId, chain},
    plans::PlanRow,
};

/// What a plan costs at Stripe.
pub(super) async fn offer(app: &App, plan: PlanRow) -> Result<Offer, Error> {
    stripe::Client::of(app).map_err(|_| Error::BillingNotConfigured)?;
    let offer = prices::offer_of(app.db.read(), app.config.billing.sandbox, plan, None).await;
    offer.map_err(|error| match error {
        stripe::Error::Database(error) => error.into(),
        _ => Error::BillingNotConfigured,
    })
}

/// Adds where to pay to the answer about a tenant that is committed: no call leaves while it is made. Where Stripe does not answer, the
/// tenant is there all the same, and the answer says that much.
pub(super) async fn with_url(app: &App, once: &Once<'_>, request: &RequestId, reply: Reply) -> Reply {
    let is_open = reply.member("subscription")["status"] == "incomplete" && reply.member("checkout_url").is_null();
    let id = |member: &str| reply.member(member)["id"].as_str().and_then(|id| id.parse::<Uuid>().ok());
    let (true, Some(tenant_id), Some(user_id)) = (is_open, id("tenant"), id("user")) else { return reply };
    let opened: Result<String, stripe::Error> = async {
        let slug = reply.member("subscription")["plan"].as_str().unwrap_or_default();
        let offer = prices::offer(app.db.read(), app.config.billing.sandbox, slug, None).await?;
        let buyer = stripe::Buyer { tenant_id, actor: audit::Actor::User(user_id), request };
        Ok(stripe::open_checkout(app, buyer, &offer).await?.url)
    }
    .await;
    let reply = match opened {
        Ok(url) => reply.with("checkout_url", url),
        // A repeat, after the payment.
        Err(stripe::Error::AlreadySubscribed | stripe::Error::PaidUntil(_)) => return reply,
        Err(error) => {
            tracing::warn!(feature = "signup", %tenant_id, error = %chain(&error), "Signed up, but no checkout could be opened");
            return reply;
        }
    };
    if let Err(error) = once.amend(&app.clock.now(), &reply).await {
        tracing::warn!(feature = "signup", %tenant_id, %error, "A repeat of this sign-up will open its checkout again");
    }
    reply
}
