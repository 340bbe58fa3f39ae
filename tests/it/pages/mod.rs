//! The wizard in a browser without JavaScript: by forms alone, on both databases.

mod forms;

use serde_json::json;
use tenantry::serve::Roles;

use crate::support::{Browser, MAKE_URL, Product, Settings, healthy};

const TENANTS: &str = "select count(*) as n from tenants";
const HTTP: Roles = Roles { http: true, worker: false };

/// Types step 1 and sends it.
async fn begin(browser: &mut Browser<'_>, name: &str, plan: &str) {
    browser.go(&format!("/onboarding?plan={plan}")).await;
    let email = format!("{}@example.com", name.to_lowercase());
    let form = browser.form("/onboarding").fill("email", &email).fill("password", "correct-horse-battery");
    browser.send(&form.fill("tenant_name", name).fill("name", "Ada Lovelace")).await;
}

#[track_caller]
fn is_at(browser: &Browser<'_>, path: &str, status: u16) {
    assert_eq!((browser.path.as_str(), browser.status.as_u16()), (path, status), "{}", browser.html);
}

#[track_caller]
fn shows(browser: &Browser<'_>, text: &str) {
    assert!(browser.html.contains(text), "{text:?} at {}:\n{}", browser.path, browser.html);
}

on_both! {
    async fn each_plan_comes_to_its_dashboard(database: Database) {
        let product = Product::start(database).await;
        for (name, plan, trial) in [("Acme", "starter", true), ("Pear", "pro", true), ("Free", "free", false)] {
            let mut browser = Browser::new(&product);
            begin(&mut browser, name, plan).await;
            is_at(&browser, "/onboarding/branding", 200);
            browser.send(&browser.form("/onboarding/branding").fill("primary_color", "#5b2a86")).await;
            is_at(&browser, "/onboarding/plan", 200);
            let (action, field, value) = match plan {
                "starter" => ("/onboarding/plan/make", "webhook_url", MAKE_URL),
                "pro" => ("/onboarding/plan/confirm", "webhook_url", ""),
                _ => ("/onboarding/plan/finish", "none", ""),
            };
            browser.send(&browser.form(action).fill(field, value)).await;
            is_at(&browser, "/onboarding/progress", 200);
            let token = browser.cookie("tenantry_signup").expect("a token").to_owned();
            let stand = product.get_as(&token, "/public/signup").await.expect(200);
            product.provisioned(&token, stand["tenant"]["id"].as_str().unwrap()).await;
            browser.go("/onboarding/progress").await;
            shows(&browser, &format!("<h1>{name} is open</h1>"));
            browser.go("/dashboard").await;
            is_at(&browser, "/dashboard", 200);
            shows(&browser, "Hello, Ada");
            assert_eq!(browser.html.contains("14 of 14 days left"), trial, "{}", browser.html);
            let slug = name.to_lowercase();
            let front = product.get(&format!("/public/storefronts/{slug}")).await.expect(200);
            assert_eq!(front["tenant"]["branding"]["primary_color"], "#5b2a86");
        }
        healthy(&product).await;
    }
}

on_both! {
    async fn what_was_typed_is_shown_again_with_what_is_wrong(database: Database) {
        let product = Product::start(database).await;
        product.sign_up("Acme", "free").await;
        let mut browser = Browser::new(&product);
        browser.go("/onboarding?plan=growth").await;
        let typed = |form: crate::support::FormOn| {
            form.fill("email", "ada@example").fill("password", "short").fill("tenant_name", "<Acme> & Söhne").fill("name", "Ada")
        };
        browser.send(&typed(browser.form("/onboarding"))).await;
        is_at(&browser, "/onboarding", 422);
        shows(&browser, "2 things need another look");
        shows(&browser, "<title>Error: ");
        let again = browser.form("/onboarding");
        for (field, value) in [("email", "ada@example"), ("tenant_name", "<Acme> & Söhne"), ("name", "Ada"), ("plan", "growth"), ("password", "")] {
            assert!(again.fields.contains(&(field.into(), value.into())), "{field} in {again:?}");
        }

        let again = again.fill("email", "ada@example.com").fill("password", "correct-horse-battery").fill("slug", "acme");
        browser.send(&again).await;
        is_at(&browser, "/onboarding", 409);
        shows(&browser, "That address is taken");
        shows(&browser, "value=\"acme-2\"");
        let chosen = browser.form("/onboarding").fill("password", "correct-horse-battery").fill("use_slug", "acme-2");
        browser.send(&chosen).await;
        is_at(&browser, "/onboarding/branding", 200);

        browser.send(&browser.form("/onboarding/branding").fill("primary_color", "red").fill("logo_url", "http://x")).await;
        is_at(&browser, "/onboarding/branding", 422);
        assert!(browser.form("/onboarding/branding").fields.contains(&("primary_color".into(), "red".into())));
        browser.send(&browser.form("/onboarding/branding").fill("skip", "1")).await;
        is_at(&browser, "/onboarding/plan", 200);
        browser.send(&browser.form("/onboarding/plan/make").fill("webhook_url", "https://evil.example/x")).await;
        is_at(&browser, "/onboarding/plan/make", 422);
        shows(&browser, "We cannot use that webhook");

        let mut other = Browser::new(&product);
        other.go("/onboarding").await;
        let taken = other.form("/onboarding").fill("email", "ADA@example.com").fill("password", "another-password");
        other.send(&taken.fill("tenant_name", "Other")).await;
        is_at(&other, "/onboarding", 409);
        shows(&other, "We know this email address");
    }
}

on_both! {
    async fn a_page_that_comes_too_early_or_too_late_leads_to_the_step_to_do(database: Database) {
        let product = Product::start_as(database, Settings::default(), HTTP).await;
        let mut browser = Browser::new(&product);
        for early in ["/onboarding/branding", "/onboarding/plan", "/onboarding/progress"] {
            browser.go(early).await;
            is_at(&browser, "/onboarding", 200);
        }
        begin(&mut browser, "Acme", "starter").await;
        for elsewhere in ["/onboarding", "/onboarding/plan", "/onboarding/progress", "/dashboard"] {
            browser.go(elsewhere).await;
            is_at(&browser, "/onboarding/branding", 200);
        }
        browser.send(&browser.form("/onboarding/branding").fill("primary_color", "#112233")).await;
        // Back to what was done, which can be changed still.
        browser.go("/onboarding/branding").await;
        assert!(browser.form("/onboarding/branding").fields.contains(&("primary_color".into(), "#112233".into())));
        browser.go("/onboarding/plan?plan=pro").await;
        browser.send(&browser.form("/onboarding/plan/confirm")).await;
        is_at(&browser, "/onboarding/progress", 200);
        assert_eq!(product.database.count("select count(*) as n from provision_runs where plan = 'pro'").await, 1);
        for late in ["/onboarding", "/onboarding/branding", "/onboarding/plan", "/dashboard"] {
            browser.go(late).await;
            is_at(&browser, "/onboarding/progress", 200);
        }
        shows(&browser, "Setting up Acme");
        // Without the token's cookie the session is enough; without both it is somebody else.
        browser.set_cookie("tenantry_signup", None);
        browser.go("/onboarding/progress").await;
        is_at(&browser, "/onboarding/progress", 200);
        browser.send(&browser.form("/onboarding/start-over")).await;
        is_at(&browser, "/onboarding", 200);
        browser.set_cookie("tenantry_session", Some("bm90IGEgc2Vzc2lvbg"));
        browser.go("/dashboard").await;
        is_at(&browser, "/signin", 200);
    }
}

/// Another sign-up in a browser that has had one.
async fn begin_elsewhere(product: &Product, browser: &mut Browser<'_>) {
    for cookie in ["tenantry_signup", "tenantry_session"] {
        browser.set_cookie(cookie, None);
    }
    begin(browser, "Brief", "free").await;
    assert_eq!(product.database.count(TENANTS).await, 2);
}

on_both! {
    async fn an_expired_token_keeps_what_was_typed(database: Database) {
        let settings = Settings::default().with("TENANTRY_SIGNUP__TOKEN_TTL", "1h");
        let product = Product::start_with(database, settings).await;
        let mut browser = Browser::new(&product);
        begin(&mut browser, "Acme", "growth").await;
        product.advance(3601).await;
        browser.go("/onboarding/branding").await;
        is_at(&browser, "/onboarding", 200);
        shows(&browser, "Your sign-up expired, but your details are kept");
        let form = browser.form("/onboarding");
        for (field, value) in [("email", "acme@example.com"), ("tenant_name", "Acme"), ("slug", "acme"), ("name", "Ada Lovelace"), ("plan", "growth")] {
            assert!(form.fields.contains(&(field.into(), value.into())), "{field} in {form:?}");
        }
        browser.send(&form.fill("password", "correct-horse-battery")).await;
        is_at(&browser, "/onboarding/branding", 200);
        assert_eq!(product.database.count(TENANTS).await, 1);
        // Removed by the janitor, it is said to be gone; finished, an old token is of no account.
        let mut late = browser.clone();
        browser.send(&browser.form("/onboarding/branding")).await;
        browser.send(&browser.form("/onboarding/plan/finish")).await;
        let token = browser.cookie("tenantry_signup").expect("a token").to_owned();
        let stand = product.get_as(&token, "/public/signup").await.expect(200);
        product.provisioned(&token, stand["tenant"]["id"].as_str().unwrap()).await;
        product.advance(3601).await;
        browser.go("/onboarding").await;
        is_at(&browser, "/dashboard", 200);
        begin_elsewhere(&product, &mut late).await;
        product.database.execute("delete from tenants where slug = 'brief'").await;
        late.go("/onboarding/branding").await;
        is_at(&late, "/onboarding", 200);
        shows(&late, "Your last sign-up was not finished in time");
        // A token of another installation, or none at all, is nobody's.
        browser.set_cookie("tenantry_session", None);
        browser.set_cookie("tenantry_signup", Some("eyJhbGciOiJub25lIn0.e30."));
        browser.go("/onboarding/branding").await;
        is_at(&browser, "/onboarding", 200);
        assert!(!browser.html.contains("acme@example.com"));
    }
}

on_both! {
    async fn closed_doors_say_so_and_a_wizard_under_way_goes_on(database: Database) {
        let product = Product::start(database).await;
        let (mut browser, mut late) = (Browser::new(&product), Browser::new(&product));
        begin(&mut browser, "Acme", "free").await;
        late.go("/onboarding").await;
        let form = late.form("/onboarding").fill("email", "eve@example.com").fill("tenant_name", "Late");
        product.set_signups(false).await;
        late.send(&form.fill("password", "correct-horse-battery")).await;
        is_at(&late, "/onboarding", 503);
        shows(&late, "Sign-ups are closed for the moment");
        assert!(late.headers.contains_key("retry-after"));
        late.go("/onboarding").await;
        is_at(&late, "/onboarding", 503);
        browser.send(&browser.form("/onboarding/branding")).await;
        is_at(&browser, "/onboarding/plan", 200);
        let database = product.stop().await;

        let product = Product::start_with(database, Settings::default().with("TENANTRY_SIGNUP__SELF_SERVE_ENABLED", "false")).await;
        let mut stranger = Browser::new(&product);
        stranger.go("/onboarding").await;
        is_at(&stranger, "/onboarding", 503);
        shows(&stranger, "by invitation");
        assert_eq!(product.database.count(TENANTS).await, 1);
    }
}

on_both! {
    async fn a_failed_run_is_told_and_tried_again(database: Database) {
        let product = Product::start_as(database, Settings::default(), HTTP).await;
        let mut browser = Browser::new(&product);
        begin(&mut browser, "Acme", "starter").await;
        browser.send(&browser.form("/onboarding/branding")).await;
        browser.send(&browser.form("/onboarding/plan/make").fill("webhook_url", MAKE_URL)).await;
        product.database.execute(
            "update provision_runs set status = 'failed', reason = 'The webhook answered 404', due_at = null, finished_at = queued_at; \
             update provision_steps set status = 'failed' where name = 'validate_webhook'; \
             update tenants set provision_state = 'failed', provision_reason = 'The webhook answered 404'",
        ).await;
        browser.go("/onboarding/progress").await;
        shows(&browser, "The webhook answered 404");
        shows(&browser, "Your webhook did not answer as it should");
        browser.send(&browser.form("/onboarding/plan/make").fill("webhook_url", "ftp://x")).await;
        is_at(&browser, "/onboarding/plan/make", 422);
        assert!(browser.form("/onboarding/plan/make").fields.contains(&("webhook_url".into(), "ftp://x".into())));
        let retry = browser.form("/onboarding/progress/retry");
        browser.send(&retry).await;
        is_at(&browser, "/onboarding/progress", 200);
        shows(&browser, "Setting up Acme");
        browser.send(&retry).await;
        is_at(&browser, "/onboarding/progress", 200);
        assert_eq!(product.database.count("select count(*) as n from audit_events where action = 'tenant.provision_retried'").await, 1);
    }
}

on_both! {
    async fn an_owner_for_whom_a_tenant_was_made_can_retry_it(database: Database) {
        let product = Product::start_as(database, Settings::default(), HTTP).await;
        let onboard = json!({"email": "grace@example.com", "tenant_name": "Hopper", "plan": "pro"});
        product.admin_post("/onboard", &onboard).await.expect(201);
        product.database.execute(
            "update provision_runs set status = 'failed', reason = 'Automations: no luck', due_at = null, finished_at = queued_at; \
             update provision_steps set status = 'failed' where name = 'deploy_automations'; \
             update tenants set provision_state = 'failed', provision_reason = 'Automations: no luck'",
        ).await;
        let secret = product.secret("grace@example.com", "/magic-link").await;
        let mut browser = Browser::new(&product);
        browser.go(&format!("/magic-link?token={secret}")).await;
        browser.send(&browser.form("/magic-link")).await;
        is_at(&browser, "/dashboard", 200);
        shows(&browser, "Hopper is not open yet");
        shows(&browser, "Automations: no luck");
        let retry = browser.form("/dashboard/retry");
        // The wizard is not theirs: an operator has set the tenant up.
        browser.go("/onboarding/progress").await;
        is_at(&browser, "/dashboard", 200);
        let mut end = retry.clone();
        end.action = "/onboarding/plan/finish".into();
        browser.send(&end).await;
        is_at(&browser, "/dashboard", 200);
        assert_eq!(product.database.count("select count(*) as n from provision_runs").await, 1);
        product.database.execute("update memberships set role = 'viewer'").await;
        browser.send(&retry).await;
        is_at(&browser, "/dashboard/retry", 403);
        product.database.execute("update memberships set role = 'owner'").await;
        browser.send(&retry).await;
        is_at(&browser, "/dashboard", 200);
        shows(&browser, "It is being set up");
        assert_eq!(product.database.count("select count(*) as n from provision_runs where status = 'pending'").await, 1);
        product.database.execute("update tenants set status = 'suspended'").await;
        browser.go("/dashboard").await;
        shows(&browser, "It has been suspended.");
    }
}

on_both! {
    async fn who_signs_in_leaves_somebody_elses_sign_up_behind(database: Database) {
        let product = Product::start(database).await;
        let mut browser = Browser::new(&product);
        begin(&mut browser, "Brief", "free").await;
        browser.send(&browser.form("/onboarding/branding")).await;
        browser.send(&browser.form("/onboarding/plan/finish")).await;
        let alpha = product.visit("Alpha", "pro").await;
        product.post("/api/v1/auth/magic-link", &json!({"email": alpha.email})).await.expect(202);
        let secret = product.secret(&alpha.email, "/magic-link").await;
        browser.go(&format!("/magic-link?token={secret}")).await;
        browser.send(&browser.form("/magic-link").fill("password", "correct-horse-battery")).await;
        is_at(&browser, "/onboarding/branding", 200);
        shows(&browser, "Make it look like Alpha");
        // Disabled, they are nobody here, and nothing of theirs is shown.
        let mut token = browser.clone();
        token.set_cookie("tenantry_session", None);
        token.set_cookie("tenantry_signup", Some(&alpha.token));
        token.go("/onboarding").await;
        is_at(&token, "/onboarding/branding", 200);
        product.database.execute("update users set disabled_at = created_at").await;
        token.go("/onboarding").await;
        is_at(&token, "/onboarding", 200);
        assert!(!token.html.contains(&alpha.email) && !token.html.contains("expired"), "{}", token.html);
        let form = token.form("/onboarding").fill("email", &alpha.email).fill("password", "correct-horse-battery");
        token.send(&form.fill("tenant_name", "Alpha")).await;
        is_at(&token, "/onboarding", 409);
    }
}

on_both! {
    async fn what_the_wizard_offers_is_what_one_gets(database: Database) {
        let product = Product::start_as(database, Settings::default().with("TENANTRY_BILLING__TRIAL_DAYS", "3"), HTTP).await;
        for path in ["/onboarding", "/pricing"] {
            let page = product.get(path).await.text;
            assert!(page.contains("3 days") && !page.contains("14 days"), "{path}: {page}");
        }
        let unknown = product.get("/onboarding?plan=nonsense").await.text;
        assert!(unknown.contains("value=\"starter\" selected"), "{unknown}");
        let mut browser = Browser::new(&product);
        begin(&mut browser, "Acme", "pro").await;
        browser.send(&browser.form("/onboarding/branding")).await;
        shows(&browser, "3 days free");
        browser.go("/onboarding/plan?plan=starter").await;
        shows(&browser, "Connect Make.com");
        assert!(!browser.html.contains("/onboarding/plan/finish"), "that would set up Pro: {}", browser.html);
        shows(&browser, "Switch to Pro");
        let mut browser = Browser::new(&product);
        begin(&mut browser, "Grow", "growth").await;
        browser.send(&browser.form("/onboarding/branding")).await;
        browser.go("/onboarding/plan?plan=pro").await;
        shows(&browser, "Confirm Pro");
        shows(&browser, "/onboarding/plan?plan=growth\">Switch to Growth");
        browser.go("/onboarding/plan?plan=growth").await;
        shows(&browser, "Growth sends what happens");
    }
}

on_both! {
    async fn the_address_is_previewed(database: Database) {
        let product = Product::start(database).await;
        product.sign_up("Acme", "free").await;
        for (query, slug, available) in [
            ("name=Pear%20%26%20Co", json!("pear-co"), true),
            ("name=Acme", json!("acme-2"), true),
            ("name=Acme&slug=acme", json!("acme"), false),
            ("name=Acme&slug=pear", json!("pear"), true),
            ("slug=admin", json!(null), false),
            ("slug=A%20b", json!(null), false),
        ] {
            let preview = product.get(&format!("/onboarding/address?{query}")).await.expect(200);
            assert_eq!((&preview["slug"], &preview["available"]), (&slug, &json!(available)), "{query}: {preview}");
        }
    }
}
