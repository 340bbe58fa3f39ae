//! For what signs somebody in, and keeps them signed in: tokens, passwords, second factors and providers.

use reqwest::Method;
use serde_json::{Value, json};

use super::{AUTH, PASSWORD, log_in, one_each, one_wins, race, race_of, rounds};
use crate::oauth::{Traveller, ada, me};
use crate::support::{
    Product, Provider,
    factor::{self, Holder},
    healthy, tally, text,
};

const SESSIONS: &str = "select count(*) as n from sessions";

on_both! {
    async fn of_thirty_two_for_one_refresh_token(database: Database) {
        let product = Product::start(database).await;
        let ada = product.visit("Ada", "free").await;
        let body = json!({"email": ada.email, "password": PASSWORD});
        let other = product.post(&format!("{AUTH}/login"), &body).await.expect(200);
        for _ in 0..rounds() {
            let tokens = product.post(&format!("{AUTH}/login"), &body).await.expect(200);
            let body = json!({"refresh_token": tokens["refresh_token"]});
            let answers = race_of(32, |_| async { product.post(&format!("{AUTH}/refresh"), &body).await }).await;
            let winner = one_wins(&answers, 200, &[(401, "TOKEN_REUSED")]);
            // One of them was a thief, and nobody knows which.
            let body = json!({"refresh_token": answers[winner].body["refresh_token"]});
            product.post(&format!("{AUTH}/refresh"), &body).await.expect_problem(401, "TOKEN_INVALID");
        }
        let ended = "select count(*) as n from audit_events where action = 'session.revoked'";
        assert_eq!(product.database.count(ended).await, one_each(), "each family is ended once");
        product.post(&format!("{AUTH}/refresh"), &json!({"refresh_token": other["refresh_token"]})).await.expect(200);
        healthy(&product).await;
    }
}

on_both! {
    async fn under_one_key_for_one_session(database: Database) {
        let product = Product::start(database).await;
        let ada = product.visit("Ada", "free").await;
        for round in 0..rounds() {
            let login = json!({"email": ada.email, "password": PASSWORD});
            let (key, path) = (format!("login-{round}"), format!("{AUTH}/login"));
            let logged_in = race(|_| async {
                product.call(Method::POST, &path, None, Some(&login), &[("idempotency-key", &key)]).await
            }).await;
            let first = logged_in.iter().find(|answer| answer.status == 200).expect("one won").body.clone();
            let token = text(&first["access_token"]);
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
        assert_eq!(product.database.count(SESSIONS).await, 2 * one_each());
        healthy(&product).await;
    }
}

on_both! {
    async fn for_one_change_of_a_password(database: Database) {
        let product = Product::start(database).await;
        let ada = product.visit("Ada", "free").await;
        let mut current = PASSWORD.to_owned();
        for round in 0..rounds() {
            let token = log_in(&product, &ada.email, &current).await;
            let next = |racer: usize| format!("horse-battery-{round}-{racer}");
            let answers = race(|racer| {
                let (product, token, body) = (&product, &token, json!({"current_password": current, "password": next(racer)}));
                async move { product.post_as(token, &format!("{AUTH}/password/change"), &body).await }
            }).await;
            current = next(one_wins(&answers, 200, &[(401, "INVALID_CREDENTIALS")]));
        }
        log_in(&product, &ada.email, &current).await;
        let told = product.mails().await.into_iter().filter(|mail| mail["subject"] == "Your password was changed");
        assert_eq!(told.count(), rounds());
        healthy(&product).await;
    }
}

on_both! {
    async fn for_one_code_of_an_app(database: Database) {
        let product = Product::start(database).await;
        let ada = Holder::with_factor(&product).await;
        let before = product.database.count(SESSIONS).await;
        for _ in 0..rounds() {
            let code = ada.next_code();
            let answers = race(|_| factor::log_in(&product, json!({"totp": code}))).await;
            one_wins(&answers, 200, &[(401, "TOTP_INVALID")]);
            let (pending, code) = (ada.pending().await, ada.next_code());
            let answers = race(|_| factor::verify(&product, &pending, &code)).await;
            one_wins(&answers, 200, &[(401, "TOTP_INVALID")]);
        }
        assert_eq!(product.database.count(SESSIONS).await, before + 2 * one_each());
        healthy(&product).await;
    }
}

on_both! {
    async fn for_one_recovery_code(database: Database) {
        let product = Product::start(database).await;
        let mut ada = Holder::with_factor(&product).await;
        for _ in 0..rounds() {
            if ada.recovery_codes.is_empty() {
                // Her session may be over by now.
                ada.access = text(&factor::log_in(&product, json!({"totp": ada.next_code()})).await.expect(200)["access_token"]);
                let renewed = ada.post("recovery-codes", &json!({"totp": ada.next_code()})).await.expect(200);
                ada.keep(&renewed);
            }
            let (pending, code) = (ada.pending().await, ada.recovery_codes.pop().expect("one of ten"));
            let answers = race(|_| factor::verify(&product, &pending, &code)).await;
            one_wins(&answers, 200, &[(401, "TOTP_INVALID")]);
        }
        let used = "select count(*) as n from audit_events where action = 'user.recovery_code_used'";
        assert_eq!(product.database.count(used).await, one_each());
        healthy(&product).await;
    }
}

on_both! {
    async fn for_one_set_up_of_a_second_factor(database: Database) {
        let product = Product::start(database).await;
        let mut ada = Holder::without(&product).await;
        for _ in 0..rounds() {
            let code = json!({"totp": ada.code()});
            let answers = race(|_| ada.post("confirm", &code)).await;
            let winner = one_wins(&answers, 200, &[(409, "TOTP_ALREADY_ON")]);
            ada.switch_off(&text(&answers[winner].body["recovery_codes"][0])).await.expect(204);
            ada.set_up().await;
        }
        let told = "select count(*) as n from audit_events where action = 'user.second_factor_on'";
        assert_eq!(product.database.count(told).await, one_each());
        healthy(&product).await;
    }
}

on_both! {
    async fn for_one_state_of_a_way_to_a_provider(database: Database) {
        let idp = Provider::start();
        let product = Product::start_with(database, idp.settings("google")).await;
        idp.next(ada()).await;
        for _ in 0..rounds() {
            let mut browser = Traveller::new(&product);
            let url = browser.set_off("google", "?plan=free").await;
            let back = idp.agree(&url).await;
            let answers = race(|_| {
                let (mut browser, back) = (browser.clone(), &back);
                async move { browser.get(back, "application/json").await }
            }).await;
            let winner = one_wins(&answers, 200, &[(400, "OAUTH_STATE_INVALID")]);
            me(&product, &answers[winner].body).await;
        }
        assert_eq!(product.database.count(SESSIONS).await, one_each());
        healthy(&product).await;
    }
}

on_both! {
    async fn for_the_last_two_ways_in(database: Database) {
        let (google, other) = (Provider::start(), Provider::start());
        let product = Product::start_with(database, other.configure(google.settings("google"), "other")).await;
        google.next(ada()).await;
        other.next(ada()).await;
        for _ in 0..rounds() {
            // Both prove the same address, so the one that was taken away leads to the same account, and is added again.
            let mut tokens = Value::Null;
            for (idp, provider) in [(&google, "google"), (&other, "other")] {
                tokens = Traveller::new(&product).journey(idp, provider, "?plan=free").await.expect(200);
            }
            let access = text(&tokens["access_token"]);
            let answers = race_of(2, |racer| {
                let (product, access) = (&product, &access);
                let path = format!("{AUTH}/identities/{}", ["google", "other"][racer]);
                async move { product.call(Method::DELETE, &path, Some(access), None, &[]).await }
            }).await;
            one_wins(&answers, 204, &[(409, "LAST_WAY_IN")]);
            assert_eq!(product.database.count("select count(*) as n from oauth_identities").await, 1);
        }
        assert_eq!(product.database.count("select count(*) as n from users").await, 1);
        healthy(&product).await;
    }
}
