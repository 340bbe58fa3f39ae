//! The settings' pages, by forms alone.

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::json;

use super::{AUTH, EMAIL, NEW, OTHER, PASSWORD, is_open, log_in, register};
use crate::support::{Browser, Product, text};

/// A browser that is signed in.
async fn signed_in<'a>(product: &'a Product, email: &str) -> Browser<'a> {
    let mut browser = Browser::new(product);
    browser.go("/signin").await;
    browser.send(&browser.form("/signin").fill("email", email).fill("password", PASSWORD)).await;
    assert_eq!(browser.path, "/dashboard", "{}", browser.html);
    browser
}

#[track_caller]
fn shows(browser: &Browser<'_>, path: &str, words: &str) {
    assert!(browser.path == path && browser.html.contains(words), "{words:?} at {}:\n{}", browser.path, browser.html);
}

on_both! {
    async fn settings_work_by_forms_alone(database: Database) {
        let product = Product::start(database).await;
        register(&product, "Acme").await;
        let mut browser = Browser::new(&product);
        for page in ["/settings", "/settings/email", "/settings/password", "/settings/sessions"] {
            browser.go(page).await;
            assert_eq!(browser.path, "/signin", "{page} is for those who are signed in");
        }
        browser.go("/.well-known/change-password").await;
        assert_eq!(browser.path, "/forgot-password");
        let mut browser = signed_in(&product, EMAIL).await;
        browser.go("/.well-known/change-password").await;
        assert_eq!(browser.path, "/settings/password");

        browser.go("/settings").await;
        browser.send(&browser.form("/settings").fill("name", "Ada\u{7}")).await;
        assert_eq!(browser.status, 422);
        browser.send(&browser.form("/settings").fill("name", " Ada Lovelace ")).await;
        shows(&browser, "/settings?done=saved", "value=\"Ada Lovelace\"");
        browser.send(&browser.form("/settings/email/resend")).await;
        shows(&browser, "/settings?done=sent", "The mail is on its way");

        browser.go("/settings/password").await;
        let change = |browser: &Browser<'_>, current: &str, new: &str| {
            browser.form("/settings/password").fill("current_password", current).fill("password", new)
        };
        browser.send(&change(&browser, OTHER, OTHER)).await;
        assert_eq!(browser.status, 401);
        shows(&browser, "/settings/password", "This is not your current password.");
        browser.send(&change(&browser, "", OTHER)).await;
        assert_eq!(browser.status, 422);
        browser.send(&change(&browser, PASSWORD, "short")).await;
        assert_eq!(browser.status, 422);
        browser.send(&change(&browser, PASSWORD, OTHER)).await;
        shows(&browser, "/settings/password?done=set", "Your new password is set");

        browser.go("/settings/email").await;
        let ask = |browser: &Browser<'_>, email: &str, password: &str| {
            browser.form("/settings/email").fill("email", email).fill("password", password)
        };
        browser.send(&ask(&browser, NEW, PASSWORD)).await;
        assert_eq!(browser.status, 401);
        assert!(browser.form("/settings/email").fields.contains(&("email".into(), NEW.into())), "what was typed stays");
        browser.send(&ask(&browser, EMAIL, OTHER)).await;
        assert_eq!(browser.status, 422);
        browser.send(&ask(&browser, NEW, OTHER)).await;
        shows(&browser, "/settings?done=asked", "A link is on its way");
        let link = format!("/change-email?token={}", product.secret(NEW, "/change-email").await);
        for _ in 0..2 {
            browser.go(&link).await;
            shows(&browser, &link, "The account of acme@example.com uses ada@example.com from now on");
        }
        let form = browser.form("/change-email");
        browser.send(&form).await;
        shows(&browser, "/change-email", "Your email is changed");
        browser.go(&link).await;
        assert_eq!(browser.status, 410);
        browser.go("/settings").await;
        shows(&browser, "/settings", NEW);
    }
}

on_both! {
    async fn sessions_are_shown_in_words_and_ended(database: Database) {
        let product = Product::start(database).await;
        register(&product, "Acme").await;
        let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
        for agent in [agent, "<script>alert(1)</script>", "curl/8.5.0"] {
            let login = json!({"email": EMAIL, "password": PASSWORD});
            product.call(Method::POST, &format!("{AUTH}/login"), None, Some(&login), &[("user-agent", agent)]).await.expect(200);
        }
        let mut browser = signed_in(&product, EMAIL).await;
        let open = "select count(*) as n from sessions where revoked_at is null";
        assert_eq!(product.database.count(open).await, 5);
        browser.go("/settings/sessions").await;
        for words in ["Firefox on Linux", "<b>curl</b>", "An unknown program", "From 127.0.0.1", "This one"] {
            shows(&browser, "/settings/sessions", words);
        }
        assert!(!browser.html.contains("<script>alert"), "{}", browser.html);
        browser.send(&browser.form("/settings/sessions/end")).await;
        shows(&browser, "/settings/sessions?done=ended", "Signed out there");
        assert_eq!(product.database.count(open).await, 4);
        browser.send(&browser.form("/settings/sessions/end-others")).await;
        shows(&browser, "/settings/sessions?done=ended", "This one");
        assert!(!browser.html.contains("/settings/sessions/end"), "{}", browser.html);
        assert_eq!(product.database.count(open).await, 1);
        // Nobody ends what is another's.
        let stranger = register(&product, "Pear").await;
        let sessions = product.get_as(&text(&stranger["access_token"]), &format!("{AUTH}/sessions")).await.expect(200);
        log_in(&product, EMAIL, PASSWORD).await.expect(200);
        browser.go("/settings/sessions").await;
        browser.send(&browser.form("/settings/sessions/end").fill("id", sessions["data"][0]["id"].as_str().unwrap())).await;
        assert_eq!(browser.status, 404);
        assert!(is_open(&product, &stranger["access_token"]).await);
    }
}

on_both! {
    async fn a_browser_goes_to_another_tenant_of_its_user(database: Database) {
        let product = Product::start(database).await;
        register(&product, "Acme").await;
        let pear = register(&product, "Pear").await;
        let mut browser = signed_in(&product, EMAIL).await;
        browser.go("/settings").await;
        assert!(!browser.html.contains("/settings/switch"), "{}", browser.html);
        product.database.execute(
            "insert into memberships (tenant_id, user_id, role, created_at, updated_at) select t.id, u.id, 'member', t.created_at, t.created_at \
             from tenants t, users u where t.slug = 'pear' and u.email = 'acme@example.com'",
        ).await;
        browser.go("/settings").await;
        let before = browser.clone();
        browser.send(&browser.form("/settings/switch")).await;
        shows(&browser, "/dashboard", "Pear is at");
        let mut before = before;
        before.go("/dashboard").await;
        assert_eq!(before.path, "/signin", "a browser is in one tenant at a time");
        browser.go("/settings").await;
        let elsewhere = browser.form("/settings/switch").fill("tenant_id", "01890000-0000-7000-8000-000000000000");
        browser.send(&elsewhere).await;
        assert_eq!(browser.status, 404);
        assert!(pear["tenant"]["id"].is_string());
    }
}

on_both! {
    async fn without_a_password_the_pages_ask_to_sign_in_again(database: Database) {
        let product = Product::start(database).await;
        let onboard = json!({"email": EMAIL, "tenant_name": "Acme", "plan": "free"});
        product.admin_post("/onboard", &onboard).await.expect(201);
        let mut browser = Browser::new(&product);
        browser.go(&format!("/magic-link?token={}", product.secret(EMAIL, "/magic-link").await)).await;
        browser.send(&browser.form("/magic-link")).await;
        assert_eq!(browser.path, "/dashboard", "{}", browser.html);
        browser.go("/settings/password").await;
        shows(&browser, "/settings/password", "<h1>Set a password</h1>");
        let form = browser.form("/settings/password").fill("password", OTHER);
        product.app.clock.advance(TimeDelta::minutes(10));
        browser.send(&form).await;
        assert_eq!(browser.status, 403);
        shows(&browser, "/settings/password", "Please sign in once more");
        browser.go("/settings/email").await;
        shows(&browser, "/settings/email", "Please sign in once more");
        browser.send(&browser.form("/settings/sign-in-again")).await;
        assert_eq!(browser.path, "/signin");
        product.post(&format!("{AUTH}/magic-link"), &json!({"email": EMAIL})).await.expect(202);
        browser.go(&format!("/magic-link?token={}", product.secret(EMAIL, "/magic-link").await)).await;
        browser.send(&browser.form("/magic-link")).await;
        browser.go("/settings/password").await;
        browser.send(&browser.form("/settings/password").fill("password", OTHER)).await;
        shows(&browser, "/settings/password?done=set", "<h1>Password</h1>");
    }
}
