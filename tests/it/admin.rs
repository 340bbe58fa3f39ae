//! The operator's API: onboarding somebody, finding tenants, reading the audit log, setting runs going again.

use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, Product, Settings, fields, healthy, names};

on_both! {
    async fn somebody_is_onboarded_and_takes_over(database: Database) {
        let product = Product::start(database).await;
        let body = json!({"email": "Grace@Example.com", "tenant_name": "Hopper Ltd", "plan": "enterprise", "slug": "hopper", "name": "Grace Hopper"});
        let made = product.admin_post("/onboard", &body).await.expect(201);
        assert_eq!(names(&made), ["provision", "tenant", "user"]);
        assert_eq!((&made["tenant"]["slug"], &made["user"]["email"]), (&json!("hopper"), &json!("grace@example.com")));
        assert_eq!(names(&made["provision"]), ["run_id", "status"]);
        let mails = product.mails().await;
        let takeover = mails.iter().find(|mail| mail["subject"].as_str().unwrap().contains("Hopper Ltd")).unwrap();
        assert_eq!(takeover["to"], "grace@example.com");

        let link = json!({"token": product.secret("grace@example.com", "/magic-link").await});
        let opened = product.post("/api/v1/auth/magic-link/verify", &link).await.expect(200);
        let token = opened["access_token"].as_str().unwrap();
        let me = product.get_as(token, "/api/v1/auth/me").await.expect(200);
        assert_eq!((&me["memberships"][0]["role"], &me["user"]["name"]), (&json!("owner"), &json!("Grace Hopper")));
        let status = product.provisioned(token, made["tenant"]["id"].as_str().unwrap()).await;
        assert_eq!(status["status"], "complete", "{status}");
        healthy(&product).await;

        let events = product.admin_get(&format!("/audit-events?tenant_id={}", made["tenant"]["id"].as_str().unwrap())).await.expect(200);
        let created = events["data"].as_array().unwrap().iter().find(|event| event["action"] == "tenant.created").unwrap();
        assert_eq!((&created["actor_type"], &created["detail"]["door"]), (&json!("platform_admin"), &json!("admin")));
        product.admin_post("/onboard", &body).await.expect_problem(409, "EMAIL_TAKEN");
        let other = json!({"email": "other@example.com", "tenant_name": "Other", "plan": "free", "slug": "hopper"});
        let refused = product.admin_post("/onboard", &other).await.expect_problem(409, "SLUG_TAKEN");
        assert_eq!(refused["suggestions"], json!(["hopper-2", "hopper-3", "hopper-4"]));
    }
}

on_both! {
    async fn onboarding_checks_its_fields(database: Database) {
        let product = Product::start(database).await;
        for (body, refused) in [
            (json!({"tenant_name": "A", "plan": "pro"}), vec![("email", "REQUIRED")]),
            (json!({"email": "a@example.com", "tenant_name": "A"}), vec![("plan", "REQUIRED")]),
            (json!({"email": "a@example.com", "tenant_name": "A", "plan": "platinum"}), vec![("plan", "UNKNOWN_PLAN")]),
            (json!({"email": "a", "tenant_name": "", "plan": "pro", "slug": "www"}), vec![("email", "EMAIL_INVALID"), ("tenant_name", "REQUIRED"), ("slug", "SLUG_RESERVED")]),
            (json!({"email": "a@example.com", "tenant_name": "A", "plan": "pro", "password": "x"}), vec![("password", "UNKNOWN_FIELD")]),
        ] {
            let problem = product.admin_post("/onboard", &body).await.expect_problem(422, "VALIDATION_FAILED");
            assert_eq!(fields(&problem), refused);
        }
        for (table, rows) in product.database.rows().await {
            assert_eq!(rows, 0, "{table}");
        }
        for token in ["", "wrong", &ADMIN_TOKEN[1..]] {
            let body = json!({"email": "a@example.com", "tenant_name": "A", "plan": "pro"});
            let refused = product.post_as(token, "/api/v1/admin/onboard", &body).await;
            assert!(refused.headers.contains_key("www-authenticate"));
            refused.expect_problem(401, "UNAUTHENTICATED");
        }
    }
}

on_both! {
    async fn without_a_token_configured_nobody_is_let_in(database: Database) {
        let product = Product::start_with(database, Settings::default().with("TENANTRY_ADMIN_TOKEN", "")).await;
        for token in ["", ADMIN_TOKEN, "undefined"] {
            product.get_as(token, "/api/v1/admin/tenants").await.expect_problem(401, "UNAUTHENTICATED");
        }
    }
}

on_both! {
    async fn tenants_are_listed_page_by_page_and_searched(database: Database) {
        let product = Product::start(database).await;
        for n in 1..=5 {
            product.visit(&format!("Acme {n}"), "free").await;
        }
        product.visit("100% Other_s", "pro").await;
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = product.admin_get(&format!("/tenants?limit=2{cursor}")).await.expect(200);
            assert_eq!(names(&page), ["data", "next_cursor"]);
            seen.extend(page["data"].as_array().unwrap().iter().map(|tenant| tenant["slug"].as_str().unwrap().to_owned()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen, ["100-other-s", "acme-5", "acme-4", "acme-3", "acme-2", "acme-1"]);
        for (search, found) in [
            ("acme", 5), ("ACME%201", 1), ("acme-2", 1), ("acme.3%40example.com", 1), ("nobody", 0), ("%25", 0), ("_cme", 0), ("100%25", 1), ("'", 0), ("%5C", 0),
        ] {
            let page = product.admin_get(&format!("/tenants?search={search}")).await.expect(200);
            assert_eq!(page["data"].as_array().unwrap().len(), found, "{search}");
            assert_eq!(page["next_cursor"], Value::Null);
        }
        let tenant = &product.admin_get("/tenants?search=100").await.expect(200)["data"][0];
        assert_eq!((&tenant["plan"], &tenant["subscription_status"], &tenant["door"]), (&json!("pro"), &json!("trialing"), &json!("wizard")));
        let one = product.admin_get(&format!("/tenants/{}", tenant["id"].as_str().unwrap())).await.expect(200);
        assert_eq!(one["slug"], tenant["slug"]);
        assert_eq!(one["provision"]["status"], "pending");
        for id in ["nonsense", "018f0000-0000-7000-8000-000000000000"] {
            product.admin_get(&format!("/tenants/{id}")).await.expect_problem(404, "NOT_FOUND");
        }
    }
}

on_both! {
    async fn a_failed_run_is_set_going_again(database: Database) {
        let hook = wiremock::MockServer::start().await;
        let product = Product::start_with(database, Settings::calling()).await;
        let visitor = product.visit("Acme", "starter").await;
        let make = json!({"webhook_url": format!("{}/x", hook.uri())});
        product.post_as(&visitor.token, "/public/signup/starter/make", &make).await.expect(202);
        let failed = product.provisioned(&visitor.token, &visitor.tenant).await;
        assert_eq!(failed["status"], "failed", "{failed}");
        let tenant = product.admin_get(&format!("/tenants/{}", visitor.tenant)).await.expect(200);
        assert_eq!((&tenant["provision_state"], &tenant["status"]), (&json!("failed"), &json!("pending")));
        assert!(tenant["provision_reason"].is_string());

        let any = wiremock::Mock::given(wiremock::matchers::any());
        any.respond_with(wiremock::ResponseTemplate::new(200)).mount(&hook).await;
        let retry = format!("/tenants/{}/provision-retry", visitor.tenant);
        let again = product.admin_post(&retry, &json!({})).await.expect(202);
        assert_eq!(names(&again), ["run_id", "status"]);
        assert_eq!(again["run_id"], failed["run_id"]);
        let status = product.provisioned(&visitor.token, &visitor.tenant).await;
        assert_eq!(status["status"], "complete", "{status}");
        product.admin_post(&retry, &json!({})).await.expect_problem(409, "PROVISION_NOT_FAILED");
        let nobody = "/tenants/018f0000-0000-7000-8000-000000000000/provision-retry";
        product.admin_post(nobody, &json!({})).await.expect_problem(404, "NOT_FOUND");
        product.post_as("wrong", &format!("/api/v1/admin{retry}"), &json!({})).await.expect_problem(401, "UNAUTHENTICATED");
    }
}

on_both! {
    async fn the_owner_sets_a_failed_run_going_again_too(database: Database) {
        let settings = Settings::default()
            .with("TENANTRY_PROVISION__DRY_RUN", "false")
            .with("TENANTRY_PROVISION__ALLOW_PRIVATE_ADDRESSES", "true")
            .with("TENANTRY_PROVISION__MAX_ATTEMPTS", "1");
        let product = Product::start_with(database, settings).await;
        let visitor = product.visit("Acme", "starter").await;
        // Nothing listens there.
        let make = json!({"webhook_url": "http://127.0.0.1:1/x"});
        product.post_as(&visitor.token, "/public/signup/starter/make", &make).await.expect(202);
        assert_eq!(product.provisioned(&visitor.token, &visitor.tenant).await["status"], "failed");
        let retry = format!("/api/v1/tenants/{}/provision-retry", visitor.tenant);
        product.post_as(&visitor.token, &retry, &json!({})).await.expect(202);
        assert_eq!(product.provisioned(&visitor.token, &visitor.tenant).await["status"], "failed");
        assert_eq!(product.database.count("select count(*) as n from provision_runs").await, 1);
    }
}
