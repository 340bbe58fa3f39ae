//! The process dies at every write of a sign-up (S10): no answer, nothing left, and the next try succeeds.

use std::{collections::BTreeMap, os::unix::process::ExitStatusExt};

use sea_orm::{ConnectionTrait, DatabaseConnection};
use serde_json::Value;

use super::{
    server::{Server, assert_doctor_reads_zero},
    soak_rounds,
};
use crate::support::{Answer, Database, Kind, Settings, WRITTEN_BY_SIGNUP, eventually, grown, signup_body};

const SIGABRT: i32 = 6;

type Census = BTreeMap<String, i64>;

fn settings() -> Settings {
    Settings::default()
}

async fn server(database: &Database) -> Server {
    Server::start(database, &settings(), &["--no-worker"]).await
}

/// What one sign-up adds to the tables, from a server that is then killed.
async fn first_signup(database: &Database) -> Census {
    let server = server(database).await;
    let before = database.census().await;
    sign_up(&server, "First").await.expect("an answer").expect(201);
    server.kill().await;
    left_alone(database).await;
    let whole = grown(&before, &database.census().await);
    assert_eq!(whole.keys().map(String::as_str).collect::<std::collections::BTreeSet<_>>(), WRITTEN_BY_SIGNUP.into());
    whole
}

async fn sign_up(server: &Server, name: &str) -> Option<Answer> {
    server.start_signup(name, &signup_body(name, "starter")).await
}

/// Waits until PostgreSQL has noticed the death of its clients, and rolled back what they left.
async fn left_alone(database: &Database) {
    let others =
        "select count(*) as n from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    if database.kind == Kind::Postgres {
        eventually("PostgreSQL is left alone", async || database.count(others).await == 0).await;
    }
}

/// Every point before the commit is on its way.
fn points() -> impl Iterator<Item = String> {
    let inserts = WRITTEN_BY_SIGNUP.iter().map(|table| format!("insert::{table}"));
    inserts.chain(["batch::sent".to_owned(), "commit::before".to_owned()])
}

on_both! {
    async fn between_the_writes(database: Database) {
        let whole = first_signup(&database).await;
        for (n, point) in points().enumerate() {
            let name = format!("Acme {n}");
            let before = database.census().await;
            let dying = Server::start_to_die_at(&database, &settings(), &point).await;
            assert!(sign_up(&dying, &name).await.is_none(), "{point}: an answer");
            assert_eq!(dying.wait().await.signal(), Some(SIGABRT), "{point}");
            left_alone(&database).await;
            assert_eq!(grown(&before, &database.census().await), [].into(), "{point}");

            let server = server(&database).await;
            sign_up(&server, &name).await.expect("an answer").expect(201);
            server.kill().await;
            assert_eq!(grown(&before, &database.census().await), whole, "{point}");
        }
        assert_doctor_reads_zero(&database, &settings());
    }
}

on_both! {
    async fn after_the_commit(database: Database) {
        let whole = first_signup(&database).await;
        let before = database.census().await;
        let dying = Server::start_to_die_at(&database, &settings(), "commit::after").await;
        assert!(sign_up(&dying, "Acme").await.is_none(), "an answer");
        assert_eq!(dying.wait().await.signal(), Some(SIGABRT));
        assert_eq!(grown(&before, &database.census().await), whole);
        assert_doctor_reads_zero(&database, &settings());
        assert_replays(&server(&database).await, "Acme").await;
        assert_eq!(grown(&before, &database.census().await), whole);
    }
}

/// The same request is told what the first one would have been.
async fn assert_replays(server: &Server, name: &str) {
    let answer = sign_up(server, name).await.expect("an answer");
    assert_eq!(answer.headers["idempotent-replayed"], "true");
    let started: Value = answer.expect(201);
    assert_eq!(started["tenant"]["name"], name);
}

/// The lock at which PostgreSQL is held.
const GATE: i64 = 42;

/// Holds PostgreSQL back within an insert into `table`, or in the commit after one.
async fn gate(database: &Database, table: &str, in_commit: bool) {
    let (constraint, when) = if in_commit { ("constraint", "after insert") } else { ("", "before insert") };
    let deferred = if in_commit { "deferrable initially deferred" } else { "" };
    let gate = format!(
        "create or replace function gate() returns trigger language plpgsql as \
         $$ begin perform pg_advisory_xact_lock({GATE}); return new; end $$; \
         create {constraint} trigger gate {when} on {table} {deferred} for each row execute function gate()"
    );
    database.execute(&gate).await;
}

/// Closes the gate until the connection is closed.
async fn close_gate(database: &Database) -> DatabaseConnection {
    let connection = database.open().await;
    connection.execute_unprepared(&format!("select pg_advisory_lock({GATE})")).await.expect("the gate's lock");
    connection
}

/// Sends a sign-up, and kills the server when PostgreSQL stands at the gate.
async fn kill_at_the_gate(database: &Database, server: Server, name: &str) {
    let gate = close_gate(database).await;
    let waiting = "select count(*) as n from pg_locks where locktype = 'advisory' and not granted and database = \
                   (select oid from pg_database where datname = current_database())";
    let answer = {
        let signing_up = sign_up(&server, name);
        tokio::pin!(signing_up);
        tokio::select! {
            answer = &mut signing_up => panic!("{name}: {answer:?} in spite of the gate"),
            () = eventually("PostgreSQL stands at the gate", async || database.count(waiting).await == 1) => {}
        }
        server.send_kill();
        signing_up.await
    };
    assert!(answer.is_none(), "{name}: {answer:?}");
    server.wait().await;
    gate.close().await.expect("the gate opens");
    left_alone(database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgres_writes() {
    let database = Database::create(Kind::Postgres).await;
    let whole = first_signup(&database).await;
    let mut running = server(&database).await;
    for table in WRITTEN_BY_SIGNUP {
        let before = database.census().await;
        gate(&database, table, false).await;
        kill_at_the_gate(&database, running, table).await;
        assert_eq!(grown(&before, &database.census().await), [].into(), "{table}");

        database.execute("drop function gate() cascade").await;
        running = server(&database).await;
        sign_up(&running, table).await.expect("an answer").expect(201);
        assert_eq!(grown(&before, &database.census().await), whole, "{table}");
    }
    assert_doctor_reads_zero(&database, &settings());
}

/// PostgreSQL has the COMMIT and goes through with it; only the client never hears of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgres_commits() {
    let database = Database::create(Kind::Postgres).await;
    let whole = first_signup(&database).await;
    let running = server(&database).await;
    let before = database.census().await;
    gate(&database, "users", true).await;
    kill_at_the_gate(&database, running, "Acme").await;
    assert_eq!(grown(&before, &database.census().await), whole);
    assert_doctor_reads_zero(&database, &settings());
    assert_replays(&server(&database).await, "Acme").await;
    assert_eq!(grown(&before, &database.census().await), whole);
}

/// How a sign-up came out whose server died in a system call.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Left {
    Nothing,
    Everything,
    /// The server lived to answer.
    Answered,
}

/// Has the server die as its `nth` call to the file system begins, and holds what is left to being all or nothing. Either way the
/// same request then succeeds, once.
async fn die_in(database: &Database, whole: &Census, call: &str, nth: usize) -> Left {
    let name = format!("{call} {nth}");
    let before = database.census().await;
    let answer = match Server::start_to_die_in(database, &settings(), call, nth).await {
        Some(dying) => {
            let answer = sign_up(&dying, &name).await;
            if answer.is_some() {
                dying.kill().await;
            } else {
                dying.wait().await;
            }
            answer
        }
        None => None,
    };
    let grown_by = grown(&before, &database.census().await);
    let left = match answer {
        Some(answer) => {
            answer.expect(201);
            assert_eq!(&grown_by, whole, "{name}");
            Left::Answered
        }
        None if grown_by.is_empty() => Left::Nothing,
        None => {
            assert_eq!(&grown_by, whole, "{name}");
            Left::Everything
        }
    };
    let server = server(database).await;
    sign_up(&server, &name).await.expect("an answer").expect(201);
    server.kill().await;
    assert_eq!(&grown(&before, &database.census().await), whole, "{name}");
    left
}

/// SQLite writes page after page and then syncs; a soak dies in each of these calls.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_sqlite_writes() {
    const SOME: [usize; 6] = [1, 2, 3, 20, 70, 90];
    let database = Database::create(Kind::Sqlite).await;
    let whole = first_signup(&database).await;
    for call in ["pwrite64", "fsync"] {
        let mut counted = BTreeMap::<Left, usize>::new();
        for nth in (1..2_000).filter(|nth| soak_rounds().is_some() || SOME.contains(nth)) {
            let left = die_in(&database, &whole, call, nth).await;
            let is_over = left == Left::Answered;
            *counted.entry(left).or_default() += 1;
            if is_over {
                break;
            }
        }
        println!("killed in {call}: {counted:?}");
        assert!(counted.contains_key(&Left::Nothing), "nobody died in {call}: can strace trace here?");
    }
    assert_doctor_reads_zero(&database, &settings());
}
