//! The outbox and its worker: what happens to mail and webhooks when the other side is late, rude, gone or answers.

use chrono::TimeDelta;
use serde_json::json;
use tenantry::{
    app::App,
    db::Batch,
    identity::email::Email,
    mail::{self, Mail},
    outbox,
    serve::Roles,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::support::{Database, Product, Settings};

/// A product without a worker, whose mail goes to `smtp`.
async fn idle(database: Database, smtp: Option<&TcpListener>) -> Product {
    let settings = match smtp {
        Some(server) => {
            let address = server.local_addr().expect("an address");
            Settings::default().with("TENANTRY_SMTP__URL", &format!("smtp://{address}"))
        }
        None => Settings::default(),
    };
    Product::start_as(database, settings, Roles { http: true, worker: false }).await
}

/// Commits a mail and wakes the workers.
async fn post_one(app: &App, tenant_name: &str) {
    let to = Email::parse("ada@example.com").expect("an address");
    queue(app, &mail::letters::verify_email(&app.config.public_url, &to, tenant_name, "secret-of-the-link")).await;
}

async fn queue(app: &App, letter: &Mail) {
    let (now, mut batch) = (app.clock.now(), Batch::default());
    app.post.queue(&mut batch, &now, None, letter);
    let tx = app.db.begin().await.expect("begins");
    batch.send(&tx).await.expect("sends");
    tx.commit().await.expect("commits");
    app.wake.wake();
}

/// A worker of the test's own, and what stops it.
fn worker(app: &App) -> (JoinHandle<()>, CancellationToken) {
    let stop = CancellationToken::new();
    (tokio::spawn(outbox::jobs::run(app.clone(), stop.clone())), stop)
}

async fn stop((running, stop): (JoinHandle<()>, CancellationToken)) {
    stop.cancel();
    running.await.expect("stops in order");
}

/// Takes a mail as a server does, answering `verdict` to its text. Answers what was sent.
async fn take(connection: &mut TcpStream, verdict: &str) -> String {
    let mut said = String::new();
    connection.write_all(b"220 test ESMTP\r\n").await.expect("greets");
    loop {
        let mut some = [0; 4096];
        let n = connection.read(&mut some).await.expect("reads");
        said.push_str(&String::from_utf8_lossy(&some[..n]));
        let answer = if said.ends_with("\r\n.\r\n") {
            verdict
        } else if said.ends_with("DATA\r\n") {
            "354 go on"
        } else if n == 0 {
            return said;
        } else if said.contains("DATA\r\n") {
            continue;
        } else {
            "250 ok"
        };
        connection.write_all(format!("{answer}\r\n").as_bytes()).await.expect("answers");
        if answer == verdict {
            return said;
        }
    }
}

/// Answers HTTP requests until a POST has come, and that with `status`. Answers the POST as it came.
async fn take_post(server: &TcpListener, status: &str) -> String {
    loop {
        let (mut connection, _) = server.accept().await.expect("a connection");
        let mut said = String::new();
        let is_post = loop {
            let mut some = [0; 4096];
            let n = connection.read(&mut some).await.expect("reads");
            said.push_str(&String::from_utf8_lossy(&some[..n]));
            let Some((head, body)) = said.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if n == 0 || body.len() >= length.map_or(0, |length| length.parse().expect("a length")) {
                break head.starts_with("POST");
            }
        };
        let status = if is_post { status } else { "200 OK" };
        let answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        connection.write_all(answer.as_bytes()).await.expect("answers");
        if is_post {
            return said;
        }
    }
}

/// A header of a request that [`take_post`] answered.
fn header<'a>(said: &'a str, name: &str) -> &'a str {
    said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).expect(name)
}

/// A product whose webhooks leave, and a tenant's events on their way to `server`.
async fn provisioned_with(database: Database, server: &TcpListener) -> Product {
    let settings = Settings::default()
        .with("TENANTRY_PROVISION__DRY_RUN", "false")
        .with("TENANTRY_PROVISION__ALLOW_PRIVATE_ADDRESSES", "true")
        .with("TENANTRY_PROVISION__WEBHOOK_HOSTS", "*");
    let product = Product::start_with(database, settings).await;
    let started = product.sign_up("Acme", "starter").await;
    let token = started["token"].as_str().expect("a token");
    let colors = json!({"primary_color": "#112233"});
    product.post_as(token, "/public/signup/brand", &colors).await.expect(200);
    let url = format!("http://{}/hook", server.local_addr().expect("an address"));
    product.post_as(token, "/public/signup/starter/make", &json!({"webhook_url": url})).await.expect(202);
    product
}

/// Waits until the database shows it: nothing tells a test when an answer has been recorded.
async fn until_one(product: &Product, query: &str) {
    while product.database.count(query).await != 1 {
        tokio::task::yield_now().await;
    }
}

fn message_id(said: &str) -> &str {
    said.lines().find(|line| line.starts_with("Message-ID: ")).expect("an id")
}

on_both! {
    async fn without_a_server_mail_stays_in_the_mailbox_and_is_sealed_at_rest(database: Database) {
        let product = idle(database, None).await;
        let worker = worker(&product.app);
        post_one(&product.app, "Žluťoučký <b>& Co").await;
        let sealed = "select count(*) as n from outbox where payload is not null and attempts = 1 and status = 'done'";
        until_one(&product, sealed).await;
        stop(worker).await;

        let mails = product.mails().await;
        let [mail] = &mails[..] else { panic!("one mail: {mails:?}") };
        assert_eq!(mail["to"], "ada@example.com");
        assert_eq!(mail["links"], json!(["http://localhost:8080/verify-email?token=secret-of-the-link"]));
        assert!(mail["html"].as_str().is_some_and(|html| html.contains("Žluťoučký &#60;b&#62;&#38; Co")), "{mail}");
        assert!(product.get("/dev/mailbox").await.text.contains("secret-of-the-link"));

        product.call(reqwest::Method::DELETE, "/dev/mailbox.json", None, None, &[]).await.expect(204);
        assert!(product.mails().await.is_empty());
        product.stop().await;
    }
}

on_both! {
    async fn a_mail_that_a_server_puts_off_is_sent_again_as_the_same_mail_and_then_forgotten(database: Database) {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let product = idle(database, Some(&server)).await;
        let first = worker(&product.app);
        post_one(&product.app, "Acme").await;
        let (mut connection, _) = server.accept().await.expect("a connection");
        let put_off = take(&mut connection, "451 try later").await;
        drop(connection);
        stop(first).await;
        let waiting = "select count(*) as n from outbox where status = 'pending' and attempts = 1 and last_error like '%451%'";
        assert_eq!(product.database.count(waiting).await, 1);

        product.app.clock.advance(TimeDelta::seconds(40));
        let second = worker(&product.app);
        let (mut connection, _) = server.accept().await.expect("another connection");
        let taken = take(&mut connection, "250 queued").await;
        stop(second).await;
        assert_eq!(message_id(&put_off), message_id(&taken));
        let done = "select count(*) as n from outbox where status = 'done' and attempts = 2 and payload is null and last_error is null";
        assert_eq!(product.database.count(done).await, 1);
        product.stop().await;
    }
}

on_both! {
    async fn a_mail_that_a_server_refuses_for_good_is_not_sent_again(database: Database) {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let product = idle(database, Some(&server)).await;
        let worker = worker(&product.app);
        post_one(&product.app, "Acme").await;
        let (mut connection, _) = server.accept().await.expect("a connection");
        take(&mut connection, "550 nobody here").await;
        drop(connection);
        stop(worker).await;
        let failed = "select count(*) as n from outbox where status = 'failed' and attempts = 1 and payload is null and last_error like '%550%'";
        assert_eq!(product.database.count(failed).await, 1);
        product.stop().await;
    }
}

on_both! {
    async fn a_worker_that_stalls_past_its_lease_loses_the_mail_and_its_late_write_is_refused(database: Database) {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let product = idle(database, Some(&server)).await;
        tenantry::telemetry::metrics();
        let stalled = worker(&product.app);
        post_one(&product.app, "Acme").await;
        let (stalling, _) = server.accept().await.expect("a connection");

        product.app.clock.advance(TimeDelta::seconds(61));
        // The stalled one may take it again itself: what counts is the fence.
        let other = worker(&product.app);
        let (mut connection, _) = server.accept().await.expect("another connection");
        take(&mut connection, "250 queued").await;
        stop(other).await;
        drop(stalling);
        stop(stalled).await;
        let done = "select count(*) as n from outbox where status = 'done' and attempts = 2 and fence = 2 and last_error is null";
        assert_eq!(product.database.count(done).await, 1);
        let metrics = product.get("/metrics").await.text;
        assert!(metrics.contains("tenantry_late_writes_refused_total{queue=\"outbox\"}"), "{metrics}");
        product.stop().await;
    }
}

on_both! {
    async fn a_tenants_webhook_hears_that_it_is_provisioned_and_again_where_it_stumbles(database: Database) {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let product = provisioned_with(database, &server).await;
        let first = take_post(&server, "503 Later").await;
        until_one(&product, "select count(*) as n from webhook_deliveries where status = 'pending' and attempts = 1 and last_status_code = 503").await;
        product.app.clock.advance(TimeDelta::seconds(7));
        product.app.wake.wake();
        let second = take_post(&server, "204 No Content").await;
        until_one(&product, "select count(*) as n from webhook_deliveries where status = 'delivered' and attempts = 2 and finished_at is not null").await;

        assert_eq!(header(&first, "webhook-id"), header(&second, "webhook-id"));
        assert!(header(&second, "webhook-signature").starts_with("v1,"));
        let body = second.split_once("\r\n\r\n").expect("a body").1;
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["type"], "tenant.provisioned");
        assert_eq!(body["data"]["tenant"]["slug"], "acme");
        assert!(body["timestamp"].as_str().is_some_and(|at| at.ends_with('Z')), "{body}");
        product.stop().await;
    }
}

on_both! {
    async fn a_webhook_that_is_gone_is_disabled(database: Database) {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let product = provisioned_with(database, &server).await;
        take_post(&server, "410 Gone").await;
        until_one(&product, "select count(*) as n from webhook_deliveries where status = 'failed' and attempts = 1 and last_status_code = 410").await;
        assert_eq!(product.database.count("select count(*) as n from webhook_endpoints where not enabled").await, 1);
        product.stop().await;
    }
}

on_both! {
    async fn the_clock_goes_forward_and_never_back(database: Database) {
        let product = idle(database, None).await;
        let before = product.app.clock.now().at;
        let body = product.post("/dev/clock/advance", &json!({"seconds": 86400})).await.expect(200);
        let now: chrono::DateTime<chrono::Utc> = body["now"].as_str().expect("a time").parse().expect("RFC 3339");
        assert!(now - before >= TimeDelta::days(1));
        for refused in [json!({"seconds": -1}), json!({"seconds": i64::MAX}), json!({"seconds": "1"}), json!({})] {
            product.post("/dev/clock/advance", &refused).await.expect_problem(422, "VALIDATION_FAILED");
        }
        product.stop().await;
    }
}

on_both! {
    async fn a_worker_that_is_stopped_in_the_middle_gives_the_mail_back(database: Database) {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let product = idle(database, Some(&server)).await;
        let worker = worker(&product.app);
        post_one(&product.app, "Acme").await;
        let (_stalling, _) = server.accept().await.expect("a connection");
        stop(worker).await;
        let waiting = "select count(*) as n from outbox where status = 'pending' and attempts = 0 and lease_expires_at is null";
        assert_eq!(product.database.count(waiting).await, 1);
        product.stop().await;
    }
}
