//! Recovery codes: the way in for somebody whose authenticator is gone. Ten at a time, each good once, kept as keyed hashes.

use sea_orm::{ConnectionTrait, DbErr};
use uuid::Uuid;

use crate::{
    clock::Now,
    db::{Batch, Tx, sql},
    identity::{Error, codes, store::recovery_code},
    seal::Sealer,
};

/// How many are made.
const AT_ONCE: usize = 10;
/// Letters of each: 51 bits.
const LENGTH: usize = 12;
const PURPOSE: &str = "recovery_code";

/// What is hashed: a code is good for its owner alone.
fn of(user_id: Uuid, code: &str) -> Vec<u8> {
    [user_id.as_bytes(), code.as_bytes()].concat()
}

/// Makes new ones in place of those that were there. They are shown now, and never again.
pub(super) async fn replace(tx: &Tx, now: &Now, sealer: &Sealer, user_id: Uuid) -> Result<Vec<String>, Error> {
    forget(tx, user_id).await?;
    let codes: Vec<String> = (0..AT_ONCE).map(|_| codes::draw(now, LENGTH)).collect();
    let mut batch = Batch::default();
    batch.insert_all(codes.iter().map(|code| recovery_code::Model {
        user_id,
        code_hash: sealer.mac(PURPOSE, &of(user_id, code)).to_vec(),
        used_at: None,
        created_at: now.at,
    }));
    batch.send(tx).await?;
    Ok(codes.iter().map(|code| codes::in_fours(code, "-")).collect())
}

/// Uses one up; answers how many are left, or nothing where it is not one that could be used.
pub(super) async fn spend(
    tx: &Tx,
    now: &Now,
    sealer: &Sealer,
    user_id: Uuid,
    code: &str,
) -> Result<Option<i64>, DbErr> {
    if code.len() != LENGTH {
        return Ok(None);
    }
    // Each is compared, for those made before the secret key was last replaced have the hash of the one before.
    let query = "select code_hash from recovery_codes where user_id = $1 and used_at is null";
    let kept = tx.query_all_raw(sql(tx, query, [user_id.into()])).await?;
    let kept = kept.iter().map(|row| row.try_get("", "code_hash")).collect::<Result<Vec<Vec<u8>>, _>>()?;
    let data = of(user_id, code);
    let Some(hash) = kept.into_iter().find(|hash| sealer.verify_mac(PURPOSE, &data, hash)) else { return Ok(None) };
    let update = "update recovery_codes set used_at = $1 where user_id = $2 and code_hash = $3 and used_at is null \
         returning code_hash";
    let values = [now.at.into(), user_id.into(), hash.into()];
    match tx.query_one_raw(sql(tx, update, values)).await? {
        Some(_) => left(tx, user_id).await.map(Some),
        None => Ok(None),
    }
}

/// How many can be used.
pub(super) async fn left(db: &impl ConnectionTrait, user_id: Uuid) -> Result<i64, DbErr> {
    let query = "select count(*) as n from recovery_codes where user_id = $1 and used_at is null";
    let row = db.query_one_raw(sql(db, query, [user_id.into()])).await?;
    row.map_or(Ok(0), |row| row.try_get("", "n"))
}

/// Forgets all of a user's.
pub(super) async fn forget(tx: &Tx, user_id: Uuid) -> Result<(), DbErr> {
    tx.execute_raw(sql(tx, "delete from recovery_codes where user_id = $1", [user_id.into()])).await.map(drop)
}
