//! `seed_defaults`: a welcome post and a sample fixture.

use serde_json::Value;

use super::Outcome;
use crate::{
    clock::Now,
    content::{self, Newcomer},
    db::Tx,
    provisioning::held::Held,
};

pub(super) async fn run(tx: &Tx, now: &Now, held: &Held) -> Result<Option<Value>, Outcome> {
    let subject = &held.subject;
    tracing::info!(
        feature = "provision",
        tenant_id = %subject.tenant_id,
        plan = held.plan,
        step = "seed_defaults",
        "Seeding default content"
    );
    let newcomer = Newcomer { tenant_id: subject.tenant_id, name: &subject.name, since: subject.created_at };
    content::seed(tx, now, newcomer).await?;
    Ok(None)
}
