//! One claimed run, from its next step to its end, or to where it has to wait.

use std::{any::Any, panic::AssertUnwindSafe, time::Instant};

use futures_util::FutureExt;
use sea_orm::DbErr;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{
    StepName,
    finish::{self, Written},
    held::{Held, Next},
    jobs::Worker,
    record::{self, Halt},
    steps::{self, Outcome, Outside},
};
use crate::{
    db::{Batch, failpoint},
    http::chain,
    telemetry::traces::span,
};

/// How an attempt at a step ended.
enum Attempted {
    /// It happened within a transaction, which only has to be committed.
    Here(Box<Written>),
    /// It is over, and has to be recorded.
    Over(Outcome),
}

/// Carries a run until it has ended, waits, or has to be let go.
pub(super) async fn to_its_end(worker: &Worker, mut held: Held, mut next: Next, stop: &CancellationToken) {
    started(&held);
    loop {
        let ended = match next {
            Next::Run(position) => {
                let span = span!("provision_step", step = held.steps[position].name.as_str());
                attempt(worker, &mut held, position, stop).instrument(span).await
            }
            Next::Fail(position, reason) => finish::fail(worker, &held, position, &reason).await,
            Next::Complete => finish::complete(worker, &held).await,
        };
        let ended = match ended {
            Err(Halt::Changed) => finish::look_again(worker, &held).await,
            ended => ended,
        };
        match ended {
            Ok((after, Some(following))) => (held, next) = (after, following),
            Ok((_, None)) => return,
            Err(halt) => return let_go(&held, &halt),
        }
    }
}

fn started(held: &Held) {
    let waited = held.queued_at.filter(|_| held.fence == 1).map(|queued_at| held.started_at - queued_at);
    if let Some(waited) = waited {
        let seconds = waited.to_std().unwrap_or_default().as_secs_f64();
        metrics::histogram!("tenantry_provision_wait_seconds").record(seconds);
    }
    tracing::info!(
        feature = "provision",
        tenant_id = %held.subject.tenant_id,
        run_id = %held.run_id,
        plan = held.plan,
        claim = held.fence,
        dry_run = held.dry_run,
        waited_ms = waited.map(|waited| waited.num_milliseconds()),
        "Provision start"
    );
}

fn let_go(held: &Held, halt: &Halt) {
    let (tenant_id, run_id) = (held.subject.tenant_id, held.run_id);
    match halt {
        Halt::LeaseLost => {
            metrics::counter!("tenantry_late_writes_refused_total").increment(1);
            tracing::warn!(feature = "provision", %tenant_id, %run_id, fence = held.fence, "Late write refused");
        }
        Halt::Changed | Halt::Database(_) => {
            let error = chain(halt);
            tracing::warn!(feature = "provision", %tenant_id, %run_id, error, "Run left to its lease");
        }
    }
}

/// Runs a step that has been begun, and records how that ended.
async fn attempt(
    worker: &Worker,
    held: &mut Held,
    position: usize,
    stop: &CancellationToken,
) -> Result<(Held, Option<Next>), Halt> {
    let began = Instant::now();
    let name = held.steps[position].name;
    let limit = worker.app.config.provision.step_timeout;
    let attempted = match steps::leaves(name, held.dry_run) {
        Some(call) => timeout(limit, AssertUnwindSafe(outside(worker, held, position, call)).catch_unwind()).await,
        None => timeout(limit, AssertUnwindSafe(here(worker, held, position, stop)).catch_unwind()).await,
    };
    let attempted = match attempted {
        Ok(Ok(attempted)) => attempted?,
        Ok(Err(panic)) => Attempted::Over(panicked(name, &*panic)),
        Err(_) => Attempted::Over(Outcome::retry(format!("no end within {}", humantime::format_duration(limit)))),
    };
    let (after, next) = match attempted {
        Attempted::Here(written) => finish::commit(worker, *written).await?,
        Attempted::Over(outcome) => finish::settle(worker, held, position, outcome, stop).await?,
    };
    stepped(&after, position, began);
    Ok((after, next))
}

fn panicked(name: StepName, panic: &(dyn Any + Send)) -> Outcome {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    tracing::error!(feature = "provision", step = name.as_str(), panic = text, "Step panicked");
    Outcome::internal()
}

fn stepped(held: &Held, position: usize, began: Instant) {
    let step = &held.steps[position];
    tracing::debug!(
        feature = "provision",
        tenant_id = %held.subject.tenant_id,
        run_id = %held.run_id,
        plan = held.plan,
        step = step.name.as_str(),
        status = step.status.as_str(),
        attempts = step.attempts,
        error = step.error,
        duration_ms = began.elapsed().as_secs_f64() * 1e3,
        "Provision step"
    );
}

fn point(name: StepName, when: &str) -> Result<(), DbErr> {
    failpoint(&format!("step::{}::{when}", name.as_str()))
}

/// Does a step's outside call, with no transaction open.
async fn outside(worker: &Worker, held: &mut Held, position: usize, step: Outside) -> Result<Attempted, Halt> {
    let name = held.steps[position].name;
    if let Err(injected) = point(name, "before") {
        return Ok(Attempted::Over(injected.into()));
    }
    let outcome = steps::outside(worker, held, position, step).await?;
    Ok(Attempted::Over(point(name, "after").err().map_or(outcome, Outcome::from)))
}

/// Does a step within the transaction that records it and begins the next one, or ends the run. Only the commit is left to do: it
/// must not be cut off by a time limit, because then nobody would know whether it happened.
async fn here(worker: &Worker, held: &Held, position: usize, stop: &CancellationToken) -> Result<Attempted, Halt> {
    let name = held.steps[position].name;
    if let Err(injected) = point(name, "before") {
        return Ok(Attempted::Over(injected.into()));
    }
    let now = worker.app.clock.now();
    let mut advance = finish::advance(worker, &now, held, position, stop);
    let tx = worker.app.db.begin().await?;
    advance.after.version = record::fence(&tx, &now, held, &advance.ahead).await?;
    let mut batch = Batch::default();
    let effect = async {
        let output = steps::here(worker, &tx, &mut batch, &now, held, name).await?;
        advance.after.steps[position].output = output;
        finish::write(worker, &tx, batch, &now, held, &advance).await?;
        Ok::<_, Outcome>(point(name, "after")?)
    };
    match effect.await {
        Ok(()) => Ok(Attempted::Here(Box::new(Written { tx, now, advance }))),
        Err(outcome) => {
            tx.rollback().await?;
            Ok(Attempted::Over(outcome))
        }
    }
}
