//! Tokens that somebody else made, changed, kept or brought to the wrong place: all are refused alike, and none leads anywhere.
//!
//! Those that our own key signed could not be made by a stranger. They are here because a check must not lean on another one.

mod forge;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, routing::any};
use reqwest::{Method, header::HeaderValue};
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::{Product, answer};
use forge::{Forge, decode, jwk};

const ME: &str = "/api/v1/auth/me";

on_both! {
    async fn hostile_tokens_are_refused_and_nothing_they_name_is_called(database: Database) {
        let product = Product::start(database).await;
        let called = Arc::new(AtomicUsize::new(0));
        let there = attackers_keys(called.clone()).await;
        let (ada, bob) = (product.visit("Ada", "free").await, product.visit("Bob", "free").await);
        let log_in = async |email: &str| {
            let body = json!({"email": email, "password": "correct-horse-battery"});
            let tokens = product.post("/api/v1/auth/login", &body).await.expect(200);
            tokens["access_token"].as_str().expect("a token").to_owned()
        };
        let (good, other) = (log_in(&ada.email).await, log_in(&bob.email).await);
        let forge = Forge::of(&product, &good).await;
        let other = decode(other.split('.').nth(1).expect("claims"));
        product.get_as(&forge.signed(&forge.ours, json!({}), json!({})), ME).await.expect(200);

        let mut hostile = vec![("a sign-up token".to_owned(), ada.token.clone())];
        hostile.extend(forge.unsigned());
        hostile.extend(forge.strange_keys(&there));
        hostile.extend(forge.headers());
        hostile.extend(forge.wrong_claims(&other));
        hostile.extend(forge.damaged());
        let distinct: BTreeSet<_> = hostile.iter().map(|(_, token)| token).collect();
        assert_eq!(distinct.len(), hostile.len(), "some are the same");
        assert!(hostile.len() >= 60, "only {}", hostile.len());
        for (name, token) in &hostile {
            let value = HeaderValue::from_bytes(format!("Bearer {token}").as_bytes()).expect("a header");
            let refused = answer(product.request(Method::GET, ME).header("authorization", value)).await;
            assert_eq!(refused.status, 401, "{name}: {}", refused.text);
            assert!(refused.headers.contains_key("www-authenticate"), "{name}");
            refused.expect_problem(401, "UNAUTHENTICATED");
        }
        println!("{} hostile tokens refused", hostile.len());
        // Nor does an access token open what a sign-up token does.
        product.get_as(&good, "/public/signup").await.expect_problem(401, "TOKEN_INVALID");
        assert_eq!(called.load(Ordering::Relaxed), 0, "somebody looked for keys where a token said");
        product.get_as(&good, ME).await.expect(200);
    }
}

/// The attacker's key set, really served, and how often anybody came for it.
async fn attackers_keys(called: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let there = format!("http://{}", listener.local_addr().expect("an address"));
    let router = Router::new().fallback(any(async move || {
        called.fetch_add(1, Ordering::Relaxed);
        axum::Json(json!({"keys": [jwk("1"), jwk("attacker")]}))
    }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    there
}

on_both! {
    async fn a_token_comes_in_one_authorization_header_or_not_at_all(database: Database) {
        let product = Product::start(database).await;
        let ada = product.visit("Ada", "free").await;
        let body = json!({"email": ada.email, "password": "correct-horse-battery"});
        let tokens = product.post("/api/v1/auth/login", &body).await.expect(200);
        let token = tokens["access_token"].as_str().expect("a token");
        let get = async |path: &str, headers: &[(&str, String)]| {
            let request = product.request(Method::GET, path);
            let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
            answer(request).await.status.as_u16()
        };
        for scheme in ["Bearer", "bearer", "BEARER", "bEaReR", "Bearer "] {
            assert_eq!(get(ME, &[("authorization", format!("{scheme} {token}"))]).await, 200, "{scheme}");
        }
        for value in [token.to_owned(), format!("Bearer{token}"), format!("Bearer: {token}"), format!("Token {token}"), format!("Basic {token}"), format!("Bearer\t{token}"), "Bearer".into(), "Bearer ".into(), String::new()] {
            assert_eq!(get(ME, &[("authorization", value.clone())]).await, 401, "{value}");
        }
        for query in ["access_token", "token", "authorization", "bearer"] {
            assert_eq!(get(&format!("{ME}?{query}={token}"), &[]).await, 401, "{query}");
        }
        for (name, value) in [("cookie", format!("access_token={token}; tenantry_session={token}")), ("x-access-token", token.into()), ("proxy-authorization", format!("Bearer {token}"))] {
            assert_eq!(get(ME, &[(name, value)]).await, 401, "{name}");
        }
        let twice = [("authorization", format!("Bearer {token}")), ("authorization", "Bearer x".to_owned())];
        assert_eq!(get(ME, &twice).await, 401);
        let refresh = tokens["refresh_token"].as_str().expect("a token");
        assert_eq!(get(ME, &[("authorization", format!("Bearer {refresh}"))]).await, 401);
    }
}
