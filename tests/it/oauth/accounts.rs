//! Whose account somebody is who comes by a provider.

use serde_json::json;

use super::{Traveller, ada, me};
use crate::support::{Product, Provider, Settings, eventually, healthy, signup_body};

const LOGIN: &str = "/api/v1/auth/login";
const REGISTER: &str = "/api/v1/auth/register";
const USERS: &str = "select count(*) as n from users";

fn registration(email: &str) -> serde_json::Value {
    let password = "correct-horse-battery";
    json!({"email": email, "password": password, "password_confirm": password, "account_name": "Mallory Inc"})
}

/// Whether a letter reminds somebody of where they come from.
fn names_google(mails: &[serde_json::Value]) -> bool {
    mails.iter().any(|mail| mail["text"].as_str().is_some_and(|text| text.contains("you sign in with Google")))
}

on_both! {
    async fn somebody_new_gets_a_tenant_as_by_any_door(database: Database) {
        let idp = Provider::start();
        let product = Product::start_with(database, idp.settings("google")).await;
        idp.next(ada()).await;
        let tokens = Traveller::new(&product).journey(&idp, "google", "").await.expect(200);
        assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&json!("Bearer"), &json!(900)));
        assert!(tokens["refresh_token"].is_string());
        let who = me(&product, &tokens).await;
        assert_eq!((&who["user"]["email"], &who["tenant"]["slug"]), (&json!("ada@example.com"), &json!("ada-lovelace")));
        assert!(who["user"]["email_verified_at"].is_string(), "the provider proved it");
        assert_eq!(who["memberships"][0]["role"], "owner");
        let tenant = who["tenant"]["id"].as_str().unwrap().to_owned();
        let status = product.provisioned(tokens["access_token"].as_str().unwrap(), &tenant).await;
        assert_eq!((&status["status"], &status["plan"]), (&json!("complete"), &json!("pro")));
        healthy(&product).await;

        // The same person again is the same user, whatever their address has become.
        idp.next(json!({"claims": {"sub": "ada-1", "email": "ada.new@example.com", "email_verified": true}})).await;
        let again = Traveller::new(&product).journey(&idp, "google", "?tenant_name=Other").await.expect(200);
        assert_eq!(me(&product, &again).await["user"]["id"], who["user"]["id"]);
        assert_eq!(product.database.count(USERS).await, 1);
    }
}

on_both! {
    async fn an_address_that_is_told_beside_the_token_counts_for_the_same_person_alone(database: Database) {
        let idp = Provider::start();
        let product = Product::start_with(database, idp.settings("google")).await;
        let told = |sub: &str| json!({"claims": {"sub": "ada-1"},
            "userinfo": {"sub": sub, "email": "ada@example.com", "email_verified": true, "name": "Ada Lovelace"}});
        idp.next(told("eve-1")).await;
        Traveller::new(&product).journey(&idp, "google", "").await.expect_problem(401, "OAUTH_FAILED");
        idp.next(told("ada-1")).await;
        let tokens = Traveller::new(&product).journey(&idp, "google", "?plan=free").await.expect(200);
        let who = me(&product, &tokens).await;
        assert_eq!((&who["user"]["email"], &who["tenant"]["name"]), (&json!("ada@example.com"), &json!("Ada Lovelace")));
        assert!(who["user"]["email_verified_at"].is_string());
    }
}

on_both! {
    async fn plan_name_and_page_are_as_asked_for(database: Database) {
        let idp = Provider::start();
        let product = Product::start_with(database, idp.settings("google")).await;
        idp.next(ada()).await;
        let mut browser = Traveller::new(&product);
        let url = browser.set_off("google", "?plan=free&tenant_name=Analytical%20Engines&redirect_to=/pricing?a=b").await;
        let back = idp.agree(&url).await;
        let arrived = browser.get(&back, "text/html").await;
        assert_eq!((arrived.status.as_u16(), &arrived.headers["location"]), (302, &"/pricing?a=b".parse().unwrap()));
        let dashboard = browser.get("/dashboard", "text/html").await;
        assert!(dashboard.status == 200 && dashboard.text.contains("Analytical Engines"), "{}", dashboard.text);
        let plan = "select count(*) as n from subscriptions s join plans p on p.id = s.plan_id \
                    where p.slug = 'free' and s.status = 'active'";
        assert_eq!(product.database.count(plan).await, 1);

        let unknown = Traveller::new(&product).get("/api/v1/auth/oauth/google/start?plan=nonsense", "*/*").await;
        assert_eq!(unknown.status, 302, "for somebody who is known the plan does not matter");
        idp.next(json!({"claims": {"sub": "bob", "email": "bob@example.com", "email_verified": true}})).await;
        let mut bob = Traveller::new(&product);
        bob.journey(&idp, "google", "?plan=nonsense").await.expect_problem(422, "VALIDATION_FAILED");
        bob.journey(&idp, "google", "?plan=enterprise").await.expect_problem(422, "PLAN_NOT_SELF_SERVE");
        assert_eq!(product.database.count(USERS).await, 1);
        // Without a name it is the address that names the tenant.
        let made = bob.journey(&idp, "google", "?plan=free").await.expect(200);
        assert_eq!(me(&product, &made).await["tenant"]["name"], "bob");
        healthy(&product).await;
    }
}

on_both! {
    async fn closed_doors_are_closed_for_strangers_alone(database: Database) {
        let idp = Provider::start();
        let product = Product::start_with(database, idp.settings("google")).await;
        idp.next(ada()).await;
        let tokens = Traveller::new(&product).journey(&idp, "google", "?plan=free").await.expect(200);
        product.set_signups(false).await;
        let known = Traveller::new(&product).journey(&idp, "google", "").await.expect(200);
        assert_eq!(me(&product, &known).await["user"]["id"], me(&product, &tokens).await["user"]["id"]);
        idp.next(json!({"claims": {"sub": "bob", "email": "bob@example.com", "email_verified": true}})).await;
        let refused = Traveller::new(&product).journey(&idp, "google", "").await;
        assert!(refused.headers.contains_key("retry-after"));
        refused.expect_problem(503, "SIGNUPS_DISABLED");
        assert_eq!(product.database.count(USERS).await, 1);
        assert_eq!(product.database.count("select count(*) as n from oauth_identities").await, 1);
    }
}

on_both! {
    async fn no_self_serve_is_no_sign_up_by_a_provider_either(database: Database) {
        let idp = Provider::start();
        let settings = idp.settings("google").with("TENANTRY_SIGNUP__SELF_SERVE_ENABLED", "false");
        let product = Product::start_with(database, settings).await;
        idp.next(ada()).await;
        Traveller::new(&product).journey(&idp, "google", "").await.expect_problem(503, "SELF_SERVE_DISABLED");
        assert!(product.database.rows().await.iter().all(|(_, rows)| *rows == 0));
    }
}

on_both! {
    async fn a_proved_address_leads_to_the_account_that_has_it(database: Database) {
        let idp = Provider::start();
        let product = Product::start_with(database, idp.settings("google")).await;
        let mine = product.post(REGISTER, &registration("ada@example.com")).await.expect(201);
        let token = product.secret("ada@example.com", "/verify-email").await;
        product.post("/api/v1/auth/email/verify", &json!({"token": token})).await.expect(200);
        idp.next(json!({"claims": {"sub": "ada-1", "email": "ADA@example.com", "email_verified": false}})).await;
        Traveller::new(&product).journey(&idp, "google", "").await.expect_problem(409, "EMAIL_TAKEN");
        idp.next(json!({"claims": {"sub": "ada-1", "email": "ADA@example.com", "email_verified": true}})).await;
        let tokens = Traveller::new(&product).journey(&idp, "google", "").await.expect(200);
        assert_eq!(me(&product, &tokens).await["user"]["id"], mine["user"]["id"]);
        // Both ways go on, because the address had been proved before, and its owner is told.
        product.post(LOGIN, &json!({"email": "ada@example.com", "password": "correct-horse-battery"})).await.expect(200);
        me(&product, &mine).await;
        let told = |mails: &[serde_json::Value]| mails.iter().any(|mail| mail["subject"] == "Google was added to your account");
        eventually("the owner is told", async || told(&product.mails().await)).await;
    }
}

on_both! {
    async fn whoever_registered_a_strangers_address_first_gains_nothing(database: Database) {
        let idp = Provider::start();
        let product = Product::start_with(database, idp.settings("google")).await;
        let attacker = product.post(REGISTER, &registration("ada@example.com")).await.expect(201);
        idp.next(ada()).await;
        let victim = Traveller::new(&product).journey(&idp, "google", "").await.expect(200);
        assert!(me(&product, &victim).await["user"]["email_verified_at"].is_string());
        let login = json!({"email": "ada@example.com", "password": "correct-horse-battery"});
        let told = product.post(LOGIN, &login).await.expect_problem(409, "USE_OAUTH_PROVIDER");
        assert_eq!(told["providers"], json!(["google"]));
        let access = attacker["access_token"].as_str().unwrap();
        product.get_as(access, "/api/v1/auth/me").await.expect_problem(401, "UNAUTHENTICATED");
        let refresh = json!({"refresh_token": attacker["refresh_token"]});
        product.post("/api/v1/auth/refresh", &refresh).await.expect_problem(401, "TOKEN_INVALID");
        healthy(&product).await;
    }
}

on_both! {
    async fn nor_does_whoever_began_a_sign_up_with_it(database: Database) {
        let idp = Provider::start();
        let product = Product::start_with(database, idp.settings("google")).await;
        let mut body = signup_body("Mallory", "starter");
        body["email"] = json!("ada@example.com");
        let attacker = product.post("/public/signup/start", &body).await.expect(201);
        product.advance(2).await;
        idp.next(ada()).await;
        Traveller::new(&product).journey(&idp, "google", "").await.expect(200);
        let token = attacker["token"].as_str().unwrap();
        product.get_as(token, "/public/signup").await.expect_problem(401, "TOKEN_INVALID");
        let make = json!({"webhook_url": crate::support::MAKE_URL});
        product.post_as(token, "/public/signup/starter/make", &make).await.expect_problem(401, "TOKEN_INVALID");
        product.post("/public/signup/start", &body).await.expect_problem(409, "EMAIL_TAKEN");
    }
}

on_both! {
    async fn an_address_at_microsoft_proves_nothing(database: Database) {
        let idp = Provider::start();
        let product = Product::start_with(database, idp.settings("microsoft")).await;
        let victim = product.post(REGISTER, &registration("ada@example.com")).await.expect(201);
        let person = |tid: &str, oid: &str| json!({"claims": {
            "sub": "pairwise", "tid": tid, "oid": oid, "email": "ada@example.com", "email_verified": true, "name": "Ada"}});
        idp.next(person("tenant-evil", "oid-1")).await;
        let refused = Traveller::new(&product).journey(&idp, "microsoft", "").await;
        refused.expect_problem(409, "EMAIL_TAKEN");
        me(&product, &victim).await;

        // A new person signs up, and has the address to prove.
        let mut bob = person("tenant-1", "oid-1");
        bob["claims"]["email"] = json!("bob@example.com");
        idp.next(bob.clone()).await;
        let tokens = Traveller::new(&product).journey(&idp, "microsoft", "?plan=free").await.expect(200);
        let who = me(&product, &tokens).await;
        assert_eq!(who["user"]["email_verified_at"], serde_json::Value::Null);
        product.secret("bob@example.com", "/verify-email").await;
        // The same address, the same object id, and even the same `sub` under another Microsoft tenant is somebody else.
        for (tid, oid) in [("tenant-2", "oid-1"), ("tenant-1", "oid-2")] {
            let mut other = bob.clone();
            (other["claims"]["tid"], other["claims"]["oid"]) = (json!(tid), json!(oid));
            idp.next(other).await;
            Traveller::new(&product).journey(&idp, "microsoft", "").await.expect_problem(409, "EMAIL_TAKEN");
        }
        idp.next(json!({"claims": {"sub": "pairwise", "email": "bob@example.com", "email_verified": true}})).await;
        Traveller::new(&product).journey(&idp, "microsoft", "").await.expect_problem(401, "OAUTH_FAILED");
        idp.next(bob).await;
        let again = Traveller::new(&product).journey(&idp, "microsoft", "").await.expect(200);
        assert_eq!(me(&product, &again).await["user"]["id"], who["user"]["id"]);
    }
}

on_both! {
    async fn microsofts_issuer_is_its_tenants(database: Database) {
        let idp = Provider::start();
        // As Microsoft publishes it for all of its tenants together.
        let settings = idp.settings("microsoft").with("TENANTRY_OAUTH__MICROSOFT__ISSUER", &format!("{}/common/v2.0", idp.issuer));
        let product = Product::start_with(database, settings).await;
        let template = format!("{}/{{tenantid}}/v2.0", idp.issuer);
        let token = |tid: &str, issuer_of: &str| json!({"discovery": {"issuer": template}, "claims": {
            "iss": template.replace("{tenantid}", issuer_of), "sub": "p", "tid": tid, "oid": "o", "email": "ada@example.com"}});
        idp.next(token("0aa1", "0bb2")).await;
        Traveller::new(&product).journey(&idp, "microsoft", "").await.expect_problem(401, "OAUTH_FAILED");
        idp.next(token("0aa1", "0aa1")).await;
        Traveller::new(&product).journey(&idp, "microsoft", "?plan=free").await.expect(200);
    }
}

on_both! {
    async fn somebody_without_a_password_is_told_where_they_come_from(database: Database) {
        let idp = Provider::start();
        let product = Product::start_with(database, idp.settings("google")).await;
        idp.next(ada()).await;
        Traveller::new(&product).journey(&idp, "google", "?plan=free").await.expect(200);
        let login = json!({"email": "ada@example.com", "password": "whatever it is"});
        product.post(LOGIN, &login).await.expect_problem(409, "USE_OAUTH_PROVIDER");
        let forgot = |email: &str| json!({"email": email});
        let known = product.post("/api/v1/auth/password/forgot", &forgot("ada@example.com")).await.expect(202);
        let unknown = product.post("/api/v1/auth/password/forgot", &forgot("nobody@example.com")).await.expect(202);
        assert_eq!(known, unknown);
        assert!(names_google(&product.mails().await));
        let token = product.secret("ada@example.com", "/magic-link").await;
        product.post("/api/v1/auth/magic-link/verify", &json!({"token": token})).await.expect(200);
    }
}

on_both! {
    async fn or_by_mail_alone_where_the_operator_wants_it_so(database: Database) {
        let idp = Provider::start();
        let settings = idp.settings("google").with("TENANTRY_IDENTITY__NAMES_PROVIDERS", "false");
        let product = Product::start_with(database, settings).await;
        idp.next(ada()).await;
        Traveller::new(&product).journey(&idp, "google", "?plan=free").await.expect(200);
        let login = |email: &str| json!({"email": email, "password": "whatever it is"});
        let mut known = product.post(LOGIN, &login("ada@example.com")).await.expect_problem(401, "INVALID_CREDENTIALS");
        let mut unknown = product.post(LOGIN, &login("nobody@example.com")).await.expect_problem(401, "INVALID_CREDENTIALS");
        for answer in [&mut known, &mut unknown] {
            answer.as_object_mut().unwrap().remove("request_id");
        }
        assert_eq!(known, unknown);
        assert!(names_google(&product.mails().await));
    }
}

on_both! {
    async fn what_is_not_configured_says_so(database: Database) {
        let product = Product::start_with(database, Settings::default()).await;
        for provider in ["google", "microsoft"] {
            for way in ["start", "callback", "start?redirect_to=//evil.test", "callback?state=x"] {
                let answer = product.get(&format!("/api/v1/auth/oauth/{provider}/{way}")).await;
                assert!(answer.headers.contains_key("retry-after"));
                answer.expect_problem(503, "OAUTH_NOT_CONFIGURED");
            }
        }
        product.get("/api/v1/auth/oauth/nonsense/start").await.expect_problem(404, "NOT_FOUND");
    }
}
