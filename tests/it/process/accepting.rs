//! Accepting connections where that fails, and no longer.

use chrono::{DateTime, TimeDelta};
use reqwest::Method;
use tokio::{io::AsyncWriteExt, net::TcpStream, time::Duration};

use super::server::Server;
use crate::support::{Database, Kind, Settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_file_descriptors_it_waits_and_goes_on() {
    let database = Database::create(Kind::Sqlite).await;
    let server = Server::start(&database, &Settings::default(), &["--no-worker"]).await;
    let usual = server.allow_files(Some(0));
    let called = server.call(Method::GET, "/healthz", None, None);
    let relieved = async {
        let said = server.logged("Cannot accept connections; trying again in a second", 2).await;
        server.allow_files(usual);
        let [first, second] = [&said[0], &said[1]]
            .map(|event| DateTime::parse_from_rfc3339(event["ts"].as_str().expect("a time")).expect("of RFC 3339"));
        assert!(second - first > TimeDelta::milliseconds(900), "a pause between them: {said:?}");
    };
    tokio::join!(called, relieved).0.expect("an answer").expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_it_at_once_whoever_is_connected() {
    let database = Database::create(Kind::Sqlite).await;
    let settings = Settings::default().with("TENANTRY_HTTP__HEADER_TIMEOUT", "1h");
    let server = Server::start(&database, &settings, &[]).await;
    let mut half = TcpStream::connect(server.address()).await.expect("connects");
    half.write_all(b"GET / HTTP/1.1\r\nHost: loc").await.expect("sent");
    // Connections are accepted in turn.
    server.call(Method::GET, "/healthz", None, None).await.expect("an answer").expect(200);
    server.send_terminate();
    let ended = tokio::time::timeout(Duration::from_secs(10), server.wait()).await.expect("at once");
    assert!(ended.success(), "{ended}");
}
