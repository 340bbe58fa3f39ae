//! Sixteen at once for one thing: one winner, a stable answer for everybody else, and never a 500.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::process::soak_rounds;
use crate::support::{ADMIN_TOKEN, Answer, MAKE_URL, Product, healthy, signup_body};

const RACERS: usize = 16;
/// How often each race is run.
fn rounds() -> usize {
    soak_rounds().unwrap_or(3)
}

/// As many rows as there were rounds.
fn one_each() -> i64 {
    i64::try_from(rounds()).expect("a small number")
}

/// Sends one request for each of sixteen racers, all at once.
async fn race<'a, F>(run: impl Fn(usize) -> F) -> Vec<Answer>
where
    F: Future<Output = Answer> + 'a,
{
    race_of(RACERS, run).await
}

async fn race_of<'a, F>(racers: usize, run: impl Fn(usize) -> F) -> Vec<Answer>
where
    F: Future<Output = Answer> + 'a,
{
    join_all((0..racers).map(run)).await
}

/// How many answers have each status and code.
fn tally(answers: &[Answer]) -> Vec<(u16, String, usize)> {
    let mut tally: Vec<(u16, String, usize)> = Vec::new();
    for answer in answers {
        let code = answer.body["code"].as_str().unwrap_or_default().to_owned();
        let status = answer.status.as_u16();
        match tally.iter_mut().find(|(s, c, _)| *s == status && *c == code) {
            Some((.., n)) => *n += 1,
            None => tally.push((status, code, 1)),
        }
    }
    tally.sort();
    tally
}

fn one_wins(answers: &[Answer], won: u16, lost: u16, code: &str) {
    assert_eq!(tally(answers), [(won, String::new(), 1), (lost, code.to_owned(), answers.len() - 1)]);
}

on_both! {
    async fn for_one_slug(database: Database) {
        let product = Product::start(database).await;
        for round in 0..rounds() {
            let answers = race(|racer| {
                let mut body = signup_body(&format!("R{round} {racer}"), "starter");
                body["slug"] = json!(format!("slug-{round}"));
                let product = &product;
                async move { product.post("/public/signup/start", &body).await }
            }).await;
            one_wins(&answers, 201, 409, "SLUG_TAKEN");
            for lost in answers.iter().filter(|answer| answer.status == 409) {
                assert_eq!(lost.body["suggestions"].as_array().map(Vec::len), Some(3), "{}", lost.text);
            }
        }
        assert_eq!(product.database.rows().await[1], ("tenants", one_each()));
        healthy(&product).await;
    }
}

on_both! {
    async fn for_one_email(database: Database) {
        let product = Product::start(database).await;
        for round in 0..rounds() {
            let answers = race(|racer| {
                let mut body = signup_body(&format!("R{round} {racer}"), "starter");
                // Each with a password of its own: nobody can resume another's sign-up.
                body["password"] = json!(format!("password-of-racer-{racer}"));
                body["email"] = json!(format!("{}{round}@example.com", if racer % 2 == 0 { "Ada" } else { "aDA" }));
                let product = &product;
                async move { product.post("/public/signup/start", &body).await }
            }).await;
            one_wins(&answers, 201, 409, "EMAIL_TAKEN");
        }
        assert_eq!(product.database.count("select count(*) as n from users").await, one_each());
        healthy(&product).await;
    }
}

on_both! {
    async fn under_one_idempotency_key(database: Database) {
        let product = Product::start(database).await;
        for round in 0..rounds() {
            let (body, key) = (signup_body(&format!("Acme {round}"), "starter"), format!("key-{round}"));
            let answers = race(|_| {
                let (product, body, key) = (&product, &body, &key);
                async move { product.call(Method::POST, "/public/signup/start", None, Some(body), &[("idempotency-key", key)]).await }
            }).await;
            let made: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
            let first = made.iter().filter(|answer| !answer.headers.contains_key("idempotent-replayed")).count();
            assert_eq!(first, 1, "{:?}", tally(&answers));
            assert!(made.iter().all(|answer| answer.body == made[0].body), "one answer for all");
            for other in answers.iter().filter(|answer| answer.status != 201) {
                assert_eq!((other.status.as_u16(), &other.body["code"]), (409, &json!("IDEMPOTENCY_IN_PROGRESS")), "{}", other.text);
            }
        }
        assert_eq!(product.database.count("select count(*) as n from tenants").await, one_each());
        assert_eq!(product.database.count("select count(*) as n from idempotency_keys").await, one_each());
        healthy(&product).await;
    }
}

on_both! {
    async fn under_one_idempotency_key_with_bodies_of_their_own(database: Database) {
        let product = Product::start(database).await;
        for round in 0..rounds() {
            let key = format!("key-{round}");
            let answers = race(|racer| {
                let body = signup_body(&format!("R{round} {racer}"), "starter");
                let (product, key) = (&product, &key);
                async move { product.call(Method::POST, "/public/signup/start", None, Some(&body), &[("idempotency-key", key)]).await }
            }).await;
            assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1, "{:?}", tally(&answers));
            for other in answers.iter().filter(|answer| answer.status != 201) {
                let told = (other.status.as_u16(), other.body["code"].as_str().unwrap_or_default());
                assert!([(422, "IDEMPOTENCY_KEY_REUSED"), (409, "IDEMPOTENCY_IN_PROGRESS")].contains(&told), "{}", other.text);
            }
        }
        assert_eq!(product.database.count("select count(*) as n from tenants").await, one_each());
        healthy(&product).await;
    }
}

on_both! {
    async fn for_the_end_of_one_wizard(database: Database) {
        let product = Product::start(database).await;
        for round in 0..rounds() {
            let visitor = product.visit(&format!("Acme {round}"), "pro").await;
            let body = json!({"webhook_url": MAKE_URL});
            let answers = race(|_| product.post_as(&visitor.token, "/public/signup/starter/make", &body)).await;
            assert_eq!(tally(&answers), [(202, String::new(), RACERS)]);
            let run = &answers[0].body["provision"]["run_id"];
            assert!(answers.iter().all(|answer| &answer.body["provision"]["run_id"] == run), "one run");
            let status = product.provisioned(&visitor.token, &visitor.tenant).await;
            assert_eq!((&status["status"], &status["plan"]), (&json!("complete"), &json!("starter")));
        }
        assert_eq!(product.database.count("select count(*) as n from provision_runs").await, one_each());
        assert_eq!(product.database.count("select count(*) as n from webhook_endpoints").await, one_each());
        healthy(&product).await;
    }
}

on_both! {
    async fn for_different_ends_of_one_wizard(database: Database) {
        let product = Product::start(database).await;
        for round in 0..rounds() {
            let visitor = product.visit(&format!("Acme {round}"), "starter").await;
            let (make, none) = (json!({"webhook_url": MAKE_URL}), json!({}));
            let ends = [("/public/signup/starter/make", &make), ("/public/signup/pro/confirm", &none), ("/public/signup/finish", &none)];
            let answers = race(|racer| {
                let (path, body) = ends[racer % ends.len()];
                product.post_as(&visitor.token, path, body)
            }).await;
            for answer in &answers {
                let told = (answer.status.as_u16(), answer.body["code"].as_str().unwrap_or_default());
                assert!([(202, ""), (409, "PROVISION_ALREADY_STARTED")].contains(&told), "{}", answer.text);
            }
            let status = product.provisioned(&visitor.token, &visitor.tenant).await;
            assert_eq!(status["status"], "complete", "{status}");
            let agrees = format!(
                "select count(*) as n from subscriptions s join plans p on p.id = s.plan_id join tenants t on t.id = s.tenant_id \
                 where t.slug = '{}' and p.slug = '{}'",
                visitor.started["tenant"]["slug"].as_str().unwrap(), status["plan"].as_str().unwrap());
            assert_eq!(product.database.count(&agrees).await, 1, "the run is of the subscription's plan");
        }
        healthy(&product).await;
    }
}

on_both! {
    async fn for_one_onboarding(database: Database) {
        let product = Product::start(database).await;
        let body = json!({"email": "grace@example.com", "tenant_name": "Hopper", "plan": "enterprise"});
        let answers = race(|_| product.post_as(ADMIN_TOKEN, "/api/v1/admin/onboard", &body)).await;
        // Address and derived slug are both taken by then; which of them the database meets first is its own affair.
        let won = answers.iter().filter(|answer| answer.status == 201).count();
        let codes: Vec<_> = answers.iter().filter_map(|answer| answer.body["code"].as_str()).collect();
        assert!(won == 1 && codes.iter().all(|code| ["EMAIL_TAKEN", "SLUG_TAKEN"].contains(code)), "{:?}", tally(&answers));
        assert_eq!(product.admin_post("/onboard", &body).await.expect_problem(409, "EMAIL_TAKEN")["status"], 409);
        healthy(&product).await;
    }
}

const AUTH: &str = "/api/v1/auth";

/// What is sent for the secret of a mail that is asked for at `ask`.
async fn mailed(product: &Product, email: &str, ask: &str, link: &str) -> Value {
    product.post(&format!("{AUTH}{ask}"), &json!({"email": email})).await.expect(202);
    let secret = product.secret(email, link).await;
    product.call(Method::DELETE, "/dev/mailbox.json", None, None, &[]).await.expect(204);
    json!({"token": secret})
}

on_both! {
    async fn for_one_magic_link(database: Database) {
        let product = Product::start(database).await;
        let ada = product.visit("Ada", "free").await;
        for _ in 0..rounds() {
            let link = mailed(&product, &ada.email, "/magic-link", "/magic-link").await;
            let answers = race(|_| async { product.post(&format!("{AUTH}/magic-link/verify"), &link).await }).await;
            one_wins(&answers, 200, 401, "TOKEN_INVALID");
        }
        assert_eq!(product.database.count("select count(*) as n from sessions").await, one_each());
        healthy(&product).await;
    }
}

on_both! {
    async fn for_one_link_that_proves_an_address(database: Database) {
        let product = Product::start(database).await;
        for round in 0..rounds() {
            let visitor = product.visit(&format!("Acme {round}"), "free").await;
            let link = json!({"token": product.secret(&visitor.email, "/verify-email").await});
            product.call(Method::DELETE, "/dev/mailbox.json", None, None, &[]).await.expect(204);
            let answers = race(|_| async { product.post(&format!("{AUTH}/email/verify"), &link).await }).await;
            one_wins(&answers, 200, 401, "TOKEN_INVALID");
        }
        let proved = "select count(*) as n from audit_events where action = 'user.email_verified'";
        assert_eq!(product.database.count(proved).await, one_each());
        healthy(&product).await;
    }
}

on_both! {
    async fn for_one_link_that_sets_a_password(database: Database) {
        let product = Product::start(database).await;
        let ada = product.visit("Ada", "free").await;
        for round in 0..rounds() {
            let link = mailed(&product, &ada.email, "/password/forgot", "/reset-password").await;
            let password = |racer: usize| format!("horse-battery-{round}-{racer}");
            let answers = race(|racer| {
                let (product, body) = (&product, json!({"token": link["token"], "password": password(racer)}));
                async move { product.post(&format!("{AUTH}/password/reset"), &body).await }
            }).await;
            one_wins(&answers, 200, 401, "TOKEN_INVALID");
            let winner = answers.iter().position(|answer| answer.status == 200).expect("one won");
            for racer in 0..RACERS {
                let body = json!({"email": ada.email, "password": password(racer)});
                let status = product.post(&format!("{AUTH}/login"), &body).await.status;
                assert_eq!(status, if racer == winner { 200 } else { 401 }, "the winner's password alone is good");
            }
        }
        healthy(&product).await;
    }
}

on_both! {
    async fn of_thirty_two_for_one_refresh_token(database: Database) {
        let product = Product::start(database).await;
        let ada = product.visit("Ada", "free").await;
        for _ in 0..rounds() {
            let body = json!({"email": ada.email, "password": "correct-horse-battery"});
            let tokens = product.post(&format!("{AUTH}/login"), &body).await.expect(200);
            let body = json!({"refresh_token": tokens["refresh_token"]});
            let answers = race_of(32, |_| async { product.post(&format!("{AUTH}/refresh"), &body).await }).await;
            one_wins(&answers, 200, 401, "TOKEN_REUSED");
            // One of them was a thief, and nobody knows which.
            let won = answers.iter().find(|answer| answer.status == 200).expect("one won");
            let body = json!({"refresh_token": won.body["refresh_token"]});
            product.post(&format!("{AUTH}/refresh"), &body).await.expect_problem(401, "TOKEN_INVALID");
        }
        let ended = "select count(*) as n from audit_events where action = 'session.revoked'";
        assert_eq!(product.database.count(ended).await, one_each(), "each family is ended once");
        healthy(&product).await;
    }
}

on_both! {
    async fn under_one_key_for_one_session(database: Database) {
        let product = Product::start(database).await;
        let ada = product.visit("Ada", "free").await;
        for round in 0..rounds() {
            let login = json!({"email": ada.email, "password": "correct-horse-battery"});
            let (key, path) = (format!("login-{round}"), format!("{AUTH}/login"));
            let logged_in = race(|_| async {
                product.call(Method::POST, &path, None, Some(&login), &[("idempotency-key", &key)]).await
            }).await;
            let first = logged_in.iter().find(|answer| answer.status == 200).expect("one won").body.clone();
            let token = first["access_token"].as_str().expect("a token").to_owned();
            let (switch, key, path) = (json!({"tenant_id": ada.tenant}), format!("switch-{round}"), format!("{AUTH}/switch-tenant"));
            let switched = race(|_| async {
                product.call(Method::POST, &path, Some(&token), Some(&switch), &[("idempotency-key", &key)]).await
            }).await;
            for answers in [logged_in, switched] {
                let made: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
                assert!(made.iter().all(|answer| answer.body == made[0].body), "one answer for all");
                let others = answers.iter().filter(|answer| answer.status != 200);
                assert!(others.into_iter().all(|answer| answer.body["code"] == "IDEMPOTENCY_IN_PROGRESS"), "{:?}", tally(&answers));
            }
        }
        assert_eq!(product.database.count("select count(*) as n from sessions").await, 2 * one_each());
        healthy(&product).await;
    }
}
