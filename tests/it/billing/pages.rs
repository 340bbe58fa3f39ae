//! Billing as pages: what they say of each state, who may press what, and that a button pressed twice does its work once.

use futures_util::future::join_all;
use serde_json::json;

use super::{Member, PASSWORD, register, text};
use crate::support::{Browser, FormOn, Product, Settings, healthy};

fn sandbox() -> Settings {
    Settings::default().with("TENANTRY_BILLING__SANDBOX", "true")
}

async fn signed_in<'a>(product: &'a Product, member: &Member) -> Browser<'a> {
    let mut browser = Browser::new(product);
    browser.go("/signin").await;
    browser.send(&browser.form("/signin").fill("email", &member.email).fill("password", PASSWORD)).await;
    assert_eq!(browser.path, "/dashboard", "{}", browser.html);
    browser
}

/// A form of the page for one of its plans, by the month or by the year.
fn for_plan(browser: &Browser<'_>, action: &str, plan: &str, interval: &str) -> FormOn {
    FormOn { action: action.to_owned(), ..browser.form(action) }.fill("plan", plan).fill("interval", interval)
}

#[track_caller]
fn shows(browser: &Browser<'_>, texts: &[&str]) {
    for text in texts {
        assert!(browser.html.contains(text), "{text:?} at {}:\n{}", browser.path, browser.html);
    }
}

#[track_caller]
fn hides(browser: &Browser<'_>, texts: &[&str]) {
    for text in texts {
        assert!(!browser.html.contains(text), "{text:?} at {}:\n{}", browser.path, browser.html);
    }
}

/// What is changed, and what both pages say then, to the owner and to a member.
const STATES: [(&str, &[&str], &str, &str); 11] = [
    ("plan_id = plan_id", &["Free trial", "nothing is charged by itself. After that Pro is 149 USD a month."], "", ""),
    (
        "trial_ends_at = created_at",
        &["Trial ended", "The trial ended on"],
        "Choose a plan to go on.",
        "Ask the owner to choose a plan.",
    ),
    // Somebody who had a trial, and has paid since.
    (
        "status = 'active', current_period_end = '2100-01-01T00:00:00+00:00'",
        &["Active", "149 USD a month; it goes on after 1 January 2100."],
        "",
        "",
    ),
    ("billing_interval = 'year'", &["1,490 USD a year; it goes on after"], "", ""),
    (
        "cancel_at_period_end = (1 = 1)",
        &["Ends with its period", "It is paid for until 1 January 2100, and ends then."],
        "",
        "",
    ),
    (
        "status = 'past_due', past_due_since = created_at, cancel_at_period_end = (1 = 0)",
        &["Payment missing", "A payment is missing since", "on the limits of the free plan hold."],
        "Pay it to go on.",
        "Ask the owner to pay it.",
    ),
    (
        "past_due_since = '2020-01-01T00:00:00+00:00'",
        &[
            "Payment missing",
            "A payment is missing since 1 January 2020.",
            "Until then the limits of the free plan hold",
        ],
        "Pay it to go on.",
        "Ask the owner to pay it.",
    ),
    (
        "status = 'canceled', current_period_end = '2020-02-01T00:00:00+00:00'",
        &["Ended", "The subscription ended on 1 February 2020."],
        "Choose a plan to go on.",
        "Ask the owner to choose a plan.",
    ),
    (
        "status = 'pending_payment'",
        &["Waits for its payment", "The first invoice has not been paid yet."],
        "Pay it to go on.",
        "Ask the owner to pay it.",
    ),
    (
        "status = 'incomplete'",
        &["Waits for its payment", "The first payment has not been made yet."],
        "Choose a plan and pay for it",
        "Ask the owner to make it.",
    ),
    ("status = 'complimentary'", &["With our compliments", "It costs you nothing."], "", ""),
];

on_both! {
    async fn both_pages_say_alike_how_it_stands_and_who_is_to_mend_it(database: Database) {
        let product = Product::start_with(database, sandbox()).await;
        let acme = register(&product, "Acme", json!({})).await;
        product.provisioned(&acme.token, &acme.tenant).await;
        // Somebody else is the owner, whatever becomes of the one who looks.
        register(&product, "Partner", json!({})).await;
        product.database.execute("update memberships set role = 'admin' where user_id in (select id from users where email like 'acme%')").await;
        product.database.execute(
            "insert into memberships (tenant_id, user_id, role, created_at, updated_at) select t.id, u.id, 'owner', t.created_at, t.created_at \
             from tenants t, users u where t.slug = 'acme' and u.email like 'partner%'",
        ).await;
        let mut browser = signed_in(&product, &acme).await;
        for (change, said, owner, member) in STATES {
            product.database.execute(&format!("update subscriptions set {change}")).await;
            for (role, todo, other) in [("admin", owner, member), ("member", member, owner)] {
                product.database.execute(&format!("update memberships set role = '{role}' where user_id in (select id from users where email like 'acme%')")).await;
                for page in ["/billing", "/dashboard"] {
                    browser.go(page).await;
                    shows(&browser, said);
                    shows(&browser, &[todo]);
                    if !other.is_empty() {
                        hides(&browser, &[other]);
                    }
                    let is_trial = change.starts_with("plan_id") || change.starts_with("trial_ends_at");
                    if !is_trial {
                        hides(&browser, &["The trial ended", "Free until"]);
                    }
                }
                assert_eq!(browser.html.contains("class=\"button\" href=\"/billing\""), role == "admin" && !owner.is_empty(), "{change}: {}", browser.html);
            }
        }
        hides(&browser, &["149 USD"]);
    }
}

on_both! {
    async fn months_and_years_are_offered_and_what_is_held_is_not(database: Database) {
        let product = Product::start_with(database, sandbox()).await;
        let acme = register(&product, "Acme", json!({})).await;
        let mut browser = signed_in(&product, &acme).await;
        browser.go("/billing").await;
        shows(&browser, &["<strong>79 USD a month</strong>, or 790 USD a year", "/billing?interval=year#offers", "Choose Pro"]);
        hides(&browser, &["Your plan"]);
        browser.go("/billing?interval=year").await;
        shows(&browser, &["<strong>790 USD a year</strong>, or 79 USD a month"]);
        assert!(browser.form("/billing/bank-transfer").fields.contains(&("interval".into(), "year".into())));

        product.database.execute("update subscriptions set status = 'active', billing_interval = 'year'").await;
        browser.go("/billing").await;
        shows(&browser, &["<strong>790 USD a year</strong>", "Your plan", "Cancel at the period’s end"]);
        hides(&browser, &["Choose Pro"]);
        browser.go("/billing?interval=month").await;
        shows(&browser, &["Choose Pro"]);
        hides(&browser, &["Your plan"]);

        browser.go("/pricing").await;
        shows(&browser, &["Your plan", "href=\"/billing\">See your billing", "href=\"/billing#offers\">Choose Growth"]);
        hides(&browser, &["/billing/checkout"]);
        let product = Product::start_with(product.stop().await, sandbox().with("TENANTRY_BILLING__SANDBOX", "false")).await;
        product.database.execute("update subscriptions set status = 'trialing'").await;
        let mut browser = signed_in(&product, &acme).await;
        browser.go("/pricing").await;
        shows(&browser, &["Your plan", "href=\"/billing#offers\">Choose Growth"]);
        hides(&browser, &["/billing/checkout"]);
        browser.go("/billing").await;
        hides(&browser, &["/billing/checkout"]);
        shows(&browser, &["/billing/bank-transfer"]);
    }
}

on_both! {
    async fn an_order_that_is_sent_many_times_is_one_invoice(database: Database) {
        let product = Product::start_with(database, sandbox()).await;
        let acme = register(&product, "Acme", json!({"plan_slug": "free"})).await;
        let mut browser = signed_in(&product, &acme).await;
        browser.go("/billing?interval=year").await;
        let form = for_plan(&browser, "/billing/bank-transfer", "growth", "year");
        let mut others: Vec<_> = (0..6).map(|_| browser.clone()).collect();
        join_all(others.iter_mut().map(|other| other.send(&form))).await;
        for other in &others {
            assert_eq!((other.path.as_str(), other.status.as_u16()), ("/billing?done=ordered", 200), "{}", other.html);
            shows(other, &["The invoice is written", "790 USD"]);
        }
        assert_eq!(product.database.count("select count(*) as n from invoices").await, 1);
        assert_eq!(product.database.count("select count(*) as n from audit_events where action = 'plan.changed'").await, 1);
        // Another rendering of the form is another order.
        browser.go("/billing").await;
        browser.send(&for_plan(&browser, "/billing/bank-transfer", "growth", "month")).await;
        assert_eq!(product.database.count("select count(*) as n from invoices where status = 'open'").await, 1);
        assert_eq!(product.database.count("select count(*) as n from invoices").await, 2);
        browser.send(&for_plan(&browser, "/billing/bank-transfer", "free", "month")).await;
        assert_eq!((browser.path.as_str(), browser.status.as_u16()), ("/billing/bank-transfer", 409));
        shows(&browser, &["That did not work", "You are on this plan already."]);
        healthy(&product).await;
    }
}

on_both! {
    async fn the_free_plan_is_chosen_on_a_page_that_says_what_follows(database: Database) {
        let product = Product::start_with(database, sandbox()).await;
        let acme = register(&product, "Acme", json!({})).await;
        let mut browser = signed_in(&product, &acme).await;
        browser.go("/billing").await;
        shows(&browser, &["/billing/change?plan=free&amp;interval=month"]);
        browser.go("/billing/change?plan=free&interval=month").await;
        shows(&browser, &["Change to Free?", "<dd>Nothing</dd>", "Keep Pro"]);
        let form = browser.form("/billing/change-plan");
        for _ in 0..2 {
            browser.send(&form).await;
            assert_eq!((browser.path.as_str(), browser.status.as_u16()), ("/billing?done=changed", 200), "{}", browser.html);
            shows(&browser, &["The plan is changed", "Free, for as long as you like."]);
        }
        assert_eq!(product.database.count("select count(*) as n from audit_events where action = 'plan.changed'").await, 1);
        browser.send(&form.fill("key", "another")).await;
        assert_eq!((browser.path.as_str(), browser.status.as_u16()), ("/billing/change-plan", 409));
        shows(&browser, &["That did not work", "You are on this plan already."]);
        // What is held, and what is bought for the first time, is not changed there.
        for plan in ["free", "growth"] {
            browser.go(&format!("/billing/change?plan={plan}&interval=month")).await;
            assert_eq!(browser.path, "/billing", "{plan}");
        }
        browser.go("/billing/change?plan=dragon").await;
        assert_eq!(browser.status, 404);
    }
}

on_both! {
    async fn only_owners_and_admins_press_buttons(database: Database) {
        let product = Product::start_with(database, sandbox()).await;
        let acme = register(&product, "Acme", json!({})).await;
        let mut browser = signed_in(&product, &acme).await;
        browser.go("/billing").await;
        let form = browser.form("/billing/bank-transfer");
        for role in ["member", "viewer"] {
            product.database.execute(&format!("update memberships set role = '{role}'")).await;
            browser.go("/billing").await;
            shows(&browser, &["The owner and admins choose."]);
            hides(&browser, &["<form method=\"post\" action=\"/billing", "/billing/change?"]);
            for action in ["bank-transfer", "checkout", "change-plan", "cancel", "resume", "portal"] {
                browser.send(&FormOn { action: format!("/billing/{action}"), ..form.clone() }.fill("plan", "growth")).await;
                assert_eq!(browser.status, 403, "{role} {action}: {}", browser.html);
            }
            browser.go("/billing/change?plan=free").await;
            assert_eq!(browser.status, 403);
        }
        assert_eq!(product.database.count("select count(*) as n from invoices").await, 0);
        product.database.execute("update memberships set role = 'owner'").await;
        browser.send(&FormOn { action: "/billing/portal".into(), ..form.clone() }).await;
        assert_eq!(browser.status, 409, "who never was there has no portal: {}", browser.html);
        shows(&browser, &["That did not work"]);
        for action in ["cancel", "resume"] {
            browser.send(&FormOn { action: format!("/billing/{action}"), ..form.clone() }).await;
            assert_eq!(browser.status, 409, "nothing runs: {}", browser.html);
        }
        browser.send(&FormOn { action: "/billing/checkout".into(), ..form.clone() }.fill("plan", "growth")).await;
        shows(&browser, &["On to the payment page", "/sandbox/pay/"]);
        browser.send(&FormOn { action: "/billing/portal".into(), ..form }).await;
        shows(&browser, &["On to the payment page", "/sandbox/portal/"]);
    }
}

on_both! {
    async fn invoices_say_who_issues_them_and_where_to_pay_and_are_listed_by_page(database: Database) {
        let settings = sandbox().with("TENANTRY_BILLING__ISSUER", "Tenantry Inc.\n2 High Street").with("TENANTRY_BILLING__BANK_DETAILS", "IBAN GB00 TEST\nBIC TESTGB");
        let product = Product::start_with(database, settings).await;
        let acme = register(&product, "Acme", json!({"plan_slug": "growth", "payment_method": "bank_transfer"})).await;
        let mut browser = signed_in(&product, &acme).await;
        browser.go("/billing").await;
        shows(&browser, &["Waits for its payment"]);
        browser.send(&for_plan(&browser, "/billing/bank-transfer", "pro", "month")).await;
        let mails = product.mails().await;
        let mail = mails.iter().find(|mail| text(&mail["subject"]).starts_with("Invoice ")).expect("a mail");
        assert!(text(&mail["text"]).contains("IBAN GB00 TEST\nBIC TESTGB") && text(&mail["html"]).contains("IBAN GB00 TEST<br>BIC TESTGB"), "{mail}");
        let invoices = product.get_as(&acme.token, "/api/v1/billing/invoices").await.expect(200);
        browser.go(&format!("/billing/invoices/{}", text(&invoices["data"][0]["id"]))).await;
        shows(&browser, &["Tenantry Inc.<br>2 High Street", "IBAN GB00 TEST<br>BIC TESTGB", "Pay by bank transfer", "as its purpose"]);
        browser.go(&format!("/billing/invoices/{}", text(&invoices["data"][1]["id"]))).await;
        shows(&browser, &["Void"]);
        hides(&browser, &["IBAN"]);
        browser.go("/billing/invoices?limit=1").await;
        shows(&browser, &[&text(&invoices["data"][0]["number"]), "Show older ones"]);
        hides(&browser, &[&text(&invoices["data"][1]["number"])]);
        let older = browser.html.split("href=\"/billing/invoices?cursor=").nth(1).and_then(|rest| rest.split('"').next()).expect("a link").to_owned();
        browser.go(&format!("/billing/invoices?cursor={older}")).await;
        shows(&browser, &[&text(&invoices["data"][1]["number"])]);
        hides(&browser, &["Show older ones", &text(&invoices["data"][0]["number"])]);
    }
}
