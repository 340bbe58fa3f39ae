//! What a provider's answer may not be, and what may not become of the way there and back.

use serde_json::{Value, json};

use super::{Traveller, ada};
use crate::support::{Product, Provider, healthy};

const USERS: &str = "select count(*) as n from users";

on_both! {
    async fn hostile_tokens_prove_nothing(database: Database) {
        let idp = Provider::start();
        let product = Product::start_with(database, idp.settings("google")).await;
        let now = product.app.clock.now().at.timestamp();
        let claims = |changes: Value| json!({"claims": changes});
        let hostile: Vec<(&str, Value)> = vec![
            ("another nonce", claims(json!({"nonce": "another"}))),
            ("no nonce", claims(json!({"nonce": null}))),
            ("another issuer", claims(json!({"iss": "https://accounts.google.com"}))),
            ("an issuer that only begins alike", claims(json!({"iss": format!("{}/evil", idp.issuer)}))),
            ("no issuer", claims(json!({"iss": null}))),
            ("another audience", claims(json!({"aud": "somebody-else"}))),
            ("a further audience", claims(json!({"aud": ["tenantry-tests", "somebody-else"]}))),
            ("no audience", claims(json!({"aud": null}))),
            ("expired", claims(json!({"exp": now - 1}))),
            ("no end", claims(json!({"exp": null}))),
            ("not yet good", claims(json!({"nbf": now + 3600}))),
            ("from the future", claims(json!({"iat": now + 3600}))),
            ("no subject", claims(json!({"sub": null}))),
            ("an empty subject", claims(json!({"sub": ""}))),
            ("an endless subject", claims(json!({"sub": "x".repeat(300)}))),
            ("a key that nobody published", json!({"sign": "stranger"})),
            ("signed with the client's own secret", json!({"sign": "secret"})),
            ("not signed at all", json!({"sign": "none"})),
            ("another key's name", json!({"header": {"kid": "../../etc/passwd"}})),
            ("the token endpoint says no", json!({"status": 400})),
        ];
        for (what, mut next) in hostile {
            let mut said = ada();
            if let Some(changes) = next["claims"].as_object() {
                said["claims"].as_object_mut().unwrap().extend(changes.clone());
            }
            next["claims"] = said["claims"].clone();
            idp.next(next).await;
            let answer = Traveller::new(&product).journey(&idp, "google", "").await;
            assert_eq!((answer.status.as_u16(), &answer.body["code"]), (401, &json!("OAUTH_FAILED")), "{what}: {}", answer.text);
            assert!(!answer.text.contains("nonce") && !answer.text.contains("key"), "{what} is for the log: {}", answer.text);
        }
        assert_eq!(product.database.count(USERS).await, 0);
        // And the very same without the hostility is good.
        idp.next(ada()).await;
        Traveller::new(&product).journey(&idp, "google", "").await.expect(200);
    }
}

on_both! {
    async fn a_way_back_belongs_to_one_browser_one_provider_and_one_use(database: Database) {
        let (google, other) = (Provider::start(), Provider::start());
        let settings = other.configure(google.settings("google"), "other");
        let product = Product::start_with(database, settings).await;
        google.next(ada()).await;
        let mut victim = Traveller::new(&product);
        let url = victim.set_off("google", "").await;
        let back = google.agree(&url).await;
        // Another browser with the same address: log-in CSRF, or a stolen code.
        let mut thief = Traveller::new(&product);
        thief.get(&back, "application/json").await.expect_problem(400, "OAUTH_STATE_INVALID");
        thief.set_off("google", "").await;
        thief.get(&back, "application/json").await.expect_problem(400, "OAUTH_STATE_INVALID");
        // The same browser, to another provider's address: mix-up.
        let mixed = back.replace("/oauth/google/", "/oauth/other/");
        victim.get(&mixed, "application/json").await.expect_problem(400, "OAUTH_STATE_INVALID");
        // No state, an invented one.
        for state in ["", "invented"] {
            let path = format!("/api/v1/auth/oauth/google/callback?code=x&state={state}");
            victim.get(&path, "application/json").await.expect_problem(400, "OAUTH_STATE_INVALID");
        }
        victim.get(&back, "application/json").await.expect(200);
        victim.get(&back, "application/json").await.expect_problem(400, "OAUTH_STATE_INVALID");
        // A fresh state with a code that was used before.
        let code = back.split(&['?', '&'][..]).find_map(|pair| pair.strip_prefix("code=")).unwrap().to_owned();
        let url = victim.set_off("google", "").await;
        let fresh = google.agree(&url).await;
        let own = fresh.split(&['?', '&'][..]).find_map(|pair| pair.strip_prefix("code=")).unwrap().to_owned();
        victim.get(&fresh.replace(&own, &code), "application/json").await.expect_problem(401, "OAUTH_FAILED");
        // Too late.
        let url = victim.set_off("google", "").await;
        let back = google.agree(&url).await;
        product.advance(15 * 60).await;
        victim.get(&back, "application/json").await.expect_problem(400, "OAUTH_STATE_INVALID");
        assert_eq!(product.database.count(USERS).await, 1);
    }
}

on_both! {
    async fn a_provider_that_names_another_is_not_believed(database: Database) {
        let idp = Provider::start();
        let product = Product::start_with(database, idp.settings("google")).await;
        let mut said = ada();
        said["redirect"] = json!({"iss": "https://other.test"});
        idp.next(said.clone()).await;
        Traveller::new(&product).journey(&idp, "google", "").await.expect_problem(401, "OAUTH_FAILED");
        said["redirect"] = json!({"iss": idp.issuer});
        idp.next(said).await;
        Traveller::new(&product).journey(&idp, "google", "").await.expect(200);
    }
}

on_both! {
    async fn one_that_says_it_names_itself_has_to(database: Database) {
        let idp = Provider::start();
        let product = Product::start_with(database, idp.settings("google")).await;
        let mut said = ada();
        said["discovery"] = json!({"authorization_response_iss_parameter_supported": true});
        idp.next(said).await;
        Traveller::new(&product).journey(&idp, "google", "").await.expect_problem(401, "OAUTH_FAILED");
    }
}

on_both! {
    async fn what_the_person_refuses_there_is_refused_here(database: Database) {
        let idp = Provider::start();
        let product = Product::start_with(database, idp.settings("google")).await;
        idp.next(json!({"redirect": {"error": "access_denied", "code": null}})).await;
        Traveller::new(&product).journey(&idp, "google", "").await.expect_problem(401, "OAUTH_DENIED");
        idp.next(json!({"redirect": {"code": null}})).await;
        Traveller::new(&product).journey(&idp, "google", "").await.expect_problem(401, "OAUTH_FAILED");
        idp.next(json!({"claims": {"sub": "nobody", "email": null, "email_verified": null}})).await;
        Traveller::new(&product).journey(&idp, "google", "").await.expect_problem(422, "OAUTH_EMAIL_MISSING");
        for email in ["ada@example.com, eve@example.com", "аda@example.com", "ada@[127.0.0.1]", "ada@example.com\r\nBcc: eve@example.com"] {
            idp.next(json!({"claims": {"sub": "odd", "email": email, "email_verified": true}})).await;
            Traveller::new(&product).journey(&idp, "google", "").await.expect_problem(422, "OAUTH_EMAIL_MISSING");
        }
        assert_eq!(product.database.count(USERS).await, 0);
    }
}

on_both! {
    async fn a_provider_that_is_down_is_a_503_and_comes_back(database: Database) {
        let idp = Provider::start();
        let nowhere = idp.settings("google").with("TENANTRY_OAUTH__GOOGLE__ISSUER", "http://127.0.0.1:9");
        let product = Product::start_with(database, idp.configure(nowhere, "other")).await;
        let down = Traveller::new(&product).get("/api/v1/auth/oauth/google/start", "*/*").await;
        assert!(down.headers.contains_key("retry-after"));
        down.expect_problem(503, "OAUTH_UNAVAILABLE");
        assert_eq!(product.database.count("select count(*) as n from oauth_flows").await, 0);
        let mut said = ada();
        said["status"] = json!(500);
        idp.next(said).await;
        let half = Traveller::new(&product).journey(&idp, "other", "").await;
        assert!([401, 503].contains(&half.status.as_u16()), "{}", half.text);
        idp.next(ada()).await;
        Traveller::new(&product).journey(&idp, "other", "").await.expect(200);
    }
}

on_both! {
    async fn a_sign_in_leads_to_our_own_pages_alone(database: Database) {
        let idp = Provider::start();
        let product = Product::start_with(database, idp.settings("google")).await;
        for evil in [
            "https://evil.test/", "//evil.test/", "/\\evil.test", "\\\\evil.test", "javascript:alert(1)", "http://localhost:8080@evil.test/",
            "http://localhost.evil.test:8080/", "/%0d%0aSet-Cookie:x", "https:evil.test", "/..//evil.test", "data:text/html,x", "evil.test",
            "http://user@localhost:8080/x", "/\tx", "http://localhost:8081/",
        ] {
            let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("redirect_to", evil).finish();
            let answer = Traveller::new(&product).get(&format!("/api/v1/auth/oauth/google/start?{query}"), "*/*").await;
            if answer.status == 302 {
                // What is taken leads nowhere else.
                idp.next(ada()).await;
                let mut browser = Traveller::new(&product);
                let url = browser.set_off("google", &format!("?{query}")).await;
                let back = idp.agree(&url).await;
                let arrived = browser.get(&back, "text/html").await;
                let page = arrived.headers["location"].to_str().unwrap();
                assert!(page.starts_with('/') && !page.starts_with("//") && !page.contains('\\'), "{evil:?} led to {page}");
            } else {
                answer.expect_problem(422, "VALIDATION_FAILED");
            }
        }
        let own = Traveller::new(&product).get("/api/v1/auth/oauth/google/start?redirect_to=http://localhost:8080/pricing", "*/*").await;
        assert_eq!(own.status, 302);
        let unknown = Traveller::new(&product).get("/api/v1/auth/oauth/google/start?role=owner", "*/*").await;
        unknown.expect_problem(422, "VALIDATION_FAILED");
    }
}

on_both! {
    async fn of_two_who_are_the_same_new_person_one_signs_up(database: Database) {
        let idp = Provider::start();
        let product = Product::start_with(database, idp.settings("google")).await;
        idp.next(ada()).await;
        let mut backs = Vec::new();
        for _ in 0..8 {
            let mut browser = Traveller::new(&product);
            let url = browser.set_off("google", "?plan=free").await;
            backs.push((idp.agree(&url).await, browser));
        }
        let calls = backs.into_iter().map(|(back, mut browser)| async move { browser.get(&back, "application/json").await });
        let answers = futures_util::future::join_all(calls).await;
        let codes: Vec<_> = answers.iter().map(|answer| answer.status.as_u16()).collect();
        assert!(codes.contains(&200) && codes.iter().all(|code| [200, 409].contains(code)), "{answers:?}");
        assert_eq!(product.database.count(USERS).await, 1);
        assert_eq!(product.database.count("select count(*) as n from tenants").await, 1);
        assert_eq!(product.database.count("select count(*) as n from oauth_identities").await, 1);
        healthy(&product).await;
    }
}

#[derive(sea_orm::FromQueryResult)]
struct Row {
    payload: Vec<u8>,
    state_hash: Vec<u8>,
}

on_both! {
    async fn nothing_of_the_way_is_readable_at_rest_or_in_the_provider(database: Database) {
        let idp = Provider::start();
        let product = Product::start_with(database, idp.settings("google")).await;
        let mut browser = Traveller::new(&product);
        let url = browser.set_off("google", "?tenant_name=Secret%20Name").await;
        assert!(url.contains("code_challenge_method=S256") && url.contains("nonce=") && !url.contains("Secret"), "{url}");
        let parsed = url::Url::parse(&url).unwrap();
        let redirect = parsed.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1.into_owned();
        assert_eq!(redirect, "http://localhost:8080/api/v1/auth/oauth/google/callback", "whatever the request's Host says");
        let state = parsed.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
        let row: Row = product.database.one("select payload, state_hash from oauth_flows").await;
        let text = String::from_utf8_lossy(&row.payload).into_owned();
        assert!(!text.contains("Secret") && !text.contains(&state) && row.state_hash != state.as_bytes());
    }
}
