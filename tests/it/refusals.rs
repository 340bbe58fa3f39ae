//! What sign-up refuses, how it says so, and that nothing is left of it.

use reqwest::Method;
use serde_json::{Value, json};
use tenantry::clock::Clock;

use crate::support::{Product, Settings, answer, fields, names, signup_body};

/// A good body with some fields in place of others; null takes a field out.
fn with(changes: &Value) -> Value {
    let mut body = signup_body("Acme", "starter");
    for (field, value) in changes.as_object().expect("an object") {
        match value {
            Value::Null => drop(body.as_object_mut().expect("an object").remove(field)),
            value => body[field] = value.clone(),
        }
    }
    body
}

async fn nothing_is_there(product: &Product) {
    for (table, rows) in product.database.rows().await {
        assert_eq!(rows, 0, "{table}");
    }
}

on_both! {
    async fn each_bad_field_is_named_with_its_code(database: Database) {
        let product = Product::start(database).await;
        let long = |length: usize| "a".repeat(length);
        let cases = [
            (json!({"email": null}), vec![("email", "REQUIRED")]),
            (json!({"password": null}), vec![("password", "REQUIRED")]),
            (json!({"tenant_name": null}), vec![("tenant_name", "REQUIRED")]),
            (json!({"email": 7}), vec![("email", "INVALID_TYPE")]),
            (json!({"tenant_name": ["a"]}), vec![("tenant_name", "INVALID_TYPE")]),
            (json!({"password": {"a": 1}}), vec![("password", "INVALID_TYPE")]),
            (json!({"role": "owner"}), vec![("role", "UNKNOWN_FIELD")]),
            (json!({"email": ""}), vec![("email", "EMAIL_REQUIRED")]),
            (json!({"email": "ada"}), vec![("email", "EMAIL_INVALID")]),
            (json!({"email": "ada@localhost@x"}), vec![("email", "EMAIL_INVALID")]),
            (json!({"email": "ada@[127.0.0.1]"}), vec![("email", "EMAIL_INVALID")]),
            (json!({"email": "a\r\nBcc: b@example.com"}), vec![("email", "EMAIL_INVALID")]),
            (json!({"email": "ada@exämple.com"}), vec![("email", "EMAIL_NOT_ASCII")]),
            (json!({"email": format!("{}@example.com", long(250))}), vec![("email", "EMAIL_TOO_LONG")]),
            (json!({"tenant_name": ""}), vec![("tenant_name", "REQUIRED")]),
            (json!({"tenant_name": " \u{3000} "}), vec![("tenant_name", "REQUIRED")]),
            (json!({"tenant_name": long(101)}), vec![("tenant_name", "TOO_LONG")]),
            (json!({"tenant_name": "🦊".repeat(101)}), vec![("tenant_name", "TOO_LONG")]),
            (json!({"tenant_name": "a\r\nBcc: b@example.com"}), vec![("tenant_name", "INVALID_CHARACTER")]),
            (json!({"name": long(101)}), vec![("name", "TOO_LONG")]),
            (json!({"slug": "a"}), vec![("slug", "SLUG_TOO_SHORT")]),
            (json!({"slug": long(51)}), vec![("slug", "SLUG_TOO_LONG")]),
            (json!({"slug": "Acme"}), vec![("slug", "SLUG_INVALID")]),
            (json!({"slug": "a cme"}), vec![("slug", "SLUG_INVALID")]),
            (json!({"slug": "a.cme"}), vec![("slug", "SLUG_INVALID")]),
            (json!({"slug": "аcme"}), vec![("slug", "SLUG_NOT_ASCII")]),
            (json!({"slug": "xn--acme"}), vec![("slug", "SLUG_HYPHENS")]),
            (json!({"slug": "-acme"}), vec![("slug", "SLUG_HYPHENS")]),
            (json!({"slug": "www"}), vec![("slug", "SLUG_RESERVED")]),
            (json!({"slug": "admin"}), vec![("slug", "SLUG_RESERVED")]),
            (json!({"plan": "platinum"}), vec![("plan", "UNKNOWN_PLAN")]),
            (json!({"plan": ""}), vec![("plan", "UNKNOWN_PLAN")]),
            (json!({"plan": 1}), vec![("plan", "INVALID_TYPE")]),
        ];
        for (changes, refused) in cases {
            let body = with(&changes);
            let problem = product.post("/public/signup/start", &body).await.expect_problem(422, "VALIDATION_FAILED");
            assert_eq!(fields(&problem), refused, "{changes}");
            assert_eq!(names(&problem), ["code", "detail", "errors", "request_id", "status", "title", "type"]);
        }
        nothing_is_there(&product).await;
    }
}

on_both! {
    async fn several_bad_fields_are_told_at_once(database: Database) {
        let product = Product::start(database).await;
        let body = json!({"email": "x", "password": "short", "tenant_name": "", "slug": "A"});
        let problem = product.post("/public/signup/start", &body).await.expect_problem(422, "VALIDATION_FAILED");
        let named: Vec<_> = fields(&problem).iter().map(|(field, _)| *field).collect();
        assert_eq!(named, ["email", "tenant_name", "slug", "password"]);
        nothing_is_there(&product).await;
    }
}

on_both! {
    async fn passwords_are_long_enough_and_not_too_long(database: Database) {
        let product = Product::start(database).await;
        for password in ["", "1234567", &"a".repeat(129)] {
            let body = with(&json!({"password": password}));
            let problem = product.post("/public/signup/start", &body).await.expect_problem(422, "VALIDATION_FAILED");
            assert_eq!(fields(&problem)[0].0, "password", "{password}");
            assert!(password.is_empty() || !problem.to_string().contains(password), "{problem}");
        }
        nothing_is_there(&product).await;
        for (n, password) in ["12345678", &"a".repeat(128), "пароль-дня"].into_iter().enumerate() {
            let body = with(&json!({"password": password, "email": format!("p{n}@example.com")}));
            product.post("/public/signup/start", &body).await.expect(201);
            let again = product.post("/public/signup/start", &body).await;
            again.expect(200);
        }
    }
}

on_both! {
    async fn bodies_that_are_no_objects_are_malformed(database: Database) {
        let product = Product::start(database).await;
        let path = "/public/signup/start";
        let send = async |kind: &str, body: Vec<u8>| {
            answer(product.request(Method::POST, path).header("content-type", kind).body(body)).await
        };
        let nul = with(&json!({"tenant_name": "a\u{0}b"})).to_string().into_bytes();
        for body in [&b"{"[..], b"[]", b"null", b"\"x\"", b"7", b"\xff\xfe", b"{\"email\": NaN}"] {
            let body = body.to_vec();
            send("application/json", body).await.expect_problem(400, "MALFORMED_REQUEST");
        }
        let problem = send("application/json", nul).await.expect_problem(422, "VALIDATION_FAILED");
        assert_eq!(fields(&problem), [("tenant_name", "INVALID_CHARACTER")]);
        let deep = "[".repeat(100_000).into_bytes();
        send("application/json", deep).await.expect_problem(400, "MALFORMED_REQUEST");
        let good = signup_body("Acme", "starter").to_string().into_bytes();
        for kind in ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"] {
            send(kind, good.clone()).await.expect_problem(415, "UNSUPPORTED_MEDIA_TYPE");
        }
        let big = format!("{{\"x\": \"{}\"}}", "a".repeat(1_048_576)).into_bytes();
        send("application/json", big).await.expect_problem(413, "PAYLOAD_TOO_LARGE");
        let empty = send("application/json", Vec::new()).await.expect_problem(422, "VALIDATION_FAILED");
        assert_eq!(fields(&empty), [("email", "REQUIRED")]);
        nothing_is_there(&product).await;
        send("application/json; charset=utf-8", good).await.expect(201);
    }
}

on_both! {
    async fn plans_that_people_sell_are_not_self_serve(database: Database) {
        let product = Product::start(database).await;
        let body = signup_body("Acme", "enterprise");
        product.post("/public/signup/start", &body).await.expect_problem(422, "PLAN_NOT_SELF_SERVE");
        product.database.execute("update plans set is_public = false where slug = 'growth'").await;
        let body = signup_body("Acme", "growth");
        let problem = product.post("/public/signup/start", &body).await.expect_problem(422, "VALIDATION_FAILED");
        assert_eq!(fields(&problem), [("plan", "UNKNOWN_PLAN")]);
        nothing_is_there(&product).await;
    }
}

on_both! {
    async fn names_of_every_script_are_kept_as_typed(database: Database) {
        let product = Product::start(database).await;
        let hundred = "n".repeat(100);
        let foxes = "🦊".repeat(100);
        let cases = [
            ("  Acme  ", "Acme", "acme"),
            ("Crème Brûlée GmbH", "Crème Brûlée GmbH", "creme-brulee-gmbh"),
            ("株式会社", "株式会社", "tenant"),
            ("🚀", "🚀", "tenant-2"),
            ("شركة النور", "شركة النور", "tenant-3"),
            ("<script>alert(1)</script>", "<script>alert(1)</script>", "script-alert-1-script"),
            ("Robert'); drop table tenants;--", "Robert'); drop table tenants;--", "robert-drop-table-tenants"),
            ("www", "www", "www-2"),
            (&hundred, &hundred, &hundred[..50]),
            (&foxes, &foxes, "tenant-4"),
        ];
        for (n, (given, kept, slug)) in cases.into_iter().enumerate() {
            let body = with(&json!({"tenant_name": given, "email": format!("n{n}@example.com")}));
            let started = product.post("/public/signup/start", &body).await.expect(201);
            assert_eq!(started["tenant"]["name"], kept);
            assert_eq!(started["tenant"]["slug"], slug, "{given}");
        }
    }
}

const REFUSED_EVERYWHERE: [&str; 17] = [
    "",
    "x",
    "hook.eu1.make.com/x",
    "ftp://hook.eu1.make.com/x",
    "javascript:alert(1)",
    "https://user:password@hook.eu1.make.com/x",
    "https://example.com/x",
    "https://make.com.example.com/x",
    "https://evilmake.com/x",
    "https://make.com@example.com/x",
    "https://127.0.0.1/x",
    "https://2130706433/x",
    "https://[::1]/x",
    "https://[::ffff:169.254.169.254]/x",
    "https://[64:ff9b::a00:1]/x",
    "https://169.254.169.254/latest/meta-data",
    "https://hook.eu1.make.com/a b",
];

async fn webhooks_are_refused(product: &Product, more: &[&str]) {
    let visitor = product.visit("Acme", "starter").await;
    let long = format!("https://hook.eu1.make.com/{}", "x".repeat(2048));
    for url in REFUSED_EVERYWHERE.into_iter().chain(more.iter().copied()).chain([long.as_str()]) {
        for path in ["/public/signup/starter/make", "/public/signup/pro/confirm"] {
            let refused = product.post_as(&visitor.token, path, &json!({"webhook_url": url})).await;
            let problem = refused.expect_problem(422, "WEBHOOK_NOT_ALLOWED");
            assert!(problem.get("errors").is_none(), "{problem}");
        }
    }
    let make = "/public/signup/starter/make";
    for (body, refused) in [
        (json!({}), ("webhook_url", "REQUIRED")),
        (json!({"webhook_url": 7}), ("webhook_url", "INVALID_TYPE")),
        (json!({"webhook_url": "https://hook.eu1.make.com/x", "x": 1}), ("x", "UNKNOWN_FIELD")),
    ] {
        let problem = product.post_as(&visitor.token, make, &body).await.expect_problem(422, "VALIDATION_FAILED");
        assert_eq!(fields(&problem), [refused]);
    }
    let queued = "select count(*) as n from provision_runs where queued_at is not null";
    assert_eq!(product.database.count(queued).await, 0);
    assert_eq!(product.database.count("select count(*) as n from webhook_endpoints").await, 0);
    for (name, url) in [("One", "https://hook.eu1.make.com/x"), ("Two", "https://HOOK.integromat.com./x")] {
        let visitor = product.visit(name, "pro").await;
        product.post_as(&visitor.token, make, &json!({"webhook_url": url})).await.expect(202);
    }
}

on_both! {
    async fn webhooks_that_lead_elsewhere_are_refused(database: Database) {
        webhooks_are_refused(&Product::start(database).await, &[]).await;
    }
}

on_both! {
    async fn outside_development_webhooks_are_https(database: Database) {
        let settings = Settings::default()
            .with("TENANTRY_ENVIRONMENT", "preview")
            .with("TENANTRY_SECRET_KEY", "0123456789abcdef0123456789abcdef0123456789abcdef")
            .with("TENANTRY_SIGNUP__SELF_SERVE_ENABLED", "true")
            .with("TENANTRY_PROVISION__DRY_RUN", "true");
        let product = Product::start_with(database, settings).await;
        webhooks_are_refused(&product, &["http://hook.eu1.make.com/x", "http://localhost:9/x", "https://localhost/x"]).await;
        for path in ["/dev/mailbox", "/dev/mailbox.json"] {
            product.get(path).await.expect_problem(404, "NOT_FOUND");
        }
        product.post("/dev/clock/advance", &json!({"seconds": 1})).await.expect_problem(404, "NOT_FOUND");
    }
}

on_both! {
    async fn other_paths_and_methods_are_problems(database: Database) {
        let product = Product::start(database).await;
        for path in ["/nope", "/public/nope", "/api/v1/nope", "/docs/nope", "/assets/nope", "/assets/..%2f..%2fCargo.toml", "/public/storefronts/nope"] {
            product.get(path).await.expect_problem(404, "NOT_FOUND");
        }
        for (method, path) in [(Method::GET, "/public/signup/start"), (Method::DELETE, "/public/plans"), (Method::PUT, "/public/signup/brand"), (Method::PATCH, "/healthz")] {
            let refused = product.call(method, path, None, None, &[]).await;
            assert!(refused.headers.contains_key("allow"), "{path}");
            refused.expect_problem(405, "METHOD_NOT_ALLOWED");
        }
    }
}

on_both! {
    async fn leads_are_checked_and_kept(database: Database) {
        let product = Product::start(database).await;
        let path = "/public/contact-sales";
        let lead = json!({"email": "grace@example.com", "name": "Grace", "company": "Navy", "team_size": 12, "message": "Ahoy\nthere"});
        let made = product.post(path, &lead).await.expect(201);
        assert_eq!(names(&made), ["id"]);
        for (body, refused) in [
            (json!({"name": "G", "company": "N"}), ("email", "REQUIRED")),
            (json!({"email": "g@example.com", "name": "G", "company": "N", "team_size": ["many"]}), ("team_size", "INVALID_TYPE")),
            (json!({"email": "g@example.com", "name": "G", "company": "N", "x": 1}), ("x", "UNKNOWN_FIELD")),
        ] {
            let problem = product.post(path, &body).await.expect_problem(422, "VALIDATION_FAILED");
            assert_eq!(fields(&problem), [refused]);
        }
        assert_eq!(product.database.count("select count(*) as n from sales_leads").await, 1);
    }
}

/// Values that some reader somewhere has stumbled over.
fn odd() -> Vec<Value> {
    let texts = [
        "",
        " ",
        "a",
        "\u{0}",
        "\u{202e}abc",
        "🦊",
        "ﬀ",
        "İ",
        "ß",
        "'",
        "\"",
        "\\",
        "%00",
        "${jndi:x}",
        "{{7*7}}",
        "null",
        "-1",
        "1e309",
        "../../etc/passwd",
        "a@b.c",
        "A@B.C",
        "a@b",
        "\u{feff}acme",
        "acme\u{301}",
        "starter",
        "STARTER",
        "acme",
        "\r\n",
        "\u{7f}",
        "\u{fffd}",
    ];
    let mut values: Vec<Value> = texts.into_iter().map(Value::from).collect();
    values.extend([
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1e300),
        json!(u64::MAX),
        json!([]),
        json!({}),
        json!([[["a"]]]),
    ]);
    values.extend([
        json!("x".repeat(70_000)),
        json!("\u{1f468}\u{200d}\u{1f469}".repeat(40)),
        json!({"a": {"b": {"c": null}}}),
    ]);
    values
}

on_both! {
    async fn no_body_makes_it_fail(database: Database) {
        let product = Product::start(database).await;
        let (values, chance) = (odd(), Clock::seeded(2_026).now());
        let pick = |n: usize| usize::from(u16::from_be_bytes(chance.bytes())) % n;
        for round in 0..200 {
            let mut body = signup_body(&format!("Fuzz {round}"), "starter");
            for _ in 0..=pick(3) {
                let field = ["email", "password", "tenant_name", "slug", "name", "plan", "\u{0}", "extra"][pick(8)];
                body[field] = values[pick(values.len())].clone();
            }
            let refused = product.post("/public/signup/start", &body).await;
            let status = refused.status.as_u16();
            assert!([200, 201, 400, 409, 422].contains(&status), "{status} for {body}: {}", refused.text);
            assert_ne!(refused.body["code"], "TENANT_PROVISIONING_ERROR", "{body}");
        }
        crate::support::healthy(&product).await;
    }
}
