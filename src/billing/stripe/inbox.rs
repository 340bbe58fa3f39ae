//! Processing of events, by the outbox: an event says that something of a customer has changed, so what the customer has now is asked
//! of Stripe and applied.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbErr};
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    Error, Failure,
    events::{self, Queued},
    sync, wire,
};
use crate::{
    app::App,
    db::{failpoint, sql},
    http::chain,
    outbox::{self, Outcome},
};

/// Within what the worker gives a try, so that its end is recorded.
const LONGEST: Duration = Duration::from_secs(25);
/// When others kept changing the same subscription.
const BUSY: Duration = Duration::from_secs(1);

/// Processes one event. Any number of times and in any order leads to the same.
pub async fn process(app: &App, payload: &[u8]) -> Outcome {
    let event_id = match outbox::open::<Queued>(&app.sealer, payload) {
        Ok(queued) => queued.event_id,
        Err(error) => return Outcome::Refused { error: error.to_string() },
    };
    match timeout(LONGEST, follow(app, &event_id)).await {
        Ok(Ok(())) => Outcome::Done,
        Ok(Err(error)) => fail(app, &event_id, &error).await,
        Err(_) => fail(app, &event_id, &Error::Stripe(Failure::unavailable("it answers too slowly"))).await,
    }
}

async fn follow(app: &App, event_id: &str) -> Result<(), Error> {
    let Some(waiting) = events::find(app.db.read(), event_id).await? else { return Ok(()) };
    if !["pending", "failed"].contains(&waiting.status.as_str()) {
        return Ok(());
    }
    let event: wire::Event =
        serde_json::from_str(&waiting.payload).map_err(|error| Failure::Unreadable(error.to_string()))?;
    let tenant_id = match event.customer() {
        Some(customer) => tenant_of(app.db.read(), customer).await?,
        None => None,
    };
    let status = match tenant_id {
        Some(tenant_id) => {
            sync(app, tenant_id, &event.kind).await?;
            "processed"
        }
        // Somebody else's customer in the same account.
        None => "ignored",
    };
    failpoint("stripe::synced")?;
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    events::settle(&tx, &now, event_id, status, tenant_id, None).await?;
    Ok(tx.commit().await?)
}

/// The tenant whose customer it is. Nothing else says whose an event is: a reference or metadata anybody could have chosen.
async fn tenant_of(db: &impl ConnectionTrait, customer: &str) -> Result<Option<Uuid>, DbErr> {
    let query = "select tenant_id from subscriptions where stripe_customer_id = $1";
    let row = db.query_one_raw(sql(db, query, [customer.into()])).await?;
    row.map(|row| row.try_get("", "tenant_id")).transpose()
}

/// Records why. A later try may always succeed: also what looks final is mended by somebody, such as a key that was rotated.
async fn fail(app: &App, event_id: &str, error: &Error) -> Outcome {
    let text = chain(error);
    let recorded: Result<(), DbErr> = async {
        let tx = app.db.begin().await?;
        events::settle(&tx, &app.clock.now(), event_id, "failed", None, Some(&text)).await?;
        tx.commit().await
    }
    .await;
    if let Err(lost) = recorded {
        tracing::warn!(feature = "stripe", event = event_id, error = %chain(&lost), "Could not record a failed event");
    }
    let after = match error {
        Error::Stripe(Failure::Unavailable { after, .. }) => *after,
        Error::Busy => Some(BUSY),
        _ => None,
    };
    Outcome::Retry { error: text, after }
}
