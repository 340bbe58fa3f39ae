//! Connections: how long they may say nothing, and how they end when the server stops. No database has a part in that, so one is enough.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{interval, timeout},
};

use crate::support::{Database, Kind, PATIENCE, Product, Settings, answer, eventually, signup_body};

/// What never comes to an end while a test runs.
const NEVER: &str = "1h";
/// Much sooner than the server gives up waiting for what runs.
const SOON: Duration = Duration::from_secs(10);
const HALF_A_HEADER: &str = "GET /healthz HTTP/1.1\r\nHost: loc";
const WHOLE_REQUEST: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// How HTTP/2 begins: the preface and empty settings (RFC 9113, 3.4).
const HTTP_2: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

async fn product(settings: &[(&str, &str)]) -> Product {
    let database = Database::create(Kind::Sqlite).await;
    let settings = settings.iter().fold(Settings::default(), |settings, (key, value)| settings.with(key, value));
    Product::start_with(database, settings).await
}

/// A connection by hand.
struct Line(TcpStream);

impl Line {
    /// Connects and says something.
    async fn open(product: &Product, says: &str) -> Self {
        let address = product.url.strip_prefix("http://").expect("http");
        let mut line = Self(TcpStream::connect(address).await.expect("connects"));
        line.say(says).await;
        line
    }

    async fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.expect("is listened to");
    }

    /// Reads until so much has come that it ends with `end`.
    async fn hear(&mut self, end: &str) -> String {
        let mut heard = Vec::new();
        while !heard.ends_with(end.as_bytes()) {
            let byte = timeout(PATIENCE, self.0.read_u8()).await.expect("something is said");
            heard.push(byte.unwrap_or_else(|_| panic!("closed after {:?}", String::from_utf8_lossy(&heard))));
        }
        String::from_utf8(heard).expect("text")
    }

    /// Reads until the server closes.
    async fn end(&mut self) -> String {
        let mut heard = Vec::new();
        timeout(PATIENCE, self.0.read_to_end(&mut heard)).await.expect("the server closes").expect("in order");
        String::from_utf8_lossy(&heard).into_owned()
    }
}

/// The problem in an answer as it came over the line.
fn problem(answer: &str) -> (&str, Value) {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a header and a body");
    (head.lines().next().expect("a status line"), serde_json::from_str(body).expect("JSON"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_nothing_is_closed_after_the_headers_time() {
    let product = product(&[("TENANTRY_HTTP__HEADER_TIMEOUT", "300ms"), ("TENANTRY_HTTP__KEEP_ALIVE", NEVER)]).await;
    for says in ["", "P", HALF_A_HEADER, HTTP_2] {
        let began = Instant::now();
        let heard = Line::open(&product, says).await.end().await;
        assert!(began.elapsed() >= Duration::from_millis(300), "{says:?}: {heard}");
        assert!(!heard.contains("200"), "{says:?}: {heard}");
    }
    product.get("/healthz").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_asked_may_be_idle_for_longer() {
    let product = product(&[("TENANTRY_HTTP__HEADER_TIMEOUT", "200ms"), ("TENANTRY_HTTP__KEEP_ALIVE", "1s")]).await;
    for says in ["", HALF_A_HEADER] {
        let began = Instant::now();
        let mut line = Line::open(&product, WHOLE_REQUEST).await;
        assert!(line.hear("ok").await.starts_with("HTTP/1.1 200"));
        line.say(says).await;
        assert_eq!(line.end().await, "", "{says:?}");
        assert!(began.elapsed() >= Duration::from_secs(1), "{says:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_answer_on_http_2_is_closed() {
    let product = product(&[("TENANTRY_HTTP__HEADER_TIMEOUT", "200ms"), ("TENANTRY_HTTP__KEEP_ALIVE", NEVER)]).await;
    // `GET /healthz` in the one frame of stream 1 (RFC 9113, 6.2; RFC 7541, appendix A), and nothing after it.
    let request = "\0\0\x15\x01\x05\0\0\0\x01\u{2}\u{3}GET\u{6}\u{4}http\u{4}\u{8}/healthz";
    let heard = Line::open(&product, &format!("{HTTP_2}{request}")).await.end().await;
    assert!(heard.contains("ok"), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_given_its_time_however_short_the_headers() {
    let product = product(&[("TENANTRY_HTTP__HEADER_TIMEOUT", "100ms"), ("TENANTRY_HTTP__KEEP_ALIVE", "100ms")]).await;
    let held = product.app.db.begin().await.expect("the writer");
    let body = signup_body("Acme", "starter");
    let sent = product.post("/public/signup/start", &body);
    let let_go = async {
        let began = Instant::now();
        // Until a connection that came later has run out of its time.
        assert_eq!(Line::open(&product, "").await.end().await, "");
        assert!(began.elapsed() >= Duration::from_millis(100));
        drop(held);
    };
    tokio::join!(sent, let_go).0.expect(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_where_nothing_is_under_way_do_not_hold_the_stop_up() {
    let product = product(&[("TENANTRY_HTTP__HEADER_TIMEOUT", NEVER), ("TENANTRY_HTTP__KEEP_ALIVE", NEVER)]).await;
    let mut lines = Vec::new();
    for says in ["", "P", HALF_A_HEADER, HTTP_2] {
        lines.push(Line::open(&product, says).await);
    }
    for says in ["", HALF_A_HEADER] {
        let mut line = Line::open(&product, WHOLE_REQUEST).await;
        line.hear("ok").await;
        line.say(says).await;
        lines.push(line);
    }
    // Connections are accepted in turn, so this answer says that all the others were.
    let http_2 = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().expect("a client");
    answer(http_2.get(format!("{}/healthz", product.url))).await.expect(200);

    timeout(SOON, product.stop()).await.expect("stops at once");
    for mut line in lines {
        line.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_is_answered_before_the_stop() {
    let product = product(&[]).await;
    let body = signup_body("Acme", "starter").to_string();
    let header = format!(
        "POST /public/signup/start HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    let mut asking = Line::open(&product, &header).await;
    // The server asks for the body when it has begun with the request.
    assert!(asking.hear("\r\n\r\n").await.starts_with("HTTP/1.1 100"));
    let mut idle = Line::open(&product, WHOLE_REQUEST).await;
    idle.hear("ok").await;

    product.app.stop.cancel();
    assert_eq!(idle.end().await, "");
    let address = product.url.strip_prefix("http://").expect("http").to_owned();
    eventually("no connection is taken", async || TcpStream::connect(&address).await.is_err()).await;
    asking.say(&body).await;
    let heard = asking.end().await;
    assert!(heard.starts_with("HTTP/1.1 201"), "{heard}");
    assert!(heard.to_lowercase().contains("\r\nconnection: close\r\n"), "{heard}");
    timeout(SOON, product.stop()).await.expect("stops after it");
}

/// What is sent to a route before its body of 100 bytes.
fn before_a_body(path: &str, kind: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: 100\r\n\r\n")
}

const JSON: &str = "application/json";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_come_is_408() {
    let product = product(&[("TENANTRY_HTTP__REQUEST_TIMEOUT", "2s")]).await;
    let routes = [("/public/signup/start", JSON), ("/magic-link", "application/x-www-form-urlencoded")];
    for (path, kind) in routes {
        let mut line = Line::open(&product, &before_a_body(path, kind)).await;
        line.say("{\"email\": ").await;
        let heard = line.end().await;
        let (status, problem) = problem(&heard);
        assert_eq!(status, "HTTP/1.1 408 Request Timeout", "{path}");
        assert_eq!((&problem["code"], &problem["status"]), (&json!("REQUEST_TIMEOUT"), &json!(408)), "{path}");
        assert!(problem["request_id"].is_string(), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_comes_in_drops_is_408() {
    let product = product(&[("TENANTRY_HTTP__REQUEST_TIMEOUT", "2s")]).await;
    let line = Line::open(&product, &before_a_body("/public/signup/start", JSON)).await;
    let (mut from, mut to) = line.0.into_split();
    let drops = tokio::spawn(async move {
        let mut drop = interval(Duration::from_millis(100));
        while to.write_all(b" ").await.is_ok() {
            drop.tick().await;
        }
    });
    let mut heard = [0; "HTTP/1.1 408".len()];
    timeout(PATIENCE, from.read_exact(&mut heard)).await.expect("an answer").expect("in order");
    assert_eq!(String::from_utf8_lossy(&heard), "HTTP/1.1 408");
    drops.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slowness_of_our_own_is_503() {
    let product = product(&[("TENANTRY_HTTP__REQUEST_TIMEOUT", "1s")]).await;
    let held = product.app.db.begin().await.expect("the writer");
    let slow = product.post("/public/signup/start", &signup_body("Acme", "starter")).await;
    slow.expect_problem(503, "SERVICE_UNAVAILABLE");
    drop(held);
    product.sign_up("Acme", "starter").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_2_is_spoken_to_those_who_know() {
    let product =
        product(&[("TENANTRY_HTTP__HEADER_TIMEOUT", "200ms"), ("TENANTRY_HTTP__REQUEST_TIMEOUT", "2s")]).await;
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().expect("a client");
    let start = client.request(Method::POST, format!("{}/public/signup/start/", product.url));
    let response =
        start.try_clone().expect("no body").json(&signup_body("Acme", "starter")).send().await.expect("sent");
    assert_eq!((response.version(), response.status().as_u16()), (reqwest::Version::HTTP_2, 201));
    let stalled = start
        .header("content-type", JSON)
        .body(reqwest::Body::wrap_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>()));
    answer(stalled).await.expect_problem(408, "REQUEST_TIMEOUT");
}
