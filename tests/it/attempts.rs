//! Wrong passwords: what they cost whoever tries them, on every replica, and that the owner is not locked out by them.

use chrono::TimeDelta;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Browser, Product, Settings, answer, signup_body, with_status};

const LOGIN: &str = "/api/v1/auth/login";
const ADA: &str = "ada@example.com";
const RIGHT: &str = "correct-horse-battery";
const WRONG: &str = "wrong-horse-battery";

fn settings() -> Settings {
    Settings::default()
        .with("TENANTRY_RATE_LIMIT__ENABLED", "true")
        .with("TENANTRY_RATE_LIMIT__LOG_IN", "10000")
        .with("TENANTRY_RATE_LIMIT__SIGN_UP", "10000")
        .with("TENANTRY_HTTP__TRUSTED_PROXIES", "127.0.0.1")
}

/// A product where Ada has registered from a network.
async fn with_ada(database: crate::support::Database, network: &str) -> Product {
    let product = Product::start_with(database, settings()).await;
    let form = json!({"email": ADA, "password": RIGHT, "password_confirm": RIGHT, "account_name": "Ada"});
    let register = product.request(Method::POST, "/api/v1/auth/register").header("x-forwarded-for", network);
    answer(register.json(&form)).await.expect(201);
    product
}

async fn log_in(product: &Product, email: &str, password: &str, network: &str) -> Answer {
    let request = product.request(Method::POST, LOGIN).header("x-forwarded-for", network);
    answer(request.json(&json!({"email": email, "password": password}))).await
}

/// Status, code, and how long to wait.
fn told(answer: &Answer) -> (u16, String, Option<i64>) {
    let wait = answer.headers.get("retry-after").map(|wait| wait.to_str().unwrap().parse().unwrap());
    (answer.status.as_u16(), answer.body["code"].as_str().unwrap_or_default().to_owned(), wait)
}

fn refused(wait: i64) -> (u16, String, Option<i64>) {
    (429, "RATE_LIMITED".into(), Some(wait))
}

fn wrong() -> (u16, String, Option<i64>) {
    (401, "INVALID_CREDENTIALS".into(), None)
}

on_both! {
    async fn the_wait_doubles_and_a_right_password_forgives(database: Database) {
        let product = with_ada(database, "203.0.113.1").await;
        // Nobody is told by it who is known.
        for email in [ADA, "ADA@example.com ", "nobody@example.com", "no address"] {
            let network = if email.trim() == ADA { "198.51.100.1" } else { "198.51.100.2" };
            for _ in 0..5 {
                assert_eq!(told(&log_in(&product, email, WRONG, network).await), wrong(), "{email}");
            }
            for wait in [1, 2, 4, 8] {
                assert_eq!(told(&log_in(&product, email, WRONG, network).await), refused(wait), "{email}");
                // What is right waits as well, or trying would go on.
                assert_eq!(told(&log_in(&product, email, RIGHT, network).await), refused(wait), "{email}");
                product.app.clock.advance(TimeDelta::seconds(wait));
                assert_eq!(told(&log_in(&product, email, WRONG, network).await), wrong(), "{email}");
            }
            product.app.clock.advance(TimeDelta::hours(1));
        }
        for _ in 0..2 {
            for _ in 0..4 {
                assert_eq!(told(&log_in(&product, ADA, WRONG, "198.51.100.1").await), wrong());
            }
            log_in(&product, ADA, RIGHT, "198.51.100.1").await.expect(200);
        }
    }
}

on_both! {
    async fn the_longest_wait_is_a_quarter_of_an_hour_and_an_hour_of_quiet_forgets(database: Database) {
        let product = with_ada(database, "203.0.113.1").await;
        let mut waits = Vec::new();
        for _ in 0..18 {
            let answer = log_in(&product, ADA, WRONG, "203.0.113.1").await;
            if let (429, _, Some(wait)) = told(&answer) {
                waits.push(wait);
                product.app.clock.advance(TimeDelta::seconds(wait));
                assert_eq!(told(&log_in(&product, ADA, WRONG, "203.0.113.1").await), wrong());
            }
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]);
        product.app.clock.advance(TimeDelta::hours(1));
        for _ in 0..5 {
            assert_eq!(told(&log_in(&product, ADA, WRONG, "203.0.113.1").await), wrong());
        }
        assert_eq!(told(&log_in(&product, ADA, WRONG, "203.0.113.1").await), refused(1));
    }
}

on_both! {
    async fn thirty_two_wrong_passwords_at_once_on_two_replicas_are_five_tries(database: Database) {
        let replica = Product::start_with(database.shared(), settings()).await;
        let product = with_ada(database, "203.0.113.1").await;
        for email in [ADA, "nobody@example.com"] {
            let sent = (0..32).map(|n| log_in(if n % 2 == 0 { &product } else { &replica }, email, WRONG, "203.0.113.9"));
            let answers = join_all(sent).await;
            let (tried, waits) = (with_status(&answers, 401), with_status(&answers, 429));
            // The wait after the fifth is a second, in which all of them fit, or nearly.
            assert!((5..=6).contains(&tried) && tried + waits == 32, "{:?}", answers.iter().map(told).collect::<Vec<_>>());
            for server in [&product, &replica] {
                assert_eq!(log_in(server, email, WRONG, "203.0.113.9").await.status, 429);
            }
        }
        replica.stop().await;
    }
}

on_both! {
    async fn strangers_slow_each_other_down_and_never_the_owner(database: Database) {
        let product = with_ada(database, "2001:db8:1:2::1").await;
        let from = |n: usize| format!("198.51.100.{n}");
        let mut waits = 0;
        for n in 1..=40 {
            let answer = log_in(&product, ADA, WRONG, &from(n)).await;
            waits += usize::from(answer.status == 429);
            assert!([401, 429].contains(&answer.status.as_u16()), "{}", answer.text);
        }
        assert!(waits >= 15, "only {waits} of them had to wait");
        for n in 41..=60 {
            log_in(&product, ADA, WRONG, &from(n)).await;
            product.app.clock.advance(TimeDelta::seconds(9));
        }
        let (status, _, wait) = told(&log_in(&product, ADA, WRONG, &from(61)).await);
        assert!(status == 401 || wait.is_some_and(|wait| wait <= 10), "{wait:?}");
        // Her own network, if not the same address of it.
        log_in(&product, ADA, WRONG, "2001:db8:1:2::ffff").await.expect_problem(401, "INVALID_CREDENTIALS");
        for _ in 0..3 {
            log_in(&product, ADA, WRONG, "198.51.100.1").await;
        }
        log_in(&product, ADA, RIGHT, "2001:db8:1:2:a:b:c:d").await.expect(200);
    }
}

on_both! {
    async fn an_owner_from_elsewhere_waits_ten_seconds_at_most(database: Database) {
        let product = with_ada(database, "203.0.113.1").await;
        for n in 0..30 {
            log_in(&product, ADA, WRONG, &format!("198.51.100.{n}")).await;
            product.app.clock.advance(TimeDelta::seconds(10));
        }
        log_in(&product, ADA, WRONG, "198.51.100.200").await.expect_problem(401, "INVALID_CREDENTIALS");
        assert_eq!(told(&log_in(&product, ADA, RIGHT, "192.0.2.1").await), refused(10));
        product.app.clock.advance(TimeDelta::seconds(10));
        log_in(&product, ADA, RIGHT, "192.0.2.1").await.expect(200);
    }
}

on_both! {
    async fn addresses_of_one_network_are_counted_together_and_forged_ones_not_at_all(database: Database) {
        let product = with_ada(database, "203.0.113.1").await;
        for n in 0..5 {
            assert_eq!(told(&log_in(&product, ADA, WRONG, &format!("2001:db8:9:9::{n}")).await), wrong());
        }
        assert_eq!(log_in(&product, ADA, WRONG, "2001:db8:9:9:ffff::1").await.status, 429);
        assert_eq!(log_in(&product, ADA, WRONG, "2001:db8:9:8::1").await.status, 401);
        // Whatever a client writes before it, the proxy has written its address last.
        for n in 0..6 {
            let answer = log_in(&product, ADA, WRONG, &format!("192.0.2.{n}, 203.0.113.77")).await;
            assert_eq!(answer.status, if n < 5 { 401 } else { 429 });
        }
        let what = "select count(*) as n from attempts where length(key) <> 32";
        assert_eq!(product.database.count(what).await, 0, "addresses are not kept");
    }
}

on_both! {
    async fn the_page_and_an_unfinished_sign_up_are_no_way_around(database: Database) {
        let product = Product::start_with(database, settings()).await;
        product.post("/public/signup/start", &signup_body("Ada", "free")).await.expect(201);
        let mut again = signup_body("Ada", "free");
        again["password"] = json!(WRONG);
        for _ in 0..3 {
            product.post("/public/signup/start", &again).await.expect_problem(409, "EMAIL_TAKEN");
        }
        let mut browser = Browser::new(&product);
        browser.go("/signin").await;
        let form = browser.form("/signin").fill("email", ADA).fill("password", WRONG);
        for status in [401, 401, 429] {
            browser.send(&form).await;
            assert_eq!(browser.status, status);
        }
        assert!(browser.html.contains("That was a little too fast"), "{}", browser.html);
        product.post("/public/signup/start", &signup_body("Ada", "free")).await.expect_problem(429, "RATE_LIMITED");
        product.app.clock.advance(TimeDelta::seconds(1));
        product.post("/public/signup/start", &signup_body("Ada", "free")).await.expect(200);
        browser.send(&form).await;
        assert_eq!(browser.status, 401, "what was right has forgiven what was wrong");
    }
}

on_both! {
    async fn where_limits_are_off_nobody_waits(database: Database) {
        let product = Product::start(database).await;
        let body: Value = json!({"email": ADA, "password": WRONG});
        for _ in 0..8 {
            product.post(LOGIN, &body).await.expect_problem(401, "INVALID_CREDENTIALS");
        }
        assert_eq!(product.database.count("select count(*) as n from attempts").await, 0);
    }
}
