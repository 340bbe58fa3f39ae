//! Removing a tenant whole, and with it whoever belongs to no other.

use sea_orm::{ConnectionTrait, DbErr};
use serde_json::json;
use uuid::Uuid;

use crate::{
    audit,
    clock::Now,
    db::{Batch, Tx, sql},
};

/// Holds a tenant's users until the transaction ends; `lock` is what the query ends with. The tenant is held after them, as everybody does who
/// goes on with it.
pub async fn hold_users(tx: &Tx, tenant_id: Uuid, lock: &str) -> Result<Vec<Uuid>, DbErr> {
    let query = format!(
        "select id from users where id in (select user_id from memberships where tenant_id = $1) order by id{lock}"
    );
    let rows = tx.query_all_raw(sql(tx, &query, [tenant_id.into()])).await?;
    rows.iter().map(|row| row.try_get("", "id")).collect()
}

/// Removes a tenant, with everything that is of it, and those of its `users` who have no other. The log keeps what it knew of it, and that it went.
/// Answers how many users went. What is paid for elsewhere has to have ended before.
pub async fn erase(
    tx: &Tx,
    now: &Now,
    (tenant_id, slug): (Uuid, &str),
    users: &[Uuid],
    (actor, action): (audit::Actor, &'static str),
) -> Result<u64, DbErr> {
    // Everything of a tenant goes with it, by foreign key.
    tx.execute_raw(sql(tx, "delete from tenants where id = $1", [tenant_id.into()])).await?;
    let mut users_removed = 0;
    for user_id in users {
        let text = "delete from users where id = $1 and not is_platform_admin \
                    and not exists (select 1 from memberships where user_id = $1)";
        users_removed += tx.execute_raw(sql(tx, text, [(*user_id).into()])).await?.rows_affected();
    }
    let mut batch = Batch::default();
    let detail = json!({"slug": slug, "users_removed": users_removed});
    let event = audit::Event { actor, tenant_id: Some(tenant_id), action, request_id: None, detail };
    audit::append(&mut batch, now, event);
    batch.send(tx).await.map_err(|refused| refused.source)?;
    Ok(users_removed)
}
