//! The program itself, as processes that are killed.
//!
//! `SOAK_ROUNDS` makes the rounds long; `scripts/soak` sets it.

mod accepting;
mod death;
mod killed;
mod replicas;
mod server;
mod traces;

pub use server::tenantry;

/// How many rounds a soak goes.
pub fn soak_rounds() -> Option<usize> {
    std::env::var("SOAK_ROUNDS").ok().map(|rounds| rounds.parse().expect("SOAK_ROUNDS is a number"))
}
