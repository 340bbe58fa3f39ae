//! Accounts that a stranger registered with somebody else's address: whoever proves the address has them alone.

use serde_json::{Value, json};

use crate::support::{Browser, MAKE_URL, Product, healthy, text};

const AUTH: &str = "/api/v1/auth";
const EMAIL: &str = "acme@example.com";
/// What the stranger chose.
const PASSWORD: &str = "correct-horse-battery";
/// What the address's owner chooses.
const OWN: &str = "another-horse-battery";

async fn register(product: &Product) -> Value {
    let form = json!({"email": EMAIL, "password": PASSWORD, "password_confirm": PASSWORD, "account_name": "Acme"});
    let made = product.post(&format!("{AUTH}/register"), &form).await.expect(201);
    product.provisioned(&text(&made["access_token"]), &text(&made["tenant"]["id"])).await;
    made
}

/// All that a stranger can have prepared by the register door, beside the password: `tokens`.
async fn prepare(product: &Product) {
    product
        .database
        .execute(
            "insert into oauth_identities (id, user_id, provider, subject, email, created_at, last_used_at) \
         select id, id, 'google', 'stranger', email, created_at, created_at from users; \
         insert into webhook_endpoints (tenant_id, id, url, source, secret, enabled, created_at, updated_at) \
         select id, id, 'https://stranger.example', 'tenant', slug::bytea, true, created_at, created_at from tenants"
                .replace("slug::bytea", if product.database.url.is_some() { "'x'::bytea" } else { "x'00'" })
                .as_str(),
        )
        .await;
}

async fn logs_in(product: &Product, password: &str) -> u16 {
    product.post(&format!("{AUTH}/login"), &json!({"email": EMAIL, "password": password})).await.status.as_u16()
}

/// Holds a stranger to have nothing left of what they had.
async fn has_nothing(product: &Product, tokens: &Value) {
    assert_eq!(logs_in(product, PASSWORD).await, 401, "the password is dead");
    product.get_as(&text(&tokens["access_token"]), &format!("{AUTH}/me")).await.expect_problem(401, "UNAUTHENTICATED");
    let refresh = json!({"refresh_token": tokens["refresh_token"]});
    product.post(&format!("{AUTH}/refresh"), &refresh).await.expect_problem(401, "TOKEN_INVALID");
    assert_eq!(
        product.database.count("select count(*) as n from oauth_identities").await,
        0,
        "no way in by a provider"
    );
    assert_eq!(
        product.database.count("select count(*) as n from webhook_endpoints where enabled").await,
        0,
        "no webhook"
    );
    assert_eq!(told(product).await, 1, "the owner was told");
}

async fn told(product: &Product) -> usize {
    let mails = product.mails().await;
    mails.iter().filter(|mail| mail["subject"] == "Your account is yours alone now" && mail["to"] == EMAIL).count()
}

const UNPROVED: &str = "select count(*) as n from users where email_verified_at is null";

on_both! {
    async fn who_proves_an_address_that_a_stranger_registered_has_the_account_alone(database: Database) {
        let product = Product::start(database).await;
        let stranger = register(&product).await;
        prepare(&product).await;
        product.post_as(&text(&stranger["access_token"]), &format!("{AUTH}/email/change"), &json!({"email": "stranger@example.com", "password": PASSWORD})).await.expect(202);
        let away = product.secret("stranger@example.com", "/change-email").await;

        let mut owner = Browser::new(&product);
        let link = format!("/verify-email?token={}", product.secret(EMAIL, "/verify-email").await);
        for _ in 0..2 {
            owner.go(&link).await;
            assert!(owner.html.contains("Was it you?"), "{}", owner.html);
        }
        assert_eq!(product.database.count(UNPROVED).await, 1, "looking at the page changes nothing");
        let form = owner.form("/verify-email");
        for wrong in ["", "wrong-horse-battery", &"x".repeat(5000)] {
            owner.send(&form.clone().fill("password", wrong)).await;
            assert_eq!((owner.status.as_u16(), owner.path.as_str()), (401, "/verify-email"), "{}", owner.html);
        }
        assert_eq!((product.database.count(UNPROVED).await, logs_in(&product, PASSWORD).await), (1, 200));
        owner.send(&form.clone().fill("claim", "1")).await;
        assert!(owner.html.contains("Your account is yours alone now"), "{}", owner.html);
        has_nothing(&product, &stranger).await;
        assert_eq!(product.database.count(UNPROVED).await, 0);
        product.post_as(&text(&stranger["access_token"]), &format!("{AUTH}/email/change/confirm"), &json!({"token": away})).await.expect_problem(401, "UNAUTHENTICATED");
        owner.send(&form.fill("claim", "1")).await;
        assert_eq!(owner.status, 410, "the link works once");

        let mut owner = Browser::new(&product);
        let path = "select count(*) as n from one_time_tokens where purpose = 'password_reset' and used_at is null";
        assert_eq!(product.database.count(path).await, 1);
        product.post(&format!("{AUTH}/password/forgot"), &json!({"email": EMAIL})).await.expect(202);
        owner.go(&format!("/reset-password?token={}", product.secret(EMAIL, "/reset-password").await)).await;
        owner.send(&owner.form("/reset-password").fill("password", OWN)).await;
        assert_eq!((logs_in(&product, PASSWORD).await, logs_in(&product, OWN).await), (401, 200));
        healthy(&product).await;
    }
}

on_both! {
    async fn the_page_after_a_claim_leads_to_a_password_of_ones_own(database: Database) {
        let product = Product::start(database).await;
        register(&product).await;
        let mut owner = Browser::new(&product);
        owner.go(&format!("/verify-email?token={}", product.secret(EMAIL, "/verify-email").await)).await;
        owner.send(&owner.form("/verify-email").fill("claim", "1")).await;
        let way = owner.html.split("href=\"").find(|rest| rest.starts_with("/reset-password?token=")).expect("a way on");
        let way = way.split('"').next().unwrap().to_owned();
        owner.go(&way).await;
        owner.send(&owner.form("/reset-password").fill("password", OWN)).await;
        assert!(owner.html.contains("Your new password is set"), "{}", owner.html);
        assert_eq!((logs_in(&product, PASSWORD).await, logs_in(&product, OWN).await), (401, 200));
    }
}

on_both! {
    async fn a_stranger_who_began_a_wizard_gains_nothing(database: Database) {
        let product = Product::start(database).await;
        let stranger = product.visit("Acme", "starter").await;
        let sign_up = "/public/signup";
        product.post_as(&stranger.token, "/public/signup/starter/make", &json!({"webhook_url": MAKE_URL})).await.expect(202);
        product.get_as(&stranger.token, sign_up).await.expect(200);
        product.app.clock.advance(chrono::TimeDelta::minutes(1));
        let mut owner = Browser::new(&product);
        owner.go(&format!("/verify-email?token={}", product.secret(EMAIL, "/verify-email").await)).await;
        owner.send(&owner.form("/verify-email").fill("claim", "1")).await;
        product.get_as(&stranger.token, sign_up).await.expect_problem(401, "TOKEN_INVALID");
        let retry = format!("/api/v1/tenants/{}/provision-retry", stranger.tenant);
        product.post_as(&stranger.token, &retry, &json!({})).await.expect_problem(401, "TOKEN_INVALID");
        product.post("/public/signup/start", &crate::support::signup_body("Acme", "starter")).await.expect_problem(409, "EMAIL_TAKEN");
        assert_eq!(product.database.count("select count(*) as n from webhook_endpoints where enabled").await, 0);
        assert_eq!((logs_in(&product, PASSWORD).await, told(&product).await), (401, 1));
    }
}

on_both! {
    async fn a_magic_link_claims_and_leads_to_a_password(database: Database) {
        let product = Product::start(database).await;
        let stranger = register(&product).await;
        prepare(&product).await;
        product.post(&format!("{AUTH}/magic-link"), &json!({"email": EMAIL})).await.expect(202);
        let mut owner = Browser::new(&product);
        owner.go(&format!("/magic-link?token={}", product.secret(EMAIL, "/magic-link").await)).await;
        let form = owner.form("/magic-link");
        owner.send(&form.clone().fill("password", "wrong-horse-battery")).await;
        assert_eq!(owner.status, 401);
        owner.send(&form.fill("claim", "1")).await;
        assert_eq!((owner.path.as_str(), owner.status.as_u16()), ("/settings/password", 200), "{}", owner.html);
        has_nothing(&product, &stranger).await;
        owner.send(&owner.form("/settings/password").fill("password", OWN)).await;
        assert!(owner.html.contains("Your new password is set"), "{}", owner.html);
        assert_eq!((logs_in(&product, PASSWORD).await, logs_in(&product, OWN).await), (401, 200));
        owner.go("/dashboard").await;
        assert_eq!(owner.path, "/dashboard");
        let devices = product.mails().await.into_iter().filter(|mail| mail["subject"].as_str().unwrap().contains("new device")).count();
        assert_eq!(devices, 0, "the stranger's devices are not the owner's to hear of");
    }
}

on_both! {
    async fn the_right_password_proves_and_keeps(database: Database) {
        let product = Product::start(database).await;
        let owner = register(&product).await;
        prepare(&product).await;
        let mut browser = Browser::new(&product);
        browser.go(&format!("/verify-email?token={}", product.secret(EMAIL, "/verify-email").await)).await;
        browser.send(&browser.form("/verify-email").fill("password", PASSWORD)).await;
        assert!(browser.html.contains("Your address is verified"), "{}", browser.html);
        product.get_as(&text(&owner["access_token"]), &format!("{AUTH}/me")).await.expect(200);
        assert_eq!((logs_in(&product, PASSWORD).await, told(&product).await), (200, 0));
        assert_eq!(product.database.count("select count(*) as n from oauth_identities").await, 1);
        // Proved once, there is nothing to ask any more.
        product.post(&format!("{AUTH}/magic-link"), &json!({"email": EMAIL})).await.expect(202);
        let mut elsewhere = Browser::new(&product);
        elsewhere.go(&format!("/magic-link?token={}", product.secret(EMAIL, "/magic-link").await)).await;
        elsewhere.send(&elsewhere.form("/magic-link").fill("claim", "1")).await;
        assert_eq!(elsewhere.path, "/dashboard", "{}", elsewhere.html);
        assert_eq!((logs_in(&product, PASSWORD).await, told(&product).await), (200, 0));
    }
}

on_both! {
    async fn who_signed_up_in_this_browser_proves_with_one_click(database: Database) {
        let product = Product::start(database).await;
        let mut browser = Browser::new(&product);
        browser.go("/onboarding?plan=free").await;
        let form = browser.form("/onboarding").fill("email", EMAIL).fill("password", PASSWORD);
        browser.send(&form.fill("tenant_name", "Acme").fill("name", "Ada")).await;
        browser.go(&format!("/verify-email?token={}", product.secret(EMAIL, "/verify-email").await)).await;
        assert!(browser.html.contains("One click"), "{}", browser.html);
        browser.send(&browser.form("/verify-email")).await;
        assert!(browser.html.contains("Your address is verified"), "{}", browser.html);
        browser.go("/onboarding").await;
        assert_eq!(browser.path, "/onboarding/branding", "the wizard goes on");
        assert_eq!((logs_in(&product, PASSWORD).await, told(&product).await), (200, 0));
    }
}

on_both! {
    async fn another_session_than_the_accounts_own_shows_nothing(database: Database) {
        let product = Product::start(database).await;
        register(&product).await;
        let mut browser = Browser::new(&product);
        browser.go("/onboarding?plan=free").await;
        let form = browser.form("/onboarding").fill("email", "pear@example.com").fill("password", PASSWORD);
        browser.send(&form.fill("tenant_name", "Pear").fill("name", "Eve")).await;
        browser.go(&format!("/verify-email?token={}", product.secret(EMAIL, "/verify-email").await)).await;
        assert!(browser.html.contains("Was it you?"), "{}", browser.html);
        browser.send(&browser.form("/verify-email")).await;
        assert_eq!(browser.status, 401);
    }
}

on_both! {
    async fn a_program_keeps_unless_it_claims(database: Database) {
        let product = Product::start(database).await;
        let made = register(&product).await;
        let link = json!({"token": product.secret(EMAIL, "/verify-email").await});
        product.post(&format!("{AUTH}/email/verify"), &link).await.expect(200);
        product.get_as(&text(&made["access_token"]), &format!("{AUTH}/me")).await.expect(200);
        for path in ["email/verify", "magic-link/verify"] {
            product.database.execute("update users set email_verified_at = null").await;
            if path == "email/verify" {
                product.post_as(&text(&made["access_token"]), &format!("{AUTH}/email/resend"), &json!({})).await.expect(202);
            } else {
                product.post(&format!("{AUTH}/magic-link"), &json!({"email": EMAIL})).await.expect(202);
            }
            let page = if path == "email/verify" { "/verify-email" } else { "/magic-link" };
            let claim = json!({"token": product.secret(EMAIL, page).await, "claim": true});
            let answer = product.post(&format!("{AUTH}/{path}"), &claim).await.expect(200);
            product.get_as(&text(&made["access_token"]), &format!("{AUTH}/me")).await.expect(401);
            if let Some(access) = answer["access_token"].as_str() {
                let me = product.get_as(access, &format!("{AUTH}/me")).await.expect(200);
                assert!(me["user"]["email_verified_at"].is_string());
            }
        }
        assert_eq!((logs_in(&product, PASSWORD).await, told(&product).await), (401, 2));
    }
}

on_both! {
    async fn a_reset_password_claims_what_was_never_proved(database: Database) {
        let product = Product::start(database).await;
        let stranger = register(&product).await;
        prepare(&product).await;
        product.post_as(&text(&stranger["access_token"]), &format!("{AUTH}/email/change"), &json!({"email": "stranger@example.com", "password": PASSWORD})).await.expect(202);
        let away = product.secret("stranger@example.com", "/change-email").await;
        product.post(&format!("{AUTH}/password/forgot"), &json!({"email": EMAIL})).await.expect(202);
        let token = product.secret(EMAIL, "/reset-password").await;
        product.post(&format!("{AUTH}/password/reset"), &json!({"token": token, "password": OWN})).await.expect(200);
        assert_eq!(product.database.count("select count(*) as n from oauth_identities").await, 0);
        assert_eq!(product.database.count("select count(*) as n from webhook_endpoints where enabled").await, 0);
        assert_eq!(product.database.count("select count(*) as n from users where claimed_at is not null").await, 1);
        assert_eq!((logs_in(&product, PASSWORD).await, logs_in(&product, OWN).await), (401, 200));
        product.post_as(&text(&stranger["access_token"]), &format!("{AUTH}/email/change/confirm"), &json!({"token": away})).await.expect_problem(401, "UNAUTHENTICATED");
        product.get_as(&text(&stranger["access_token"]), &format!("{AUTH}/me")).await.expect(401);
    }
}

on_both! {
    async fn a_sign_in_method_without_a_password_is_asked_about_too(database: Database) {
        let product = Product::start(database).await;
        register(&product).await;
        prepare(&product).await;
        product.database.execute("update users set password_hash = null").await;
        let mut owner = Browser::new(&product);
        owner.go(&format!("/verify-email?token={}", product.secret(EMAIL, "/verify-email").await)).await;
        assert!(owner.html.contains("Was it you?") && !owner.html.contains("type=\"password\""), "{}", owner.html);
        let form = owner.form("/verify-email");
        owner.send(&form).await;
        assert_eq!(owner.status, 401);
        owner.send(&form.fill("claim", "1")).await;
        assert_eq!(product.database.count("select count(*) as n from oauth_identities").await, 0);
    }
}
