//! Sixteen at once for one thing: one winner, a stable answer for everybody else, and never a 500.

mod mailed;
mod sign_in;
mod signup;

use futures_util::future::join_all;
use serde_json::json;

use crate::process::soak_rounds;
use crate::support::{Answer, Product, tally, text};

const AUTH: &str = "/api/v1/auth";
const PASSWORD: &str = "correct-horse-battery";
const RACERS: usize = 16;
/// How often each race is run.
fn rounds() -> usize {
    soak_rounds().unwrap_or(3)
}

/// As many rows as there were rounds.
fn one_each() -> i64 {
    i64::try_from(rounds()).expect("a small number")
}

/// Sends one request for each of sixteen racers, all at once.
async fn race<'a, F>(run: impl Fn(usize) -> F) -> Vec<Answer>
where
    F: Future<Output = Answer> + 'a,
{
    race_of(RACERS, run).await
}

async fn race_of<'a, F>(racers: usize, run: impl Fn(usize) -> F) -> Vec<Answer>
where
    F: Future<Output = Answer> + 'a,
{
    join_all((0..racers).map(run)).await
}

/// Holds a race to one winner, whose number it answers, and everybody else to one of these refusals.
#[track_caller]
fn one_wins(answers: &[Answer], won: u16, lost: &[(u16, &str)]) -> usize {
    let told = tally(answers);
    let (winners, losers): (Vec<_>, Vec<_>) = told.iter().partition(|(status, ..)| *status == won);
    assert!(matches!(winners[..], [(.., 1)]), "{told:?}");
    assert!(losers.iter().all(|(status, code, _)| lost.contains(&(*status, code.as_str()))), "{told:?}");
    answers.iter().position(|answer| answer.status == won).expect("one won")
}

/// Logs in; the access token.
async fn log_in(product: &Product, email: &str, password: &str) -> String {
    let body = json!({"email": email, "password": password});
    text(&product.post(&format!("{AUTH}/login"), &body).await.expect(200)["access_token"])
}
