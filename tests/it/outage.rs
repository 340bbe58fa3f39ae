//! A database that cannot be reached, or has no time: 503 and come again, nothing is lost, and nothing is done twice (S3, S7).

use std::sync::Arc;

use reqwest::Method;
use sea_orm::ConnectionTrait;
use serde_json::Value;
use tenantry::serve::Roles;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

use crate::support::{Answer, Database, Kind, Product, Settings, eventually, grown, signup_body};

const SERVER_ALONE: Roles = Roles { http: true, worker: false };

/// The way to PostgreSQL, which can be cut.
struct Way {
    address: String,
    database: String,
    open: Option<(JoinHandle<()>, watch::Sender<()>)>,
}

impl Way {
    /// Opens a way to the server of `url`, on a free port.
    async fn open(url: &url::Url) -> Self {
        let database = format!("{}:{}", url.host_str().expect("a host"), url.port().unwrap_or(5432));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let mut way = Self { address, database, open: None };
        way.carry(listener);
        way
    }

    fn carry(&mut self, listener: TcpListener) {
        let (cut, database) = (watch::Sender::new(()), self.database.clone());
        let cuts = cut.clone();
        let carrying = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (mut cut, database) = (cuts.subscribe(), database.clone());
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(database).await.expect("PostgreSQL listens");
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        self.open = Some((carrying, cut));
    }

    /// Ends every connection and refuses new ones.
    async fn cut(&mut self) {
        let (carrying, cut) = self.open.take().expect("open");
        carrying.abort();
        let _ = carrying.await;
        let _ = cut.send(());
    }

    /// Opens it again, at the same address.
    async fn mend(&mut self) {
        self.carry(TcpListener::bind(&self.address).await.expect("its port"));
    }
}

/// A product that reaches PostgreSQL by a way that can be cut; the test itself has its own.
async fn behind_a_way() -> (Product, Way) {
    let mut database = Database::create(Kind::Postgres).await;
    let direct = database.url.clone().expect("PostgreSQL has a URL");
    let mut through = url::Url::parse(&direct).expect("a URL");
    let way = Way::open(&through).await;
    through.set_port(way.address.rsplit(':').next().and_then(|port| port.parse().ok())).expect("a port");
    database.url = Some(through.to_string());
    let mut product = Product::start_as(database, Settings::default(), SERVER_ALONE).await;
    product.database.url = Some(direct);
    (product, way)
}

async fn start(product: &Product, name: &str) -> Answer {
    let body = signup_body(name, "starter");
    product.call(Method::POST, "/public/signup/start", None, Some(&body), &[("Idempotency-Key", name)]).await
}

fn assert_come_again(answer: Answer) {
    let after = answer.headers.get("retry-after").and_then(|after| after.to_str().ok()?.parse::<u64>().ok());
    assert!(after.is_some_and(|seconds| seconds > 0), "{:?}", answer.headers);
    answer.expect_problem(503, "SERVICE_UNAVAILABLE");
}

/// The same request succeeds, and any further one replays it: there is one tenant.
async fn assert_succeeds_once(product: &Product, name: &str, replayed_at_once: bool) {
    let first = start(product, name).await;
    assert_eq!(first.headers.contains_key("idempotent-replayed"), replayed_at_once);
    let first: Value = first.expect(201);
    let again = start(product, name).await;
    assert!(again.headers.contains_key("idempotent-replayed"));
    assert_eq!(again.expect(201), first);
    let tenants = format!("select count(*) as n from tenants where name = '{name}'");
    assert_eq!(product.database.count(&tenants).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_is_away() {
    let (product, mut way) = behind_a_way().await;
    start(&product, "First").await.expect(201);
    let before = product.database.census().await;
    way.cut().await;
    assert_come_again(start(&product, "Acme").await);
    product.get("/healthz").await.expect(200);
    product.get("/readyz").await.expect_problem(503, "SERVICE_UNAVAILABLE");
    assert_come_again(start(&product, "Acme").await);
    assert_eq!(grown(&before, &product.database.census().await), [].into());
    way.mend().await;
    product.get("/readyz").await.expect(200);
    assert_succeeds_once(&product, "Acme", false).await;
}

/// Waits until a statement of the product waits for a lock.
async fn waits(product: &Product) {
    let waiting =
        "select count(*) as n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    eventually("the sign-up waits for a lock", async || product.database.count(waiting).await == 1).await;
}

/// Waits until PostgreSQL has rolled back, or committed, what it was left with.
async fn settled(product: &Product) {
    let open = "select count(*) as n from pg_stat_activity where datname = current_database() and state <> 'idle' \
                and pid <> pg_backend_pid()";
    eventually("PostgreSQL has settled", async || product.database.count(open).await == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connection_is_cut_within_the_transaction() {
    let (product, mut way) = behind_a_way().await;
    let product = Arc::new(product);
    let before = product.database.census().await;
    let lock = product.database.open().await;
    lock.execute_unprepared("select pg_advisory_lock(42)").await.expect("a lock");
    let gate = "create function gate() returns trigger language plpgsql as \
                $$ begin perform pg_advisory_xact_lock(42); return new; end $$; \
                create trigger gate before insert on packages for each row execute function gate()";
    product.database.execute(gate).await;
    let signing_up = tokio::spawn({
        let product = product.clone();
        async move { start(&product, "Acme").await }
    });
    waits(&product).await;
    way.cut().await;
    assert_come_again(signing_up.await.expect("an answer"));
    way.mend().await;
    lock.close().await.expect("unlocks");
    settled(&product).await;
    assert_eq!(grown(&before, &product.database.census().await), [].into());
    assert_succeeds_once(&product, "Acme", false).await;
}

/// The one case in which nobody can know: PostgreSQL has the COMMIT, and its answer is lost. The key finds out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connection_is_cut_within_the_commit() {
    let (product, mut way) = behind_a_way().await;
    let product = Arc::new(product);
    let lock = product.database.open().await;
    lock.execute_unprepared("select pg_advisory_lock(42)").await.expect("a lock");
    let gate = "create function gate() returns trigger language plpgsql as \
                $$ begin perform pg_advisory_xact_lock(42); return new; end $$; \
                create constraint trigger gate after insert on users deferrable initially deferred \
                for each row execute function gate()";
    product.database.execute(gate).await;
    let signing_up = tokio::spawn({
        let product = product.clone();
        async move { start(&product, "Acme").await }
    });
    waits(&product).await;
    way.cut().await;
    assert_come_again(signing_up.await.expect("an answer"));
    way.mend().await;
    lock.close().await.expect("unlocks");
    settled(&product).await;
    assert_succeeds_once(&product, "Acme", true).await;
}

/// SQLite is always there, but another process may hold it for longer than anybody waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_is_held_by_somebody_else() {
    let product = Product::start_as(Database::create(Kind::Sqlite).await, Settings::default(), SERVER_ALONE).await;
    let holder = product.database.open().await;
    let before = product.database.census().await;
    holder.execute_unprepared("begin immediate").await.expect("holds");
    assert_come_again(start(&product, "Acme").await);
    holder.execute_unprepared("rollback").await.expect("lets go");
    holder.close().await.expect("closes");
    assert_eq!(grown(&before, &product.database.census().await), [].into());
    assert_succeeds_once(&product, "Acme", false).await;
}
