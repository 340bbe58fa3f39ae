//! Links in mails, sessions and their tokens, and who may come in with what.

use reqwest::Method;
use serde_json::{Value, json};
use tenantry::identity::keys;

use crate::support::{ADMIN_TOKEN, Browser, Product, Settings, signup_body, text};

const AUTH: &str = "/api/v1/auth";

/// The secret of the newest mailed link to `path`.
async fn mailed(product: &Product, path: &str) -> String {
    let mails = product.mails().await;
    let mut links = mails.iter().flat_map(|mail| mail["links"].as_array().expect("links"));
    let link = links.find_map(|link| link.as_str().filter(|link| link.contains(path)));
    let link = link.unwrap_or_else(|| panic!("no {path} in {mails:?}"));
    link.split_once("?token=").expect("a token").1.to_owned()
}

/// A tenant that is provisioned, its id, its sign-up token, and its owner's tokens.
async fn provisioned(product: &Product, name: &str) -> (String, String, Value) {
    let started = product.sign_up(name, "free").await;
    let (signup, tenant) = (text(&started["token"]), text(&started["tenant"]["id"]));
    product.post_as(&signup, "/public/signup/finish", &json!({})).await.expect(202);
    assert_eq!(product.provisioned(&signup, &tenant).await["status"], "complete");
    let token = mailed(product, "/magic-link").await;
    let tokens = product.post(&format!("{AUTH}/magic-link/verify"), &json!({"token": token})).await.expect(200);
    (tenant, signup, tokens)
}

async fn refresh(product: &Product, token: &Value) -> crate::support::Answer {
    product.post(&format!("{AUTH}/refresh"), &json!({"refresh_token": token})).await
}

on_both! {
    async fn a_mailed_link_proves_the_address_once(database: Database) {
        let product = Product::start(database).await;
        product.sign_up("Acme", "free").await;
        let token = mailed(&product, "/verify-email").await;
        let page = product.get(&format!("/verify-email?token={token}")).await;
        assert!(page.status == 200 && page.text.contains("<form method=\"post\" action=\"/verify-email\">"), "{}", page.text);
        let verified = product.post(&format!("{AUTH}/email/verify"), &json!({"token": token})).await.expect(200);
        assert_eq!(verified["user"]["email"], "acme@example.com");
        assert!(verified["user"]["email_verified_at"].is_string());
        let again = product.post(&format!("{AUTH}/email/verify"), &json!({"token": token})).await;
        again.expect_problem(401, "TOKEN_INVALID");
        let elsewhere = product.post(&format!("{AUTH}/magic-link/verify"), &json!({"token": token})).await;
        elsewhere.expect_problem(401, "TOKEN_INVALID");
    }
}

on_both! {
    async fn links_end_with_their_time(database: Database) {
        let product = Product::start(database).await;
        product.sign_up("Acme", "free").await;
        let token = mailed(&product, "/verify-email").await;
        product.app.clock.advance(chrono::TimeDelta::hours(24));
        let late = product.post(&format!("{AUTH}/email/verify"), &json!({"token": token})).await;
        late.expect_problem(401, "TOKEN_EXPIRED");
    }
}

on_both! {
    async fn a_session_lives_by_its_refresh_tokens_and_dies_by_a_spent_one(database: Database) {
        let product = Product::start(database).await;
        let (tenant, _, tokens) = provisioned(&product, "Acme").await;
        assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&json!("Bearer"), &json!(900)));
        let access = text(&tokens["access_token"]);
        let me = product.get_as(&access, &format!("{AUTH}/me")).await.expect(200);
        assert_eq!(me["user"]["email"], "acme@example.com");
        assert!(me["user"]["email_verified_at"].is_string(), "the link proved the address");
        assert_eq!(me["tenant"]["id"], Value::from(tenant));
        assert_eq!(me["memberships"][0]["role"], "owner");

        let second = refresh(&product, &tokens["refresh_token"]).await.expect(200);
        assert_ne!(second["refresh_token"], tokens["refresh_token"]);
        let third = refresh(&product, &second["refresh_token"]).await.expect(200);
        product.get_as(&text(&third["access_token"]), &format!("{AUTH}/me")).await.expect(200);

        refresh(&product, &tokens["refresh_token"]).await.expect_problem(401, "TOKEN_REUSED");
        refresh(&product, &third["refresh_token"]).await.expect_problem(401, "TOKEN_INVALID");
        let after = product.get_as(&text(&third["access_token"]), &format!("{AUTH}/me")).await;
        after.expect_problem(401, "UNAUTHENTICATED");
        let noted = "select count(*) as n from audit_events where action = 'session.revoked'";
        assert_eq!(product.database.count(noted).await, 1);
        refresh(&product, &json!("nonsense")).await.expect_problem(401, "TOKEN_INVALID");
    }
}

on_both! {
    async fn tokens_end_with_their_time(database: Database) {
        let product = Product::start(database).await;
        let (_, _, tokens) = provisioned(&product, "Acme").await;
        product.app.clock.advance(chrono::TimeDelta::minutes(15));
        let late = product.get_as(&text(&tokens["access_token"]), &format!("{AUTH}/me")).await;
        late.expect_problem(401, "UNAUTHENTICATED");
        let renewed = refresh(&product, &tokens["refresh_token"]).await.expect(200);
        product.app.clock.advance(chrono::TimeDelta::days(30));
        refresh(&product, &renewed["refresh_token"]).await.expect_problem(401, "TOKEN_EXPIRED");
    }
}

on_both! {
    async fn a_repeat_under_one_key_is_no_second_use(database: Database) {
        let product = Product::start(database).await;
        let (_, _, tokens) = provisioned(&product, "Acme").await;
        let (path, body) = (format!("{AUTH}/refresh"), json!({"refresh_token": tokens["refresh_token"]}));
        let key = [("idempotency-key", "one")];
        let calls = (0..8).map(|_| product.call(Method::POST, &path, None, Some(&body), &key));
        let answers = futures_util::future::join_all(calls).await;
        let first = answers[0].body.clone();
        assert!(answers.iter().all(|answer| answer.status == 200 && answer.body == first), "{answers:?}");
        refresh(&product, &first["refresh_token"]).await.expect(200);
    }
}

on_both! {
    async fn asking_for_a_link_never_tells_who_is_known(database: Database) {
        let product = Product::start(database).await;
        provisioned(&product, "Acme").await;
        let before = product.mails().await.len();
        let path = format!("{AUTH}/magic-link");
        let known = product.post(&path, &json!({"email": "acme@example.com"})).await.expect(202);
        let unknown = product.post(&path, &json!({"email": "nobody@example.com"})).await.expect(202);
        assert_eq!(known, unknown);
        assert_eq!(product.mails().await.len(), before + 1);
        product.post(&path, &json!({"email": "no address"})).await.expect_problem(422, "VALIDATION_FAILED");
    }
}

on_both! {
    async fn mails_of_a_kind_keep_a_minute_between_them(database: Database) {
        let product = Product::start_with(database, Settings::default().with("TENANTRY_RATE_LIMIT__ENABLED", "true")).await;
        let started = product.sign_up("Acme", "free").await;
        let (token, path) = (text(&started["token"]), format!("{AUTH}/email/resend"));
        let soon = product.post_as(&token, &path, &json!({})).await;
        assert!(soon.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() <= 60);
        soon.expect_problem(429, "RATE_LIMITED");
        product.app.clock.advance(chrono::TimeDelta::seconds(61));
        let first = mailed(&product, "/verify-email").await;
        product.post_as(&token, &path, &json!({})).await.expect(202);
        let second = mailed(&product, "/verify-email").await;
        assert_ne!(first, second);
        product.post(&format!("{AUTH}/email/verify"), &json!({"token": second})).await.expect(200);
        product.app.clock.advance(chrono::TimeDelta::seconds(61));
        let mails = product.mails().await.len();
        product.post_as(&token, &path, &json!({})).await.expect(202);
        assert_eq!(product.mails().await.len(), mails, "verified already");
        product.post(&path, &json!({})).await.expect_problem(401, "UNAUTHENTICATED");
    }
}

on_both! {
    async fn one_ends_ones_own_sessions_and_nobody_elses(database: Database) {
        let product = Product::start(database).await;
        let (_, _, ada) = provisioned(&product, "Acme").await;
        let (_, _, bob) = provisioned(&product, "Globex").await;
        let (ada, bob_refresh) = (text(&ada["access_token"]), bob["refresh_token"].clone());
        let bob = text(&bob["access_token"]);
        let path = format!("{AUTH}/sessions");
        let mine = product.get_as(&bob, &path).await.expect(200);
        assert_eq!((mine["data"].as_array().unwrap().len(), &mine["data"][0]["current"]), (1, &json!(true)));
        assert_eq!(mine["data"][0]["ip"], "127.0.0.1");
        let one = format!("{path}/{}", text(&mine["data"][0]["id"]));
        let delete = |token: String, path: String| {
            let product = &product;
            async move { product.call(Method::DELETE, &path, Some(&token), None, &[]).await }
        };
        delete(ada.clone(), one.clone()).await.expect_problem(404, "NOT_FOUND");
        product.post(&format!("{AUTH}/magic-link"), &json!({"email": "globex@example.com"})).await.expect(202);
        let link = json!({"token": mailed(&product, "/magic-link").await});
        let other = product.post(&format!("{AUTH}/magic-link/verify"), &link).await.expect(200);
        let other = text(&other["access_token"]);
        delete(other.clone(), one.clone()).await.expect(204);
        delete(other.clone(), one).await.expect(204);
        delete(other.clone(), format!("{path}/nonsense")).await.expect_problem(404, "NOT_FOUND");
        product.get_as(&bob, &path).await.expect_problem(401, "UNAUTHENTICATED");
        refresh(&product, &bob_refresh).await.expect_problem(401, "TOKEN_INVALID");
        assert_eq!(product.get_as(&other, &path).await.expect(200)["data"].as_array().unwrap().len(), 1);
    }
}

on_both! {
    async fn logging_out_ends_the_session(database: Database) {
        let product = Product::start(database).await;
        let (_, _, tokens) = provisioned(&product, "Acme").await;
        let body = json!({"refresh_token": tokens["refresh_token"]});
        for _ in 0..2 {
            product.post(&format!("{AUTH}/logout"), &body).await.expect(204);
        }
        product.post(&format!("{AUTH}/logout"), &json!({"refresh_token": "nonsense"})).await.expect(204);
        refresh(&product, &tokens["refresh_token"]).await.expect_problem(401, "TOKEN_INVALID");
        product.get_as(&text(&tokens["access_token"]), &format!("{AUTH}/me")).await.expect_problem(401, "UNAUTHENTICATED");
    }
}

on_both! {
    async fn one_changes_what_is_ones_own(database: Database) {
        let product = Product::start(database).await;
        let (_, _, tokens) = provisioned(&product, "Acme").await;
        let (token, path) = (text(&tokens["access_token"]), format!("{AUTH}/me"));
        let change = |body: Value| {
            let (product, token, path) = (&product, &token, &path);
            async move { product.call(Method::PATCH, path, Some(token), Some(&body), &[]).await }
        };
        let changed = change(json!({"name": " Ada Lovelace ", "onboarding_step_completed": "profile"})).await.expect(200);
        assert_eq!(changed["user"]["name"], "Ada Lovelace");
        let changed = change(json!({"name": null})).await.expect(200);
        assert_eq!((&changed["user"]["name"], &changed["user"]["onboarding_step_completed"]), (&Value::Null, &json!("profile")));
        assert_eq!(change(json!({})).await.expect(200), product.get_as(&token, &path).await.expect(200));
        for refused in [json!({"email": "x@example.com"}), json!({"name": 3}), json!({"name": "x".repeat(101)}), json!({"name": "a\nb"})] {
            change(refused).await.expect_problem(422, "VALIDATION_FAILED");
        }
    }
}

on_both! {
    async fn a_token_opens_its_own_tenant_alone(database: Database) {
        let product = Product::start(database).await;
        let (acme, signup, ada) = provisioned(&product, "Acme").await;
        let (globex, _, bob) = provisioned(&product, "Globex").await;
        let (ada, bob) = (text(&ada["access_token"]), text(&bob["access_token"]));
        let status = |tenant: &str| format!("/api/v1/tenants/{tenant}/provision-status");
        for token in [&signup, &ada] {
            product.get_as(token, &status(&acme)).await.expect(200);
            product.get_as(token, &status(&globex)).await.expect_problem(404, "NOT_FOUND");
            product.get_as(token, &status("nonsense")).await.expect_problem(404, "NOT_FOUND");
        }
        product.get_as(&bob, &status(&acme)).await.expect_problem(404, "NOT_FOUND");
        product.get(&status(&acme)).await.expect_problem(401, "UNAUTHENTICATED");
        product.get_as("nonsense", &status(&acme)).await.expect_problem(401, "TOKEN_INVALID");

        let retry = format!("/api/v1/tenants/{acme}/provision-retry");
        product.post_as(&ada, &retry, &json!({})).await.expect_problem(409, "PROVISION_NOT_FAILED");
        product.post_as(&signup, &retry, &json!({})).await.expect_problem(401, "TOKEN_INVALID");
        product.database.execute("update memberships set role = 'viewer'").await;
        product.post_as(&ada, &retry, &json!({})).await.expect_problem(403, "FORBIDDEN");
        product.get_as(&ada, "/public/signup").await.expect_problem(401, "TOKEN_INVALID");
        product.get_as(&signup, &format!("{AUTH}/me")).await.expect_problem(401, "UNAUTHENTICATED");

        product.app.clock.advance(chrono::TimeDelta::days(1));
        product.get_as(&signup, &status(&acme)).await.expect_problem(401, "TOKEN_INVALID");
        product.database.execute("delete from memberships").await;
        product.get_as(&bob, &status(&globex)).await.expect_problem(401, "UNAUTHENTICATED");
    }
}

on_both! {
    async fn a_signup_token_ends_with_its_time(database: Database) {
        let product = Product::start_with(database, Settings::default().with("TENANTRY_SIGNUP__TOKEN_TTL", "1h")).await;
        let started = product.sign_up("Acme", "free").await;
        let token = text(&started["token"]);
        product.get_as(&token, "/public/signup").await.expect(200);
        product.app.clock.advance(chrono::TimeDelta::hours(1));
        product.get_as(&token, "/public/signup").await.expect_problem(401, "TOKEN_EXPIRED");
        product.get("/public/signup").await.expect_problem(401, "TOKEN_INVALID");
        let resumed = product.post("/public/signup/start", &signup_body("Acme", "free")).await.expect(200);
        product.get_as(&text(&resumed["token"]), "/public/signup").await.expect(200);
    }
}

on_both! {
    async fn the_admin_api_is_for_the_platforms_own_people(database: Database) {
        let product = Product::start(database).await;
        let (_, signup, tokens) = provisioned(&product, "Acme").await;
        let (user, path) = (text(&tokens["access_token"]), "/api/v1/admin/tenants");
        product.get(path).await.expect_problem(401, "UNAUTHENTICATED");
        product.get_as(&format!("{ADMIN_TOKEN}x"), path).await.expect_problem(401, "UNAUTHENTICATED");
        product.get_as(&signup, path).await.expect_problem(401, "UNAUTHENTICATED");
        product.get_as(&user, path).await.expect_problem(403, "FORBIDDEN");
        product.get_as(ADMIN_TOKEN, path).await.expect(200);
        product.database.execute("update users set is_platform_admin = true").await;
        product.get_as(&user, path).await.expect(200);
        product.database.execute("update users set disabled_at = created_at").await;
        product.get_as(&user, path).await.expect_problem(401, "UNAUTHENTICATED");
    }
}

on_both! {
    async fn the_button_of_a_mailed_link_logs_in(database: Database) {
        let product = Product::start(database).await;
        provisioned(&product, "Acme").await;
        product.post(&format!("{AUTH}/magic-link"), &json!({"email": "acme@example.com"})).await.expect(202);
        let token = mailed(&product, "/magic-link").await;
        let mut browser = Browser::new(&product);
        for _ in 0..3 {
            browser.go(&format!("/magic-link?token={token}")).await;
            assert_eq!(browser.status, 200, "{}", browser.html);
        }
        let form = browser.form("/magic-link");
        assert_eq!(product.get("/magic-link").await.status, 400);
        browser.send_with(&form, &[("sec-fetch-site", "cross-site")]).await;
        assert_eq!(browser.status, 403);
        browser.send(&form).await;
        assert_eq!((browser.path.as_str(), browser.status.as_u16()), ("/dashboard", 200));
        assert!(browser.html.contains("Acme is at"), "{}", browser.html);
        browser.send(&form).await;
        assert_eq!(browser.status, 410);

        browser.go("/dashboard").await;
        let session = browser.cookie("tenantry_session").expect("a session").to_owned();
        browser.send(&browser.form("/signout")).await;
        assert_eq!((browser.path.as_str(), browser.cookie("tenantry_session")), ("/", None));
        // The session itself is over, whoever kept its cookie.
        browser.set_cookie("tenantry_session", Some(&session));
        browser.go("/dashboard").await;
        assert_eq!(browser.path, "/signin");
    }
}

on_both! {
    async fn a_session_that_somebody_planted_does_not_become_ones_own(database: Database) {
        let product = Product::start(database).await;
        for name in ["Acme", "Globex"] {
            provisioned(&product, name).await;
        }
        let password = |browser: &Browser<'_>, email: &str| {
            browser.form("/signin").fill("email", email).fill("password", "correct-horse-battery")
        };
        let mut mallory = Browser::new(&product);
        mallory.go("/signin").await;
        mallory.send(&password(&mallory, "globex@example.com")).await;
        let planted = mallory.cookie("tenantry_session").expect("a session").to_owned();

        let mut ada = Browser::new(&product);
        ada.go("/signin").await;
        let by_password = password(&ada, "acme@example.com");
        product.post(&format!("{AUTH}/magic-link"), &json!({"email": "acme@example.com"})).await.expect(202);
        ada.go(&format!("/magic-link?token={}", mailed(&product, "/magic-link").await)).await;
        let by_link = ada.form("/magic-link");
        for form in [by_password, by_link] {
            ada.set_cookie("tenantry_session", Some(&planted));
            ada.send(&form).await;
            assert!(ada.path == "/dashboard" && ada.html.contains("Acme is at"), "{}:\n{}", ada.path, ada.html);
            assert!(ada.cookie("tenantry_session").is_some_and(|own| own != planted));
            // What was planted opens what it did before, and nothing of hers.
            mallory.go("/dashboard").await;
            assert!(mallory.html.contains("Globex is at"), "{}:\n{}", mallory.path, mallory.html);
        }
    }
}

on_both! {
    async fn others_can_find_the_keys(database: Database) {
        let product = Product::start(database).await;
        let (_, _, tokens) = provisioned(&product, "Acme").await;
        let discovery = product.get("/.well-known/openid-configuration").await.expect(200);
        assert_eq!(discovery["issuer"], "http://localhost:8080");
        assert_eq!(discovery["jwks_uri"], "http://localhost:8080/.well-known/jwks.json");
        let keys = product.get("/.well-known/jwks.json").await;
        assert_eq!(keys.headers["cache-control"], "public, max-age=300");
        let jwk = keys.expect(200)["keys"][0].clone();
        assert_eq!((&jwk["kty"], &jwk["crv"], &jwk["d"]), (&json!("OKP"), &json!("Ed25519"), &Value::Null));
        let access = text(&tokens["access_token"]);
        let header = jsonwebtoken::decode_header(&access).unwrap();
        assert_eq!(header.kid.as_deref(), jwk["kid"].as_str());
        let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::EdDSA);
        validation.set_audience(&["access"]);
        validation.set_issuer(&["http://localhost:8080"]);
        let key = jsonwebtoken::DecodingKey::from_ed_components(jwk["x"].as_str().unwrap()).unwrap();
        let claims = jsonwebtoken::decode::<Value>(&access, &key, &validation).unwrap().claims;
        assert_eq!((&claims["role"], &claims["plan"], &claims["ev"]), (&json!("owner"), &json!("free"), &json!(true)));
    }
}

on_both! {
    async fn keys_change_and_nobody_is_logged_out(database: Database) {
        let product = Product::start(database).await;
        let (tenant, signup, tokens) = provisioned(&product, "Acme").await;
        let kid = |tokens: &Value| jsonwebtoken::decode_header(text(&tokens["access_token"])).unwrap().kid;
        let now = product.app.clock.now();
        let tx = product.app.db.begin().await.unwrap();
        keys::rotate(&tx, &now, &product.app.sealer, chrono::TimeDelta::days(366)).await.unwrap();
        tx.commit().await.unwrap();
        product.app.keys.load(&now).await.unwrap();
        let published = product.get("/.well-known/jwks.json").await.expect(200);
        assert_eq!(published["keys"].as_array().unwrap().len(), 2, "the next one is published before it signs");
        let still_old = refresh(&product, &tokens["refresh_token"]).await.expect(200);
        assert_eq!(kid(&still_old), kid(&tokens));

        product.app.clock.advance(keys::PUBLISHED_BEFORE);
        let renewed = refresh(&product, &still_old["refresh_token"]).await.expect(200);
        assert_ne!(kid(&renewed), kid(&tokens));
        assert!(published["keys"].as_array().unwrap().iter().any(|key| key["kid"].as_str() == kid(&renewed).as_deref()));
        product.get_as(&text(&renewed["access_token"]), &format!("{AUTH}/me")).await.expect(200);
        product.get_as(&signup, &format!("/api/v1/tenants/{tenant}/provision-status")).await.expect(200);
    }
}
