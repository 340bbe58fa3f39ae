//! Delays after wrong tries, kept for every replica in the table `attempts` (OWASP, Authentication Cheat Sheet, "Account Lockout").
//!
//! A try is counted before it is known whether it is right, by one conditional write, so that tries at the same time cannot slip
//! through together; a right one forgives those before it. Nobody is locked out: whoever waits long enough may try again, and a stranger cannot hold
//! up the owner of an account, for tries from a network that the account was used from are delayed by what came from there alone.
//! What is counted is named by keyed hashes, so the table tells nothing of who was tried.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use ipnet::IpNet;
use sea_orm::{ConnectionTrait, DbErr};
use uuid::Uuid;

use super::Error;
use crate::{
    app::App,
    clock::Now,
    db::{Tx, sql},
    http,
    seal::Sealer,
};

/// After so long without a try, wrong ones are forgotten.
pub const QUIET: TimeDelta = TimeDelta::hours(1);
/// A network that an account had a session from so recently is its owner's.
const FAMILIAR: TimeDelta = TimeDelta::days(90);
const PURPOSE: &str = "attempts";

/// How fast wrong tries may follow each other: after the first few the wait doubles, from one second.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Tries without a wait between them.
    pub free: i64,
    /// The longest wait.
    pub longest: TimeDelta,
}

impl Pace {
    /// Of an account from one network.
    pub const NEAR: Self = Self { free: 5, longest: TimeDelta::minutes(15) };
    /// Of letters to an address that did not ask for them itself, whoever has them sent.
    pub const LETTERS: Self = Self { free: 3, longest: TimeDelta::minutes(15) };
    /// Of an account from everywhere, so that many networks together do not get far either.
    pub const FAR: Self = Self { free: 20, longest: TimeDelta::seconds(10) };

    fn wait_after(&self, tries: i64) -> TimeDelta {
        match tries - self.free {
            ..0 => TimeDelta::zero(),
            doublings => TimeDelta::seconds(1 << doublings.min(30)).min(self.longest),
        }
    }
}

/// What is counted together.
#[derive(Clone, Debug)]
pub struct Counter {
    key: Vec<u8>,
    pace: Pace,
}

impl Counter {
    /// `kind` says what is tried, such as `totp`; `parts` say of whom, and from where.
    pub fn new(sealer: &Sealer, pace: Pace, kind: &str, parts: &[&str]) -> Self {
        // As JSON, for what was typed could hold any sign that stood between the parts.
        let name = serde_json::json!([kind, parts]).to_string();
        Self { key: sealer.mac(PURPOSE, name.as_bytes()).to_vec(), pace }
    }
}

/// Counts a try, before anything is known of it; the caller commits.
///
/// # Errors
/// [`Error::TooManyTries`], after which the caller rolls back, and tries nothing.
pub async fn begin(tx: &Tx, now: &Now, counter: &Counter) -> Result<(), Error> {
    let count = "insert into attempts (key, failures, free_at, updated_at) values ($1, 1, $2, $2) on conflict (key) do update \
                 set failures = case when attempts.updated_at > $3 then attempts.failures + 1 else 1 end, updated_at = $2 \
                 where attempts.free_at <= $2 returning failures";
    let values = [counter.key.clone().into(), now.at.into(), (now.at - QUIET).into()];
    let Some(row) = tx.query_one_raw(sql(tx, count, values)).await? else {
        let retry_after = wait(tx, now, counter).await?;
        return Err(Error::TooManyTries { retry_after });
    };
    let wait = counter.pace.wait_after(row.try_get("", "failures")?);
    if !wait.is_zero() {
        // The row is ours until the transaction ends.
        let hold = "update attempts set free_at = $2 where key = $1";
        tx.execute_raw(sql(tx, hold, [counter.key.clone().into(), (now.at + wait).into()])).await?;
    }
    Ok(())
}

/// How long the next try has to wait.
async fn wait(tx: &Tx, now: &Now, counter: &Counter) -> Result<Duration, DbErr> {
    let query = "select free_at from attempts where key = $1";
    let row = tx.query_one_raw(sql(tx, query, [counter.key.clone().into()])).await?;
    let free_at: Option<DateTime<Utc>> = row.map(|row| row.try_get("", "free_at")).transpose()?;
    Ok(free_at.and_then(|at| (at - now.at).to_std().ok()).unwrap_or_default())
}

/// Forgets the tries before the one that was right.
pub async fn forgive(tx: &Tx, counter: &Counter) -> Result<(), DbErr> {
    let delete = "delete from attempts where key = $1";
    tx.execute_raw(sql(tx, delete, [counter.key.clone().into()])).await.map(drop)
}

/// Something that only one user has, such as the second factor, and that is tried by whoever has come so far as to be asked for it.
#[derive(Clone, Debug)]
pub struct UserTry(Counter);

impl UserTry {
    /// Of this user; `kind` as in [`Counter::new`].
    pub fn of(sealer: &Sealer, kind: &str, user_id: Uuid) -> Self {
        Self(Counter::new(sealer, Pace::NEAR, kind, &[&user_id.to_string()]))
    }

    /// Counts one in a transaction of its own, so that a wrong one stays counted, unless rate limits are off.
    ///
    /// # Errors
    /// [`Error::TooManyTries`].
    pub async fn begin(&self, app: &App) -> Result<(), Error> {
        if !app.config.rate_limit.enabled {
            return Ok(());
        }
        let tx = app.db.begin().await?;
        begin(&tx, &app.clock.now(), &self.0).await?;
        Ok(tx.commit().await?)
    }

    /// It was right.
    pub async fn forgive(&self, tx: &Tx) -> Result<(), DbErr> {
        forgive(tx, &self.0).await
    }
}

/// A password that is tried for an address, known or not, from a network.
#[derive(Clone, Debug)]
pub struct PasswordTry {
    near: Counter,
    far: Counter,
    address: String,
    network: IpNet,
}

impl PasswordTry {
    /// Counts one, unless rate limits are off. What is right ends with [`PasswordTry::forgive`].
    ///
    /// # Errors
    /// [`Error::TooManyTries`].
    pub async fn begin(app: &App, address: &str, network: IpNet) -> Result<Option<Self>, Error> {
        if !app.config.rate_limit.enabled {
            return Ok(None);
        }
        let address = address.trim().to_ascii_lowercase();
        let near = Counter::new(&app.sealer, Pace::NEAR, "password", &[&address, &network.to_string()]);
        let far = Counter::new(&app.sealer, Pace::FAR, "password", &[&address]);
        let tried = Self { near, far, address, network };
        let now = app.clock.now();
        let tx = app.db.begin().await?;
        begin(&tx, &now, &tried.near).await?;
        match begin(&tx, &now, &tried.far).await {
            Err(Error::TooManyTries { .. }) if tried.is_familiar(&tx, &now).await? => {}
            counted => counted?,
        }
        tx.commit().await?;
        Ok(Some(tried))
    }

    /// Whether the account has had a session from this network.
    async fn is_familiar(&self, tx: &Tx, now: &Now) -> Result<bool, DbErr> {
        let query = "select distinct s.ip from sessions s join users u on u.id = s.user_id \
                     where u.email = $1 and s.last_used_at > $2 and s.ip is not null";
        let values = [self.address.as_str().into(), (now.at - FAMILIAR).into()];
        for row in tx.query_all_raw(sql(tx, query, values)).await? {
            let ip: String = row.try_get("", "ip")?;
            if ip.parse().is_ok_and(|ip| http::network(ip) == self.network) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// It was right.
    pub async fn forgive(tried: Option<Self>, tx: &Tx) -> Result<(), DbErr> {
        let Some(Self { near, far, .. }) = tried else { return Ok(()) };
        forgive(tx, &near).await?;
        forgive(tx, &far).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_after_the_free_tries_up_to_the_longest() {
        let waits = |pace: Pace, tries: &[i64]| {
            tries.iter().map(|tries| pace.wait_after(*tries).num_seconds()).collect::<Vec<_>>()
        };
        assert_eq!(waits(Pace::NEAR, &[1, 4, 5, 6, 7, 14, 15, 99, i64::MAX]), [0, 0, 1, 2, 4, 512, 900, 900, 900]);
        assert_eq!(waits(Pace::FAR, &[1, 19, 20, 23, 24, 9999]), [0, 0, 1, 8, 10, 10]);
    }

    #[test]
    fn counters_differ_by_kind_by_whom_and_by_where() {
        let sealer = Sealer::new(&"a secret of at least 32 characters".into(), None);
        let key = |kind: &str, parts: &[&str]| Counter::new(&sealer, Pace::NEAR, kind, parts).key;
        let keys = [
            key("totp", &["a"]),
            key("password", &["a"]),
            key("password", &["a", "b"]),
            key("password", &["ab"]),
            key("password", &["a\nb"]),
            key("password", &["a\",\"b"]),
        ];
        for (n, one) in keys.iter().enumerate() {
            assert!(keys[..n].iter().all(|other| other != one));
        }
    }
}
