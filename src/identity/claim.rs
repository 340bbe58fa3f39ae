//! Proving an address that somebody else may have registered first (account pre-hijacking; Sudhodanan and Paverd, USENIX Security 2022).
//!
//! Whoever registers with a stranger's address can set a password, open sessions, link identities and point webhooks at themselves, and wait
//! for the stranger. So whoever is the first to prove the address, and shows neither a session of the account nor its password,
//! ends all of that.

use sea_orm::{ConnectionTrait, DbErr};
use uuid::Uuid;

use super::{Error, email::Email, one_time::Consumed, sessions};
use crate::{
    clock::Now,
    db::{Batch, Tx, sql},
    mail::{Post, letters::security},
};

/// What becomes of what was there before an address is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// It stays: whoever proves the address has shown that it is theirs.
    Stays,
    /// It ends.
    Ends,
}

/// Whether what was there before the address is proved would end, because a password or a sign-in method could be somebody else's.
pub async fn is_due(db: &impl ConnectionTrait, user_id: Uuid) -> Result<bool, DbErr> {
    let query = "select 1 as one from users u where u.id = $1 and u.email_verified_at is null \
         and (u.password_hash is not null or exists (select 1 from oauth_identities i where i.user_id = u.id))";
    Ok(db.query_one_raw(sql(db, query, [user_id.into()])).await?.is_some())
}

/// Ends whatever came before the address was proved: password, sessions, sign-up tokens, links, identities and second factor; and of the
/// tenants that the user owns the webhooks, open invites, other members, and the address that invoices go to. All of that a stranger may have put
/// there. Answers whether anything was to be ended; once the address is proved, nothing is. Call it before
/// the proof is written down.
pub async fn claim(tx: &Tx, now: &Now, user_id: Uuid) -> Result<bool, DbErr> {
    let user = "update users set password_hash = null, claimed_at = $2, updated_at = $2 \
                where id = $1 and email_verified_at is null returning id";
    if tx.query_one_raw(sql(tx, user, [user_id.into(), now.at.into()])).await?.is_none() {
        return Ok(false);
    }
    sessions::end_others(tx, now, user_id, None, "address_claimed").await?;
    let links = "update one_time_tokens set used_at = $2 where user_id = $1 and used_at is null";
    tx.execute_raw(sql(tx, links, [user_id.into(), now.at.into()])).await?;
    for of_user in [
        "delete from oauth_identities where user_id = $1",
        "delete from totp_factors where user_id = $1",
        "delete from recovery_codes where user_id = $1",
    ] {
        tx.execute_raw(sql(tx, of_user, [user_id.into()])).await?;
    }
    let owned = "(select o.tenant_id from memberships o where o.user_id = $1 and o.role = 'owner')";
    for of_tenants in [
        format!("update webhook_endpoints set enabled = false, updated_at = $2 where tenant_id in {owned}"),
        format!(
            "update invites set revoked_at = $2 where tenant_id in {owned} and accepted_at is null and revoked_at is null"
        ),
        format!(
            "update tenants set billing_email = (select u.email from users u where u.id = $1), updated_at = $2 where id in {owned}"
        ),
        format!(
            "update users set left_last_tenant_at = $2 where id <> $1 \
             and exists (select 1 from memberships m where m.user_id = users.id and m.tenant_id in {owned}) \
             and not exists (select 1 from memberships m where m.user_id = users.id and m.tenant_id not in {owned})"
        ),
        format!("delete from memberships where user_id <> $1 and created_at <= $2 and tenant_id in {owned}"),
    ] {
        tx.execute_raw(sql(tx, &of_tenants, [user_id.into(), now.at.into()])).await?;
    }
    Ok(true)
}

/// As [`claim`], and tells the user at the address that is theirs.
pub(super) async fn claim_openly(tx: &Tx, now: &Now, post: &Post, user_id: Uuid, email: &Email) -> Result<bool, Error> {
    if !claim(tx, now, user_id).await? {
        return Ok(false);
    }
    let mut batch = Batch::default();
    post.queue(&mut batch, now, None, &security::address_claimed(&post.public_url, email));
    batch.send(tx).await?;
    Ok(true)
}

/// As [`claim_openly`], where `before` is to end with a mailed link.
pub(super) async fn by_link(tx: &Tx, now: &Now, post: &Post, used: &Consumed, before: Before) -> Result<bool, Error> {
    match (before, Email::parse(&used.email)) {
        (Before::Ends, Ok(email)) => claim_openly(tx, now, post, used.user_id, &email).await,
        _ => Ok(false),
    }
}
