//! Adding a provider to an account, and taking one away; never the last way in.

use reqwest::Method;
use serde_json::json;

use super::{Traveller, ada, me};
use crate::support::{Browser, Product, Provider, healthy};

const REGISTER: &str = "/api/v1/auth/register";

/// Somebody with a password, signed in with a browser.
async fn grace(product: &Product) -> Browser<'_> {
    let password = "correct-horse-battery";
    let body = json!({"email": "grace@example.com", "password": password, "password_confirm": password, "account_name": "Hopper"});
    product.post(REGISTER, &body).await.expect(201);
    let mut browser = Browser::new(product);
    browser.go("/signin").await;
    let form = browser.form("/signin").fill("email", "grace@example.com").fill("password", password);
    browser.send(&form).await;
    assert_eq!(browser.path, "/dashboard", "{}", browser.html);
    browser
}

/// Where the page sends somebody who adds a provider.
async fn add(browser: &mut Browser<'_>) -> String {
    browser.go("/settings/sign-in").await;
    let form = browser.form("/settings/sign-in/google");
    browser.send(&form).await;
    assert_eq!(browser.status, 200, "{}", browser.html);
    let url = browser.html.split("content=\"0; url=").nth(1).expect("leads on").split('"').next().unwrap();
    url.replace("&#38;", "&")
}

on_both! {
    async fn a_provider_is_added_in_the_settings_and_taken_away(database: Database) {
        let idp = Provider::start();
        let product = Product::start_with(database, idp.settings("google")).await;
        idp.next(ada()).await;
        let mut browser = grace(&product).await;
        let url = add(&mut browser).await;
        browser.go(&idp.agree(&url).await).await;
        assert_eq!((browser.path.as_str(), browser.status.as_u16()), ("/settings/sign-in", 200));
        assert!(browser.html.contains("ada@example.com, since"), "{}", browser.html);
        // The address there need not be the one here; whoever comes that way comes into this account.
        let tokens = Traveller::new(&product).journey(&idp, "google", "").await.expect(200);
        let who = me(&product, &tokens).await;
        assert_eq!(who["user"]["email"], "grace@example.com");
        let access = tokens["access_token"].as_str().unwrap();
        let list = product.get_as(access, "/api/v1/auth/identities").await.expect(200);
        assert_eq!((&list["data"][0]["provider"], &list["data"][0]["email"]), (&json!("google"), &json!("ada@example.com")));

        browser.send(&browser.form("/settings/sign-in/google/remove")).await;
        assert_eq!((browser.path.as_str(), browser.status.as_u16()), ("/settings/sign-in", 200));
        assert!(browser.html.contains("Not added"));
        let gone = product.call(Method::DELETE, "/api/v1/auth/identities/google", Some(access), None, &[]).await;
        gone.expect_problem(404, "NOT_FOUND");
        let subjects: Vec<_> = product.mails().await.iter().map(|mail| mail["subject"].clone()).collect();
        assert!(subjects.contains(&json!("Google was removed from your account")), "{subjects:?}");
        assert!(subjects.contains(&json!("Google was added to your account")), "{subjects:?}");
        healthy(&product).await;
    }
}

on_both! {
    async fn nobody_can_add_their_provider_to_somebody_elses_account(database: Database) {
        let idp = Provider::start();
        let product = Product::start_with(database, idp.settings("google")).await;
        idp.next(ada()).await;
        let mut victim = grace(&product).await;
        let url = add(&mut victim).await;
        let back = idp.agree(&url).await;
        // In a browser that did not set out.
        let mut thief = Browser::new(&product);
        thief.go(&back).await;
        assert_eq!(thief.status, 400);
        // In the one that did, but is signed in no more.
        victim.go("/dashboard").await;
        let out = victim.form("/signout");
        victim.send(&out).await;
        victim.go(&back).await;
        assert_eq!(victim.status, 401);
        assert_eq!(product.database.count("select count(*) as n from oauth_identities").await, 0);
    }
}

on_both! {
    async fn one_person_of_a_provider_is_one_users(database: Database) {
        let idp = Provider::start();
        let product = Product::start_with(database, idp.settings("google")).await;
        idp.next(ada()).await;
        Traveller::new(&product).journey(&idp, "google", "?plan=free").await.expect(200);
        let mut browser = grace(&product).await;
        let url = add(&mut browser).await;
        browser.go(&idp.agree(&url).await).await;
        assert_eq!(browser.status, 409);
        assert_eq!(product.database.count("select count(*) as n from oauth_identities").await, 1);
    }
}

on_both! {
    async fn the_last_way_in_stays(database: Database) {
        let (google, other) = (Provider::start(), Provider::start());
        let product = Product::start_with(database, other.configure(google.settings("google"), "other")).await;
        google.next(ada()).await;
        other.next(ada()).await;
        let tokens = Traveller::new(&product).journey(&google, "google", "?plan=free").await.expect(200);
        let access = tokens["access_token"].as_str().unwrap();
        let remove = |provider: &'static str| {
            let product = &product;
            async move { product.call(Method::DELETE, &format!("/api/v1/auth/identities/{provider}"), Some(access), None, &[]).await }
        };
        remove("google").await.expect_problem(409, "LAST_WAY_IN");
        // The other provider proves the same address, so it leads to the same account.
        Traveller::new(&product).journey(&other, "other", "").await.expect(200);
        remove("google").await.expect(204);
        remove("other").await.expect_problem(409, "LAST_WAY_IN");
        assert_eq!(product.database.count("select count(*) as n from oauth_identities").await, 1);
    }
}
