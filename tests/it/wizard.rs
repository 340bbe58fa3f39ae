//! The wizard from start to a provisioned tenant.

use serde_json::{Value, json};

use crate::support::{Product, Settings, healthy, signup_body};

on_both! {
    async fn starter_is_completely_there(database: Database) {
        let product = Product::start(database).await;
        let started = product.sign_up("Acme", "starter").await;
        assert_eq!(started["next"], "brand");
        assert_eq!(started["tenant"]["slug"], "acme");
        assert_eq!(started["tenant"]["status"], "pending");
        let (token, tenant) = (started["token"].as_str().unwrap(), started["tenant"]["id"].as_str().unwrap());

        let branded = product.post_as(token, "/public/signup/brand", &json!({"primary_color": "#1D4ED8"})).await.expect(200);
        assert_eq!(branded["success"], true);
        assert_eq!(branded["next"], "make");
        assert_eq!(branded["tenant"]["branding"]["primary_color"], "#1d4ed8");

        let make = json!({"webhook_url": "https://hook.eu1.make.com/x"});
        let ended = product.post_as(token, "/public/signup/starter/make", &make).await.expect(202);
        let run = ended["provision"]["run_id"].as_str().unwrap().to_owned();

        let status = product.provisioned(token, tenant).await;
        assert_eq!(status["status"], "complete", "{status}");
        assert_eq!(status["run_id"], Value::from(run.clone()));
        assert_eq!(status["dry_run"], true);
        let names: Vec<_> = status["steps"].as_array().unwrap().iter().map(|step| step["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["seed_defaults", "configure_routing", "validate_webhook", "send_magic_link"]);

        let again = product.post_as(token, "/public/signup/starter/make", &make).await.expect(202);
        assert_eq!(again["provision"]["run_id"], Value::from(run));
        let stand = product.get_as(token, "/public/signup").await.expect(200);
        assert_eq!(stand["next"], "done");
        assert_eq!(stand["tenant"]["status"], "active");
        product.post_as(token, "/public/signup/brand", &json!({"primary_color": "#000000"})).await.expect_problem(401, "TOKEN_INVALID");

        let front = product.get("/public/storefronts/acme").await.expect(200);
        assert_eq!(front["segments"][0]["packages"].as_array().unwrap().len(), 3);
        assert_eq!(front["posts"].as_array().unwrap().len(), 1);
        assert_eq!(front["fixtures"].as_array().unwrap().len(), 1);
    }
}

on_both! {
    async fn one_address_and_one_slug_go_to_one(database: Database) {
        let product = Product::start(database).await;
        product.sign_up("Acme", "starter").await;
        let mut other = signup_body("Acme", "starter");
        other["password"] = json!("another-password-entirely");
        product.post("/public/signup/start", &other).await.expect_problem(409, "EMAIL_TAKEN");
        other["email"] = json!("somebody.else@example.com");
        let second = product.post("/public/signup/start", &other).await.expect(201);
        assert_eq!(second["tenant"]["slug"], "acme-2");
        other["email"] = json!("third@example.com");
        other["slug"] = json!("acme");
        let taken = product.post("/public/signup/start", &other).await.expect_problem(409, "SLUG_TAKEN");
        assert_eq!(taken["suggestions"], json!(["acme-3", "acme-4", "acme-5"]));
    }
}

on_both! {
    async fn a_mailbox_that_had_its_trial_gets_no_other_by_another_plan_or_spelling(database: Database) {
        let settings = Settings::default().with("TENANTRY_RATE_LIMIT__ENABLED", "true");
        let product = Product::start_with(database, settings).await;
        product.visit("Ada", "pro").await;
        let mut body = signup_body("Again", "free");
        body["email"] = json!("ada+again@example.com");
        let again: crate::support::Visitor = product.post("/public/signup/start", &body).await.expect(201).into();
        let balance = "select c.balance as n from credit_balances c join tenants t on t.id = c.tenant_id where t.slug = 'again'";
        assert_eq!(product.database.count(balance).await, 1_000);
        product.end(&again, "pro").await.expect(202);
        assert_eq!(product.provisioned(&again.token, &again.tenant).await["status"], "complete");
        let login = json!({"email": "ada+again@example.com", "password": "correct-horse-battery"});
        let token = product.post("/api/v1/auth/login", &login).await.expect(200)["access_token"].as_str().unwrap().to_owned();
        let state = product.get_as(&token, "/api/v1/billing/state").await.expect(200);
        assert_eq!((&state["subscription"]["plan"], &state["subscription"]["locked_reason"]), (&json!("pro"), &json!("trial_ended")));
        assert_eq!((&state["effective_plan"], &state["credits"]["balance"]), (&json!("free"), &json!(0)));
        product.get_as(&token, "/api/v1/automations").await.expect_problem(402, "SUBSCRIPTION_REQUIRED");
        // Nor does a month bring what the trial would have had.
        product.app.clock.advance(chrono::TimeDelta::days(32));
        tenantry::billing::jobs::round(&product.app).await.expect("a round");
        assert_eq!(product.database.count(balance).await, 0);

        // Who has had none begins it by confirming; only once, whatever is begun beside it.
        let bea = product.visit("Bea", "free").await;
        product.end(&bea, "pro").await.expect(202);
        let of_bea = "select count(*) as n from subscriptions s join tenants t on t.id = s.tenant_id join credit_balances c on c.tenant_id = t.id \
                      where t.slug = 'bea' and s.status = 'trialing' and s.trial_ends_at > s.current_period_start and c.balance = 50000";
        assert_eq!(product.database.count(of_bea).await, 1);
        body = signup_body("Bea Again", "pro");
        body["email"] = json!("bea+2@example.com");
        product.post("/public/signup/start", &body).await.expect(201);
        let over = "select count(*) as n from subscriptions s join tenants t on t.id = s.tenant_id join credit_balances c on c.tenant_id = t.id \
                    where t.slug = 'bea-again' and s.trial_ends_at = s.current_period_start and c.balance = 0";
        assert_eq!(product.database.count(over).await, 1);
        healthy(&product).await;
    }
}
