//! For links and codes that come by mail.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::{AUTH, PASSWORD, RACERS, log_in, one_each, one_wins, race, rounds};
use crate::support::{Product, healthy, text, with_status};
use crate::typed_code;

/// What is sent for the secret of a mail that is asked for at `ask`.
async fn mailed(product: &Product, email: &str, ask: &str, link: &str) -> Value {
    product.post(&format!("{AUTH}{ask}"), &json!({"email": email})).await.expect(202);
    let secret = product.secret(email, link).await;
    forget_mails(product).await;
    json!({"token": secret})
}

/// Keeps the mailbox short.
async fn forget_mails(product: &Product) {
    product.call(Method::DELETE, "/dev/mailbox.json", None, None, &[]).await.expect(204);
}

on_both! {
    async fn for_one_magic_link(database: Database) {
        let product = Product::start(database).await;
        let ada = product.visit("Ada", "free").await;
        for _ in 0..rounds() {
            let link = mailed(&product, &ada.email, "/magic-link", "/magic-link").await;
            let answers = race(|_| async { product.post(&format!("{AUTH}/magic-link/verify"), &link).await }).await;
            one_wins(&answers, 200, &[(401, "TOKEN_INVALID")]);
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
            forget_mails(&product).await;
            let answers = race(|_| async { product.post(&format!("{AUTH}/email/verify"), &link).await }).await;
            one_wins(&answers, 200, &[(401, "TOKEN_INVALID")]);
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
            let winner = one_wins(&answers, 200, &[(401, "TOKEN_INVALID")]);
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
    async fn for_one_typed_code(database: Database) {
        let product = Product::start(database).await;
        let ada = product.visit("Ada", "free").await;
        for _ in 0..rounds() {
            let code = typed_code::mailed(&product, &ada.email).await;
            forget_mails(&product).await;
            let answers = race(|_| typed_code::verify(&product, &ada.email, &code)).await;
            one_wins(&answers, 200, &[(401, "TOKEN_INVALID")]);
        }
        assert_eq!(product.database.count("select count(*) as n from sessions").await, one_each());
        healthy(&product).await;
    }
}

const CHANGED: &str = "select count(*) as n from audit_events where action = 'user.email_changed'";

on_both! {
    async fn for_one_link_that_changes_an_address(database: Database) {
        let product = Product::start(database).await;
        let ada = product.visit("Ada", "free").await;
        let token = log_in(&product, &ada.email, PASSWORD).await;
        for round in 0..rounds() {
            let email = format!("ada{round}@example.com");
            let change = json!({"email": email, "password": PASSWORD});
            product.post_as(&token, &format!("{AUTH}/email/change"), &change).await.expect(202);
            let link = json!({"token": product.secret(&email, "/change-email").await});
            let answers = race(|_| async { product.post_as(&token, &format!("{AUTH}/email/change/confirm"), &link).await }).await;
            one_wins(&answers, 200, &[(401, "TOKEN_INVALID")]);
            let told = product.mails().await.into_iter().filter(|mail| mail["to"] == email.as_str() && mail["subject"] == "Your account uses this address now");
            assert_eq!(told.count(), 1);
            forget_mails(&product).await;
        }
        assert_eq!(product.database.count(CHANGED).await, one_each());
        healthy(&product).await;
    }
}

on_both! {
    async fn for_one_address_of_sixteen_accounts(database: Database) {
        let product = Product::start(database).await;
        let mut accounts = Vec::new();
        for n in 0..RACERS {
            let visitor = product.visit(&format!("Account {n}"), "free").await;
            let token = log_in(&product, &visitor.email, PASSWORD).await;
            accounts.push((visitor.email, token));
        }
        forget_mails(&product).await;
        let (ask, confirm) = (format!("{AUTH}/email/change"), format!("{AUTH}/email/change/confirm"));
        for round in 0..rounds() {
            let email = format!("wanted{round}@example.com");
            let change = json!({"email": email, "password": PASSWORD});
            let asked = join_all(accounts.iter().map(|(_, token)| product.post_as(token, &ask, &change))).await;
            assert_eq!(with_status(&asked, 202), RACERS);
            let mails = product.mails().await;
            let links: Vec<_> = accounts.iter().map(|(old, _)| link_of(&mails, &email, old)).collect();
            let answers = race(|racer| product.post_as(&accounts[racer].1, &confirm, &links[racer])).await;
            let winner = one_wins(&answers, 200, &[(409, "EMAIL_TAKEN")]);
            accounts[winner].0 = email;
            forget_mails(&product).await;
        }
        assert_eq!(product.database.count(CHANGED).await, one_each());
        healthy(&product).await;
    }
}

/// What is sent for the link of the mail to `email` that names the account.
fn link_of(mails: &[Value], email: &str, account: &str) -> Value {
    let mail = mails.iter().find(|mail| mail["to"] == email && text(&mail["text"]).contains(account)).expect("a link");
    let link = text(&mail["links"][0]);
    json!({"token": link.split_once("?token=").expect("a token").1})
}
