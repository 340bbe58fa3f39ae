//! Events on their way to tenants' own systems: written down with the fact, delivered by the outbox.
//!
//! A delivery's id is the `webhook-id` that the receiver sees, the same at every try. A receiver that answers 2xx has it;
//! 410 means that the endpoint is gone for good and is disabled; anything else is tried again as the outbox says. In dry run
//! a delivery is written down and nothing leaves.

use std::time::Duration;

use chrono::SecondsFormat;
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::{
    sign::{Answer, Message, post_signed},
    store::{DeliveryStatus, delivery, open_secret, subscribed},
};
use crate::{
    app::App,
    clock::Now,
    db::{Batch, Tx, sql},
    egress::EgressError,
    http::chain,
    outbox::{self, Kind, Outcome, Status},
    seal::Sealer,
};

/// A receiver that takes longer has not answered.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Something that happened to a tenant, for its own systems.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// Whose.
    pub tenant_id: Uuid,
    /// A noun and a past participle, such as `tenant.provisioned`.
    pub event_type: &'a str,
    /// What makes it go to an endpoint once, among events of its type: for `tenant.provisioned` the run's id.
    pub key: &'a str,
    /// What happened, as a JSON object.
    pub data: serde_json::Value,
    /// Whether it is only written down.
    pub dry_run: bool,
}

/// What every endpoint of a tenant is told when a run completes.
pub const TENANT_PROVISIONED: &str = "tenant.provisioned";

/// A delivery's place in the outbox.
#[derive(Debug, Serialize, Deserialize)]
struct Queued {
    tenant_id: Uuid,
    delivery_id: Uuid,
}

/// Looks up the endpoints that an event goes to, and [`emit`]s it to them.
pub async fn announce(tx: &Tx, batch: &mut Batch, now: &Now, sealer: &Sealer, event: &Event<'_>) -> Result<(), DbErr> {
    let endpoints = subscribed(tx, event.tenant_id, event.event_type).await?;
    emit(batch, now, sealer, &endpoints, event);
    Ok(())
}

/// Writes one delivery down for each endpoint, and queues it unless this is a dry run. Wake the workers after the commit.
pub fn emit(batch: &mut Batch, now: &Now, sealer: &Sealer, endpoints: &[Uuid], event: &Event<'_>) {
    let timestamp = now.at.to_rfc3339_opts(SecondsFormat::Micros, true);
    let payload = json!({"type": event.event_type, "timestamp": timestamp, "data": event.data}).to_string();
    let deliveries: Vec<_> = endpoints
        .iter()
        .map(|endpoint_id| delivery::Model {
            tenant_id: event.tenant_id,
            id: now.id(),
            endpoint_id: *endpoint_id,
            event_type: event.event_type.to_owned(),
            event_key: format!("{}:{}", event.event_type, event.key),
            payload: payload.clone(),
            status: if event.dry_run { DeliveryStatus::DryRun } else { DeliveryStatus::Pending },
            attempts: 0,
            last_status_code: None,
            last_error: None,
            created_at: now.at,
            finished_at: event.dry_run.then_some(now.at),
        })
        .collect();
    if !event.dry_run {
        for delivery in &deliveries {
            let queued = Queued { tenant_id: event.tenant_id, delivery_id: delivery.id };
            outbox::enqueue(batch, sealer, now, Some(event.tenant_id), Kind::Webhook, &queued);
        }
    }
    batch.insert_all(deliveries);
}

/// What a try did to a delivery, for its log.
#[derive(Clone, Debug)]
pub struct Delivered {
    tenant_id: Uuid,
    delivery_id: Uuid,
    status_code: Option<u16>,
    error: Option<String>,
}

#[derive(FromQueryResult)]
struct Due {
    payload: String,
    url: String,
    secret: Vec<u8>,
    enabled: bool,
}

/// Tries a queued delivery once. What is answered beside the outcome goes to [`record`].
pub async fn send(app: &App, payload: &[u8]) -> (Outcome, Option<Delivered>) {
    let Queued { tenant_id, delivery_id } = match outbox::open(&app.sealer, payload) {
        Ok(queued) => queued,
        Err(error) => return (Outcome::Refused { error: chain(&error) }, None),
    };
    let due = match due(app.db.read(), tenant_id, delivery_id).await {
        Ok(Some(due)) => due,
        Ok(None) => return (Outcome::Refused { error: "its endpoint was deleted".into() }, None),
        Err(error) => return (Outcome::Retry { error: chain(&error), after: None }, None),
    };
    let (outcome, status_code) = judge(post(app, delivery_id, due).await);
    let error = match &outcome {
        Outcome::Done | Outcome::Kept => None,
        Outcome::Retry { error, .. } | Outcome::Refused { error } => Some(error.clone()),
    };
    (outcome, Some(Delivered { tenant_id, delivery_id, status_code, error }))
}

async fn due(db: &impl ConnectionTrait, tenant_id: Uuid, delivery_id: Uuid) -> Result<Option<Due>, DbErr> {
    let query = "select d.payload, e.url, e.secret, e.enabled from webhook_deliveries d \
                 join webhook_endpoints e on e.tenant_id = d.tenant_id and e.id = d.endpoint_id \
                 where d.tenant_id = $1 and d.id = $2";
    Due::find_by_statement(sql(db, query, [tenant_id.into(), delivery_id.into()])).one(db).await
}

/// Why a delivery was not even tried, or what came of it.
enum NotSent {
    /// No later try can succeed.
    Never(String),
    /// The call failed.
    Egress(EgressError),
}

async fn post(app: &App, delivery_id: Uuid, due: Due) -> Result<Answer, NotSent> {
    if !due.enabled {
        return Err(NotSent::Never("the endpoint is disabled".into()));
    }
    let url = due.url.parse().map_err(|error| NotSent::Never(format!("the endpoint's URL cannot be read: {error}")))?;
    let secret = open_secret(&app.sealer, &due.secret).map_err(|error| NotSent::Never(chain(&error)))?;
    let id = delivery_id.to_string();
    let message = Message { id: &id, timestamp: app.clock.now().at, body: &due.payload };
    post_signed(&app.egress, &url, &secret, message, TIMEOUT).await.map_err(NotSent::Egress)
}

/// What an answer means, and its status. A receiver's certificate or address can be put right, so only what we refuse
/// ourselves is final.
fn judge(answer: Result<Answer, NotSent>) -> (Outcome, Option<u16>) {
    match answer {
        Ok(answer) if (200..300).contains(&answer.status) => (Outcome::Done, Some(answer.status)),
        Ok(answer) if answer.status == GONE => {
            (Outcome::Refused { error: "the endpoint answered 410 Gone and is disabled".into() }, Some(GONE))
        }
        Ok(answer) => {
            let error = format!("the endpoint answered {}", answer.status);
            (Outcome::Retry { error, after: answer.retry_after }, Some(answer.status))
        }
        Err(NotSent::Never(error)) => (Outcome::Refused { error }, None),
        Err(NotSent::Egress(error @ (EgressError::Forbidden(_) | EgressError::Request { .. }))) => {
            (Outcome::Refused { error: error.to_string() }, None)
        }
        Err(NotSent::Egress(error)) => (Outcome::Retry { error: error.to_string(), after: None }, None),
    }
}

const GONE: u16 = 410;

/// Writes a try into the delivery's log, in the transaction that settles its outbox row, so the row's fence guards both.
pub async fn record(tx: &Tx, now: &Now, tried: &Delivered, settled: Status) -> Result<(), DbErr> {
    let (status, finished_at) = match settled {
        Status::Pending => ("pending", None),
        Status::Done => ("delivered", Some(now.at)),
        Status::Failed => ("failed", Some(now.at)),
    };
    let query = "update webhook_deliveries set status = $3, attempts = attempts + 1, last_status_code = $4, last_error = $5, \
                 finished_at = $6 where tenant_id = $1 and id = $2";
    let code = tried.status_code.map(i64::from);
    let values = [
        tried.tenant_id.into(),
        tried.delivery_id.into(),
        status.into(),
        code.into(),
        tried.error.clone().into(),
        finished_at.into(),
    ];
    tx.execute_raw(sql(tx, query, values)).await?;
    if tried.status_code == Some(GONE) {
        let query = "update webhook_endpoints set enabled = false, updated_at = $3 where tenant_id = $1 and id = \
                     (select endpoint_id from webhook_deliveries where tenant_id = $1 and id = $2)";
        tx.execute_raw(sql(tx, query, [tried.tenant_id.into(), tried.delivery_id.into(), now.at.into()])).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16) -> (Outcome, Option<u16>) {
        judge(Ok(Answer { status, body: Vec::new(), retry_after: Some(Duration::from_secs(9)) }))
    }

    #[test]
    fn two_hundreds_are_delivered_gone_is_final_and_the_rest_is_tried_again() {
        for status in [200, 202, 204, 299] {
            assert_eq!(answer(status), (Outcome::Done, Some(status)));
        }
        assert!(matches!(answer(410), (Outcome::Refused { .. }, Some(410))));
        for status in [301, 400, 404, 429, 500, 503] {
            let after = Some(Duration::from_secs(9));
            let error = format!("the endpoint answered {status}");
            assert_eq!(answer(status), (Outcome::Retry { error, after }, Some(status)));
        }
    }

    #[test]
    fn what_we_refuse_ourselves_is_final() {
        let judged = |error| judge(Err(NotSent::Egress(error))).0;
        let timeout = EgressError::Timeout { after: TIMEOUT };
        assert!(matches!(judged(timeout), Outcome::Retry { after: None, .. }));
        assert!(matches!(judged(EgressError::Tls { reason: "expired".into() }), Outcome::Retry { .. }));
        let forbidden = EgressError::Forbidden(crate::egress::UrlRefused::Address("loopback"));
        assert!(matches!(judged(forbidden), Outcome::Refused { .. }));
        assert!(matches!(judge(Err(NotSent::Never("disabled".into()))).0, Outcome::Refused { .. }));
    }
}
