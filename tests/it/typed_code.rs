//! The code in the mail of a magic link, for whoever reads the mail on another device.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Answer, Browser, Product, Settings, fields};

const AUTH: &str = "/api/v1/auth";
const EMAIL: &str = "acme@example.com";

/// Asks for a link; the code in its mail.
pub async fn mailed(product: &Product, email: &str) -> String {
    product.post(&format!("{AUTH}/magic-link"), &json!({"email": email})).await.expect(202);
    let mails = product.mails().await;
    let mail = mails.iter().find(|mail| mail["to"] == email && mail["subject"] == "Your link to log in");
    code_in(mail.expect("a link")).expect("a code")
}

/// A line of a mail that is a code.
fn code_in(mail: &Value) -> Option<String> {
    let is_code = |line: &&str| line.len() == 9 && line.chars().nth(4) == Some('-');
    mail["text"].as_str()?.lines().find(is_code).map(str::to_owned)
}

pub async fn verify(product: &Product, email: &str, code: &str) -> Answer {
    product.post(&format!("{AUTH}/magic-link/verify"), &json!({"email": email, "code": code})).await
}

async fn verify_link(product: &Product) -> Answer {
    let token = product.secret(EMAIL, "/magic-link").await;
    product.post(&format!("{AUTH}/magic-link/verify"), &json!({"token": token})).await
}

async fn tries(product: &Product) -> i64 {
    product
        .database
        .count("select coalesce(max(code_tries), 0) as n from one_time_tokens where code_hash is not null")
        .await
}

/// A code that differs in its last letter.
fn wrong(code: &str) -> String {
    let last = if code.ends_with('B') { 'C' } else { 'B' };
    format!("{}{last}", &code[..8])
}

on_both! {
    async fn the_code_and_the_link_are_one(database: Database) {
        let product = Product::start(database).await;
        product.settle("Acme", "free").await;
        let code = mailed(&product, EMAIL).await;
        assert!(code.chars().all(|letter| "BCDFGHJKLMNPQRSTVWXZ-".contains(letter)), "{code}");
        let typed = code.to_lowercase().replace('-', " ");
        let tokens = verify(&product, "ACME@example.com ", &typed).await.expect(200);
        let me = product.get_as(tokens["access_token"].as_str().unwrap(), &format!("{AUTH}/me")).await.expect(200);
        assert!(me["user"]["email_verified_at"].is_string(), "the code proved the address");
        verify(&product, EMAIL, &code).await.expect_problem(401, "TOKEN_INVALID");
        verify_link(&product).await.expect_problem(401, "TOKEN_INVALID");

        let code = mailed(&product, EMAIL).await;
        verify_link(&product).await.expect(200);
        verify(&product, EMAIL, &code).await.expect_problem(401, "TOKEN_INVALID");
    }
}

on_both! {
    async fn only_the_newest_code_counts_and_for_its_address_alone(database: Database) {
        let product = Product::start(database).await;
        product.settle("Acme", "free").await;
        product.settle("Globex", "free").await;
        let first = mailed(&product, EMAIL).await;
        let second = mailed(&product, EMAIL).await;
        let other = mailed(&product, "globex@example.com").await;
        verify(&product, EMAIL, &first).await.expect_problem(401, "TOKEN_INVALID");
        verify(&product, EMAIL, &other).await.expect_problem(401, "TOKEN_INVALID");
        verify(&product, "globex@example.com", &second).await.expect_problem(401, "TOKEN_INVALID");
        verify(&product, EMAIL, &second).await.expect(200);
        verify(&product, EMAIL, &first).await.expect_problem(401, "TOKEN_INVALID");
        verify(&product, "globex@example.com", &other).await.expect(200);
    }
}

on_both! {
    async fn five_wrong_codes_end_the_code_and_not_the_link(database: Database) {
        let product = Product::start(database).await;
        product.settle("Acme", "free").await;
        let code = mailed(&product, EMAIL).await;
        for _ in 0..4 {
            verify(&product, EMAIL, &wrong(&code)).await.expect_problem(401, "TOKEN_INVALID");
        }
        verify(&product, EMAIL, &code).await.expect(200);

        let code = mailed(&product, EMAIL).await;
        let answers = join_all((0..32).map(|_| verify(&product, EMAIL, "BCDF-GHJK"))).await;
        assert!(answers.iter().all(|answer| answer.status == 401), "{answers:?}");
        assert_eq!(tries(&product).await, 5);
        verify(&product, EMAIL, &code).await.expect_problem(401, "TOKEN_INVALID");
        verify_link(&product).await.expect(200);
    }
}

on_both! {
    async fn a_refused_code_does_not_tell_who_is_known(database: Database) {
        let product = Product::start(database).await;
        product.settle("Acme", "free").await;
        let code = mailed(&product, EMAIL).await;
        let same = |answer: Answer| {
            let mut body = answer.expect_problem(401, "TOKEN_INVALID");
            body.as_object_mut().unwrap().remove("request_id");
            body
        };
        let unknown = same(verify(&product, "nobody@example.com", &code).await);
        assert_eq!(same(verify(&product, EMAIL, &wrong(&code)).await), unknown);
        assert_eq!(same(verify(&product, EMAIL, "").await), unknown);
        assert_eq!(same(verify(&product, EMAIL, &"B".repeat(100_000)).await), unknown);
        product.advance(15 * 60).await;
        assert_eq!(same(verify(&product, EMAIL, &code).await), unknown, "expired");
    }
}

on_both! {
    async fn a_link_that_nobody_asked_for_has_no_code(database: Database) {
        let product = Product::start(database).await;
        product.settle("Acme", "free").await;
        let mails = product.mails().await;
        assert!(mails.iter().any(|mail| mail["links"][0].as_str().unwrap().contains("/magic-link")), "{mails:?}");
        assert!(mails.iter().all(|mail| code_in(mail).is_none()), "{mails:?}");
        assert_eq!(product.database.count("select count(*) as n from one_time_tokens where code_hash is not null").await, 0);
        verify(&product, EMAIL, "").await.expect_problem(401, "TOKEN_INVALID");
    }
}

on_both! {
    async fn a_link_is_used_by_its_token_or_by_its_code(database: Database) {
        let product = Product::start(database).await;
        let path = format!("{AUTH}/magic-link/verify");
        for body in [
            json!({}),
            json!({"email": EMAIL}),
            json!({"code": "BCDF-GHJK"}),
            json!({"token": "x", "email": EMAIL, "code": "BCDF-GHJK"}),
            json!({"token": "x", "code": "BCDF-GHJK"}),
        ] {
            let problem = product.post(&path, &body).await.expect_problem(422, "VALIDATION_FAILED");
            assert_eq!(fields(&problem), [("token", "REQUIRED")], "{body}");
        }
        let problem = verify(&product, "a@b.c,d@e.f", "BCDF-GHJK").await.expect_problem(422, "VALIDATION_FAILED");
        assert_eq!(fields(&problem), [("email", "EMAIL_INVALID")]);
    }
}

on_both! {
    async fn the_code_does_not_get_around_the_second_factor(database: Database) {
        let product = Product::start(database).await;
        product.settle("Acme", "free").await;
        let code = mailed(&product, EMAIL).await;
        let tokens = verify(&product, EMAIL, &code).await.expect(200);
        let access = tokens["access_token"].as_str().unwrap();
        let made = product.post_as(access, &format!("{AUTH}/totp/setup"), &json!({})).await.expect(201);
        let app = totp_rs::Totp::from_url(made["otpauth_url"].as_str().unwrap()).unwrap();
        let totp = || {
            let at = product.app.clock.advance(chrono::TimeDelta::seconds(30)).at.timestamp();
            app.generate(u64::try_from(at).unwrap()).to_string()
        };
        product.post_as(access, &format!("{AUTH}/totp/confirm"), &json!({"totp": totp()})).await.expect(200);

        let path = format!("{AUTH}/magic-link/verify");
        let code = mailed(&product, EMAIL).await;
        for _ in 0..6 {
            let body = json!({"email": EMAIL, "code": code, "totp": "000 00"});
            product.post(&path, &body).await.expect_problem(401, "TOTP_INVALID");
        }
        let body = json!({"email": EMAIL, "code": code, "totp": totp()});
        product.post(&path, &body).await.expect(200);
        product.post(&path, &body).await.expect_problem(401, "TOKEN_INVALID");

        let code = mailed(&product, EMAIL).await;
        let problem = verify(&product, EMAIL, &code).await.expect_problem(401, "TOTP_REQUIRED");
        verify(&product, EMAIL, &code).await.expect_problem(401, "TOKEN_INVALID");
        let body = json!({"pending_token": problem["pending_token"], "totp": totp()});
        product.post(&format!("{AUTH}/totp/verify"), &body).await.expect(200);
    }
}

on_both! {
    async fn a_mail_on_the_phone_signs_in_on_the_desktop(database: Database) {
        let settings = Settings::default().with("TENANTRY_RATE_LIMIT__ENABLED", "true");
        let product = Product::start_with(database, settings).await;
        product.settle("Acme", "free").await;
        product.prove(EMAIL).await;
        let mut browser = Browser::new(&product);
        browser.go("/signin").await;
        browser.send(&browser.form("/signin").fill("email", EMAIL).fill("link", "1")).await;
        let mails = product.mails().await;
        let code = mails.iter().find_map(code_in).expect("a code");
        let form = browser.form("/signin/mail-code");
        browser.send(&form.clone().fill("code", &wrong(&code))).await;
        assert_eq!((browser.path.as_str(), browser.status.as_u16()), ("/signin/mail-code", 401));
        assert!(browser.html.contains("That code did not work") && browser.html.contains(EMAIL), "{}", browser.html);
        browser.send_with(&form.clone().fill("code", &code), &[("sec-fetch-site", "cross-site")]).await;
        assert_eq!(browser.status, 403);
        browser.send(&form.fill("code", &code)).await;
        assert_eq!(browser.path, "/dashboard");
        let mut other = Browser::new(&product);
        other.go("/signin/mail-code").await;
        assert_eq!(other.path, "/signin");
    }
}
