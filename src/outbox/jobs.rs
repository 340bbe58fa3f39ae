//! The worker that empties the outbox.

use std::time::Duration;

use chrono::TimeDelta;
use sea_orm::DbErr;
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{
    Outcome,
    store::{self, Claimed, Kind, Settled, Status},
};
use crate::{
    app::App,
    billing,
    clock::Now,
    db::failpoint,
    mail,
    telemetry::traces::span,
    webhooks::{self, deliver::Delivered},
};

/// Rows at a time. They wait for other machines, so there may be more of them than cores.
const CONCURRENCY: usize = 16;
/// A worker that is silent for so long has lost its rows.
const LEASE: TimeDelta = TimeDelta::seconds(60);
/// One try, well within the lease.
const TRY: Duration = Duration::from_secs(30);
/// What is being tried when the process stops has so long to end.
const GRACE: Duration = Duration::from_secs(5);
/// The pause after the database did not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// Works until `stop`, then lets what is being tried end, or gives it back.
pub async fn run(app: App, stop: CancellationToken) {
    if !app.mailer.is_configured() {
        tracing::warn!(feature = "mail", "No SMTP server is configured (TENANTRY_SMTP__URL): mails wait in the outbox");
    }
    let hurry = CancellationToken::new();
    let mut running = JoinSet::new();
    while !stop.is_cancelled() {
        // Taken before looking, so that a commit in between is not slept through.
        let woken = app.wake.woken();
        let wait = fill(&app, &mut running, &hurry).await.unwrap_or_else(|error| {
            tracing::warn!(feature = "outbox", %error, "Could not look for work");
            PAUSE
        });
        tokio::select! {
            () = stop.cancelled() => {}
            () = woken => {}
            () = tokio::time::sleep(wait) => {}
            Some(ended) = running.join_next() => ended.unwrap_or_else(|error| log_panic(&error)),
        }
    }
    if timeout(GRACE, drain(&mut running)).await.is_err() {
        hurry.cancel();
        drain(&mut running).await;
    }
}

async fn drain(running: &mut JoinSet<()>) {
    while let Some(ended) = running.join_next().await {
        ended.unwrap_or_else(|error| log_panic(&error));
    }
}

fn log_panic(error: &tokio::task::JoinError) {
    tracing::error!(feature = "outbox", %error, "A try ended badly; its lease will hand the row on");
}

/// Starts what is due and fits in; answers how long there is nothing to do.
async fn fill(app: &App, running: &mut JoinSet<()>, hurry: &CancellationToken) -> Result<Duration, DbErr> {
    let poll = app.config.worker.poll;
    let free = CONCURRENCY.saturating_sub(running.len());
    if free == 0 {
        return Ok(poll);
    }
    let mails = app.mailer.is_configured();
    let now = app.clock.now();
    match store::next_due(app.db.read(), mails).await? {
        None => return Ok(poll),
        Some(due) if due > now.at => return Ok((due - now.at).to_std().unwrap_or_default().min(poll)),
        Some(_) => {}
    }
    let limit = i64::try_from(free).unwrap_or(i64::MAX);
    let tx = app.db.begin().await?;
    let claimed = store::claim(&tx, &now, mails, limit, LEASE).await?;
    tx.commit().await?;
    // Another worker may have been faster; it is not asked again at once.
    let wait = if claimed.is_empty() { poll } else { Duration::ZERO };
    for row in claimed {
        let span = span!("outbox_try", kind = row.kind.as_str(), id = %row.id, attempt = row.attempts);
        running.spawn(work(app.clone(), row, hurry.clone()).instrument(span));
    }
    Ok(wait)
}

/// One try: no transaction is open while the other side is waited for.
async fn work(app: App, row: Claimed, hurry: CancellationToken) {
    let tried = tokio::select! {
        tried = timeout(TRY, attempt(&app, &row)) => tried.unwrap_or_else(|_| Tried {
            outcome: Outcome::Retry { error: format!("took longer than {} s", TRY.as_secs()), after: None },
            delivered: None,
        }),
        () = hurry.cancelled() => {
            let released = give_back(&app, &row).await;
            return report(&row, "released", None, released);
        }
    };
    let now = app.clock.now();
    let (name, settled) = verdict(&now, &row, tried.outcome);
    let error = settled.error.clone();
    let recorded = settle(&app, &now, &row, settled, tried.delivered).await;
    report(&row, name, error.as_deref(), recorded);
}

/// What came of a try, and what a webhook's receiver said.
struct Tried {
    outcome: Outcome,
    delivered: Option<Delivered>,
}

async fn attempt(app: &App, row: &Claimed) -> Tried {
    if super::backoff::is_exhausted(row.kind, row.attempts) {
        let error = "tried too often without ever ending".to_owned();
        return Tried { outcome: Outcome::Refused { error }, delivered: None };
    }
    let payload = row.payload.as_deref().unwrap_or_default();
    match row.kind {
        Kind::Mail => Tried { outcome: mail::send(app, row.id, payload).await, delivered: None },
        Kind::StripeEvent => Tried { outcome: billing::stripe::inbox::process(app, payload).await, delivered: None },
        Kind::SandboxEvent => Tried { outcome: billing::sandbox::deliver(app, payload).await, delivered: None },
        Kind::Webhook => {
            let (outcome, delivered) = webhooks::deliver::send(app, payload).await;
            Tried { outcome, delivered }
        }
    }
}

/// Records a try under its fence; with it, in one transaction, what a webhook's receiver said.
async fn settle(
    app: &App,
    now: &Now,
    row: &Claimed,
    settled: Settled,
    delivered: Option<Delivered>,
) -> Result<bool, DbErr> {
    failpoint("outbox::tried")?;
    let status = settled.status;
    let tx = app.db.begin().await?;
    if !store::settle(&tx, row, settled).await? {
        return Ok(false);
    }
    if let Some(delivered) = delivered {
        webhooks::deliver::record(&tx, now, &delivered, status).await?;
    }
    tx.commit().await?;
    Ok(true)
}

/// What an outcome means for the row, in a word and in columns.
fn verdict(now: &Now, row: &Claimed, outcome: Outcome) -> (&'static str, Settled) {
    let ended = |status, keeps_payload, error| Settled {
        status,
        keeps_payload,
        due_at: now.at,
        error,
        finished_at: Some(now.at),
    };
    match outcome {
        Outcome::Done => ("done", ended(Status::Done, false, None)),
        Outcome::Kept => ("done", ended(Status::Done, true, None)),
        Outcome::Refused { error } => ("failed", ended(Status::Failed, false, Some(error))),
        Outcome::Retry { error, after } => match super::backoff::pause(row.kind, row.attempts, now.fraction(), after) {
            None => ("failed", ended(Status::Failed, false, Some(error))),
            Some(pause) => {
                let due_at = now.at + TimeDelta::from_std(pause).unwrap_or(LEASE);
                let error = Some(error);
                ("retried", Settled { status: Status::Pending, keeps_payload: true, due_at, error, finished_at: None })
            }
        },
    }
}

async fn give_back(app: &App, row: &Claimed) -> Result<bool, DbErr> {
    let tx = app.db.begin().await?;
    let released = store::release(&tx, &app.clock.now(), row).await?;
    tx.commit().await?;
    Ok(released)
}

fn report(row: &Claimed, outcome: &'static str, failure: Option<&str>, recorded: Result<bool, DbErr>) {
    let (kind, id, attempt) = (row.kind.as_str(), row.id, row.attempts);
    match (recorded, failure) {
        (Ok(true), failure) => {
            metrics::counter!("tenantry_outbox_tries_total", "kind" => kind, "outcome" => outcome).increment(1);
            match failure {
                None => tracing::info!(feature = "outbox", kind, %id, attempt, outcome, "Outbox try"),
                Some(error) => tracing::warn!(feature = "outbox", kind, %id, attempt, outcome, error, "Outbox try"),
            }
        }
        (Ok(false), _) => {
            metrics::counter!("tenantry_late_writes_refused_total", "queue" => "outbox").increment(1);
            tracing::warn!(feature = "outbox", kind, %id, attempt, outcome, "Late write refused: the lease was lost");
        }
        (Err(error), _) => {
            let lost = "Could not record a try; its lease will hand the row on";
            tracing::warn!(feature = "outbox", kind, %id, attempt, outcome, %error, "{lost}");
        }
    }
}
