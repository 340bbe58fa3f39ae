//! The smoke test of a running server, over HTTP alone.
//!
//! It does what two customers would: sign up, brand, set up, and look at their storefront; and what it must be safe from:
//! repeats, taken names and forged tokens. Everything it makes is named `preflight-…` with chance in it, so that it can run
//! again and again, on production too.

mod checks;
mod client;

use std::{future::Future, time::Duration};

use secrecy::SecretString;
use serde::Serialize;
use tokio::time::{Instant, timeout};
use url::Url;

use crate::clock::Now;
use checks::Session;
use client::{Client, Failed};

/// The server to examine, and how.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it is; a path is kept.
    pub base_url: Url,
    /// The webhook that the tenants give; one that exists at no customer's where unset.
    pub webhook_url: Option<Url>,
    /// Checks the admin API too.
    pub admin_token: Option<SecretString>,
    /// The most that one check may take.
    pub timeout: Duration,
}

/// What happens meanwhile.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A check of this name begins.
    Began(&'a str),
    /// It has ended.
    Ended(&'a Checked),
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should be.
    Passed,
    /// Not as it should be.
    Failed,
}

/// A check that was made.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// What was checked.
    pub name: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub duration_ms: u64,
    /// What was seen.
    pub detail: String,
}

/// All that was checked.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The server.
    pub base_url: Url,
    /// Whether every check passed.
    pub passed: bool,
    /// Whether nothing could be checked, because nobody answered.
    pub unreachable: bool,
    /// How long it took in all.
    pub duration_ms: u64,
    /// The checks in the order in which they were made.
    pub checks: Vec<Checked>,
}

/// Examines a server, one check after the other. A server that is not ready is not examined further.
///
/// # Errors
/// The HTTP client could not be set up.
pub async fn examine(target: &Target, now: &Now, mut tell: impl FnMut(Event<'_>)) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let client = Client::new(&target.base_url, target.timeout)?;
    let mut session = Session::new(client, target, now);
    let mut checks = Vec::new();
    let mut check = Check { limit: target.timeout, tell: &mut tell, checks: &mut checks };
    let ready = check.run("ready", session.ready()).await;
    let unreachable = matches!(ready, Err(Failed { unreachable: true, .. }));
    if ready.is_ok() {
        check.run("starter", session.starter()).await.ok();
        check.run("idempotency", session.idempotency()).await.ok();
        check.run("pro", session.pro()).await.ok();
        check.run("slug_collision", session.slug_collision()).await.ok();
        check.run("invalid_token", session.invalid_token()).await.ok();
        if let Some(token) = &target.admin_token {
            check.run("admin", session.admin(token)).await.ok();
        }
    }
    let passed = checks.iter().all(|check| check.outcome == Outcome::Passed);
    Ok(Report { base_url: target.base_url.clone(), passed, unreachable, duration_ms: millis(begun), checks })
}

/// Makes checks, and keeps how they ended.
struct Check<'a, T> {
    limit: Duration,
    tell: &'a mut T,
    checks: &'a mut Vec<Checked>,
}

impl<T: FnMut(Event<'_>)> Check<'_, T> {
    async fn run(
        &mut self,
        name: &'static str,
        check: impl Future<Output = Result<String, Failed>>,
    ) -> Result<(), Failed> {
        (self.tell)(Event::Began(name));
        let begun = Instant::now();
        let late = || Err(Failed::new(format!("not done after {}", humantime::format_duration(self.limit))));
        let ended = timeout(self.limit, check).await.unwrap_or_else(|_| late());
        let (outcome, detail) = match &ended {
            Ok(detail) => (Outcome::Passed, detail.clone()),
            Err(failed) => (Outcome::Failed, failed.why.clone()),
        };
        let checked = Checked { name, outcome, duration_ms: millis(begun), detail };
        (self.tell)(Event::Ended(&checked));
        self.checks.push(checked);
        ended.map(drop)
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
