//! The register door, and logging in with what was registered.

use serde_json::{Value, json};
use tenantry::serve::Roles;

use crate::support::{Browser, Product, Settings, fields, healthy, text, with_status};

const REGISTER: &str = "/api/v1/auth/register";
const LOGIN: &str = "/api/v1/auth/login";
const PASSWORD: &str = "correct-horse-battery";

#[expect(clippy::needless_pass_by_value, reason = "its callers read better")]
fn form(name: &str, more: Value) -> Value {
    let email = format!("{}@example.com", name.to_lowercase());
    let mut form = json!({"email": email, "password": PASSWORD, "password_confirm": PASSWORD, "account_name": name});
    form.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    form
}

on_both! {
    async fn without_a_plan_it_is_a_trial_of_pro_and_the_owner_is_logged_in(database: Database) {
        let product = Product::start(database).await;
        let more = json!({"name": "Ada Lovelace", "role_at_signup": "engineering"});
        let made = product.post(REGISTER, &form("Acme", more)).await.expect(201);
        assert_eq!((&made["subscription"]["status"], &made["subscription"]["plan"]), (&json!("trialing"), &json!("pro")));
        assert_eq!((&made["credits"]["balance"], &made["token_type"]), (&json!(50_000), &json!("Bearer")));
        assert_eq!((&made["user"]["name"], &made["user"]["role_at_signup"]), (&json!("Ada Lovelace"), &json!("engineering")));
        assert!(made.get("invoice").is_none() && made.get("payment_method").is_none());
        let access = text(&made["access_token"]);
        let status = product.provisioned(&access, &text(&made["tenant"]["id"])).await;
        assert_eq!(status["status"], "complete", "{status}");
        let me = product.get_as(&access, "/api/v1/auth/me").await.expect(200);
        assert_eq!((&me["tenant"]["id"], &me["memberships"][0]["role"]), (&made["tenant"]["id"], &json!("owner")));
        let refreshed = product.post("/api/v1/auth/refresh", &json!({"refresh_token": made["refresh_token"]})).await;
        refreshed.expect(200);
        assert!(product.mails().await.iter().any(|mail| mail["subject"] == "Confirm your email address for Acme"));
        healthy(&product).await;
    }
}

on_both! {
    async fn a_bank_transfer_waits_for_its_invoice(database: Database) {
        let settings = Settings::default().with("TENANTRY_BILLING__SANDBOX", "false");
        let product = Product::start_with(database, settings).await;
        let address = json!({"line1": "1 Main Street", "city": "London"});
        let more = json!({"plan_slug": "growth", "payment_method": "bank_transfer", "billing_email": "books@example.com", "billing_address": address});
        let made = product.post(REGISTER, &form("Acme", more)).await.expect(201);
        assert_eq!((&made["tenant"]["status"], &made["subscription"]["status"]), (&json!("pending_payment"), &json!("pending_payment")));
        assert_eq!(made["invoice"]["total"], json!({"amount": 7900, "currency": "USD"}));
        assert_eq!((&made["invoice"]["status"], &made["payment_method"]["type"]), (&json!("open"), &json!("bank_transfer")));
        let kept = "select count(*) as n from invoices where billing_email = 'books@example.com' and status = 'open'";
        assert_eq!(product.database.count(kept).await, 1);
        assert_eq!(product.database.count("select count(*) as n from provision_runs where queued_at is null").await, 1);
        // A free plan has nothing to pay.
        let free = product.post(REGISTER, &form("Free", json!({"plan_slug": "free", "payment_method": "bank_transfer"}))).await.expect(201);
        assert_eq!((&free["subscription"]["status"], &free["tenant"]["status"]), (&json!("active"), &json!("pending")));
        product.post(REGISTER, &form("Card", json!({"plan_slug": "pro", "payment_method": "stripe"}))).await.expect_problem(503, "BILLING_NOT_CONFIGURED");
        assert_eq!(product.database.count("select count(*) as n from tenants").await, 2);
        healthy(&product).await;
    }
}

on_both! {
    async fn what_is_wrong_is_told_by_field_and_nothing_is_there(database: Database) {
        let product = Product::start(database).await;
        let body = json!({"email": "ada", "password": "short", "password_confirm": "other", "account_name": " ", "slug": "Ä", "billing_email": "x"});
        let refused = product.post(REGISTER, &body).await.expect_problem(422, "VALIDATION_FAILED");
        let named: Vec<_> = fields(&refused).into_iter().map(|(field, _)| field).collect();
        assert_eq!(named, ["email", "account_name", "slug", "password", "password_confirm", "billing_email"]);
        for (more, status, code) in [
            (json!({"plan_slug": "enterprise"}), 422, "PLAN_NOT_SELF_SERVE"),
            (json!({"plan_slug": "nope"}), 422, "VALIDATION_FAILED"),
            (json!({"payment_method": "cash"}), 422, "VALIDATION_FAILED"),
            (json!({"is_platform_admin": true}), 422, "VALIDATION_FAILED"),
            (json!({"invite_token": "nonsense"}), 404, "NOT_FOUND"),
        ] {
            product.post(REGISTER, &form("Acme", more)).await.expect_problem(status, code);
        }
        assert_eq!(product.database.count("select count(*) as n from users").await, 0);
        product.post(REGISTER, &form("Acme", json!({}))).await.expect(201);
        product.post(REGISTER, &form("Acme", json!({}))).await.expect_problem(409, "EMAIL_TAKEN");
        let mut other = form("Other", json!({"slug": "acme"}));
        let taken = product.post(REGISTER, &other).await.expect_problem(409, "SLUG_TAKEN");
        assert_eq!(taken["suggestions"][0], "acme-2");
        other["slug"] = json!("other");
        product.set_signups(false).await;
        product.post(REGISTER, &other).await.expect_problem(503, "SIGNUPS_DISABLED");
        // Those who are there already get in all the same.
        product.post(LOGIN, &json!({"email": "acme@example.com", "password": PASSWORD})).await.expect(200);
    }
}

on_both! {
    async fn sixteen_who_register_at_once_are_one_tenant(database: Database) {
        let product = Product::start_as(database, Settings::default(), Roles { http: true, worker: false }).await;
        let body = form("Acme", json!({}));
        let answers = futures_util::future::join_all((0..16).map(|_| product.post(REGISTER, &body))).await;
        assert_eq!((with_status(&answers, 201), with_status(&answers, 409)), (1, 15));
        let key = [("idempotency-key", "k")];
        let body = form("Pear", json!({}));
        let answers = futures_util::future::join_all((0..16).map(|_| product.call(reqwest::Method::POST, REGISTER, None, Some(&body), &key))).await;
        for answer in answers.iter().filter(|answer| answer.status == 201) {
            assert_eq!(answer.body["tenant"]["slug"], "pear");
        }
        assert_eq!(product.database.count("select count(*) as n from tenants").await, 2);
        assert_eq!(product.database.count("select count(*) as n from sessions").await, 2);
    }
}

on_both! {
    async fn a_password_logs_in_and_nothing_tells_who_is_known(database: Database) {
        let product = Product::start(database).await;
        let made = product.post(REGISTER, &form("Acme", json!({}))).await.expect(201);
        let tokens = product.post(LOGIN, &json!({"email": "ACME@example.com", "password": PASSWORD})).await.expect(200);
        let me = product.get_as(&text(&tokens["access_token"]), "/api/v1/auth/me").await.expect(200);
        assert_eq!(me["user"]["id"], made["user"]["id"]);
        let mut refusals = Vec::new();
        for (email, password) in [
            ("acme@example.com", "wrong-horse-battery".to_owned()),
            ("nobody@example.com", PASSWORD.to_owned()),
            ("not an address", PASSWORD.to_owned()),
            ("acme@example.com", "x".repeat(100_000)),
        ] {
            let answer = product.post(LOGIN, &json!({"email": email, "password": password})).await;
            assert!(answer.headers.contains_key("www-authenticate"));
            let mut refused = answer.expect_problem(401, "INVALID_CREDENTIALS");
            refused["request_id"].take();
            refusals.push(refused);
        }
        assert!(refusals.windows(2).all(|pair| pair[0] == pair[1]), "{refusals:#?}");
        let elsewhere = json!({"email": "acme@example.com", "password": PASSWORD, "tenant_id": "01890000-0000-7000-8000-000000000000"});
        product.post(LOGIN, &elsewhere).await.expect_problem(404, "NOT_FOUND");
        product.database.execute("update users set disabled_at = created_at").await;
        product.post(LOGIN, &json!({"email": "acme@example.com", "password": PASSWORD})).await.expect_problem(401, "INVALID_CREDENTIALS");
    }
}

on_both! {
    async fn a_hash_of_another_cost_is_replaced_at_the_next_log_in(database: Database) {
        let product = Product::start_with(database, Settings::default().with("TENANTRY_PASSWORD__ITERATIONS", "1")).await;
        product.post(REGISTER, &form("Acme", json!({}))).await.expect(201);
        let database = product.stop().await;
        let product = Product::start_with(database, Settings::default().with("TENANTRY_PASSWORD__ITERATIONS", "2")).await;
        let dear = "select count(*) as n from users where password_hash like '%t=2%'";
        assert_eq!(product.database.count(dear).await, 0);
        let login = json!({"email": "acme@example.com", "password": PASSWORD});
        product.post(LOGIN, &login).await.expect(200);
        assert_eq!(product.database.count(dear).await, 1);
        product.post(LOGIN, &login).await.expect(200);
    }
}

on_both! {
    async fn one_user_goes_from_tenant_to_tenant(database: Database) {
        let product = Product::start(database).await;
        let acme = product.post(REGISTER, &form("Acme", json!({}))).await.expect(201);
        let pear = product.post(REGISTER, &form("Pear", json!({}))).await.expect(201);
        let (ada, pear_id) = (text(&acme["access_token"]), text(&pear["tenant"]["id"]));
        let switch = json!({"tenant_id": pear_id});
        product.post_as(&ada, "/api/v1/auth/switch-tenant", &switch).await.expect_problem(404, "NOT_FOUND");
        product.database.execute(
            "insert into memberships (tenant_id, user_id, role, created_at, updated_at) select t.id, u.id, 'member', t.created_at, t.created_at \
             from tenants t, users u where t.slug = 'pear' and u.email = 'acme@example.com'",
        ).await;
        let tokens = product.post_as(&ada, "/api/v1/auth/switch-tenant", &switch).await.expect(200);
        let me = product.get_as(&text(&tokens["access_token"]), "/api/v1/auth/me").await.expect(200);
        assert_eq!((&me["tenant"]["id"], me["memberships"].as_array().unwrap().len()), (&pear["tenant"]["id"], 2));
        // The tenant used last is the one to come back to.
        product.advance(60).await;
        let again = product.post(LOGIN, &json!({"email": "acme@example.com", "password": PASSWORD})).await.expect(200);
        let me = product.get_as(&text(&again["access_token"]), "/api/v1/auth/me").await.expect(200);
        assert_eq!(me["tenant"]["id"], pear["tenant"]["id"]);
    }
}

on_both! {
    async fn a_forgotten_password_is_set_anew_and_every_session_ends(database: Database) {
        let product = Product::start(database).await;
        let made = product.post(REGISTER, &form("Acme", json!({}))).await.expect(201);
        let forgot = "/api/v1/auth/password/forgot";
        let mut answers = Vec::new();
        for email in ["acme@example.com", "nobody@example.com"] {
            answers.push(product.post(forgot, &json!({"email": email})).await.expect(202));
        }
        assert_eq!(answers[0], answers[1]);
        let token = product.secret("acme@example.com", "/reset-password").await;
        let reset = |password: &str| json!({"token": token, "password": password});
        let path = "/api/v1/auth/password/reset";
        product.post(path, &reset("short")).await.expect_problem(422, "VALIDATION_FAILED");
        let tries = futures_util::future::join_all((0..16).map(|_| async { product.post(path, &reset("another-horse-battery")).await.status.as_u16() })).await;
        assert_eq!(tries.iter().filter(|status| **status == 200).count(), 1, "{tries:?}");
        assert!(tries.iter().all(|status| [200, 401].contains(status)), "{tries:?}");
        product.get_as(&text(&made["access_token"]), "/api/v1/auth/me").await.expect_problem(401, "UNAUTHENTICATED");
        product.post("/api/v1/auth/refresh", &json!({"refresh_token": made["refresh_token"]})).await.expect(401);
        product.post(LOGIN, &json!({"email": "acme@example.com", "password": PASSWORD})).await.expect(401);
        let tokens = product.post(LOGIN, &json!({"email": "acme@example.com", "password": "another-horse-battery"})).await.expect(200);
        let me = product.get_as(&text(&tokens["access_token"]), "/api/v1/auth/me").await.expect(200);
        assert!(me["user"]["email_verified_at"].is_string(), "the link proved the address");
        let told = product.mails().await.into_iter().filter(|mail| mail["subject"] == "Your password was changed").count();
        assert_eq!(told, 1);
        product.post(forgot, &json!({"email": "acme@example.com"})).await.expect(202);
        let stale = product.secret("acme@example.com", "/reset-password").await;
        product.advance(3601).await;
        product.post(path, &json!({"token": stale, "password": "third-horse-battery"})).await.expect_problem(401, "TOKEN_EXPIRED");
    }
}

on_both! {
    async fn signing_in_and_a_new_password_by_forms_alone(database: Database) {
        let product = Product::start(database).await;
        product.post(REGISTER, &form("Acme", json!({"name": "Ada Lovelace"}))).await.expect(201);
        let mut browser = Browser::new(&product);
        browser.go("/signin").await;
        let sign_in = |browser: &Browser<'_>, password: &str| {
            browser.form("/signin").fill("email", "acme@example.com").fill("password", password)
        };
        browser.send(&sign_in(&browser, "wrong-horse-battery")).await;
        assert_eq!((browser.path.as_str(), browser.status.as_u16()), ("/signin", 401), "{}", browser.html);
        assert!(browser.form("/signin").fields.contains(&("email".into(), "acme@example.com".into())));
        browser.send(&sign_in(&browser, PASSWORD)).await;
        assert_eq!((browser.path.as_str(), browser.status.as_u16()), ("/dashboard", 200), "{}", browser.html);

        let mut elsewhere = Browser::new(&product);
        elsewhere.go("/.well-known/change-password").await;
        elsewhere.send(&elsewhere.form("/forgot-password").fill("email", "acme@example.com")).await;
        assert!(elsewhere.html.contains("A link is on its way"), "{}", elsewhere.html);
        let secret = product.secret("acme@example.com", "/reset-password").await;
        elsewhere.go(&format!("/reset-password?token={secret}")).await;
        let reset = elsewhere.form("/reset-password");
        elsewhere.send(&reset.clone().fill("password", "short")).await;
        assert_eq!(elsewhere.status, 422);
        let reset = reset.fill("password", "another-horse-battery");
        elsewhere.send(&reset).await;
        assert!(elsewhere.html.contains("Your new password is set"), "{}", elsewhere.html);
        elsewhere.send(&reset).await;
        assert_eq!(elsewhere.status, 410);
        browser.go("/dashboard").await;
        assert_eq!(browser.path, "/signin", "every session has ended");
        browser.send(&sign_in(&browser, "another-horse-battery")).await;
        assert_eq!(browser.path, "/dashboard");
    }
}
