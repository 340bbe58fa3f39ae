//! What every way in answers with.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::oauth::{Traveller, ada};
use crate::support::{
    Product, Provider,
    factor::{Holder, verify},
    names, text,
};
use crate::typed_code;

const AUTH: &str = "/api/v1/auth";
const EMAIL: &str = "pear@example.com";
const PASSWORD: &str = "correct-horse-battery";

/// What an access token says.
fn claims(tokens: &Value) -> Value {
    let token = text(&tokens["access_token"]);
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).expect("three parts")).expect("base64url");
    serde_json::from_slice(&claims).expect("JSON")
}

on_both! {
    async fn every_way_in_answers_the_same_tokens(database: Database) {
        let idp = Provider::start();
        let product = Product::start_with(database, idp.settings("google")).await;
        let form = json!({"email": EMAIL, "password": PASSWORD, "password_confirm": PASSWORD, "account_name": "Pear"});
        let mut registered = product.post(&format!("{AUTH}/register"), &form).await.expect(201);
        let tenant = json!({"tenant_id": registered["tenant"]["id"]});
        // What it made comes beside the tokens.
        for made in ["user", "tenant", "subscription", "credits"] {
            assert!(registered.as_object_mut().unwrap().remove(made).is_some(), "{made}");
        }
        let login = json!({"email": EMAIL, "password": PASSWORD});
        let logged_in = product.post(&format!("{AUTH}/login"), &login).await.expect(200);
        let refreshed = json!({"refresh_token": logged_in["refresh_token"]});
        let refreshed = product.post(&format!("{AUTH}/refresh"), &refreshed).await.expect(200);
        let switched = product.post_as(&text(&refreshed["access_token"]), &format!("{AUTH}/switch-tenant"), &tenant).await.expect(200);
        product.post(&format!("{AUTH}/magic-link"), &json!({"email": EMAIL})).await.expect(202);
        let link = json!({"token": product.secret(EMAIL, "/magic-link").await});
        let by_link = product.post(&format!("{AUTH}/magic-link/verify"), &link).await.expect(200);
        let code = typed_code::mailed(&product, EMAIL).await;
        let by_code = typed_code::verify(&product, EMAIL, &code).await.expect(200);
        let holder = Holder::with_factor(&product).await;
        let by_factor = verify(&product, &holder.pending().await, &holder.next_code()).await.expect(200);
        idp.next(ada()).await;
        let by_provider = Traveller::new(&product).journey(&idp, "google", "").await.expect(200);
        for (way, tokens) in [
            ("register", registered), ("log-in", logged_in), ("refresh", refreshed), ("switch", switched), ("magic link", by_link),
            ("typed code", by_code), ("second factor", by_factor), ("provider", by_provider),
        ] {
            assert_eq!(names(&tokens), ["access_token", "expires_in", "refresh_token", "token_type"], "{way}");
            assert_eq!(names(&claims(&tokens)), ["aud", "ev", "exp", "iat", "iss", "jti", "plan", "role", "sid", "sub", "tid"], "{way}");
        }
    }
}
