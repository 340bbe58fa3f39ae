//! The operator's pages: who gets in, and that they do what the admin API does.

use reqwest::StatusCode;
use serde_json::{Value, json};
use tenantry::provisioning::{self, Stats};

use crate::support::{ADMIN_TOKEN, Browser, Product, Settings, signup_body};

/// A browser that has shown the admin token.
pub async fn admin(product: &Product) -> Browser<'_> {
    let mut browser = Browser::new(product);
    browser.go("/admin/signin").await;
    browser.send(&browser.form("/admin/signin").fill("token", ADMIN_TOKEN)).await;
    assert_eq!((browser.path.as_str(), browser.status), ("/admin", StatusCode::OK), "{}", browser.html);
    browser
}

/// A browser that is signed in as the owner of a tenant.
async fn owner<'a>(product: &'a Product, email: &str) -> Browser<'a> {
    product.post("/api/v1/auth/magic-link", &json!({"email": email})).await.expect(202);
    let mut browser = Browser::new(product);
    browser.go(&format!("/magic-link?token={}", product.secret(email, "/magic-link").await)).await;
    browser.send(&browser.form("/magic-link").fill("password", "correct-horse-battery")).await;
    assert_eq!(browser.path, "/dashboard", "{}", browser.html);
    browser
}

async fn is_in(browser: &mut Browser<'_>) -> bool {
    browser.go("/admin").await;
    match browser.path.as_str() {
        "/admin" => true,
        "/admin/signin" => false,
        elsewhere => panic!("at {elsewhere}"),
    }
}

/// What the audit log says was done, newest first.
async fn audited(product: &Product, action: &str) -> Vec<Value> {
    let events = product.admin_get("/audit-events?limit=200").await.expect(200);
    events["data"].as_array().unwrap().iter().filter(|event| event["action"] == action).cloned().collect()
}

fn with_token(token: &str) -> Settings {
    Settings::default().with("TENANTRY_ADMIN_TOKEN", token)
}

on_both! {
    async fn the_admin_token_opens_the_console_for_a_while(database: Database) {
        let product = Product::start(database).await;
        let mut browser = Browser::new(&product);
        browser.go("/admin").await;
        assert_eq!(browser.path, "/admin/signin");
        for wrong in ["", "wrong", &ADMIN_TOKEN[1..], &format!("{ADMIN_TOKEN} ")] {
            browser.send(&browser.form("/admin/signin").fill("token", wrong)).await;
            assert_eq!(browser.status, StatusCode::FORBIDDEN, "{wrong}");
            assert!(browser.html.contains("This is not the admin token of this server."), "{}", browser.html);
            assert!(browser.cookie("tenantry_admin").is_none());
        }
        browser.send(&browser.form("/admin/signin").fill("token", ADMIN_TOKEN)).await;
        assert_eq!(browser.path, "/admin");
        let cookie = browser.cookie("tenantry_admin").expect("a cookie").to_owned();
        assert!(!cookie.contains(ADMIN_TOKEN));
        browser.go("/admin/signin").await;
        assert_eq!(browser.path, "/admin");

        product.advance(12 * 3600 - 60).await;
        assert!(is_in(&mut browser).await);
        product.advance(61).await;
        assert!(!is_in(&mut browser).await, "its time is over");

        let mut browser = admin(&product).await;
        let cookie = browser.cookie("tenantry_admin").expect("a cookie").to_owned();
        browser.send(&browser.form("/admin/signout")).await;
        assert_eq!((browser.path.as_str(), browser.cookie("tenantry_admin")), ("/admin/signin", None));
        for at in [10, cookie.len() / 2, cookie.len() - 2] {
            let mut forged = cookie.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            browser.set_cookie("tenantry_admin", Some(&String::from_utf8(forged).unwrap()));
            assert!(!is_in(&mut browser).await, "changed at {at}");
        }
        // Nor does a value that was sealed for another purpose.
        let visitor = product.settle("Acme", "free").await;
        let session = owner(&product, &visitor.email).await.cookie("tenantry_session").expect("a session").to_owned();
        browser.set_cookie("tenantry_admin", Some(&session));
        assert!(!is_in(&mut browser).await);
        browser.set_cookie("tenantry_admin", Some(&cookie));
        assert!(is_in(&mut browser).await, "the cookie itself is still good");

        let product = Product::start_with(product.stop().await, with_token("another-admin-token")).await;
        let mut browser = Browser::new(&product);
        browser.set_cookie("tenantry_admin", Some(&cookie));
        assert!(!is_in(&mut browser).await, "another token is configured");
        let product = Product::start_with(product.stop().await, with_token("")).await;
        let mut browser = Browser::new(&product);
        browser.set_cookie("tenantry_admin", Some(&cookie));
        assert!(!is_in(&mut browser).await, "none is configured");
        for token in ["", ADMIN_TOKEN] {
            browser.send(&browser.form("/admin/signin").fill("token", token)).await;
            assert_eq!(browser.status, StatusCode::FORBIDDEN);
        }
    }
}

on_both! {
    async fn strangers_and_members_see_nothing_of_it(database: Database) {
        let product = Product::start(database).await;
        let visitor = product.settle("Acme", "free").await;
        let mut member = owner(&product, &visitor.email).await;
        let mut stranger = Browser::new(&product);
        for browser in [&mut member, &mut stranger] {
            for path in ["/admin", "/admin/onboard", "/admin/invoices", "/admin/stripe-events", "/admin/sales-leads", "/admin/tenants/acme", "/admin/tenants/nobody"] {
                browser.go(path).await;
                assert_eq!(browser.path, "/admin/signin", "{path}");
                assert!(!browser.html.contains("Acme") && !browser.html.contains(&visitor.email), "{}", browser.html);
            }
            for action in ["/admin/signups", "/admin/onboard", "/admin/invoices/018f0000-0000-7000-8000-000000000000/mark-paid", "/admin/stripe-events/evt_1/replay", "/admin/sales-leads/018f0000-0000-7000-8000-000000000000", "/admin/tenants/acme/retry"] {
                let mut form = browser.form("/admin/signin").fill("enabled", "false").fill("email", "a@example.com").fill("tenant_name", "A").fill("plan", "free");
                form.action = action.to_owned();
                browser.send(&form).await;
                assert_eq!(browser.path, "/admin/signin", "{action}");
            }
        }
        assert!(audited(&product, "flag.changed").await.is_empty());
        assert_eq!(product.database.count("select count(*) as n from tenants").await, 1);

        product.database.execute("update users set is_platform_admin = true").await;
        assert!(is_in(&mut member).await, "one of the platform's own people now");
        member.send(&member.form("/admin/signups").fill("enabled", "false")).await;
        let changed = audited(&product, "flag.changed").await;
        assert_eq!(changed[0]["actor_id"], visitor.started["user"]["id"]);
        let session = member.cookie("tenantry_session").expect("a session").to_owned();
        member.send(&member.form("/admin/signout")).await;
        member.set_cookie("tenantry_session", Some(&session));
        assert!(!is_in(&mut member).await, "signed out for good");
    }
}

on_both! {
    async fn the_kill_switch_works_by_form(database: Database) {
        let product = Product::start(database).await;
        let mut browser = admin(&product).await;
        assert!(browser.html.contains("Sign-ups are open"));
        browser.send(&browser.form("/admin/signups").fill("enabled", "false")).await;
        assert!(browser.html.contains("Sign-ups are closed now"), "{}", browser.html);
        product.post("/public/signup/start", &signup_body("Late", "free")).await.expect_problem(503, "SIGNUPS_DISABLED");
        let mut visitor = Browser::new(&product);
        visitor.go("/onboarding").await;
        assert_eq!(visitor.status, StatusCode::SERVICE_UNAVAILABLE);

        browser.go("/admin").await;
        browser.send(&browser.form("/admin/signups").fill("enabled", "perhaps")).await;
        assert_eq!(browser.status, StatusCode::BAD_REQUEST);
        browser.go("/admin").await;
        browser.send(&browser.form("/admin/signups").fill("enabled", "true")).await;
        assert!(browser.html.contains("Sign-ups are open again"), "{}", browser.html);
        product.sign_up("Early", "free").await;
        let changes: Vec<_> = audited(&product, "flag.changed").await.iter().map(|event| event["detail"]["enabled"].clone()).collect();
        assert_eq!(changes, [json!(true), json!(false)]);
    }
}

on_both! {
    async fn forms_of_elsewhere_do_nothing(database: Database) {
        let product = Product::start(database).await;
        let mut browser = admin(&product).await;
        let form = browser.form("/admin/signups").fill("enabled", "false");
        let mut other = Browser::new(&product);
        other.go("/admin/signin").await;
        let theirs = other.form("/admin/signin").fields.iter().find(|(name, _)| name == "csrf").unwrap().1.clone();
        for csrf in ["", "nonsense", &theirs] {
            browser.send(&form.clone().fill("csrf", csrf)).await;
            assert_eq!(browser.status, StatusCode::FORBIDDEN, "{csrf}");
        }
        let mut without = form.clone();
        without.fields.retain(|(name, _)| name != "csrf");
        browser.send(&without).await;
        assert_eq!(browser.status, StatusCode::FORBIDDEN);
        browser.send_with(&form, &[("sec-fetch-site", "cross-site")]).await;
        assert_eq!(browser.status, StatusCode::FORBIDDEN);
        assert!(browser.html.contains("Please send that again"), "{}", browser.html);
        // A sign-in cannot be forced on somebody.
        other.send_with(&other.form("/admin/signin").fill("token", ADMIN_TOKEN), &[("sec-fetch-site", "same-site")]).await;
        assert_eq!((other.status, other.cookie("tenantry_admin")), (StatusCode::FORBIDDEN, None));
        assert!(audited(&product, "flag.changed").await.is_empty());
        browser.send(&form).await;
        assert_eq!(audited(&product, "flag.changed").await.len(), 1, "the form itself was good");
    }
}

on_both! {
    async fn somebody_is_onboarded_once_however_often_the_form_is_sent(database: Database) {
        let product = Product::start(database).await;
        let mut browser = admin(&product).await;
        browser.go("/admin/onboard").await;
        let form = browser.form("/admin/onboard");
        assert!(browser.html.contains("value=\"enterprise\""), "{}", browser.html);
        let wrong = form.clone().fill("email", "grace@").fill("tenant_name", "").fill("name", "Grace \"G\" <Hopper>").fill("plan", "enterprise").fill("slug", "www");
        browser.send(&wrong).await;
        assert_eq!(browser.status, StatusCode::UNPROCESSABLE_ENTITY);
        for shown in ["3 things need another look", "href=\"#email\"", "href=\"#tenant_name\"", "href=\"#slug\"", "<title>Error: "] {
            assert!(browser.html.contains(shown), "{shown}: {}", browser.html);
        }
        let mut kept = browser.form("/admin/onboard").fields;
        kept.retain(|(name, _)| name != "csrf" && name != "key");
        let pairs = [("email", "grace@"), ("tenant_name", ""), ("slug", "www"), ("name", "Grace \"G\" <Hopper>"), ("plan", "enterprise")];
        assert_eq!(kept, pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(product.database.count("select count(*) as n from tenants").await, 0);

        let form = browser.form("/admin/onboard").fill("email", "grace@example.com").fill("tenant_name", "Hopper Ltd").fill("slug", "");
        for _ in 0..2 {
            browser.send(&form).await;
            assert_eq!((browser.path.as_str(), browser.status), ("/admin/tenants/hopper-ltd?done=created", StatusCode::OK));
            assert!(browser.html.contains("Hopper Ltd is created") && browser.html.contains("grace@example.com"), "{}", browser.html);
        }
        assert_eq!(product.database.count("select count(*) as n from tenants").await, 1);
        let created = audited(&product, "tenant.created").await;
        assert_eq!((created.len(), &created[0]["actor_type"], &created[0]["detail"]["door"]), (1, &json!("platform_admin"), &json!("admin")));
        assert_eq!((&created[0]["detail"]["plan"], created[0]["request_id"].is_string()), (&json!("enterprise"), true));

        browser.go("/admin/onboard").await;
        browser.send(&browser.form("/admin/onboard").fill("email", "Grace@example.com").fill("tenant_name", "Other")).await;
        assert_eq!(browser.status, StatusCode::CONFLICT);
        assert!(browser.html.contains("A user with this address is there already."), "{}", browser.html);
        let taken = browser.form("/admin/onboard").fill("email", "ada@example.com").fill("slug", "hopper-ltd");
        browser.send(&taken).await;
        assert_eq!(browser.status, StatusCode::CONFLICT);
        assert!(browser.html.contains("value=\"hopper-ltd-2\""), "{}", browser.html);
        browser.send(&browser.form("/admin/onboard").fill("use_slug", "hopper-ltd-2")).await;
        assert_eq!(browser.path, "/admin/tenants/hopper-ltd-2?done=created");
    }
}

on_both! {
    async fn a_failed_run_is_seen_and_set_going_again(database: Database) {
        let hook = wiremock::MockServer::start().await;
        let product = Product::start_with(database, Settings::calling()).await;
        let visitor = product.visit("Acme", "starter").await;
        let make = json!({"webhook_url": format!("{}/x", hook.uri())});
        product.post_as(&visitor.token, "/public/signup/starter/make", &make).await.expect(202);
        assert_eq!(product.provisioned(&visitor.token, &visitor.tenant).await["status"], "failed");

        let mut browser = admin(&product).await;
        let in_list = browser.form("/admin/tenants/acme/retry");
        browser.go("/admin/tenants/acme").await;
        for shown in ["The run has stopped", "<b>validate_webhook</b>", "data-state=\"failed\"", "class=\"why\"", &visitor.email] {
            assert!(browser.html.contains(shown), "{shown}: {}", browser.html);
        }
        let any = wiremock::Mock::given(wiremock::matchers::any());
        any.respond_with(wiremock::ResponseTemplate::new(200)).mount(&hook).await;
        let on_page = browser.form("/admin/tenants/acme/retry");
        browser.send(&on_page).await;
        assert_eq!((browser.path.as_str(), browser.status), ("/admin/tenants/acme?done=retried", StatusCode::OK));
        let status = product.provisioned(&visitor.token, &visitor.tenant).await;
        assert_eq!(status["status"], "complete", "{status}");
        // A repeat of that form is recognised; one that comes late finds nothing to retry, and says how it is.
        browser.send(&on_page).await;
        assert_eq!(browser.path, "/admin/tenants/acme?done=retried");
        browser.send(&in_list).await;
        assert_eq!(browser.path, "/admin/tenants/acme");
        assert!(browser.html.contains("Complete in ") && !browser.html.contains("/retry"), "{}", browser.html);
        let retried = audited(&product, "tenant.provision_retried").await;
        assert_eq!((retried.len(), &retried[0]["actor_type"], &retried[0]["tenant_id"]), (1, &json!("platform_admin"), &json!(visitor.tenant)));
        browser.go("/admin/tenants/nobody").await;
        assert_eq!(browser.status, StatusCode::NOT_FOUND);
    }
}

on_both! {
    async fn tenants_are_searched_and_paged_and_counted(database: Database) {
        let product = Product::start(database).await;
        let mut browser = admin(&product).await;
        assert!(browser.html.contains("No tenant yet") && !browser.html.contains("P95"), "{}", browser.html);
        product.settle("Done & Sons", "free").await;
        product.visit("Begun", "pro").await;
        product.visit("Stuck", "free").await;
        product.database.execute("update tenants set provision_state = 'failed' where slug = 'stuck'").await;
        for n in 1..=50 {
            product.visit(&format!("Tenant {n}"), "free").await;
        }
        browser.go("/admin").await;
        assert_eq!(browser.html.matches("<th scope=\"row\">").count(), 50);
        assert!(figure(&browser.html, "tenants") == "53" && figure(&browser.html, "complete") == "1", "{}", browser.html);
        assert!(figure(&browser.html, "under way") == "51" && figure(&browser.html, "failed") == "1", "{}", browser.html);
        assert_eq!(figure(&browser.html, "of runs succeed, last 30 days"), "100.0%");
        assert!(figure(&browser.html, "P95 of a run, last 30 days").ends_with('s'));
        let older = link(&browser.html, "Older").expect("there are more");
        browser.go(&older).await;
        assert_eq!(browser.html.matches("<th scope=\"row\">").count(), 3, "{older}");
        assert!(browser.html.contains("Done &#38; Sons") && link(&browser.html, "Older").is_none(), "{}", browser.html);
        assert_eq!(link(&browser.html, "Newest").as_deref(), Some("/admin"));
        for (query, found) in [("q=done", 1), ("q=DONE%20%26", 1), ("q=begun%40example.com", 1), ("q=nobody", 0), ("run=failed", 1), ("run=complete", 1), ("q=stuck&run=complete", 0), ("run=nonsense&q=stuck", 1)] {
            browser.go(&format!("/admin?{query}")).await;
            assert_eq!(browser.html.matches("<th scope=\"row\">").count(), found, "{query}");
        }
        browser.go("/admin?q=%22%3E%3Cscript%3E&run=failed").await;
        assert!(browser.html.contains("Nothing begins with") && !browser.html.contains("\"><script>"), "{}", browser.html);
        browser.go("/admin?run=pending").await;
        let older = link(&browser.html, "Older").expect("there are more");
        assert!(older.contains("run=pending"), "{older}");
        browser.go("/admin?cursor=nonsense").await;
        assert_eq!(browser.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
}

on_both! {
    async fn provisioning_is_counted_over_a_time(database: Database) {
        let product = Product::start(database).await;
        let changed = async |slug: &str, set: &str| {
            let of = format!("where tenant_id = (select id from tenants where slug = '{slug}')");
            product.database.execute(&format!("update provision_runs set {set} {of}")).await;
        };
        for (name, ended) in [("One", "01.000"), ("Two", "02.000"), ("Three", "03.500"), ("Four", "09.000"), ("Five", "09.000"), ("Six", "00.000")] {
            product.settle(name, "free").await;
            let times = format!("started_at = '2026-03-02T00:00:00+00:00', finished_at = '2026-03-02T00:00:{ended}+00:00'");
            changed(&name.to_lowercase(), &times).await;
        }
        changed("four", "status = 'failed'").await;
        changed("five", "finished_at = '2026-02-27T00:00:00+00:00'").await;
        // Put aside before it began.
        changed("six", "status = 'failed', started_at = null").await;
        let since = "2026-03-01T00:00:00Z".parse().unwrap();
        let stats = provisioning::stats(product.app.db.read(), since).await.expect("counts");
        let expected = Stats { tenants: 6, complete: 6, failed: 0, ended: 4, succeeded: 3, p95_ms: Some(3_500) };
        assert_eq!((stats, stats.success_permille(), stats.under_way()), (expected, Some(750), 0));
        let since = "2026-04-01T00:00:00Z".parse().unwrap();
        let none = provisioning::stats(product.app.db.read(), since).await.expect("counts");
        assert_eq!((none.ended, none.success_permille(), none.p95_ms), (0, None, None));
    }
}

/// The figure that is called so.
fn figure<'a>(html: &'a str, name: &str) -> &'a str {
    let rest = html.split(&format!("<dt>{name}</dt><dd>")).nth(1).unwrap_or_else(|| panic!("no {name} in {html}"));
    rest.split('<').next().unwrap_or_default()
}

/// Where the link of that name leads.
fn link(html: &str, name: &str) -> Option<String> {
    let before = html.split(&format!("\">{name}</a>")).next().filter(|before| before.len() < html.len())?;
    Some(before.rsplit("href=\"").next()?.replace("&#38;", "&"))
}
