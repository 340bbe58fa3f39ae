//! The ceilings that `scripts/bench` holds sign-up against, without any of the product's code.
//!
//! - `ceiling argon2 SECONDS` hashes on every core with OWASP's parameters, which are the product's defaults.
//! - `ceiling sqlite SECONDS DATABASE TEXT IDS` runs the file TEXT, one sign-up's rows with `$1` to `$IDS` for ids, `$IDS+1`
//!   for the text and `$IDS+2` for the blob that has to be unique, again and again as one transaction.
//!
//! Rows of one process differ from another's. Each prints how many it did a second.

use std::{
    env, fs,
    thread::{available_parallelism, scope},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use sea_orm::sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, query,
    sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let a_second = match arguments[..] {
        ["argon2", seconds] => argon2(time(seconds)?)?,
        ["sqlite", seconds, database, text, ids] => {
            let text = fs::read_to_string(text).context("cannot read the rows")?;
            sqlite(time(seconds)?, database, text, ids.parse()?).await?
        }
        _ => bail!("usage: ceiling argon2 SECONDS | ceiling sqlite SECONDS DATABASE TEXT IDS"),
    };
    println!("{a_second:.1}");
    Ok(())
}

fn time(seconds: &str) -> anyhow::Result<Duration> {
    Ok(Duration::from_secs_f64(seconds.parse()?))
}

fn rate(done: u32, took: Duration) -> f64 {
    f64::from(done) / took.as_secs_f64()
}

fn argon2(time: Duration) -> anyhow::Result<f64> {
    let params = Params::new(19 * 1024, 2, 1, Some(32))?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash_until_the_end = || -> anyhow::Result<f64> {
        let mut memory = vec![Block::default(); argon2.params().block_count()];
        let (mut output, mut done, began) = ([0; 32], 0_u32, Instant::now());
        while began.elapsed() < time {
            let salt = u128::from(done).to_be_bytes();
            argon2.hash_password_into_with_memory(
                b"correct horse battery staple",
                &salt,
                &mut output,
                &mut memory[..],
            )?;
            done += 1;
        }
        Ok(rate(done, began.elapsed()))
    };
    scope(|scope| {
        let threads: Vec<_> = (0..available_parallelism()?.get()).map(|_| scope.spawn(hash_until_the_end)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).sum()
    })
}

/// One writer, and one message to SQLite's thread for each transaction.
async fn sqlite(time: Duration, database: &str, text: String, ids: u16) -> anyhow::Result<f64> {
    let options = SqliteConnectOptions::new()
        .filename(database)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .disable_statement_logging();
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let text = format!("begin immediate;\n{text}\ncommit;");
    let (process, mut done, began) = (std::process::id(), 0_u32, Instant::now());
    while began.elapsed() < time {
        let millis = u64::try_from(began.elapsed().as_millis())?;
        let unique = [done.to_be_bytes(), process.to_be_bytes()].concat();
        let mut insert = query(AssertSqlSafe(text.as_str()));
        for id in 0..ids {
            let random: [u8; 10] = [&unique[..], &id.to_be_bytes()].concat().try_into().expect("ten bytes");
            insert = insert.bind(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid());
        }
        connection.execute(insert.bind(format!("c{process:07}x{done:07}")).bind(unique)).await?;
        done += 1;
    }
    Ok(rate(done, began.elapsed()))
}
