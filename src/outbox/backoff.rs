//! When a row is tried again.

use std::time::Duration;

use super::Kind;

/// Pauses after the first, second, … try that failed. One more try than pauses: eight, over 21 hours.
const MAIL: [Duration; 7] = [
    Duration::from_secs(30),
    Duration::from_mins(2),
    Duration::from_mins(10),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(6),
    Duration::from_hours(12),
];

/// Eight tries over 17 hours, the first repeats soon: a receiver that restarts is back within seconds.
const WEBHOOK: [Duration; 7] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_mins(2),
    Duration::from_mins(10),
    Duration::from_hours(1),
    Duration::from_hours(4),
    Duration::from_hours(12),
];

/// Stripe's events are processed again for three days: as long as Stripe itself delivers them. Then an administrator replays them.
const STRIPE: [Duration; 9] = [
    Duration::from_secs(2),
    Duration::from_secs(10),
    Duration::from_mins(1),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(8),
    Duration::from_hours(24),
    Duration::from_hours(36),
];

/// The longest pause that another side may ask for.
const LONGEST: Duration = Duration::from_hours(24);

/// The pauses of a kind.
const fn pauses(kind: Kind) -> &'static [Duration] {
    match kind {
        Kind::Mail => &MAIL,
        Kind::Webhook => &WEBHOOK,
        Kind::StripeEvent | Kind::SandboxEvent => &STRIPE,
    }
}

/// Whether a row has been tried more often than it may be: its workers died of it.
pub(super) fn is_exhausted(kind: Kind, attempts: i64) -> bool {
    usize::try_from(attempts).is_ok_and(|attempts| attempts > pauses(kind).len() + 1)
}

/// The pause after try number `attempts` (from 1) has failed; nothing where that was the last.
///
/// `fraction` (`0..1`) spreads it over 80 to 120 %, so that what failed together does not return together. The pause that the other
/// side `asked` for is the shortest.
pub(super) fn pause(kind: Kind, attempts: i64, fraction: f64, asked: Option<Duration>) -> Option<Duration> {
    let tried = usize::try_from(attempts).ok()?;
    let pause = pauses(kind).get(tried.checked_sub(1)?)?.mul_f64(0.8 + 0.4 * fraction);
    Some(pause.max(asked.unwrap_or_default().min(LONGEST)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_tries_with_growing_pauses() {
        for kind in [Kind::Mail, Kind::Webhook] {
            let pauses: Vec<_> = (1..=8).map_while(|tried| pause(kind, tried, 0.5, None)).collect();
            assert_eq!(pauses.len(), 7, "{kind:?}");
            assert!(pauses.is_sorted());
            assert_eq!(pause(kind, 8, 0.5, Some(Duration::from_secs(1))), None);
            assert!(!is_exhausted(kind, 8));
            assert!(is_exhausted(kind, 9));
        }
        assert_eq!(pause(Kind::Webhook, 1, 0.5, None), Some(Duration::from_secs(5)));
        assert_eq!(pause(Kind::Mail, 0, 0.5, None), None);
    }

    #[test]
    fn chance_spreads_a_pause_and_the_other_side_may_lengthen_it() {
        let first = |fraction, asked| pause(Kind::Webhook, 1, fraction, asked).expect("a pause");
        assert_eq!(first(0.0, None), Duration::from_secs(4));
        assert!(first(0.999, None) < Duration::from_secs(6));
        assert_eq!(first(0.0, Some(Duration::from_mins(5))), Duration::from_mins(5));
        assert_eq!(first(0.0, Some(Duration::from_secs(1))), Duration::from_secs(4));
        assert_eq!(first(0.0, Some(Duration::from_hours(900))), LONGEST);
    }
}
