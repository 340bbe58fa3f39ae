//! `deploy_automations`: the plan's outbound-webhook subscriptions.

use sea_orm::{ConnectionTrait, DbErr};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Outcome;
use crate::{
    clock::Now,
    db::{Tx, sql},
    provisioning::{Blueprint, held::Held},
    webhooks,
};

pub(super) async fn run(tx: &Tx, now: &Now, held: &Held) -> Result<Option<Value>, Outcome> {
    let text = "select blueprint from plans where slug = $1";
    let row = tx.query_one_raw(sql(tx, text, [held.plan.clone().into()])).await?;
    let Some(row) = row else { return Err(Outcome::Fail(format!("there is no plan {} any more", held.plan))) };
    let blueprint = Blueprint::parse(&row.try_get("", "blueprint")?);
    let blueprint =
        blueprint.map_err(|error| Outcome::Fail(format!("the plan's blueprint cannot be read: {error}")))?;
    let wanted = blueprint.automations.iter().map(|planned| (&*planned.name, &*planned.event_type));
    let created = webhooks::deploy_automations(tx, now, held.subject.tenant_id, wanted).await?;
    Ok(Some(json!({ "created": created })))
}

#[derive(Default, Deserialize)]
struct Output {
    created: Vec<Uuid>,
}

/// Removes the automations that this run has made.
pub(super) async fn undo(tx: &Tx, tenant_id: Uuid, output: Option<&Value>) -> Result<(), DbErr> {
    let output = output.and_then(|output| Output::deserialize(output).ok()).unwrap_or_default();
    webhooks::remove_automations(tx, tenant_id, &output.created).await
}
