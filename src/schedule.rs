//! Work that nobody asks for: done now and then by the product's own time, as long as a worker runs.

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::app::App;

/// How often to look at the clock, at the least.
const TICK: TimeDelta = TimeDelta::minutes(1);

/// Does `work` at once, and then each time that `period` (at least a second) has passed, until `stop`.
pub async fn every<Work: Future<Output = ()>>(
    app: &App,
    period: TimeDelta,
    stop: &CancellationToken,
    work: impl Fn(App) -> Work,
) {
    let period = period.max(TimeDelta::seconds(1));
    let tick = period.min(TICK).to_std().unwrap_or_default();
    let mut last: Option<DateTime<Utc>> = None;
    while !stop.is_cancelled() {
        // The clock may be moved, which wakes everybody.
        let woken = app.wake.woken();
        let now = app.clock.now();
        if last.is_none_or(|last| now.at - last >= period) {
            last = Some(now.at);
            work(app.clone()).await;
        }
        tokio::select! {
            () = woken => {}
            () = sleep(tick) => {}
            () = stop.cancelled() => {}
        }
    }
}
