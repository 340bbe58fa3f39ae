//! Signing in and up with a provider: the ways there and back, whose account somebody is, and what a provider, or somebody who plays one,
//! may not get away with.

mod accounts;
mod hostile;
mod linking;
mod second_factor;

use std::collections::BTreeMap;

use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::support::{Answer, Product, Provider, answer};

/// A browser on its way to a provider and back.
#[derive(Clone)]
pub struct Traveller<'a> {
    product: &'a Product,
    cookies: BTreeMap<String, String>,
}

impl<'a> Traveller<'a> {
    pub fn new(product: &'a Product) -> Self {
        Self { product, cookies: BTreeMap::new() }
    }

    pub async fn get(&mut self, path: &str, accept: &str) -> Answer {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = self.product.request(Method::GET, path);
        let answer = answer(request.header(header::ACCEPT, accept).header(header::COOKIE, cookies.join("; "))).await;
        for cookie in answer.headers.get_all(header::SET_COOKIE) {
            let (name, rest) = cookie.to_str().expect("text").split_once('=').expect("a cookie");
            self.cookies.insert(name.to_owned(), rest.split(';').next().unwrap_or_default().to_owned());
        }
        answer
    }

    /// To the provider: the address that the browser is sent to.
    pub async fn set_off(&mut self, provider: &str, query: &str) -> String {
        let answer = self.get(&format!("/api/v1/auth/oauth/{provider}/start{query}"), "text/html").await;
        assert_eq!(answer.status, 302, "{}", answer.text);
        answer.headers["location"].to_str().expect("text").to_owned()
    }

    /// There and back, as a program that wants tokens.
    pub async fn journey(&mut self, idp: &Provider, provider: &str, query: &str) -> Answer {
        let url = self.set_off(provider, query).await;
        let back = idp.agree(&url).await;
        self.get(&back, "application/json").await
    }
}

/// Claims of somebody whose address is proved.
pub fn ada() -> Value {
    json!({"claims": {"sub": "ada-1", "email": "ada@example.com", "email_verified": true, "name": "Ada Lovelace"}})
}

/// Who a token's bearer is.
pub async fn me(product: &Product, tokens: &Value) -> Value {
    let access = tokens["access_token"].as_str().unwrap_or_else(|| panic!("no token in {tokens}"));
    product.get_as(access, "/api/v1/auth/me").await.expect(200)
}
