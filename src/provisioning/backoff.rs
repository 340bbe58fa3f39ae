//! How long a failing step waits for its next try.

use std::time::Duration;

/// What the operator configured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    /// The first pause; it doubles.
    pub base: Duration,
    /// The longest pause.
    pub cap: Duration,
}

impl Backoff {
    /// The pause after the `attempts`-th try: exponential, and by `fraction` (`0..1`) between half and whole, so that what failed
    /// together does not come back together. Longer where the other side `asked` for it, up to the cap.
    pub fn pause(self, attempts: i64, fraction: f64, asked: Option<Duration>) -> Duration {
        let doublings = u32::try_from(attempts.saturating_sub(1).clamp(0, 31)).unwrap_or_default();
        let whole = self.base.saturating_mul(1 << doublings).min(self.cap);
        let pause = whole.mul_f64(0.5 + fraction.clamp(0.0, 1.0) / 2.0);
        pause.max(asked.unwrap_or_default().min(self.cap))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { base: Duration::from_secs(1), cap: Duration::from_mins(5) };

    #[test]
    fn pauses_double_up_to_the_cap() {
        let whole = |attempts| BACKOFF.pause(attempts, 1.0, None).as_secs();
        assert_eq!([1, 2, 3, 4, 9, 10, 1000].map(whole), [1, 2, 4, 8, 256, 300, 300]);
    }

    #[test]
    fn jitter_keeps_a_pause_between_half_and_whole() {
        assert_eq!(BACKOFF.pause(3, 0.0, None), Duration::from_secs(2));
        assert_eq!(BACKOFF.pause(3, 0.5, None), Duration::from_secs(3));
    }

    #[test]
    fn a_longer_pause_that_was_asked_for_is_kept_up_to_the_cap() {
        let asked = |seconds| BACKOFF.pause(1, 1.0, Some(Duration::from_secs(seconds))).as_secs();
        assert_eq!([0, 30, 3600].map(asked), [1, 30, 300]);
    }
}
