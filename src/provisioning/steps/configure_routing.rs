//! `configure_routing`: the tenant's hostname leads to it.

use sea_orm::{ConnectionTrait, DbErr};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Outcome;
use crate::{
    clock::Now,
    db::{Tx, sql},
    provisioning::store::Subject,
};

pub(super) async fn run(tx: &Tx, now: &Now, subject: &Subject, base_domain: &str) -> Result<Option<Value>, Outcome> {
    let hostname = format!("{}.{base_domain}", subject.slug);
    let text = "insert into tenant_hostnames (hostname, tenant_id, is_primary, created_at) values ($1, $2, \
                not exists (select 1 from tenant_hostnames where tenant_id = $2 and is_primary), $3) \
                on conflict (hostname) do nothing";
    let values = [hostname.clone().into(), subject.tenant_id.into(), now.at.into()];
    let created = tx.execute_raw(sql(tx, text, values)).await?.rows_affected() == 1;
    if !created && owner(tx, &hostname).await? != Some(subject.tenant_id) {
        return Err(Outcome::Fail(format!("the hostname {hostname} belongs to another tenant; choose another slug")));
    }
    Ok(Some(json!({"hostname": hostname, "created": created})))
}

async fn owner(tx: &Tx, hostname: &str) -> Result<Option<Uuid>, DbErr> {
    let text = "select tenant_id from tenant_hostnames where hostname = $1";
    let row = tx.query_one_raw(sql(tx, text, [hostname.into()])).await?;
    row.map(|row| row.try_get("", "tenant_id")).transpose()
}

/// Removes the hostname, where this run has made it.
pub(super) async fn undo(tx: &Tx, tenant_id: Uuid, output: Option<&Value>) -> Result<(), DbErr> {
    let Some(output) = output.filter(|output| output["created"] == true) else { return Ok(()) };
    let hostname = output["hostname"].as_str().unwrap_or_default();
    let text = "delete from tenant_hostnames where hostname = $1 and tenant_id = $2";
    tx.execute_raw(sql(tx, text, [hostname.into(), tenant_id.into()])).await.map(drop)
}
