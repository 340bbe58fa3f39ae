//! One trial a person (B3, X4): an address's family has one, however it is spelled.
//!
//! A card is not asked for a trial, so there is nothing of it to remember. What is kept is a keyed hash, which outlives the tenant; only the janitor
//! forgets it, with a sign-up that was never finished.

use sea_orm::{ConnectionTrait, DbErr};
use uuid::Uuid;

use crate::{
    clock::Now,
    db::{Tx, sql},
    identity::email::Email,
    seal::Sealer,
};

const PURPOSE: &str = "trial";

/// Takes the trial of an address's family for a tenant, which may take it again. Of several who take it at once one does; false where it is another's.
pub async fn take(tx: &Tx, now: &Now, sealer: &Sealer, email: &Email, tenant_id: Uuid) -> Result<bool, DbErr> {
    let id = sealer.mac(PURPOSE, family(email).as_bytes()).to_vec();
    let insert = "insert into trial_claims (id, tenant_id, created_at) values ($1, $2, $3) \
                  on conflict (id) do update set tenant_id = excluded.tenant_id \
                  where trial_claims.tenant_id = excluded.tenant_id returning id";
    let taken = tx.query_one_raw(sql(tx, insert, [id.into(), tenant_id.into(), now.at.into()])).await?;
    Ok(taken.is_some())
}

/// Gives a tenant's trial back: it was never there.
pub async fn give_back(tx: &Tx, tenant_id: Uuid) -> Result<(), DbErr> {
    tx.execute_raw(sql(tx, "delete from trial_claims where tenant_id = $1", [tenant_id.into()])).await.map(drop)
}

/// What all spellings of a mailbox have in common: without what stands behind a `+`, and at Gmail without dots and under one name.
fn family(email: &Email) -> String {
    let (local, domain) = email.as_str().rsplit_once('@').unwrap_or((email.as_str(), ""));
    let local = local.split_once('+').map_or(local, |(before, _)| before);
    match domain {
        "gmail.com" | "googlemail.com" => format!("{}@gmail.com", local.replace('.', "")),
        _ => format!("{local}@{domain}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_a_mailbox_are_one_family_and_others_are_not() {
        let family = |address: &str| family(&Email::parse(address).unwrap());
        for (one, other) in
            [("ada@example.com", "ADA+trial2@example.com"), ("ada.lovelace@gmail.com", "adalovelace+x@googlemail.com")]
        {
            assert_eq!(family(one), family(other));
        }
        for (one, other) in [
            ("ada@example.com", "ada@example.org"),
            ("ada.lovelace@example.com", "adalovelace@example.com"),
            ("ada@example.com", "adb@example.com"),
        ] {
            assert_ne!(family(one), family(other));
        }
    }
}
