//! Buying a plan: one open checkout session a tenant, so that two tabs cannot buy twice.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    Client, Error, Failure, customer,
    prices::Offer,
    subscriptions, sync,
    wire::{CheckoutSession, SessionStatus},
};
use crate::{
    app::App,
    audit::{self, Actor},
    billing::bank,
    clock::Now,
    db::{Tx, failpoint, sql},
    http::RequestId,
};

/// How often another tab may be faster.
const ROUNDS: usize = 4;

/// Where to pay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = CheckoutSession)]
pub struct Session {
    /// Stripe's id of it.
    pub id: String,
    /// The page to send the browser to.
    pub url: String,
}

/// Who buys, for the audit log.
#[derive(Clone, Copy, Debug)]
pub struct Buyer<'a> {
    /// For which tenant.
    pub tenant_id: Uuid,
    /// Who acts.
    pub actor: Actor,
    /// The request it came with.
    pub request: &'a RequestId,
}

/// The session that a tenant may pay in.
#[derive(FromQueryResult)]
struct Kept {
    session_id: String,
    url: String,
    plan_id: Uuid,
    billing_interval: String,
}

/// Opens a checkout of `offer`, or answers the one that is open. One for something else is ended first.
///
/// # Errors
/// [`Error::AlreadySubscribed`], [`Error::PaidUntil`], [`Error::CheckoutInProgress`]; Stripe; the database.
pub async fn open(app: &App, buyer: Buyer<'_>, offer: &Offer) -> Result<Session, Error> {
    let client = Client::of(app)?;
    let tenant_id = buyer.tenant_id;
    let row = subscriptions::find(app.db.read(), tenant_id).await?.ok_or(Error::NoSubscription)?;
    if row.live_at_stripe().is_some() {
        return Err(Error::AlreadySubscribed);
    }
    if let Some(until) = bank::paid_until(app.db.read(), app.clock.now().at, tenant_id).await? {
        return Err(Error::PaidUntil(until));
    }
    let mut customer = customer::ensure(app, &client, tenant_id).await?;
    for _ in 0..ROUNDS {
        if let Some(kept) = kept(app.db.read(), tenant_id).await? {
            match go_on(app, &client, tenant_id, kept, offer).await? {
                Some(session) => return Ok(session),
                None => continue,
            }
        }
        let made = match create(app, &client, tenant_id, &customer, offer).await {
            Err(Failure::Refused { refusal, .. }) if refusal.is_missing("customer") => {
                customer = customer::replace(app, &client, tenant_id, &customer).await?;
                continue;
            }
            made => made?,
        };
        failpoint("stripe::checkout_made")?;
        let now = app.clock.now();
        let Some(url) = made.url else { return Err(Error::Busy) };
        let session = Session { id: made.id, url };
        let tx = app.db.begin().await?;
        let kept = keep(&tx, &now, buyer, offer, &session, made.expires_at.unwrap_or(now.at)).await?;
        tx.commit().await?;
        if kept {
            return Ok(session);
        }
        // Another tab was faster. Nobody has seen this one's page.
        expire(&client, &session.id).await?;
        let row = subscriptions::find(app.db.read(), tenant_id).await?.ok_or(Error::NoSubscription)?;
        if row.live_at_stripe().is_some() {
            return Err(Error::AlreadySubscribed);
        }
        if let Some(until) = bank::paid_until(app.db.read(), now.at, tenant_id).await? {
            return Err(Error::PaidUntil(until));
        }
        if self::kept(app.db.read(), tenant_id).await?.is_some_and(|kept| !kept.is_for(offer)) {
            return Err(Error::CheckoutInProgress);
        }
    }
    Err(Error::Busy)
}

/// Ends the checkout that a tenant has open, if any: it has paid in another way. What Stripe does not answer to is left, and noted.
pub async fn close(app: &App, tenant_id: Uuid) -> Result<(), Error> {
    let (Ok(client), Some(kept)) = (Client::of(app), kept(app.db.read(), tenant_id).await?) else { return Ok(()) };
    if expire(&client, &kept.session_id).await? == SessionStatus::Complete {
        tracing::error!(feature = "stripe", %tenant_id, session = kept.session_id, "A tenant has paid by card and by bank transfer");
    }
    forget(app, tenant_id, &kept.session_id).await
}

/// Whether a tenant has a payment page.
pub async fn is_open(db: &impl ConnectionTrait, tenant_id: Uuid) -> Result<bool, DbErr> {
    Ok(kept(db, tenant_id).await?.is_some())
}

async fn forget(app: &App, tenant_id: Uuid, session_id: &str) -> Result<(), Error> {
    let tx = app.db.begin().await?;
    let forget = "delete from checkouts where tenant_id = $1 and session_id = $2";
    tx.execute_raw(sql(&tx, forget, [tenant_id.into(), session_id.into()])).await?;
    Ok(tx.commit().await?)
}

impl Kept {
    fn is_for(&self, offer: &Offer) -> bool {
        self.plan_id == offer.plan.id && self.billing_interval == offer.interval.as_str()
    }
}

/// Answers a session that is for the same and still open. Any other is ended and forgotten: then the caller looks again.
async fn go_on(
    app: &App,
    client: &Client<'_>,
    tenant_id: Uuid,
    kept: Kept,
    offer: &Offer,
) -> Result<Option<Session>, Error> {
    let now = if kept.is_for(offer) {
        let path = format!("checkout/sessions/{}", kept.session_id);
        match client.get::<CheckoutSession>("checkout.read", &path, &Vec::new()).await {
            Ok(session) => session.status,
            Err(failure) if failure.is_missing() => SessionStatus::Expired,
            Err(failure) => return Err(failure.into()),
        }
    } else {
        expire(client, &kept.session_id).await?
    };
    if now == SessionStatus::Open && kept.is_for(offer) {
        return Ok(Some(Session { id: kept.session_id, url: kept.url }));
    }
    if now == SessionStatus::Complete {
        // Paid, and the event is still on its way.
        let applied = sync(app, tenant_id, "checkout").await?;
        if applied.is_live {
            return Err(Error::AlreadySubscribed);
        }
    }
    forget(app, tenant_id, &kept.session_id).await?;
    Ok(None)
}

async fn create(
    app: &App,
    client: &Client<'_>,
    tenant_id: Uuid,
    customer: &str,
    offer: &Offer,
) -> Result<CheckoutSession, Failure> {
    let (id, plan) = (tenant_id.to_string(), offer.plan.slug.clone());
    let page = |path: &str| format!("{}{path}", app.config.public_url.as_str().trim_end_matches('/'));
    let fields = vec![
        ("mode", "subscription".into()),
        ("customer", customer.to_owned()),
        ("client_reference_id", id.clone()),
        ("line_items[0][price]", offer.price_id.clone()),
        ("line_items[0][quantity]", "1".into()),
        ("success_url", page("/billing?checkout=done")),
        ("cancel_url", page("/billing")),
        ("metadata[tenant_id]", id.clone()),
        ("metadata[plan]", plan.clone()),
        ("subscription_data[metadata][tenant_id]", id),
        ("subscription_data[metadata][plan]", plan),
    ];
    let key = format!("checkout:{tenant_id}:{}:{}:{}", offer.plan.slug, offer.interval.as_str(), app.clock.now().id());
    client.post("checkout.create", "checkout/sessions", &key, &fields).await
}

/// Makes sure that nobody pays in a session any more; answers how it ended.
async fn expire(client: &Client<'_>, session_id: &str) -> Result<SessionStatus, Error> {
    let path = format!("checkout/sessions/{session_id}/expire");
    let key = format!("expire:{session_id}");
    match client.post::<CheckoutSession>("checkout.expire", &path, &key, &Vec::new()).await {
        Ok(session) => Ok(session.status),
        Err(failure) if failure.is_missing() => Ok(SessionStatus::Expired),
        // Only an open one can be ended: another has done it, or somebody has paid.
        Err(Failure::Refused { .. }) => {
            let path = format!("checkout/sessions/{session_id}");
            Ok(client.get::<CheckoutSession>("checkout.read", &path, &Vec::new()).await?.status)
        }
        Err(failure) => Err(failure.into()),
    }
}

async fn kept(db: &impl ConnectionTrait, tenant_id: Uuid) -> Result<Option<Kept>, DbErr> {
    let query = "select session_id, url, plan_id, billing_interval from checkouts where tenant_id = $1";
    Kept::find_by_statement(sql(db, query, [tenant_id.into()])).one(db).await
}

/// Keeps a session as the tenant's one. False where there is another, or the tenant has a subscription by now.
async fn keep(
    tx: &Tx,
    now: &Now,
    buyer: Buyer<'_>,
    offer: &Offer,
    session: &Session,
    expires_at: DateTime<Utc>,
) -> Result<bool, DbErr> {
    let tenant_id = buyer.tenant_id;
    let row = subscriptions::lock(tx, tenant_id).await?;
    let pays = row.is_none_or(|row| row.live_at_stripe().is_some());
    if pays || bank::paid_until(tx, now.at, tenant_id).await?.is_some() {
        return Ok(false);
    }
    let insert = "insert into checkouts (tenant_id, session_id, url, plan_id, billing_interval, expires_at, created_at) \
                  values ($1, $2, $3, $4, $5, $6, $7) on conflict (tenant_id) do nothing";
    let values = [
        tenant_id.into(),
        session.id.as_str().into(),
        session.url.as_str().into(),
        offer.plan.id.into(),
        offer.interval.as_str().into(),
        expires_at.into(),
        now.at.into(),
    ];
    if tx.execute_raw(sql(tx, insert, values)).await?.rows_affected() == 0 {
        return Ok(false);
    }
    let detail = json!({"session": session.id, "plan": offer.plan.slug, "interval": offer.interval});
    audit::note(tx, now, buyer.request, (buyer.actor, Some(tenant_id)), "checkout.opened", detail).await?;
    Ok(true)
}
