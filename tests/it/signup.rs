//! Step 1 of the wizard and what follows from it: everything of a tenant is there at once, and goes on as its plan has it.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::FromQueryResult;
use serde_json::{Value, json};

use crate::support::{MAKE_URL, Product, Settings, Visitor, fields, healthy, names, signup_body};

#[derive(FromQueryResult)]
struct Subscribed {
    plan: String,
    status: String,
    trial_ends_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

const SUBSCRIPTION: &str = "select p.slug as plan, s.status, s.trial_ends_at, s.created_at from subscriptions s join plans p on p.id = s.plan_id";

#[derive(Debug, PartialEq, FromQueryResult)]
struct Credits {
    balance: i64,
    ledger: i64,
    included: i64,
}

const CREDITS: &str = "select b.balance, (select cast(sum(amount) as bigint) from credit_transactions) as ledger, p.included_credits as included \
     from credit_balances b join subscriptions s on s.tenant_id = b.tenant_id join plans p on p.id = s.plan_id";

async fn holds_plan(product: &Product, plan: &str, status: &str, credits: i64) {
    let subscribed: Subscribed = product.database.one(SUBSCRIPTION).await;
    assert_eq!((subscribed.plan.as_str(), subscribed.status.as_str()), (plan, status));
    let trial = subscribed.trial_ends_at.map(|end| end - subscribed.created_at);
    match status {
        "trialing" => {
            let trial = trial.expect("a trial");
            assert!((trial - TimeDelta::days(14)).abs() < TimeDelta::minutes(1), "{trial}");
        }
        _ => assert_eq!(trial, None),
    }
    let counted: Credits = product.database.one(CREDITS).await;
    assert_eq!(counted, Credits { balance: credits, ledger: credits, included: credits });
    healthy(product).await;
}

async fn begins(
    database: crate::support::Database,
    given: Option<&str>,
    plan: &str,
    status: &str,
    credits: i64,
    steps: i64,
) {
    let product = Product::start(database).await;
    let mut body = signup_body("Acme", plan);
    match given {
        Some(given) => body["plan"] = json!(given),
        None => drop(body.as_object_mut().unwrap().remove("plan")),
    }
    product.post("/public/signup/start", &body).await.expect(201);
    let expected = [
        ("users", 1),
        ("tenants", 1),
        ("memberships", 1),
        ("subscriptions", 1),
        ("credit_balances", 1),
        ("credit_transactions", 1),
        ("segments", 1),
        ("packages", 3),
        ("provision_runs", 1),
        ("provision_steps", steps),
        ("one_time_tokens", 1),
        ("outbox", 1),
        ("audit_events", 1),
        ("idempotency_keys", 0),
    ];
    assert_eq!(product.database.rows().await, expected);
    holds_plan(&product, plan, status, credits).await;
    for (what, query) in [
        (
            "one owner",
            "select count(*) as n from memberships m join users u on u.id = m.user_id join tenants t on t.id = m.tenant_id where m.role = 'owner'",
        ),
        (
            "a pending tenant of the wizard",
            "select count(*) as n from tenants where status = 'pending' and provision_state = 'pending' and door = 'wizard'",
        ),
        (
            "a run that waits to be queued",
            "select count(*) as n from provision_runs where status = 'pending' and queued_at is null and due_at is null",
        ),
        (
            "an address to prove",
            "select count(*) as n from users where email_verified_at is null and password_hash like '$argon2id$%'",
        ),
        (
            "a token to prove it with",
            "select count(*) as n from one_time_tokens where purpose = 'verify_email' and used_at is null",
        ),
        (
            "one grant",
            "select count(*) as n from credit_transactions where transaction_type = 'grant' and amount = balance_after",
        ),
    ] {
        assert_eq!(product.database.count(query).await, 1, "{what}");
    }
    for table in ["sessions", "payment_methods", "invoices", "invoice_lines", "webhook_endpoints", "posts", "fixtures"]
    {
        assert_eq!(product.database.count(&format!("select count(*) as n from {table}")).await, 0, "{table}");
    }
}

on_both! { async fn without_a_plan_it_is_a_starter_trial(database: Database) { begins(database, None, "starter", "trialing", 5_000, 4).await; } }
on_both! { async fn free_is_active_at_once(database: Database) { begins(database, Some("free"), "free", "active", 1_000, 3).await; } }
on_both! { async fn starter_is_a_trial(database: Database) { begins(database, Some("starter"), "starter", "trialing", 5_000, 4).await; } }
on_both! { async fn growth_is_a_trial(database: Database) { begins(database, Some("growth"), "growth", "trialing", 20_000, 4).await; } }
on_both! { async fn pro_is_a_trial(database: Database) { begins(database, Some("pro"), "pro", "trialing", 50_000, 5).await; } }
on_both! { async fn scale_is_a_trial(database: Database) { begins(database, Some("scale"), "scale", "trialing", 200_000, 5).await; } }

on_both! {
    async fn the_answer_has_the_contracts_members(database: Database) {
        let product = Product::start(database).await;
        let mut body = signup_body("Acme", "starter");
        body["email"] = json!("  Ada.Lovelace@Example.COM ");
        body["name"] = json!("Ada Lovelace");
        let answer = product.post("/public/signup/start", &body).await;
        let request_id = answer.headers["x-request-id"].to_str().unwrap().to_owned();
        let started = answer.expect(201);
        assert_eq!(names(&started), ["expires_at", "next", "tenant", "token", "user"]);
        assert_eq!(names(&started["tenant"]), ["branding", "id", "name", "provision_state", "slug", "status"]);
        assert_eq!(started["tenant"]["name"], "Acme");
        assert_eq!(started["tenant"]["provision_state"], "pending");
        assert_eq!(started["user"], json!({"id": started["user"]["id"], "email": "ada.lovelace@example.com"}));
        for id in [&started["user"]["id"], &started["tenant"]["id"]] {
            assert_eq!(id.as_str().unwrap().parse::<uuid::Uuid>().unwrap().get_version_num(), 7);
        }
        let expires: DateTime<Utc> = started["expires_at"].as_str().unwrap().parse().unwrap();
        assert!((expires - product.app.clock.now().at - TimeDelta::days(365)).abs() < TimeDelta::minutes(1));

        let events = product.admin_get("/audit-events").await.expect(200);
        let event = &events["data"][0];
        assert_eq!(names(event), ["action", "actor_id", "actor_type", "created_at", "detail", "id", "request_id", "tenant_id"]);
        assert_eq!(event["action"], "tenant.created");
        assert_eq!(event["tenant_id"], started["tenant"]["id"]);
        assert_eq!(event["request_id"], request_id);
        assert_eq!(event["detail"]["door"], "wizard");
        assert!(!events.to_string().contains("correct-horse"));
    }
}

on_both! {
    async fn the_first_mail_proves_the_address(database: Database) {
        let product = Product::start(database).await;
        product.sign_up("Acme", "starter").await;
        let mails = product.mails().await;
        assert_eq!(mails.len(), 1);
        let mail = &mails[0];
        assert_eq!(names(mail), ["created_at", "html", "id", "links", "subject", "text", "to"]);
        assert_eq!(mail["to"], "acme@example.com");
        assert!(mail["subject"].as_str().unwrap().contains("Acme"));
        let link = mail["links"][0].as_str().unwrap();
        assert_eq!(mail["links"].as_array().unwrap().len(), 1);
        let secret = link.strip_prefix("http://localhost:8080/verify-email?token=").expect("a link on the public URL");
        assert!(secret.len() >= 43, "256 bits");
        assert!(mail["text"].as_str().unwrap().contains(link));
        assert!(mail["html"].as_str().unwrap().contains(link));
    }
}

on_both! {
    async fn the_right_password_resumes_an_unfinished_sign_up(database: Database) {
        let product = Product::start(database).await;
        let first: Visitor = product.sign_up("Acme", "pro").await.into();
        let rows = product.database.rows().await;
        let again = product.post("/public/signup/start", &signup_body("Acme", "starter")).await.expect(200);
        assert_eq!(names(&again), ["expires_at", "next", "tenant", "token", "user"]);
        assert_eq!((&again["tenant"]["id"], &again["user"]["id"]), (&first.started["tenant"]["id"], &first.started["user"]["id"]));
        assert_eq!(again["next"], "brand");
        assert_eq!(product.database.rows().await, rows, "a resumed sign-up writes nothing");

        let mut wrong = signup_body("Acme", "starter");
        wrong["password"] = json!("not-the-password-at-all");
        product.post("/public/signup/start", &wrong).await.expect_problem(409, "EMAIL_TAKEN");
        wrong["email"] = json!("ACME@example.com");
        product.post("/public/signup/start", &wrong).await.expect_problem(409, "EMAIL_TAKEN");

        let second: Visitor = again.into();
        product.post_as(&second.token, "/public/signup/brand", &json!({"primary_color": "#000000"})).await.expect(200);
        let again = product.post("/public/signup/start", &signup_body("Acme", "starter")).await.expect(200);
        assert_eq!(again["next"], "confirm", "the wizard goes on where it stood");
        product.end(&first, "pro").await.expect(202);
        product.provisioned(&first.token, &first.tenant).await;
        let taken = product.post("/public/signup/start", &signup_body("Acme", "starter")).await;
        taken.expect_problem(409, "EMAIL_TAKEN");
    }
}

const CREDITS_OF: [(&str, i64); 5] =
    [("free", 1_000), ("starter", 5_000), ("growth", 20_000), ("pro", 50_000), ("scale", 200_000)];

/// Starts on `plan`, ends as one ends on `ending`, and has to be on `kept`.
async fn ends_on(database: crate::support::Database, plan: &str, ending: &str, kept: &str) {
    let product = Product::start(database).await;
    let visitor = product.visit("Acme", plan).await;
    let ended = product.end(&visitor, ending).await.expect(202);
    assert_eq!(names(&ended), ["provision", "success", "tenant"]);
    assert_eq!(ended["success"], true);
    assert_eq!(names(&ended["provision"]), ["run_id", "status"]);
    let status = product.provisioned(&visitor.token, &visitor.tenant).await;
    assert_eq!((&status["status"], &status["plan"]), (&json!("complete"), &json!(kept)), "{status}");
    assert_eq!(status["run_id"], ended["provision"]["run_id"]);
    let credits = CREDITS_OF.iter().find(|(slug, _)| *slug == kept).unwrap().1;
    holds_plan(&product, kept, if kept == "free" { "active" } else { "trialing" }, credits).await;
}

on_both! { async fn make_keeps_growth(database: Database) { ends_on(database, "growth", "starter", "growth").await; } }
on_both! { async fn make_puts_pro_on_starter(database: Database) { ends_on(database, "pro", "starter", "starter").await; } }
on_both! { async fn make_puts_free_on_starter(database: Database) { ends_on(database, "free", "starter", "starter").await; } }
on_both! { async fn confirm_keeps_scale(database: Database) { ends_on(database, "scale", "pro", "scale").await; } }
on_both! { async fn confirm_puts_starter_on_pro(database: Database) { ends_on(database, "starter", "pro", "pro").await; } }
on_both! { async fn finish_keeps_free(database: Database) { ends_on(database, "free", "free", "free").await; } }
on_both! { async fn finish_keeps_growth(database: Database) { ends_on(database, "growth", "free", "growth").await; } }

on_both! {
    async fn a_pro_tenant_gets_its_automations_and_its_webhook(database: Database) {
        let product = Product::start(database).await;
        let visitor = product.visit("Acme", "pro").await;
        product.post_as(&visitor.token, "/public/signup/pro/confirm", &json!({"webhook_url": MAKE_URL})).await.expect(202);
        let status = product.provisioned(&visitor.token, &visitor.tenant).await;
        let steps: Vec<_> = status["steps"].as_array().unwrap().iter().map(|s| (s["name"].as_str().unwrap(), s["status"].as_str().unwrap())).collect();
        let expected = [
            ("seed_defaults", "complete"),
            ("configure_routing", "complete"),
            ("deploy_automations", "complete"),
            ("deploy_apps_script", "skipped"),
            ("send_magic_link", "complete"),
        ];
        assert_eq!(steps, expected);
        assert_eq!(names(&status), ["dry_run", "duration_ms", "plan", "queued_at", "reason", "run_id", "status", "steps", "tenant_id", "updated_at"]);
        assert_eq!(names(&status["steps"][0]), ["attempts", "duration_ms", "error", "finished_at", "name", "started_at", "status"]);
        assert!(status["duration_ms"].as_i64().unwrap() >= 1);
        assert_eq!(product.database.count("select count(*) as n from automations").await, 3);
        assert_eq!(product.database.count("select count(*) as n from webhook_endpoints where source = 'signup'").await, 1);
    }
}

on_both! {
    async fn another_webhook_replaces_the_first_until_a_worker_has_it(database: Database) {
        let product = Product::start_as(database, Settings::default(), tenantry::serve::Roles { http: true, worker: false }).await;
        let visitor = product.visit("Acme", "starter").await;
        let make = async |product: &Product, url: &str| product.post_as(&visitor.token, "/public/signup/starter/make", &json!({"webhook_url": url})).await;
        let run = |ended: Value| ended["provision"]["run_id"].as_str().unwrap().to_owned();
        let first = run(make(&product, MAKE_URL).await.expect(202));
        assert_eq!(run(make(&product, MAKE_URL).await.expect(202)), first);
        let other = "https://hook.eu2.make.com/y";
        let second = run(make(&product, other).await.expect(202));
        assert_ne!(first, second);
        assert_eq!(run(make(&product, other).await.expect(202)), second);
        assert_eq!(product.database.count("select count(*) as n from provision_runs where status = 'pending'").await, 1);
        assert_eq!(product.database.count(&format!("select count(*) as n from webhook_endpoints where url = '{other}'")).await, 1);
        assert_eq!(product.database.count("select count(*) as n from webhook_endpoints").await, 1);

        let product = Product::start(product.stop().await).await;
        let status = product.provisioned(&visitor.token, &visitor.tenant).await;
        assert_eq!((&status["status"], &status["run_id"]), (&json!("complete"), &json!(second)));
        assert_eq!(run(make(&product, other).await.expect(202)), second);
        make(&product, MAKE_URL).await.expect_problem(409, "PROVISION_ALREADY_STARTED");
        healthy(&product).await;
    }
}

on_both! {
    async fn another_webhook_gives_a_failed_run_a_successor(database: Database) {
        let hook = wiremock::MockServer::start().await;
        let product = Product::start_with(database, Settings::calling()).await;
        let visitor = product.visit("Acme", "starter").await;
        let make = |path: &str| json!({"webhook_url": format!("{}{path}", hook.uri())});
        wiremock::Mock::given(wiremock::matchers::path("/good")).respond_with(wiremock::ResponseTemplate::new(200)).mount(&hook).await;
        let path = "/public/signup/starter/make";
        let first = product.post_as(&visitor.token, path, &make("/bad")).await.expect(202);
        let failed = product.provisioned(&visitor.token, &visitor.tenant).await;
        assert_eq!(failed["status"], "failed", "{failed}");
        assert!(failed["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{failed}");
        let second = product.post_as(&visitor.token, path, &make("/good")).await.expect(202);
        assert_ne!(first["provision"]["run_id"], second["provision"]["run_id"]);
        let status = product.provisioned(&visitor.token, &visitor.tenant).await;
        assert_eq!((&status["status"], &status["run_id"]), (&json!("complete"), &second["provision"]["run_id"]), "{status}");
        healthy(&product).await;
    }
}

/// Every call of the wizard that its token opens.
async fn wizard_calls(product: &Product, token: &str) -> [crate::support::Answer; 5] {
    [
        product.get_as(token, "/public/signup").await,
        product.post_as(token, "/public/signup/brand", &json!({"primary_color": "#000000"})).await,
        product.post_as(token, "/public/signup/starter/make", &json!({"webhook_url": MAKE_URL})).await,
        product.post_as(token, "/public/signup/pro/confirm", &json!({})).await,
        product.post_as(token, "/public/signup/finish", &json!({})).await,
    ]
}

on_both! {
    async fn a_token_ends_when_it_says(database: Database) {
        let product = Product::start_with(database, Settings::default().with("TENANTRY_SIGNUP__TOKEN_TTL", "1h")).await;
        let visitor = product.visit("Acme", "starter").await;
        product.advance(3590).await;
        product.get_as(&visitor.token, "/public/signup").await.expect(200);
        product.advance(11).await;
        for answer in wizard_calls(&product, &visitor.token).await {
            assert!(answer.headers.contains_key("www-authenticate"));
            answer.expect_problem(401, "TOKEN_EXPIRED");
        }
        let status = format!("/api/v1/tenants/{}/provision-status", visitor.tenant);
        product.get_as(&visitor.token, &status).await.expect_problem(401, "TOKEN_EXPIRED");
        let again: Visitor = product.post("/public/signup/start", &signup_body("Acme", "starter")).await.expect(200).into();
        product.get_as(&again.token, "/public/signup").await.expect(200);
    }
}

on_both! {
    async fn a_token_lives_a_year_unless_told(database: Database) {
        // The janitor would come long before.
        let settings = Settings::default().with("TENANTRY_SIGNUP__ABANDONED_AFTER", "9999d");
        let product = Product::start_with(database, settings).await;
        let visitor = product.visit("Acme", "starter").await;
        product.advance(364 * 86_400).await;
        let stand = product.get_as(&visitor.token, "/public/signup").await.expect(200);
        assert_eq!(names(&stand), ["next", "provision", "tenant", "user"]);
        assert_eq!(stand["provision"], Value::Null);
        product.advance(86_401).await;
        product.get_as(&visitor.token, "/public/signup").await.expect_problem(401, "TOKEN_EXPIRED");
    }
}

on_both! {
    async fn a_token_opens_its_own_tenant_alone(database: Database) {
        let product = Product::start(database).await;
        let (one, two) = (product.visit("One", "starter").await, product.visit("Two", "starter").await);
        for path in ["provision-status", "provision-events"] {
            let path = format!("/api/v1/tenants/{}/{path}", two.tenant);
            product.get_as(&one.token, &path).await.expect_problem(404, "NOT_FOUND");
            product.get(&path).await.expect_problem(401, "UNAUTHENTICATED");
        }
        let retry = format!("/api/v1/tenants/{}/provision-retry", two.tenant);
        product.post_as(&one.token, &retry, &json!({})).await.expect_problem(404, "NOT_FOUND");
        product.get_as(&one.token, "/public/signup").await.expect(200);
        let forged = format!("{}x", one.token);
        let unsigned = format!("{}.", one.token.rsplit_once('.').unwrap().0);
        for token in ["garbage", "a.b.c", forged.as_str(), unsigned.as_str()] {
            for answer in wizard_calls(&product, token).await {
                answer.expect_problem(401, "TOKEN_INVALID");
            }
        }
        let missing = product.post("/public/signup/brand", &json!({"primary_color": "#000000"})).await;
        missing.expect_problem(401, "TOKEN_INVALID");
        product.get_as(&one.token, "/api/v1/admin/tenants").await.expect_problem(401, "UNAUTHENTICATED");
    }
}

on_both! {
    async fn once_provisioned_a_token_reads_the_status_for_a_day(database: Database) {
        let product = Product::start(database).await;
        let visitor = product.settle("Acme", "starter").await;
        let status = format!("/api/v1/tenants/{}/provision-status", visitor.tenant);
        let brand = json!({"primary_color": "#000000"});
        product.post_as(&visitor.token, "/public/signup/brand", &brand).await.expect_problem(401, "TOKEN_INVALID");
        product.advance(86_000).await;
        product.get_as(&visitor.token, &status).await.expect(200);
        product.advance(500).await;
        product.get_as(&visitor.token, &status).await.expect_problem(401, "TOKEN_INVALID");
        for answer in wizard_calls(&product, &visitor.token).await {
            answer.expect_problem(401, "TOKEN_INVALID");
        }
    }
}

on_both! {
    async fn branding_is_kept_and_checked(database: Database) {
        let product = Product::start(database).await;
        let visitor = product.visit("Acme", "free").await;
        let brand = json!({"primary_color": "#ABCDEF", "secondary_color": "#123456", "logo_url": "https://example.com/l.svg"});
        let branded = product.post_as(&visitor.token, "/public/signup/brand", &brand).await.expect(200);
        assert_eq!(names(&branded), ["next", "success", "tenant"]);
        assert_eq!(branded["next"], "finish");
        let kept = json!({"primary_color": "#abcdef", "secondary_color": "#123456", "logo_url": "https://example.com/l.svg"});
        assert_eq!(branded["tenant"]["branding"], kept);
        for (body, refused) in [
            (json!({}), vec![("primary_color", "REQUIRED")]),
            (json!({"primary_color": "red"}), vec![("primary_color", "INVALID_COLOR")]),
            (json!({"primary_color": "#fff"}), vec![("primary_color", "INVALID_COLOR")]),
            (json!({"primary_color": "#12345é"}), vec![("primary_color", "INVALID_COLOR")]),
            (json!({"primary_color": "#ffffff", "secondary_color": "x"}), vec![("secondary_color", "INVALID_COLOR")]),
            (json!({"primary_color": "#ffffff", "logo_url": "javascript:alert(1)"}), vec![("logo_url", "INVALID_URL")]),
            (json!({"primary_color": "#ffffff", "logo_url": "http://example.com/l.svg"}), vec![("logo_url", "INVALID_URL")]),
            (json!({"primary_color": 7}), vec![("primary_color", "INVALID_TYPE")]),
            (json!({"primary_color": "#ffffff", "x": 1}), vec![("x", "UNKNOWN_FIELD")]),
        ] {
            let problem = product.post_as(&visitor.token, "/public/signup/brand", &body).await.expect_problem(422, "VALIDATION_FAILED");
            assert_eq!(fields(&problem), refused, "{body}");
        }
        let stand = product.get_as(&visitor.token, "/public/signup").await.expect(200);
        assert_eq!(stand["tenant"]["branding"], kept);
    }
}
