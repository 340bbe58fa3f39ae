//! Sixteen at once for one thing: one winner, a stable answer for everybody else, and never a 500.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

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
    join_all((0..RACERS).map(run)).await
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
    assert_eq!(tally(answers), [(won, String::new(), 1), (lost, code.to_owned(), RACERS - 1)]);
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
