//! Bringing a tenant to what it has at Stripe.

use sea_orm::DbErr;
use serde_json::json;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::{
    Applied, Client, Error, Failure,
    apply::apply,
    current::{self, Current},
    subscriptions,
};
use crate::{
    app::App,
    audit,
    billing::notices,
    clock::Now,
    db::{Batch, Tx, failpoint},
};

/// How often others may be faster before we leave it to a later try.
const ROUNDS: usize = 6;
/// A burst of events is about one tenant. In one process they take turns, so that only other replicas can be faster.
static TURNS: [Mutex<()>; 64] = [const { Mutex::const_new(()) }; 64];

/// Asks Stripe what the tenant has now, and applies it in one transaction. `cause` is kept in the audit log.
///
/// What was asked is applied only where nobody has applied theirs since we began to ask: so what is applied is at least as new as all
/// that was applied before, whatever clocks and networks do.
///
/// # Errors
/// [`Error::NoSubscription`] where the tenant is no customer of Stripe's; Stripe; the database.
pub async fn sync(app: &App, tenant_id: Uuid, cause: &str) -> Result<Applied, Error> {
    let client = Client::of(app)?;
    // The end of an id is chance.
    let _turn = TURNS[usize::from(tenant_id.as_bytes()[15]) % TURNS.len()].lock().await;
    for _ in 0..ROUNDS {
        let before = subscriptions::find(app.db.read(), tenant_id).await?.ok_or(Error::NoSubscription)?;
        let customer = before.stripe_customer_id.as_deref().ok_or(Error::NoSubscription)?;
        let current = Current::of(&client, customer, before.stripe_subscription_id.as_deref()).await?;
        failpoint("stripe::asked")?;
        let now = app.clock.now();
        let tx = app.db.begin().await?;
        if let Some(applied) = apply(&tx, &now, tenant_id, before.stripe_synced_at, &current, cause).await? {
            notices::receipts(&tx, &now, &app.post, tenant_id, &applied.paid).await?;
            failpoint("stripe::applied")?;
            tx.commit().await?;
            app.wake.wake();
            if applied.changed {
                let (was, is) = (applied.was, applied.is);
                tracing::info!(feature = "stripe", %tenant_id, cause, ?was, ?is, plan = applied.plan, "Subscription changed");
            }
            if applied.was != applied.is {
                // Whose payment failed hears of it now, and not with the next round.
                notices::send(app, &now).await?;
            }
            // After what counts: a refund that Stripe refuses holds nothing else up.
            undo(app, &client, tenant_id, &current).await?;
            return Ok(applied);
        }
        tx.rollback().await?;
    }
    Err(Error::Busy)
}

/// Ends what is one too many. What Stripe refuses to pay back is tried again with the next look, and told to the operator.
async fn undo(app: &App, client: &Client<'_>, tenant_id: Uuid, current: &Current) -> Result<(), Error> {
    let Some(stays) = &current.subscription else { return Ok(()) };
    for duplicate in &current.duplicates {
        let id = &duplicate.id;
        match current::undo(client, app.clock.now().at, duplicate, &stays.id).await {
            Ok(false) => {}
            Ok(true) => {
                tracing::warn!(feature = "stripe", subscription = id, "A second subscription was paid back and ended");
                let tx = app.db.begin().await?;
                note_undone(&tx, &app.clock.now(), tenant_id, id).await?;
                tx.commit().await?;
            }
            Err(Error::Stripe(Failure::Refused { status, refusal })) => {
                metrics::counter!("tenantry_stripe_refunds_refused_total").increment(1);
                tracing::error!(feature = "stripe", %tenant_id, subscription = id, status, %refusal, "A second subscription could not be paid back");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn note_undone(tx: &Tx, now: &Now, tenant_id: Uuid, id: &str) -> Result<(), DbErr> {
    let mut batch = Batch::default();
    let detail = json!({"subscription": id});
    let (actor, action) = (audit::Actor::System, "subscription.duplicate_refunded");
    let event = audit::Event { actor, tenant_id: Some(tenant_id), action, request_id: None, detail };
    audit::append(&mut batch, now, event);
    batch.send(tx).await.map_err(|refused| refused.source)
}
