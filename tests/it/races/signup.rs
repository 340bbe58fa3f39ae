//! For what a sign-up takes, for the ends of its wizard, and for invites.

use reqwest::Method;
use serde_json::json;

use super::{RACERS, one_each, one_wins, race, rounds};
use crate::invites;
use crate::support::{ADMIN_TOKEN, MAKE_URL, Product, healthy, signup_body, tally};

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
            one_wins(&answers, 201, &[(409, "SLUG_TAKEN")]);
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
            one_wins(&answers, 201, &[(409, "EMAIL_TAKEN")]);
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
            one_wins(&answers, 201, &[(422, "IDEMPOTENCY_KEY_REUSED"), (409, "IDEMPOTENCY_IN_PROGRESS")]);
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
        one_wins(&answers, 201, &[(409, "EMAIL_TAKEN"), (409, "SLUG_TAKEN")]);
        assert_eq!(product.admin_post("/onboard", &body).await.expect_problem(409, "EMAIL_TAKEN")["status"], 409);
        healthy(&product).await;
    }
}

on_both! {
    async fn for_one_invite(database: Database) {
        let product = Product::start(database).await;
        for round in 0..rounds() {
            let acme = product.visit(&format!("Acme {round}"), "pro").await;
            let email = format!("bob{round}@example.com");
            let token = invites::invite(&product, &acme.tenant, &email).await;
            let body = invites::form(&email, &token);
            let answers = race(|_| async { product.post("/api/v1/auth/register", &body).await }).await;
            one_wins(&answers, 201, &[(409, "EMAIL_TAKEN"), (410, "INVITE_ACCEPTED")]);
        }
        assert_eq!(product.database.count("select count(*) as n from users").await, 2 * one_each());
        assert_eq!(product.database.count("select count(*) as n from invites where accepted_at is not null").await, one_each());
        healthy(&product).await;
    }
}
