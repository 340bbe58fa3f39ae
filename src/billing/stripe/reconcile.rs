//! What heals by itself: events that never came, and rows that are not what Stripe says.

use chrono::TimeDelta;
use sea_orm::{ConnectionTrait, DbErr};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Applied, Client, Error, Failure,
    events::{self, Received},
    subscriptions, sync,
    wire::{Event, List},
};
use crate::{
    app::App,
    audit,
    db::{Batch, sql},
    http::chain,
    schedule,
};

/// Tenants in one round: those that were looked at longest ago.
const BATCH: u64 = 200;
/// Pages of a hundred events in one round.
const PAGES: usize = 5;
/// What Stripe says now may be a moment before its event is processed here.
const SETTLING: TimeDelta = TimeDelta::minutes(2);

/// How long an event may wait before nobody waits for it.
const WAITING: TimeDelta = TimeDelta::hours(1);

/// What a round found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Events that had never come here.
    pub missed: usize,
    /// Tenants that were asked for.
    pub asked: usize,
    /// Those whose rows were not what Stripe says.
    pub mended: usize,
}

/// Goes round each `billing.reconcile_every`, until `stop`.
pub async fn run(app: App, stop: CancellationToken) {
    schedule::every(&app, every(&app), &stop, |app| async move {
        match round(&app).await {
            Ok(Round { missed: 0, mended: 0, .. }) => {}
            Ok(Round { missed, asked, mended }) => {
                tracing::warn!(feature = "stripe", missed, asked, mended, "What Stripe says was caught up with");
            }
            // It will be there again, and we too.
            Err(Error::Stripe(Failure::Unavailable { reason, .. })) => {
                tracing::warn!(feature = "stripe", reason, "Stripe does not answer: reconciled another time");
            }
            Err(error) => tracing::error!(feature = "stripe", error = %chain(&error), "Could not reconcile"),
        }
    })
    .await;
}

fn every(app: &App) -> TimeDelta {
    TimeDelta::from_std(app.config.billing.reconcile_every).unwrap_or(TimeDelta::MAX)
}

/// Goes round once. Where Stripe does not answer, what was done until then stays done.
pub async fn round(app: &App) -> Result<Round, Error> {
    let mut round = Round::default();
    let Ok(client) = Client::of(app) else { return Ok(round) };
    let due = due(app).await?;
    if due.is_empty() {
        return Ok(round);
    }
    round.missed = catch_up(app, &client).await?;
    for tenant_id in due {
        if app.stop.is_cancelled() {
            break;
        }
        round.asked += 1;
        match sync(app, tenant_id, "reconcile").await {
            Ok(applied) if applied.changed => {
                drifted(app, tenant_id, &applied).await?;
                round.mended += 1;
            }
            Ok(_) | Err(Error::Busy | Error::NoSubscription) => {}
            Err(error @ Error::Stripe(Failure::Unavailable { .. })) => return Err(error),
            Err(error) => {
                tracing::error!(feature = "stripe", %tenant_id, error = %chain(&error), "A tenant could not be reconciled");
                // Others get their turn before it.
                let tx = app.db.begin().await?;
                subscriptions::synced(&tx, tenant_id, app.clock.now().at).await?;
                tx.commit().await?;
            }
        }
    }
    Ok(round)
}

/// Customers of Stripe's that were not looked at for a whole period, and of whom no event has just come.
async fn due(app: &App) -> Result<Vec<Uuid>, DbErr> {
    let before = app.clock.now().at.checked_sub_signed(every(app).min(TimeDelta::days(36_500)));
    let query = "select s.tenant_id from subscriptions s where s.stripe_customer_id is not null \
                 and (s.stripe_synced_at is null or s.stripe_synced_at <= $1) and not exists (select 1 from stripe_events e \
                 where e.tenant_id = s.tenant_id and e.status = 'pending' and e.received_at > $3) \
                 order by s.stripe_synced_at nulls first limit $2";
    let db = app.db.read();
    let waiting = app.clock.now().at - WAITING;
    let values = [before.unwrap_or_default().into(), i64::try_from(BATCH).unwrap_or(i64::MAX).into(), waiting.into()];
    let rows = db.query_all_raw(sql(db, query, values)).await?;
    rows.iter().map(|row| row.try_get("", "tenant_id")).collect()
}

/// Takes in the events of the last periods that never came. Those of the last moments may still be on their way.
async fn catch_up(app: &App, client: &Client<'_>) -> Result<usize, Error> {
    let now = app.clock.now().at;
    let since = now.checked_sub_signed(every(app).min(TimeDelta::days(1)) * 2).unwrap_or(now).timestamp();
    let (mut missed, mut after) = (0, None::<String>);
    for _ in 0..PAGES {
        let mut fields = vec![("limit", "100".to_owned()), ("created[gte]", since.to_string())];
        fields.extend(after.map(|id| ("starting_after", id)));
        let page: List<serde_json::Value> = client.get("event.list", "events", &fields).await?;
        after = page.data.last().and_then(|event| Some(event["id"].as_str()?.to_owned()));
        for payload in &page.data {
            let Ok(event) = serde_json::from_value::<Event>(payload.clone()) else { continue };
            let is_fresh = event.created.is_none_or(|created| created > now - SETTLING);
            let is_ours = event.livemode == client.access.livemode && event.account.is_none() && event.is_followed();
            if is_fresh || !is_ours || events::is_known(app.db.read(), &event.id).await? {
                continue;
            }
            let moment = app.clock.now();
            let tx = app.db.begin().await?;
            let received = events::receive(&tx, &moment, &app.sealer, &event, &payload.to_string()).await?;
            tx.commit().await?;
            app.wake.wake();
            if received == Received::Queued {
                missed += 1;
                metrics::counter!("tenantry_stripe_events_total", "outcome" => "missed").increment(1);
                tracing::warn!(
                    feature = "stripe",
                    event = event.id,
                    kind = event.kind,
                    "An event of Stripe's had not come"
                );
            }
        }
        if !page.has_more || after.is_none() {
            break;
        }
    }
    Ok(missed)
}

/// Says that a tenant was not what Stripe says, and is now.
async fn drifted(app: &App, tenant_id: Uuid, applied: &Applied) -> Result<(), Error> {
    let (was, is) = (applied.was, applied.is);
    metrics::counter!("tenantry_billing_drift_total").increment(1);
    tracing::warn!(feature = "stripe", %tenant_id, ?was, ?is, plan = applied.plan, "A subscription was not what Stripe says, and was mended");
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    let mut batch = Batch::default();
    let detail = json!({"was": was, "is": is, "plan": applied.plan, "invoices_paid": applied.paid.len()});
    let (actor, action) = (audit::Actor::System, "billing.drift_mended");
    audit::append(
        &mut batch,
        &now,
        audit::Event { actor, tenant_id: Some(tenant_id), action, request_id: None, detail },
    );
    batch.send(&tx).await?;
    Ok(tx.commit().await?)
}
