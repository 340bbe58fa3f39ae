//! Passwords: which are accepted, and hashing them with Argon2id (RFC 9106) on threads of their own.
//!
//! A hash takes tens of milliseconds of a core, so hashing on the threads that answer requests would stall every other
//! request. The pool is as wide as the machine, its queue is bounded, and on Linux its threads yield to the others.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use argon2::{
    ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, PasswordHash, Version,
    password_hash::phc::{Output, ParamsString, Salt},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::oneshot;
use tracing::Instrument;

use super::common_passwords;
use crate::{
    config,
    http::{FieldError, Problem},
    telemetry::traces::span,
};

/// The longest password, in characters; far above what people type, far below what costs time.
const MAX_CHARACTERS: usize = 128;
/// The longest password, in bytes.
const MAX_BYTES: usize = 1024;
/// So many characters at the beginning have to be strong enough by themselves.
const ESTIMATED: usize = 40;
/// Length of a hash in bytes.
const OUTPUT: usize = 32;
/// Jobs that may wait for each thread: some seconds of work, less than a client's patience.
const WAITING_PER_THREAD: usize = 128;
/// How long an idle thread keeps its memory for the next password.
const KEEPS_MEMORY: Duration = Duration::from_secs(1);
/// How much a hashing thread yields to the others (`nice`).
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Checks a new password; `inputs` are what a guesser knows (address, names).
///
/// # Errors
/// A refused `password` field, fit to show beside it.
pub fn check(password: &SecretString, rules: &config::Password, inputs: &[&str]) -> Result<(), FieldError> {
    let password = password.expose_secret();
    let refuse = |code: &str, message: String| Err(FieldError::new("password", code, message));
    if password.len() > MAX_BYTES || password.chars().count() > MAX_CHARACTERS {
        return refuse("TOO_LONG", format!("A password may have at most {MAX_CHARACTERS} characters."));
    }
    if password.chars().count() < rules.min_length {
        return refuse("TOO_SHORT", format!("A password needs at least {} characters.", rules.min_length));
    }
    if rules.refuse_common && common_passwords::has(password) {
        return refuse(
            "TOO_COMMON",
            "Many people use this password, so it is among the first that are tried.".to_owned(),
        );
    }
    if rules.min_score > 0 && strength(password, inputs) < rules.min_score {
        return refuse("TOO_WEAK", "This password is easy to guess. Take several unrelated words.".to_owned());
    }
    Ok(())
}

/// Whether anybody can have this password: what is longer than one may be is not worth a hash.
pub fn could_be(password: &SecretString) -> bool {
    let password = password.expose_secret();
    password.len() <= MAX_BYTES && password.chars().count() <= MAX_CHARACTERS
}

/// As zxcvbn estimates it, 0 to 4, of the password's beginning: for 128 characters the estimate takes 8 ms.
fn strength(password: &str, inputs: &[&str]) -> u8 {
    let end = password.char_indices().nth(ESTIMATED).map_or(password.len(), |(end, _)| end);
    zxcvbn::zxcvbn(&password[..end], inputs).score().into()
}

/// More passwords wait than can be hashed in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more passwords wait than can be hashed in time")]
pub struct Overloaded;

impl From<Overloaded> for Problem {
    fn from(_: Overloaded) -> Self {
        Self::unavailable()
    }
}

/// The pool that hashes. Clones share it; its threads end with the last clone.
#[derive(Clone)]
pub struct Hasher(Arc<Pool>);

struct Pool {
    queue: Arc<Queue>,
    params: Params,
    limit: usize,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    ready: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    closed: bool,
}

enum Job {
    Hash { password: SecretString, salt: [u8; 16], params: Params, answer: oneshot::Sender<String> },
    Verify { password: SecretString, phc: String, answer: oneshot::Sender<bool> },
}

impl Hasher {
    /// Starts the pool with `threads` threads; [`Hasher::cores`] is a good number.
    ///
    /// # Errors
    /// A cost that Argon2 does not allow, or threads that cannot be started.
    pub fn new(cost: &config::Password, threads: usize) -> anyhow::Result<Self> {
        let params = Params::new(cost.memory_kib, cost.iterations, cost.parallelism, Some(OUTPUT))
            .map_err(|error| anyhow::anyhow!("password hash cost: {error}"))?;
        let threads = threads.max(1);
        let queue = Arc::new(Queue::default());
        for n in 0..threads {
            let queue = queue.clone();
            std::thread::Builder::new().name(format!("hash-{n}")).spawn(move || work(&queue))?;
        }
        Ok(Self(Arc::new(Pool { queue, params, limit: threads * WAITING_PER_THREAD })))
    }

    /// How many cores this process may use.
    pub fn cores() -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    /// The password's Argon2id hash in PHC form. Where the caller goes away first, nothing is computed.
    ///
    /// # Errors
    /// [`Overloaded`].
    pub async fn hash(&self, password: SecretString, salt: [u8; 16]) -> Result<String, Overloaded> {
        let (answer, hashed) = oneshot::channel();
        self.0.submit(Job::Hash { password, salt, params: self.0.params.clone(), answer })?;
        hashed.instrument(span!("hash_password")).await.map_err(|_| Overloaded)
    }

    /// Whether a hash was made at the cost that is configured now.
    pub fn is_current(&self, phc: &str) -> bool {
        let params = PasswordHash::new(phc).ok().and_then(|hash| Params::try_from(&hash).ok());
        let cost = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
        params.is_some_and(|params| cost(&params) == cost(&self.0.params))
    }

    /// Whether `password` is the one that `phc` was made of, at the cost that `phc` names.
    ///
    /// # Errors
    /// [`Overloaded`].
    pub async fn verify(&self, password: SecretString, phc: String) -> Result<bool, Overloaded> {
        let (answer, verified) = oneshot::channel();
        self.0.submit(Job::Verify { password, phc, answer })?;
        verified.instrument(span!("verify_password")).await.map_err(|_| Overloaded)
    }
}

impl Pool {
    fn submit(&self, job: Job) -> Result<(), Overloaded> {
        let mut state = self.queue.lock();
        // Whoever has gone away takes no place from somebody who waits.
        if state.jobs.len() >= self.limit {
            state.jobs.retain(|job| !job.is_abandoned());
        }
        if state.jobs.len() >= self.limit {
            return Err(Overloaded);
        }
        state.jobs.push_back(job);
        drop(state);
        self.queue.ready.notify_one();
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.ready.notify_all();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job that somebody waits for; `None` when the pool has ended. Frees `memory` after a while without one.
    fn next(&self, memory: &mut Vec<Block>) -> Option<Job> {
        let mut state = self.lock();
        loop {
            while let Some(job) = state.jobs.pop_front() {
                if !job.is_abandoned() {
                    return Some(job);
                }
            }
            if state.closed {
                return None;
            }
            if memory.is_empty() {
                state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let (waited, timeout) =
                self.ready.wait_timeout(state, KEEPS_MEMORY).unwrap_or_else(PoisonError::into_inner);
            state = waited;
            if timeout.timed_out() {
                *memory = Vec::new();
            }
        }
    }
}

impl Job {
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Hash { answer, .. } => answer.is_closed(),
            Self::Verify { answer, .. } => answer.is_closed(),
        }
    }

    fn run(self, memory: &mut Vec<Block>) {
        match self {
            Self::Hash { password, salt, params, answer } => match hash(&password, salt, params, memory) {
                Ok(phc) => {
                    let _ = answer.send(phc);
                }
                Err(error) => tracing::error!(%error, "Password could not be hashed"),
            },
            Self::Verify { password, phc, answer } => {
                let matches = matches(&password, &phc, memory).unwrap_or_else(|error| {
                    tracing::error!(%error, "Stored password hash cannot be read");
                    false
                });
                let _ = answer.send(matches);
            }
        }
    }
}

fn work(queue: &Queue) {
    yield_to_others();
    let mut memory = Vec::new();
    while let Some(job) = queue.next(&mut memory) {
        job.run(&mut memory);
    }
}

#[cfg(target_os = "linux")]
fn yield_to_others() {
    // On Linux a thread's id names that thread alone (setpriority(2), "C library/kernel differences").
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS) {
        tracing::debug!(%error, "Hashing threads keep the normal priority");
    }
}

#[cfg(not(target_os = "linux"))]
fn yield_to_others() {}

type Hashed<T> = Result<T, argon2::password_hash::Error>;

/// Computes into memory that is kept between jobs, because fresh pages cost as much as a tenth of the hash.
fn compute(
    argon2: &Argon2<'_>,
    password: &SecretString,
    salt: &[u8],
    length: usize,
    memory: &mut Vec<Block>,
) -> Hashed<Output> {
    memory.resize_with(argon2.params().block_count(), Block::default);
    let mut output = vec![0; length];
    argon2.hash_password_into_with_memory(password.expose_secret().as_bytes(), salt, &mut output, &mut memory[..])?;
    Ok(Output::new(&output)?)
}

fn hash(password: &SecretString, salt: [u8; 16], params: Params, memory: &mut Vec<Block>) -> Hashed<String> {
    let written = ParamsString::try_from(&params)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let output = compute(&argon2, password, &salt, OUTPUT, memory)?;
    let phc = PasswordHash {
        algorithm: ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params: written,
        salt: Some(Salt::new(&salt)?),
        hash: Some(output),
    };
    Ok(phc.to_string())
}

fn matches(password: &SecretString, phc: &str, memory: &mut Vec<Block>) -> Hashed<bool> {
    let phc = PasswordHash::new(phc)?;
    let (Some(salt), Some(expected)) = (&phc.salt, &phc.hash) else { return Ok(false) };
    let algorithm = Algorithm::try_from(phc.algorithm.as_str())?;
    let version = phc.version.map_or(Ok(Version::V0x13), Version::try_from)?;
    let argon2 = Argon2::new(algorithm, version, Params::try_from(&phc)?);
    let output = compute(&argon2, password, salt, expected.len(), memory)?;
    // `Output` compares in constant time.
    Ok(output == *expected)
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    fn cost(memory_kib: u32, iterations: u32) -> config::Password {
        config::Password { min_length: 8, min_score: 0, refuse_common: false, memory_kib, iterations, parallelism: 1 }
    }

    fn small(threads: usize) -> Hasher {
        Hasher::new(&cost(64, 1), threads).unwrap()
    }

    #[tokio::test]
    async fn a_hash_verifies_its_own_password_and_no_other() {
        let hasher = small(2);
        let phc = hasher.hash("correct horse".into(), [7; 16]).await.unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{phc}");
        assert!(hasher.verify("correct horse".into(), phc.clone()).await.unwrap());
        assert!(!hasher.verify("correct hors".into(), phc).await.unwrap());
        assert!(!hasher.verify("correct horse".into(), "no hash".into()).await.unwrap());
    }

    #[tokio::test]
    async fn the_hash_is_what_the_library_itself_computes() {
        use argon2::password_hash::PasswordVerifier;
        let hasher = Hasher::new(&cost(19 * 1024, 2), 1).unwrap();
        let phc = hasher.hash("pä55".into(), [1; 16]).await.unwrap();
        let parsed = PasswordHash::new(&phc).unwrap();
        assert!(Argon2::default().verify_password("pä55".as_bytes(), &parsed).is_ok());
    }

    #[tokio::test]
    async fn hashes_of_another_cost_verify_after_the_memory_was_used_by_a_larger_one() {
        let large = Hasher::new(&cost(256, 2), 1).unwrap();
        let small = small(1).hash("x".into(), [2; 16]).await.unwrap();
        large.hash("y".into(), [3; 16]).await.unwrap();
        assert!(large.verify("x".into(), small).await.unwrap());
    }

    #[test]
    fn abandoned_jobs_are_skipped_and_a_full_queue_refuses() {
        let params = Params::new(64, 1, 1, Some(OUTPUT)).unwrap();
        // A pool without threads, so that nothing is taken from the queue.
        let pool = Pool { queue: Arc::default(), params: params.clone(), limit: 2 };
        let job = || {
            let (answer, waits) = oneshot::channel();
            (Job::Hash { password: "x".into(), salt: [0; 16], params: params.clone(), answer }, waits)
        };
        let (first, waits_first) = job();
        let (second, _waits_second) = job();
        let (third, _) = job();
        let (fourth, mut waits_fourth) = job();
        assert!(pool.submit(first).is_ok() && pool.submit(second).is_ok());
        assert_eq!(pool.submit(third), Err(Overloaded));
        drop(waits_first);
        assert_eq!(pool.submit(fourth), Ok(()));
        let (mut memory, mut left) = (Vec::new(), 0);
        pool.queue.lock().closed = true;
        while let Some(job) = pool.queue.next(&mut memory) {
            job.run(&mut memory);
            left += 1;
        }
        assert_eq!(left, 2);
        assert!(waits_fourth.try_recv().is_ok());
    }

    #[tokio::test]
    async fn many_at_once_are_all_answered() {
        let hasher = small(2);
        let all = join_all((0..64).map(|n| hasher.hash("x".into(), [n; 16]))).await;
        assert!(all.iter().all(Result::is_ok));
    }

    #[test]
    fn length_is_counted_in_characters_and_strength_is_estimated_where_asked() {
        let rules = |min_length, min_score| config::Password { min_length, min_score, ..cost(64, 1) };
        let (lax, strict) = (&rules(8, 0), &rules(12, 3));
        let refusing = &config::Password { refuse_common: true, ..cost(64, 1) };
        let code = |password: &str, rules| check(&password.into(), rules, &["ada@acme.test"]).err().map(|e| e.code);
        assert_eq!(code("password", lax), None);
        assert_eq!(code("äöüäöü", lax).as_deref(), Some("TOO_SHORT"));
        assert_eq!(code("äöüäöüäö", lax), None);
        assert_eq!(code(&"x".repeat(129), lax).as_deref(), Some("TOO_LONG"));
        assert_eq!(code("Password123!", refusing).as_deref(), Some("TOO_COMMON"));
        assert_eq!(code("correct horse battery staple", refusing), None);
        assert_eq!(code("password1234", strict).as_deref(), Some("TOO_WEAK"));
        assert_eq!(code("ada@acme.test", strict).as_deref(), Some("TOO_WEAK"));
        assert_eq!(code("correct horse battery staple", strict), None);
        assert_eq!(code(&"ä correct horse battery staple ".repeat(4), strict), None);
        assert_eq!(code(&"password".repeat(16), strict).as_deref(), Some("TOO_WEAK"));
    }
}
