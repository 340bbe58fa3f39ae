//! `doctor`: what must hold in the database, counted.

use serde::Serialize;

use super::{Failure, output};
use crate::{
    app::App,
    doctor::{self, Count, promises},
};

#[derive(Serialize)]
struct Report<'a> {
    /// Whether every invariant holds.
    healthy: bool,
    counts: &'a [Count],
    /// What the pages promise and the database does not grant.
    broken_promises: &'a [String],
}

/// Counts everything; refuses where an invariant does not hold.
pub(super) async fn run(app: &App, json: bool) -> Result<(), Failure> {
    let counts = doctor::examine(app.db.read(), &app.clock.now()).await?;
    let broken = promises::broken(app.db.read(), &app.config).await?;
    let violated = counts.iter().filter(|count| count.is_invariant && count.count != 0).count();
    if json {
        output::json(&Report { healthy: violated == 0, counts: &counts, broken_promises: &broken })?;
    } else {
        let rows: Vec<_> = counts.iter().map(row).collect();
        output::rows(["state", "count", "name", "meaning"], &rows)?;
        for promise in &broken {
            output::line(&format!("warning: {promise}"))?;
        }
    }
    match violated {
        0 => Ok(()),
        1 => Err(Failure::refused("an invariant does not hold")),
        several => Err(Failure::refused(format!("{several} invariants do not hold"))),
    }
}

fn row(count: &Count) -> [String; 4] {
    let state = match (count.count, count.is_invariant) {
        (0, _) => "ok",
        (_, true) => "VIOLATED",
        (_, false) => "warning",
    };
    [state.to_owned(), count.count.to_string(), count.name.to_owned(), count.meaning.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_told_from_a_violation() {
        let count = |count, is_invariant| Count { name: "n", meaning: "m", count, is_invariant };
        let state = |counted: Count| row(&counted)[0].clone();
        assert_eq!(state(count(0, true)), "ok");
        assert_eq!(state(count(2, false)), "warning");
        assert_eq!(state(count(2, true)), "VIOLATED");
    }
}
