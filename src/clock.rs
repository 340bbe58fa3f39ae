//! Time and chance, passed in as values.
//!
//! Nothing else in the program reads the system's clock or its random numbers (`clippy.toml` forbids it), so a test can
//! set both, and in development the clock can be moved forward.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use rand::{Rng, SeedableRng, rngs::StdRng};
use secrecy::SecretString;
use uuid::Uuid;

/// The product's clock and its source of chance. Clones share both.
#[derive(Clone, Debug)]
pub struct Clock {
    offset_micros: Arc<AtomicI64>,
    entropy: Arc<Mutex<StdRng>>,
}

impl Clock {
    /// The system's time, and random numbers seeded by the operating system.
    pub fn system() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place that asks the system for randomness")]
        Self::with_rng(rand::make_rng())
    }

    /// The system's time, and the sequence of random numbers that `seed` leads to. For tests.
    pub fn seeded(seed: u64) -> Self {
        Self::with_rng(StdRng::seed_from_u64(seed))
    }

    fn with_rng(rng: StdRng) -> Self {
        Self { offset_micros: Arc::default(), entropy: Arc::new(Mutex::new(rng)) }
    }

    /// The present moment.
    pub fn now(&self) -> Now {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
        let system = Utc::now();
        let at = system + TimeDelta::microseconds(self.offset_micros.load(Ordering::Relaxed));
        Now::at(at, self.entropy.clone())
    }

    /// Moves the product's time forward, for everybody who shares this clock.
    pub fn advance(&self, by: TimeDelta) -> Now {
        let micros = by.num_microseconds().unwrap_or(i64::MAX);
        self.offset_micros.fetch_add(micros, Ordering::Relaxed);
        self.now()
    }
}

/// One moment, and the ids and secrets that are made at it.
#[derive(Clone, Debug)]
pub struct Now {
    /// The moment, truncated to the microseconds that both databases keep.
    pub at: DateTime<Utc>,
    entropy: Arc<Mutex<StdRng>>,
}

impl Now {
    fn at(at: DateTime<Utc>, entropy: Arc<Mutex<StdRng>>) -> Self {
        let at = at.duration_trunc(TimeDelta::microseconds(1)).unwrap_or(at);
        Self { at, entropy }
    }

    /// A new id: `UUIDv7` of this moment (RFC 9562, 5.7).
    pub fn id(&self) -> Uuid {
        let millis = u64::try_from(self.at.timestamp_millis()).unwrap_or_default();
        uuid::Builder::from_unix_timestamp_millis(millis, &self.bytes()).into_uuid()
    }

    /// Random bytes, fit for keys and nonces.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes);
        bytes
    }

    /// A new secret of 256 bits, URL-safe.
    pub fn secret(&self) -> SecretString {
        BASE64_URL_SAFE_NO_PAD.encode(self.bytes::<32>()).into()
    }

    /// A number in `0..1`, for jitter.
    pub fn fraction(&self) -> f64 {
        f64::from(u32::from_be_bytes(self.bytes())) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seeded_clock_repeats_its_secrets_and_another_seed_does_not() {
        let draw = |seed| Clock::seeded(seed).now().bytes::<16>();
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn advancing_moves_every_clone_and_ids_with_it() {
        let clock = Clock::seeded(1);
        let before = clock.now();
        let after = clock.clone().advance(TimeDelta::days(14));
        assert!(after.at - before.at >= TimeDelta::days(14));
        assert!(clock.now().at >= after.at);
        assert!(after.id() > before.id());
    }

    #[test]
    fn times_have_no_more_than_microseconds() {
        assert_eq!(Clock::system().now().at.timestamp_subsec_nanos() % 1000, 0);
    }
}
