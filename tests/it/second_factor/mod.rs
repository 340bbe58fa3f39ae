//! The second factor: codes of an app and recovery codes, on every way in.

mod pages;

use futures_util::future::join_all;
use sea_orm::FromQueryResult;
use serde_json::{Value, json};
use tenantry::identity::claim;
use totp_rs::Totp;

use crate::support::{
    Answer, Browser, Product, Settings,
    factor::{Holder, log_in, verify},
    names, tally, text, with_status,
};

const AUTH: &str = "/api/v1/auth";
const EMAIL: &str = "acme@example.com";
const PASSWORD: &str = "correct-horse-battery";

async fn verify_link(product: &Product, body: Value) -> Answer {
    product.post(&format!("{AUTH}/magic-link/verify"), &body).await
}

async fn sessions(product: &Product) -> i64 {
    product.database.count("select count(*) as n from sessions where revoked_at is null").await
}

#[derive(FromQueryResult)]
struct Event {
    detail: Value,
}

/// The audit events of a kind, oldest first.
async fn events(product: &Product, action: &str) -> Vec<Event> {
    let query = format!("select detail from audit_events where action = '{action}' order by id");
    product.database.all(&query).await
}

on_both! {
    async fn no_session_opens_without_the_code(database: Database) {
        let product = Product::start(database).await;
        let ada = Holder::with_factor(&product).await;
        assert_eq!(ada.status().await, json!({"enabled": true, "recovery_codes_left": 10}));
        let before = sessions(&product).await;

        let problem = log_in(&product, json!({})).await.expect_problem(401, "TOTP_REQUIRED");
        assert!(!names(&problem).contains(&"access_token"), "{problem}");
        log_in(&product, json!({"totp": ada.wrong_code()})).await.expect_problem(401, "TOTP_INVALID");
        log_in(&product, json!({"totp": ""})).await.expect_problem(401, "TOTP_INVALID");
        let both_wrong = json!({"email": EMAIL, "password": "not-the-right-one", "totp": ada.next_code()});
        product.post(&format!("{AUTH}/login"), &both_wrong).await.expect_problem(401, "INVALID_CREDENTIALS");
        assert_eq!(sessions(&product).await, before);

        let tokens = log_in(&product, json!({"totp": ada.next_code()})).await.expect(200);
        product.get_as(&text(&tokens["access_token"]), &format!("{AUTH}/me")).await.expect(200);
        let tokens = verify(&product, &ada.pending().await, &ada.next_code()).await.expect(200);
        product.get_as(&text(&tokens["access_token"]), &format!("{AUTH}/me")).await.expect(200);
        assert_eq!(sessions(&product).await, before + 2);
        let opened = events(&product, "session.opened").await;
        let told: Vec<_> = opened.iter().map(|event| (&event.detail["by"], &event.detail["second_factor"])).collect();
        let (with, without) = ((&json!("password"), &json!(true)), (&json!("password"), &json!(false)));
        assert_eq!(told, [without, with, with]);
    }
}

on_both! {
    async fn a_code_is_good_once(database: Database) {
        let product = Product::start(database).await;
        let ada = Holder::with_factor(&product).await;
        // The one that switched it on has been used.
        log_in(&product, json!({"totp": ada.code()})).await.expect_problem(401, "TOTP_INVALID");
        let code = ada.next_code();
        log_in(&product, json!({"totp": code})).await.expect(200);
        // Neither at the same way in, nor at another.
        log_in(&product, json!({"totp": code})).await.expect_problem(401, "TOTP_INVALID");
        verify(&product, &ada.pending().await, &code).await.expect_problem(401, "TOTP_INVALID");
        // Nor is one from before that was not used.
        log_in(&product, json!({"totp": ada.code_in(-30)})).await.expect_problem(401, "TOTP_INVALID");
    }
}

on_both! {
    async fn a_phone_may_be_half_a_minute_off_and_no_more(database: Database) {
        let product = Product::start(database).await;
        let ada = Holder::with_factor(&product).await;
        product.advance(300).await;
        for seconds in [-60, 60] {
            log_in(&product, json!({"totp": ada.code_in(seconds)})).await.expect_problem(401, "TOTP_INVALID");
        }
        for seconds in [-30, 0, 30] {
            log_in(&product, json!({"totp": ada.code_in(seconds)})).await.expect(200);
        }
        let code = ada.next_code();
        product.advance(30).await;
        log_in(&product, json!({"totp": code})).await.expect_problem(401, "TOTP_INVALID");
        let code = ada.next_code();
        log_in(&product, json!({"totp": format!("{} {}", &code[..3], &code[3..])})).await.expect(200);
    }
}

on_both! {
    async fn a_recovery_code_stands_in_once(database: Database) {
        let product = Product::start(database).await;
        let ada = Holder::with_factor(&product).await;
        assert_eq!(ada.recovery_codes.len(), 10);
        assert!(ada.recovery_codes.iter().all(|code| code.len() == 14), "{:?}", ada.recovery_codes);

        let code = ada.recovery_codes[0].to_lowercase().replace('-', " ");
        log_in(&product, json!({"totp": code})).await.expect(200);
        log_in(&product, json!({"totp": code})).await.expect_problem(401, "TOTP_INVALID");
        let mail = &product.mails().await[0];
        assert_eq!((&mail["to"], &mail["subject"]), (&json!(EMAIL), &json!("A recovery code was used")));
        assert!(mail["text"].as_str().unwrap().contains("9 more are left."), "{mail}");

        let (pending, code) = (ada.pending().await, &ada.recovery_codes[1]);
        verify(&product, &pending, code).await.expect(200);
        verify(&product, &pending, code).await.expect_problem(401, "TOTP_INVALID");
        assert_eq!(ada.status().await["recovery_codes_left"], 8);
        assert_eq!(events(&product, "user.recovery_code_used").await.len(), 2);

        let renewed = ada.post("recovery-codes", &json!({"totp": ada.next_code()})).await.expect(200);
        assert_eq!(ada.status().await["recovery_codes_left"], 10);
        log_in(&product, json!({"totp": ada.recovery_codes[2]})).await.expect_problem(401, "TOTP_INVALID");
        log_in(&product, json!({"totp": renewed["recovery_codes"][9]})).await.expect(200);
        ada.post("recovery-codes", &json!({"totp": ada.wrong_code()})).await.expect_problem(401, "TOTP_INVALID");
    }
}

on_both! {
    async fn recovery_codes_outlive_a_change_of_the_secret_key(database: Database) {
        let product = Product::start(database).await;
        let ada = Holder::with_factor(&product).await;
        let (codes, url) = (ada.recovery_codes.clone(), ada.app.to_url().unwrap());
        drop(ada);
        let old = product.app.config.secret_key.clone();
        let database = product.stop().await;
        let old = secrecy::ExposeSecret::expose_secret(&old).to_owned();
        let settings = Settings::default()
            .with("TENANTRY_SECRET_KEY", "another-secret-key-of-more-than-32-letters")
            .with("TENANTRY_SECRET_KEY_PREVIOUS", &old);
        let product = Product::start_with(database, settings).await;
        log_in(&product, json!({"totp": codes[0]})).await.expect(200);
        product.advance(60).await;
        let at = u64::try_from(product.app.clock.now().at.timestamp()).unwrap();
        let code = Totp::from_url(url).unwrap().generate(at).to_string();
        log_in(&product, json!({"totp": code})).await.expect(200);
    }
}

on_both! {
    async fn it_is_on_only_when_the_app_has_shown_a_code(database: Database) {
        let product = Product::start(database).await;
        let mut ada = Holder::without(&product).await;
        assert_eq!(ada.status().await, json!({"enabled": false, "recovery_codes_left": 0}));
        log_in(&product, json!({})).await.expect(200);
        ada.post("confirm", &json!({"totp": ada.wrong_code()})).await.expect_problem(401, "TOTP_INVALID");
        ada.post("recovery-codes", &json!({"totp": ada.code()})).await.expect_problem(409, "TOTP_OFF");
        ada.switch_off(&ada.code()).await.expect_problem(409, "TOTP_OFF");

        // A second secret takes the place of the first.
        let first = ada.code();
        ada.set_up().await;
        ada.post("confirm", &json!({"totp": first})).await.expect_problem(401, "TOTP_INVALID");
        ada.post("confirm", &json!({"totp": ada.code()})).await.expect(200);
        assert_eq!(ada.status().await, json!({"enabled": true, "recovery_codes_left": 10}));
        ada.post("setup", &json!({})).await.expect_problem(409, "TOTP_ALREADY_ON");
        ada.post("confirm", &json!({"totp": ada.next_code()})).await.expect_problem(409, "TOTP_ALREADY_ON");
        assert_eq!(product.mails().await[0]["subject"], "The second factor is on");
        assert_eq!(events(&product, "user.second_factor_on").await.len(), 1);
        product.get(&format!("{AUTH}/totp")).await.expect_problem(401, "UNAUTHENTICATED");
    }
}

on_both! {
    async fn switching_it_off_takes_a_code_and_is_told(database: Database) {
        let product = Product::start(database).await;
        let ada = Holder::with_factor(&product).await;
        ada.switch_off(&ada.wrong_code()).await.expect_problem(401, "TOTP_INVALID");
        ada.switch_off("").await.expect_problem(401, "TOTP_INVALID");
        let pending = ada.pending().await;
        ada.switch_off(&ada.recovery_codes[3]).await.expect(204);
        assert_eq!(ada.status().await, json!({"enabled": false, "recovery_codes_left": 0}));
        let mails = product.mails().await;
        assert!(mails.iter().any(|mail| mail["subject"] == "The second factor is off"), "{mails:?}");
        assert_eq!(events(&product, "user.second_factor_off").await.len(), 1);
        log_in(&product, json!({})).await.expect(200);
        // What waited for its code does not come in without one.
        verify(&product, &pending, &ada.next_code()).await.expect_problem(401, "TOKEN_INVALID");
        assert_eq!(product.database.count("select count(*) as n from recovery_codes").await, 0);
    }
}

on_both! {
    async fn wrong_codes_have_to_wait_however_many_come_at_once(database: Database) {
        let settings = Settings::default()
            .with("TENANTRY_RATE_LIMIT__ENABLED", "true")
            .with("TENANTRY_RATE_LIMIT__LOG_IN", "10000")
            .with("TENANTRY_RATE_LIMIT__TOKENS", "10000");
        let product = Product::start_with(database, settings).await;
        let ada = Holder::with_factor(&product).await;
        let (pending, wrong) = (ada.pending().await, ada.wrong_code());
        let answers = join_all((0..32).map(|_| verify(&product, &pending, &wrong))).await;
        let (tried, waits) = (with_status(&answers, 401), with_status(&answers, 429));
        // The wait after the fifth is a second, in which all of them fit, or nearly.
        assert!((5..=6).contains(&tried) && tried + waits == 32, "{answers:?}");
        // Whichever way they are brought.
        for (n, wait) in [4, 8, 16, 32, 64].into_iter().enumerate() {
            product.advance(wait).await;
            let wrong = ada.wrong_code();
            let answer = match n % 3 {
                0 => log_in(&product, json!({"totp": wrong})).await,
                1 => ada.switch_off(&wrong).await,
                _ => verify(&product, &pending, &wrong).await,
            };
            answer.expect_problem(401, "TOTP_INVALID");
        }
        let code = ada.code();
        for answer in [verify(&product, &pending, &code).await, ada.switch_off(&code).await] {
            assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
            answer.expect_problem(429, "RATE_LIMITED");
        }
        let late = log_in(&product, json!({"totp": code})).await;
        late.expect_problem(429, "RATE_LIMITED");
        // Nobody is locked out, and a right code forgives.
        product.advance(120).await;
        verify(&product, &ada.pending().await, &ada.code()).await.expect(200);
        for _ in 0..4 {
            verify(&product, &pending, &ada.wrong_code()).await.expect_problem(401, "TOTP_INVALID");
        }
        verify(&product, &pending, &ada.next_code()).await.expect(200);
    }
}

on_both! {
    async fn a_mailed_link_does_not_get_around_it(database: Database) {
        let product = Product::start(database).await;
        let ada = Holder::with_factor(&product).await;
        let before = sessions(&product).await;
        let link = ada.link().await;
        // A wrong code leaves the link as it is.
        for _ in 0..3 {
            let wrong = verify_link(&product, json!({"token": link, "totp": ada.wrong_code()})).await;
            wrong.expect_problem(401, "TOTP_INVALID");
        }
        verify_link(&product, json!({"token": link, "totp": ada.next_code()})).await.expect(200);
        verify_link(&product, json!({"token": link, "totp": ada.next_code()})).await.expect_problem(401, "TOKEN_INVALID");

        // Without a code it is used up for one that waits.
        let link = ada.link().await;
        let problem = verify_link(&product, json!({"token": link})).await.expect_problem(401, "TOTP_REQUIRED");
        verify_link(&product, json!({"token": link})).await.expect_problem(401, "TOKEN_INVALID");
        assert_eq!(sessions(&product).await, before + 1);
        verify(&product, &text(&problem["pending_token"]), &ada.next_code()).await.expect(200);
        let opened = events(&product, "session.opened").await;
        let last = &opened.last().unwrap().detail;
        assert_eq!((&last["by"], &last["second_factor"]), (&json!("magic_link"), &json!(true)));

        let link = json!({"token": ada.link().await});
        let answers = join_all((0..16).map(|_| verify_link(&product, link.clone()))).await;
        assert_eq!(tally(&answers), [(401, "TOKEN_INVALID".into(), 15), (401, "TOTP_REQUIRED".into(), 1)]);
    }
}

on_both! {
    async fn what_waits_for_a_code_opens_nothing_else_and_not_for_long(database: Database) {
        let product = Product::start(database).await;
        let ada = Holder::with_factor(&product).await;
        let pending = ada.pending().await;
        product.get_as(&pending, &format!("{AUTH}/me")).await.expect_problem(401, "UNAUTHENTICATED");
        let refresh = json!({"refresh_token": pending});
        product.post(&format!("{AUTH}/refresh"), &refresh).await.expect_problem(401, "TOKEN_INVALID");
        verify_link(&product, json!({"token": pending})).await.expect_problem(401, "TOKEN_INVALID");
        let mut browser = Browser::new(&product);
        browser.set_cookie("tenantry_session", Some(&pending));
        browser.go("/dashboard").await;
        assert_eq!(browser.path, "/signin");

        let code = ada.next_code();
        let mut changed = pending.clone().into_bytes();
        changed[60] ^= 1;
        let session = browser.cookie("tenantry_session").unwrap().chars().rev().collect::<String>();
        for forged in [String::from_utf8(changed).unwrap(), String::new(), pending[..80].to_owned(), session] {
            verify(&product, &forged, &code).await.expect_problem(401, "TOKEN_INVALID");
        }
        product.advance(600).await;
        verify(&product, &pending, &ada.next_code()).await.expect_problem(401, "TOKEN_EXPIRED");
    }
}

on_both! {
    async fn what_waits_for_a_code_ends_with_what_led_to_it(database: Database) {
        let product = Product::start(database).await;
        let ada = Holder::with_factor(&product).await;
        // A new password.
        let pending = ada.pending().await;
        product.post(&format!("{AUTH}/password/forgot"), &json!({"email": EMAIL})).await.expect(202);
        let reset = json!({"token": product.secret(EMAIL, "/reset-password").await, "password": "another-horse-battery"});
        let answer = product.post(&format!("{AUTH}/password/reset"), &reset).await.expect(200);
        assert_eq!(names(&answer), ["message"], "a reset logs nobody in");
        assert_eq!(sessions(&product).await, 0);
        verify(&product, &pending, &ada.next_code()).await.expect_problem(401, "TOKEN_INVALID");

        // It is on still, for the new password too.
        let body = json!({"email": EMAIL, "password": "another-horse-battery"});
        let problem = product.post(&format!("{AUTH}/login"), &body).await.expect_problem(401, "TOTP_REQUIRED");
        let pending = text(&problem["pending_token"]);
        product.database.execute("update users set disabled_at = created_at").await;
        verify(&product, &pending, &ada.next_code()).await.expect_problem(401, "TOKEN_INVALID");
        product.database.execute("update users set disabled_at = null").await;

        // Somebody proves the address that a stranger had registered, with a password and an app of theirs.
        let problem = verify_link(&product, json!({"token": ada.link().await})).await.expect_problem(401, "TOTP_REQUIRED");
        product.database.execute("update users set email_verified_at = null").await;
        let (now, tx) = (product.app.clock.now(), product.app.db.begin().await.unwrap());
        assert!(claim::claim(&tx, &now, ada.id).await.unwrap());
        tx.commit().await.unwrap();
        verify(&product, &pending, &ada.next_code()).await.expect_problem(401, "TOKEN_INVALID");
        let by_link = text(&problem["pending_token"]);
        verify(&product, &by_link, &ada.next_code()).await.expect_problem(401, "TOKEN_INVALID");
        assert_eq!(sessions(&product).await, 0);
    }
}

on_both! {
    async fn an_open_session_is_not_asked_again(database: Database) {
        let product = Product::start(database).await;
        let ada = Holder::with_factor(&product).await;
        let tokens = log_in(&product, json!({"totp": ada.next_code()})).await.expect(200);
        let refreshed =
            product.post(&format!("{AUTH}/refresh"), &json!({"refresh_token": tokens["refresh_token"]})).await.expect(200);
        let access = text(&refreshed["access_token"]);
        let me = product.get_as(&access, &format!("{AUTH}/me")).await.expect(200);
        let tenant = json!({"tenant_id": me["tenant"]["id"]});
        product.post_as(&access, &format!("{AUTH}/switch-tenant"), &tenant).await.expect(200);
    }
}

on_both! {
    async fn a_sign_up_that_is_taken_up_again_does_not_get_around_it(database: Database) {
        let product = Product::start(database).await;
        let started = product.sign_up("Acme", "free").await;
        let again = crate::support::signup_body("Acme", "free");
        product.post("/public/signup/start", &again).await.expect(200);
        let tokens = log_in(&product, json!({})).await.expect(200);
        let access = text(&tokens["access_token"]);
        let made = product.post_as(&access, &format!("{AUTH}/totp/setup"), &json!({})).await.expect(201);
        let app = Totp::from_url(text(&made["otpauth_url"])).unwrap();
        let code = app.generate(u64::try_from(product.app.clock.now().at.timestamp()).unwrap()).to_string();
        product.post_as(&access, &format!("{AUTH}/totp/confirm"), &json!({"totp": code})).await.expect(200);

        product.post("/public/signup/start", &again).await.expect_problem(409, "EMAIL_TAKEN");
        let before = sessions(&product).await;
        let mut browser = Browser::new(&product);
        browser.go("/onboarding?plan=free").await;
        let form = browser.form("/onboarding").fill("email", EMAIL).fill("password", PASSWORD);
        browser.send(&form.fill("tenant_name", "Acme").fill("name", "Ada")).await;
        assert_eq!((browser.status.as_u16(), browser.cookie("tenantry_session")), (409, None));
        assert_eq!(sessions(&product).await, before);
        // Whoever began it goes on.
        product.get_as(&text(&started["token"]), "/public/signup").await.expect(200);
    }
}

#[derive(FromQueryResult)]
struct Kept {
    secret: Vec<u8>,
}

#[derive(FromQueryResult)]
struct Hash {
    code_hash: Vec<u8>,
}

on_both! {
    async fn nothing_of_it_can_be_read_from_the_database(database: Database) {
        let product = Product::start(database).await;
        let ada = Holder::with_factor(&product).await;
        let kept: Kept = product.database.one("select secret from totp_factors").await;
        let secret = ada.app.secret().as_bytes().to_vec();
        assert!(kept.secret.len() > secret.len() && !kept.secret.windows(20).any(|part| part == secret));
        let hashes: Vec<Hash> = product.database.all("select code_hash from recovery_codes").await;
        let letters = ada.recovery_codes[0].replace('-', "");
        let plain = tenantry::seal::hash_token(&letters);
        assert_eq!(hashes.len(), 10);
        assert!(hashes.iter().all(|hash| hash.code_hash.len() == 32 && hash.code_hash != plain));
    }
}
