//! Mail through a real SMTP server (`scripts/smtp-sink`), and the development mailbox.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use reqwest::Method;
use sea_orm::FromQueryResult;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::support::{Product, Settings, eventually, signup_body};

/// A running server; it goes with this.
struct Sink {
    port: u64,
    said: mpsc::UnboundedReceiver<String>,
    process: Child,
}

impl Drop for Sink {
    fn drop(&mut self) {
        // It ends with its standard input.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// The Python that has aiosmtpd: `scripts/test` names it, `scripts/setup` makes it.
fn python() -> String {
    let made = || {
        let target =
            std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| format!("{}/target", env!("CARGO_MANIFEST_DIR")));
        format!("{target}/venv/bin/python")
    };
    std::env::var("TEST_PYTHON").unwrap_or_else(|_| made())
}

impl Sink {
    async fn start(arguments: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/smtp-sink");
        let mut command = Command::new(python());
        command.arg(script).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("the Python of scripts/setup; run scripts/test");
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let (say, said) = mpsc::unbounded_channel();
        std::thread::spawn(move || lines.map_while(Result::ok).all(|line| say.send(line).is_ok()));
        let mut sink = Self { port: 0, said, process };
        sink.port = sink.next().await["port"].as_u64().expect("a port");
        sink
    }

    /// The next thing that it says. Waits for it.
    async fn next(&mut self) -> Value {
        let line = self.said.recv().await.expect("the sink lives");
        serde_json::from_str(&line).expect("JSON")
    }

    fn settings(&self, login: &str) -> Settings {
        let url = format!("smtp://{login}127.0.0.1:{}", self.port);
        Settings::default()
            .with("TENANTRY_SMTP__URL", &url)
            .with("TENANTRY_SMTP__FROM", "Tenantry <no-reply@example.com>")
    }
}

/// Head and body of a message as it came over the wire, with folded lines put together.
fn parted(message: &str) -> (String, String) {
    let message = message.replace("\r\n", "\n");
    let (head, body) = message.split_once("\n\n").expect("a head");
    (head.replace("\n ", " ").replace("\n\t", " "), body.to_owned())
}

on_both! {
    async fn a_sign_ups_mail_arrives_with_both_parts(database: Database) {
        let mut sink = Sink::start(&["--login", "ada", "s3cret pass"]).await;
        let product = Product::start_with(database, sink.settings("ada:s3cret%20pass@")).await;
        let mut body = signup_body("Acme", "free");
        body["tenant_name"] = json!("\"Quo'te\" & 🚀 <b>Co</b>, Ltd");
        product.post("/public/signup/start", &body).await.expect(201);
        let came = sink.next().await;
        assert_eq!((&came["accepted"], &came["from"], &came["to"]), (&json!(true), &json!("no-reply@example.com"), &json!(["acme@example.com"])));
        let (head, text) = parted(came["message"].as_str().unwrap());
        for line in ["From: Tenantry <no-reply@example.com>", "To: acme@example.com", "MIME-Version: 1.0"] {
            assert!(head.lines().any(|l| l == line), "{line} in {head}");
        }
        assert!(head.contains("multipart/alternative") && head.contains("Message-ID: <") && head.contains("Date: "), "{head}");
        assert!(head.is_ascii() && head.contains("Subject: ") && head.contains("=?utf-8?"), "{head}");
        assert!(text.contains("Content-Type: text/plain; charset=utf-8") && text.contains("Content-Type: text/html; charset=utf-8"), "{text}");
        assert!(!text.contains("<b>Co</b>,") || text.find("<b>Co</b>") < text.find("text/html"), "{text}");
    }
}

on_both! {
    async fn no_name_breaks_out_of_its_header(database: Database) {
        let mut sink = Sink::start(&[]).await;
        let product = Product::start_with(database, sink.settings("")).await;
        let mut body = signup_body("Acme", "free");
        body["tenant_name"] = json!("Acme\r\nBcc: victim@example.com");
        product.post("/public/signup/start", &body).await.expect_problem(422, "VALIDATION_FAILED");
        body["tenant_name"] = json!("Acme \u{202e}evil");
        product.post("/public/signup/start", &body).await.expect_problem(422, "VALIDATION_FAILED");
        body["tenant_name"] = json!("Acme\u{2028}Bcc: victim@example.com https://evil.example/x");
        product.post("/public/signup/start", &body).await.expect(201);
        let came = sink.next().await;
        assert_eq!(came["to"], json!(["acme@example.com"]));
        let (head, _) = parted(came["message"].as_str().unwrap());
        assert!(!head.lines().any(|line| line.to_lowercase().starts_with("bcc:")), "{head}");
    }
}

#[derive(FromQueryResult)]
struct Row {
    status: String,
    attempts: i64,
    last_error: Option<String>,
    is_tried: i64,
}

const MAIL: &str = "select status, attempts, last_error, cast(case when lease_expires_at is null then 0 else 1 end as bigint) as is_tried \
     from outbox where kind = 'mail'";

/// Waits until the worker has written down what came of a try.
async fn recorded(product: &Product, attempts: i64, status: &str) -> Row {
    eventually("the try is recorded", async || {
        let row: Row = product.database.one(MAIL).await;
        row.attempts == attempts && row.status == status && row.is_tried == 0
    })
    .await;
    product.database.one(MAIL).await
}

on_both! {
    async fn a_mail_that_is_put_off_is_tried_again_later(database: Database) {
        let mut sink = Sink::start(&["--refuse", "2", "451"]).await;
        let product = Product::start_with(database, sink.settings("")).await;
        product.visit("Acme", "free").await;
        let first = sink.next().await;
        assert_eq!(first["accepted"], false);
        let put_off = recorded(&product, 1, "pending").await;
        assert!(put_off.last_error.is_some_and(|error| error.contains("451") || error.contains("try later")));
        product.advance(60).await;
        let second = sink.next().await;
        assert_eq!(second["accepted"], false);
        recorded(&product, 2, "pending").await;
        product.advance(300).await;
        let third = sink.next().await;
        assert_eq!(third["accepted"], true);
        let id = |mail: &Value| parted(mail["message"].as_str().unwrap()).0.lines().find(|l| l.starts_with("Message-ID")).map(str::to_owned);
        assert_eq!(id(&first), id(&third), "the same mail");
        assert!(id(&first).is_some());
        recorded(&product, 3, "done").await;
        assert_eq!(product.database.count("select count(*) as n from outbox where payload is not null").await, 0, "forgotten");
    }
}

on_both! {
    async fn a_mail_that_is_refused_for_good_has_failed(database: Database) {
        let mut sink = Sink::start(&["--refuse", "1", "550"]).await;
        let product = Product::start_with(database, sink.settings("")).await;
        product.visit("Acme", "free").await;
        assert_eq!(sink.next().await["accepted"], false);
        recorded(&product, 1, "failed").await;
        // The sign-up itself stands.
        product.get("/public/plans").await.expect(200);
        assert_eq!(product.database.count("select count(*) as n from tenants").await, 1);
    }
}

on_both! {
    async fn the_mailbox_shows_mails_newest_first_and_can_be_emptied(database: Database) {
        let product = Product::start(database).await;
        product.visit("First", "free").await;
        product.visit("Second", "free").await;
        let to: Vec<_> = product.mails().await.iter().map(|mail| mail["to"].as_str().unwrap().to_owned()).collect();
        assert_eq!(to, ["second@example.com", "first@example.com"]);
        let page = product.get("/dev/mailbox").await;
        assert!(page.headers["content-type"].to_str().unwrap().starts_with("text/html"));
        assert!(page.text.contains("first@example.com") && page.text.contains("http://localhost:8080/verify-email?token="));
        for path in ["/dev/mailbox.json", "/dev/mailbox"] {
            product.visit(&format!("Third {}", path.len()), "free").await;
            product.call(Method::DELETE, path, None, None, &[]).await.expect(204);
            assert!(product.mails().await.is_empty());
        }
    }
}

on_both! {
    async fn links_begin_with_the_configured_address_whatever_a_request_says(database: Database) {
        let product = Product::start(database).await;
        let hostile = [
            ("host", "evil.example"), ("x-forwarded-host", "evil.example"), ("x-forwarded-proto", "evil.example"),
            ("x-original-host", "evil.example"), ("forwarded", "host=evil.example;proto=https"), ("origin", "https://evil.example"),
            ("referer", "https://evil.example/"),
        ];
        let address = json!({"email": "acme@example.com"});
        for (path, body, link) in [
            ("/public/signup/start", &signup_body("Acme", "free"), "/verify-email"),
            ("/api/v1/auth/password/forgot", &address, "/reset-password"),
            ("/api/v1/auth/magic-link", &address, "/magic-link"),
        ] {
            let answer = product.call(Method::POST, path, None, Some(body), &hostile).await;
            assert!(answer.status.is_success(), "{}", answer.text);
            let mail = &product.mails().await[0];
            let start = format!("http://localhost:8080{link}?token=");
            assert!(mail["links"].as_array().unwrap().iter().all(|link| link.as_str().unwrap().starts_with(&start)), "{mail}");
            assert!(!mail.to_string().contains("evil.example"), "{mail}");
        }
    }
}
