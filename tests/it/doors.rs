//! The kill switch and `SELF_SERVE_ENABLED`: which doors they close, and which never.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, Kind, Product, Settings, healthy, signup_body};

async fn start(product: &Product, name: &str) -> crate::support::Answer {
    product.post("/public/signup/start", &signup_body(name, "starter")).await
}

on_both! {
    async fn the_kill_switch_closes_sign_up_at_the_next_request_and_nothing_else(database: Database) {
        let product = Product::start(database).await;
        let member = product.settle("Member", "free").await;
        let visitor = product.visit("Visitor", "starter").await;
        for _ in 0..3 {
            assert_eq!(product.set_signups(false).await["enabled"], false);
            let refused = start(&product, "Acme").await;
            assert!(refused.headers["retry-after"].to_str().unwrap().parse::<u32>().unwrap() >= 1);
            refused.expect_problem(503, "SIGNUPS_DISABLED");
            assert_eq!(product.set_signups(true).await["enabled"], true);
            start(&product, "Acme").await.body["tenant"]["slug"].as_str().expect("open again");
        }
        product.set_signups(false).await;
        let rows = product.database.rows().await;
        start(&product, "Other").await.expect_problem(503, "SIGNUPS_DISABLED");
        // Nor is a sign-up resumed: step 1 is the door.
        start(&product, "Visitor").await.expect_problem(503, "SIGNUPS_DISABLED");
        assert_eq!(product.database.rows().await, rows);

        product.get("/public/plans").await.expect(200);
        let lead = json!({"email": "g@example.com", "name": "G", "company": "N"});
        product.post("/public/contact-sales", &lead).await.expect(201);
        product.post_as(&visitor.token, "/public/signup/brand", &json!({"primary_color": "#000000"})).await.expect(200);
        product.end(&visitor, "starter").await.expect(202);
        assert_eq!(product.provisioned(&visitor.token, &visitor.tenant).await["status"], "complete");
        let link = json!({"token": product.secret(&member.email, "/magic-link").await});
        let tokens = product.post("/api/v1/auth/magic-link/verify", &link).await.expect(200);
        product.get_as(tokens["access_token"].as_str().unwrap(), "/api/v1/auth/me").await.expect(200);
        let onboard = json!({"email": "grace@example.com", "tenant_name": "Hopper", "plan": "enterprise"});
        product.admin_post("/onboard", &onboard).await.expect(201);
        product.get("/public/storefronts/member").await.expect(200);
        healthy(&product).await;

        let events = product.admin_get("/audit-events").await.expect(200);
        let changes = events["data"].as_array().unwrap().iter().filter(|event| event["action"] == "flag.changed");
        assert_eq!(changes.count(), 7);
    }
}

on_both! {
    async fn a_changed_row_counts_at_the_next_request(database: Database) {
        let product = Product::start(database).await;
        for round in 0..3 {
            product.database.execute("update feature_flags set enabled = false where name = 'signup_enabled'").await;
            start(&product, "Acme").await.expect_problem(503, "SIGNUPS_DISABLED");
            product.database.execute("update feature_flags set enabled = true where name = 'signup_enabled'").await;
            start(&product, &format!("Acme {round}")).await.expect(201);
        }
    }
}

/// Breaks the reading of the flag in each way, and holds sign-up to what `fail_open` says.
async fn unreadable(database: crate::support::Database, fail_open: bool) {
    let is_postgres = database.kind == Kind::Postgres;
    let settings = Settings::default().with("TENANTRY_SIGNUP__FAIL_OPEN", if fail_open { "true" } else { "false" });
    let product = Product::start_with(database, settings).await;
    start(&product, "First").await.expect(201);
    let cascade = if is_postgres { " cascade" } else { "" };
    let broken = [
        "delete from feature_flags where name = 'signup_enabled'".to_owned(),
        "alter table feature_flags rename column enabled to enabled_no_more".to_owned(),
        format!("drop table plan_feature_defaults; drop table feature_flags{cascade}"),
    ];
    for (n, statement) in broken.iter().enumerate() {
        product.database.execute(statement).await;
        let answer = start(&product, &format!("Acme {n}")).await;
        if fail_open {
            answer.expect(201);
        } else {
            answer.expect_problem(503, "SIGNUPS_DISABLED");
        }
    }
}

on_both! { async fn an_unreadable_switch_leaves_the_door_open(database: Database) { unreadable(database, true).await; } }
on_both! { async fn unless_it_is_told_to_close(database: Database) { unreadable(database, false).await; } }

on_both! {
    async fn a_lost_switch_is_made_anew(database: Database) {
        let product = Product::start(database).await;
        product.database.execute("delete from feature_flags where name = 'signup_enabled'").await;
        product.set_signups(false).await;
        start(&product, "Acme").await.expect_problem(503, "SIGNUPS_DISABLED");
    }
}

on_both! {
    async fn without_self_serve_only_operators_make_tenants(database: Database) {
        let product = Product::start_with(database, Settings::default().with("TENANTRY_SIGNUP__SELF_SERVE_ENABLED", "false")).await;
        let refused = start(&product, "Acme").await;
        assert!(refused.headers.contains_key("retry-after"));
        refused.expect_problem(503, "SELF_SERVE_DISABLED");
        // Whatever the kill switch says.
        product.set_signups(false).await;
        start(&product, "Acme").await.expect_problem(503, "SELF_SERVE_DISABLED");
        let onboard = json!({"email": "grace@example.com", "tenant_name": "Hopper", "plan": "pro"});
        let made = product.admin_post("/onboard", &onboard).await.expect(201);
        product.get("/public/plans").await.expect(200);
        assert_eq!(product.database.count("select count(*) as n from tenants").await, 1);
        let link = json!({"token": product.secret("grace@example.com", "/magic-link").await});
        let tokens = product.post("/api/v1/auth/magic-link/verify", &link).await.expect(200);
        let token = tokens["access_token"].as_str().unwrap();
        let status = product.provisioned(token, made["tenant"]["id"].as_str().unwrap()).await;
        assert_eq!(status["status"], "complete", "{status}");
    }
}

on_both! {
    async fn unknown_flags_are_not_found(database: Database) {
        let product = Product::start(database).await;
        let put = async |name: &str, token: Option<&str>, body: Value| {
            product.call(Method::PUT, &format!("/api/v1/admin/feature-flags/{name}"), token, Some(&body), &[]).await
        };
        put("nope", Some(ADMIN_TOKEN), json!({"enabled": true})).await.expect_problem(404, "NOT_FOUND");
        put("signup_enabled", Some(ADMIN_TOKEN), json!({})).await.expect_problem(422, "VALIDATION_FAILED");
        put("signup_enabled", Some("wrong"), json!({"enabled": false})).await.expect_problem(401, "UNAUTHENTICATED");
        put("signup_enabled", None, json!({"enabled": false})).await.expect_problem(401, "UNAUTHENTICATED");
        let flags = product.admin_get("/feature-flags").await.expect(200);
        let switch = flags["data"].as_array().unwrap().iter().find(|flag| flag["name"] == "signup_enabled").unwrap();
        assert_eq!(switch["enabled"], true);
    }
}
