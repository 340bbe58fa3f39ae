//! Plans as data: what the operator changes by the API, and what tenants and visitors see of it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, Answer, Browser, Product, cli, fields, names, signup_body};

impl Product {
    async fn admin(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.call(method, &format!("/api/v1/admin{path}"), Some(ADMIN_TOKEN), Some(body), &[]).await
    }

    async fn plan(&self, slug: &str) -> Value {
        let plans = self.admin_get("/plans").await.expect(200);
        let found = plans["data"].as_array().unwrap().iter().find(|plan| plan["slug"] == slug);
        found.unwrap_or_else(|| panic!("no plan {slug}")).clone()
    }

    /// The newest audit event of that kind.
    async fn noted(&self, action: &str) -> Value {
        let events = self.admin_get("/audit-events").await.expect(200);
        let found = events["data"].as_array().unwrap().iter().find(|event| event["action"] == action);
        found.unwrap_or_else(|| panic!("no {action}")).clone()
    }
}

on_both! {
    async fn a_plan_is_changed_field_by_field_and_that_is_noted(database: Database) {
        let product = Product::start(database).await;
        let before = product.plan("growth").await;
        assert_eq!(before["price_yearly"], json!({"amount": 79_000, "currency": "USD"}));
        assert_eq!(before["stripe_price_monthly"], Value::Null);
        let change = json!({
            "name": "Growth+", "price": {"amount": 8_900, "currency": "EUR"}, "price_yearly": 89_000, "included_credits": 25_000, "trial_days": 30,
            "limits": {"max_users": 0, "max_bots": 3}, "features": {"automations": true}, "position": 9, "stripe_price_monthly": "price_m",
            "stripe_price_yearly": "price_y", "blueprint": {"steps": ["seed_defaults", "deploy_automations"], "automations": [{"name": "A", "event_type": "b.c"}]},
        });
        let changed = product.admin(Method::PATCH, "/plans/growth", &change).await.expect(200);
        assert_eq!(changed, product.plan("growth").await);
        assert_eq!(changed["price_yearly"], json!({"amount": 89_000, "currency": "EUR"}));
        assert_eq!(changed["limits"], json!({"max_users": 0, "max_bots": 3, "max_sites": 10, "max_sectors_per_site": 10}));
        assert_eq!(changed["features"], json!({"automations": true, "apps_script": false}));
        assert_eq!((&changed["description"], &changed["interval"]), (&before["description"], &json!("month")));
        assert_eq!(changed["blueprint"], change["blueprint"]);

        let event = product.noted("plan.changed").await;
        assert_eq!((&event["actor_type"], &event["detail"]["plan"]), (&json!("platform_admin"), &json!("growth")));
        assert_eq!((&event["detail"]["before"]["price"], &event["detail"]["after"]["price"]), (&json!(7_900), &json!(8_900)));
        assert_eq!((&event["detail"]["before"]["limits.max_bots"], &event["detail"]["after"]["limits.max_bots"]), (&Value::Null, &json!(3)));
        assert!(!event["detail"]["before"].as_object().unwrap().contains_key("description"));

        // What was read can be sent back, and changes nothing.
        product.admin(Method::PATCH, "/plans/growth", &changed).await.expect(200);
        assert_eq!(product.database.count("select count(*) as n from audit_events where action = 'plan.changed'").await, 1);
        let cleared = json!({"price_yearly": null, "stripe_price_yearly": null, "limits": {"max_bots": null}});
        let cleared = product.admin(Method::PATCH, "/plans/growth", &cleared).await.expect(200);
        assert_eq!((&cleared["price_yearly"], &cleared["stripe_price_yearly"], &cleared["limits"]["max_bots"]), (&Value::Null, &Value::Null, &Value::Null));

        let public = product.get("/public/plans").await.expect(200);
        let last = public["data"].as_array().unwrap().last().unwrap().clone();
        assert_eq!((&last["slug"], &last["price"]), (&json!("growth"), &json!({"amount": 8_900, "currency": "EUR"})));
        assert!(!names(&last).contains(&"stripe_price_monthly") && !names(&last).contains(&"blueprint"));
    }
}

on_both! {
    async fn each_refused_field_of_a_plan_is_named(database: Database) {
        let product = Product::start(database).await;
        product.admin(Method::PATCH, "/plans/pro", &json!({"stripe_price_monthly": "price_pro"})).await.expect(200);
        let before = product.plan("growth").await;
        for (change, refused) in [
            (json!({"price": {"amount": -1, "currency": "usd"}}), vec![("price.amount", "OUT_OF_RANGE"), ("price.currency", "UNKNOWN_CURRENCY")]),
            (json!({"price": 8_900}), vec![("price", "INVALID_TYPE")]),
            (json!({"price": {"amount": "x", "currency": "USD"}}), vec![("price.amount", "INVALID_TYPE")]),
            (json!({"price_yearly": {"amount": 1, "currency": "EUR"}}), vec![("price_yearly.currency", "OTHER_CURRENCY")]),
            (json!({"interval": "week", "trial_days": -1}), vec![("trial_days", "OUT_OF_RANGE"), ("interval", "UNKNOWN_INTERVAL")]),
            (json!({"limits": {"max_users": -1}}), vec![("limits.max_users", "OUT_OF_RANGE")]),
            (json!({"features": {"teleport": true}}), vec![("features.teleport", "UNKNOWN_FLAG")]),
            (json!({"stripe_price_yearly": "price_pro"}), vec![("stripe_price_yearly", "TAKEN")]),
            (json!({"name": "", "blueprint": {"steps": ["make_coffee"]}}), vec![("name", "REQUIRED"), ("blueprint", "INVALID_BLUEPRINT")]),
            (json!({"blueprint": {"steps": []}}), vec![("blueprint", "INVALID_BLUEPRINT")]),
            (json!({"slug": "other"}), vec![("slug", "FIXED")]),
            (json!({"colour": "red"}), vec![("colour", "UNKNOWN_FIELD")]),
        ] {
            let problem = product.admin(Method::PATCH, "/plans/growth", &change).await.expect_problem(422, "VALIDATION_FAILED");
            assert_eq!(fields(&problem), refused);
        }
        assert_eq!(product.plan("growth").await, before);
        product.admin(Method::PATCH, "/plans/platinum", &json!({})).await.expect_problem(404, "NOT_FOUND");
        for (method, path) in [
            (Method::GET, "/plans"), (Method::POST, "/plans"), (Method::PATCH, "/plans/pro"), (Method::DELETE, "/plans/pro"), (Method::GET, "/plan-limits"),
            (Method::PUT, "/plan-limits/pro/max_users"), (Method::POST, "/feature-flags"),
        ] {
            let refused = product.call(method, &format!("/api/v1/admin{path}"), Some("wrong"), Some(&json!({})), &[]).await;
            refused.expect_problem(401, "UNAUTHENTICATED");
        }
    }
}

on_both! {
    async fn a_new_plan_can_be_signed_up_for_and_goes_while_nobody_is_on_it(database: Database) {
        let product = Product::start(database).await;
        let team = json!({"slug": "team", "name": "Team", "description": "For one team", "price": {"amount": 1_900, "currency": "USD"}, "limits": {"max_users": 5}});
        let key = [("Idempotency-Key", "team-1")];
        let create = || product.call(Method::POST, "/api/v1/admin/plans", Some(ADMIN_TOKEN), Some(&team), &key);
        let made = create().await.expect(201);
        assert_eq!((&made["is_public"], &made["position"], &made["interval"]), (&json!(false), &json!(7), &json!("month")));
        assert_eq!(create().await.headers["idempotent-replayed"], "true");
        product.admin_post("/plans", &team).await.expect_problem(409, "PLAN_EXISTS");
        let refused = product.admin_post("/plans", &json!({"slug": "Team 2"})).await.expect_problem(422, "VALIDATION_FAILED");
        assert_eq!(fields(&refused), [("price", "REQUIRED"), ("slug", "INVALID_SLUG"), ("name", "REQUIRED"), ("description", "REQUIRED")]);
        assert_eq!(product.noted("plan.created").await["detail"]["after"]["price"], 1_900);

        product.post("/public/signup/start", &signup_body("Early", "team")).await.expect(422);
        product.admin(Method::PATCH, "/plans/team", &json!({"is_public": true})).await.expect(200);
        product.settle("Acme", "team").await;
        product.admin(Method::DELETE, "/plans/team", &json!({})).await.expect_problem(409, "PLAN_IN_USE");
        product.admin(Method::DELETE, "/plans/free", &json!({})).await.expect_problem(409, "PLAN_IN_USE");
        product.admin(Method::DELETE, "/plans/scale", &json!({})).await.expect(204);
        product.admin(Method::DELETE, "/plans/scale", &json!({})).await.expect_problem(404, "NOT_FOUND");
        assert_eq!(product.noted("plan.deleted").await["detail"]["plan"], "scale");
        let plans = product.admin_get("/plans").await.expect(200);
        let slugs: Vec<_> = plans["data"].as_array().unwrap().iter().map(|plan| plan["slug"].as_str().unwrap()).collect();
        assert_eq!(slugs, ["free", "starter", "growth", "pro", "enterprise", "team"]);
    }
}

on_both! {
    async fn limits_are_rows_that_are_set_one_by_one(database: Database) {
        let product = Product::start(database).await;
        let rows = product.admin_get("/plan-limits").await.expect(200);
        assert_eq!(rows["data"].as_array().unwrap().len(), 18);
        assert_eq!(rows["data"][0], json!({"plan": "free", "name": "max_sectors_per_site", "value": 1}));
        for (path, value) in [("growth/max_users", 12), ("growth/max_bots", 0)] {
            let set = product.admin(Method::PUT, &format!("/plan-limits/{path}"), &json!({"value": value})).await.expect(200);
            assert_eq!(set["value"], value);
        }
        assert_eq!(product.plan("growth").await["limits"], json!({"max_users": 12, "max_bots": 0, "max_sites": 10, "max_sectors_per_site": 10}));
        assert_eq!(product.noted("plan.changed").await["detail"]["after"], json!({"limits.max_bots": 0}));
        let refused = product.admin(Method::PUT, "/plan-limits/growth/max_users", &json!({"value": -1})).await.expect_problem(422, "VALIDATION_FAILED");
        assert_eq!(fields(&refused), [("value", "OUT_OF_RANGE")]);
        let refused = product.admin(Method::PUT, "/plan-limits/growth/Max%20users", &json!({"value": 1})).await.expect_problem(422, "VALIDATION_FAILED");
        assert_eq!(fields(&refused), [("name", "INVALID_NAME")]);
        product.admin(Method::PUT, "/plan-limits/platinum/max_users", &json!({"value": 1})).await.expect_problem(404, "NOT_FOUND");
    }
}

on_both! {
    async fn a_flag_is_made_once_and_switched_for_one_tenant(database: Database) {
        let product = Product::start(database).await;
        let exports = json!({"name": "exports", "description": "Exports as files"});
        let made = product.admin_post("/feature-flags", &exports).await.expect(201);
        assert_eq!(made, json!({"name": "exports", "description": "Exports as files", "enabled": false}));
        product.admin_post("/feature-flags", &exports).await.expect_problem(409, "FLAG_EXISTS");
        let refused = product.admin_post("/feature-flags", &json!({"name": "Ex ports", "description": " "})).await.expect_problem(422, "VALIDATION_FAILED");
        assert_eq!(fields(&refused), [("name", "INVALID_NAME"), ("description", "REQUIRED")]);

        let tenant = product.visit("Acme", "free").await.tenant;
        let overrides = format!("/tenants/{tenant}/feature-overrides");
        assert_eq!(product.admin_get(&overrides).await.expect(200), json!({"data": []}));
        let until = "2999-01-01T00:00:00Z";
        let far = product.admin(Method::PUT, &format!("{overrides}/exports"), &json!({"enabled": true, "expires_at": until})).await.expect_problem(422, "VALIDATION_FAILED");
        assert_eq!(fields(&far), [("expires_at", "OUT_OF_RANGE")]);
        let until = product.app.clock.now().at + chrono::TimeDelta::days(7);
        let body = json!({"enabled": true, "expires_at": until, "reason": "A promise of sales"});
        let set = product.admin(Method::PUT, &format!("{overrides}/exports"), &body).await.expect(200);
        assert_eq!((&set["enabled"], &set["expires_at"], &set["reason"]), (&json!(true), &json!(until), &json!("A promise of sales")));
        let again = product.admin(Method::PUT, &format!("{overrides}/exports"), &json!({"enabled": false})).await.expect(200);
        assert_eq!((&again["enabled"], &again["expires_at"]), (&json!(false), &Value::Null));
        assert_eq!(product.admin_get(&overrides).await.expect(200), json!({"data": [again]}));
        let event = product.noted("feature_override.set").await;
        assert_eq!((&event["tenant_id"], &event["detail"]["before"]["enabled"]), (&json!(tenant), &json!(true)));

        for expected in [204, 204] {
            product.admin(Method::DELETE, &format!("{overrides}/exports"), &json!({})).await.expect(expected);
        }
        assert_eq!(product.database.count("select count(*) as n from audit_events where action = 'feature_override.removed'").await, 1);
        assert_eq!(product.admin_get(&overrides).await.expect(200), json!({"data": []}));
        let nobody = "/tenants/018f0000-0000-7000-8000-000000000000/feature-overrides";
        product.admin_get(nobody).await.expect_problem(404, "NOT_FOUND");
        product.admin(Method::PUT, &format!("{nobody}/exports"), &json!({"enabled": true})).await.expect_problem(404, "NOT_FOUND");
        for method in [Method::PUT, Method::DELETE] {
            product.admin(method, &format!("{overrides}/teleport"), &json!({"enabled": true})).await.expect_problem(404, "NOT_FOUND");
        }
        let switch = product.admin(Method::PUT, &format!("{overrides}/signup_enabled"), &json!({"enabled": false})).await.expect_problem(422, "VALIDATION_FAILED");
        assert_eq!(fields(&switch), [("flag", "NOT_A_FEATURE")]);
    }
}

on_both! {
    async fn prices_lead_strangers_to_sign_up_and_members_to_the_checkout(database: Database) {
        let product = Product::start(database).await;
        let mut stranger = Browser::new(&product);
        stranger.go("/pricing").await;
        for shown in ["or 1,490 USD a year", "href=\"/onboarding?plan=pro\"", "<td class=\"end\">1,490 USD a year</td>", "href=\"/contact-sales\"", "href=\"/signin\""] {
            assert!(stranger.html.contains(shown), "{shown}: {}", stranger.html);
        }
        assert!(!stranger.html.contains("/billing/checkout"));

        product.settle("Acme", "free").await;
        let mut owner = Browser::new(&product);
        owner.go("/signin").await;
        owner.send(&owner.form("/signin").fill("email", "acme@example.com").fill("password", "correct-horse-battery")).await;
        owner.go("/pricing").await;
        let form = owner.form("/billing/checkout");
        assert!(form.fields.contains(&("plan".into(), "starter".into())), "{form:?}");
        for shown in ["name=\"interval\" value=\"month\" data-busy=\"Opening the payment page\">Choose Pro</button>", "name=\"interval\" value=\"year\" data-busy=\"Opening the payment page\">Pro by the year</button>", "Your plan", "href=\"/contact-sales\"", "href=\"/dashboard\""] {
            assert!(owner.html.contains(shown), "{shown}: {}", owner.html);
        }
        assert!(!owner.html.contains("/onboarding?plan="));
        product.database.execute("update memberships set role = 'admin'; delete from memberships where role = 'owner'; update memberships set role = 'viewer'").await;
        owner.go("/pricing").await;
        assert!(!owner.html.contains("/billing/checkout") && owner.html.contains("Your plan"), "{}", owner.html);
    }
}

on_both! {
    async fn a_promise_that_does_not_hold_is_told_by_doctor(database: Database) {
        let product = Product::start(database).await;
        let report = cli(&product.database, &["doctor", "--json"]).json(0);
        assert_eq!((&report["healthy"], &report["broken_promises"]), (&json!(true), &json!([])));
        product.database.execute("delete from plan_limits where name = 'max_sites' and plan_id = (select id from plans where slug = 'pro')").await;
        product.admin(Method::PATCH, "/plans/scale", &json!({"features": {"automations": false}})).await.expect(200);
        let told = cli(&product.database, &["doctor"]).expect(0);
        for warning in ["warning: plan pro is public and has no limit max_sites", "warning: plan scale has the step deploy_automations, but nothing grants it automations"] {
            assert!(told.contains(warning), "{told}");
        }
    }
}
