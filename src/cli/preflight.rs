//! `preflight`: the smoke test's command.

use super::{
    Failure, args, output,
    progress::{Board, Line, Mark, Shown},
};
use crate::{
    clock::Clock,
    preflight::{Checked, Event, Outcome, Target, examine},
};

/// Examines the server; refuses where a check failed.
pub(super) async fn run(args: args::Preflight) -> Result<(), Failure> {
    let target = Target {
        base_url: args.base_url,
        webhook_url: args.webhook_url,
        admin_token: args.admin_token,
        timeout: args.timeout,
    };
    let board = Board::new(if args.json { Shown::Not } else { Shown::Result });
    let (mut line, mut told) = (None, Ok(()));
    let now = Clock::system().now();
    let report = examine(&target, &now, |event| {
        let shown = show(&board, &mut line, event);
        told = std::mem::replace(&mut told, Ok(())).and(shown);
    });
    let report = report.await?;
    told?;
    if args.json {
        output::json(&report)?;
    } else {
        output::line(if report.passed { "PREFLIGHT PASSED" } else { "PREFLIGHT FAILED" })?;
    }
    match (report.passed, report.unreachable) {
        (true, _) => Ok(()),
        (false, true) => Err(Failure::not_tried(format!("{} cannot be reached", target.base_url))),
        (false, false) => Err(Failure::told()),
    }
}

fn show(board: &Board, line: &mut Option<Line>, event: Event<'_>) -> Result<(), Failure> {
    match event {
        Event::Began(name) => {
            let begun = board.add(name);
            begun.busy("");
            *line = Some(begun);
            Ok(())
        }
        Event::Ended(Checked { outcome, duration_ms, detail, .. }) => {
            let (mark, word) = match outcome {
                Outcome::Passed => (Mark::Good, "PASSED"),
                Outcome::Failed => (Mark::Bad, "FAILED"),
            };
            line.take().map_or(Ok(()), |line| line.end(mark, word, &format!("{duration_ms:>5} ms  {detail}")))
        }
    }
}
