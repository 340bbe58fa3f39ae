//! Pages that anybody can open, and what holds on every page.

use std::collections::BTreeMap;

use reqwest::StatusCode;
use sea_orm::FromQueryResult;
use serde_json::json;

use crate::support::{ADMIN_TOKEN, Browser, FormOn, Product, Settings};

on_both! {
    async fn pricing_offers_every_public_plan(database: Database) {
        let product = Product::start(database).await;
        product.database.execute("update plans set is_public = false where slug = 'growth'").await;
        product.database.execute("update plans set price_amount = 2950, name = 'Starter & more' where slug = 'starter'").await;
        let mut browser = Browser::new(&product);
        browser.go("/pricing").await;
        let plans = product.get("/public/plans").await.expect(200)["data"].as_array().unwrap().clone();
        assert_eq!(browser.html.matches("<h2>").count(), plans.len());
        for plan in &plans {
            let slug = plan["slug"].as_str().unwrap();
            let name = plan["name"].as_str().unwrap().replace('&', "&#38;");
            assert!(browser.html.contains(&format!("<h2>{name}</h2>")), "{name}: {}", browser.html);
            let sign_up = browser.html.contains(&format!("href=\"/onboarding?plan={slug}\""));
            assert_eq!(sign_up, plan["contact_sales"] == false, "{slug}");
        }
        for shown in ["29.50 <small>USD a month", "href=\"/contact-sales\"", "begins with 14 days free", "50,000 credits", "<span>1 user</span>", "<span>25 sites</span>", "<span>Unlimited sectors per site</span>"] {
            assert!(browser.html.contains(shown), "{shown}: {}", browser.html);
        }
        assert!(!browser.html.contains("growth"));

        browser.go("/onboarding?plan=pro").await;
        assert!(browser.form("/onboarding").fields.contains(&("plan".into(), "pro".into())));
        let product = Product::start_with(product.stop().await, Settings::default().with("TENANTRY_BILLING__TRIAL_DAYS", "0")).await;
        let mut browser = Browser::new(&product);
        browser.go("/pricing").await;
        assert!(!browser.html.contains("days free") && browser.html.contains("<td class=\"end\">None</td>"), "{}", browser.html);
    }
}

#[derive(Debug, PartialEq, FromQueryResult)]
struct Lead {
    email: String,
    name: String,
    company: String,
    team_size: Option<String>,
    message: Option<String>,
}

on_both! {
    async fn what_is_written_to_sales_is_noted_once(database: Database) {
        let product = Product::start(database).await;
        let mut browser = Browser::new(&product);
        browser.go("/contact-sales").await;
        let message = "\nWe are <many> & \"quoted\".\n\nDo you have room?";
        let form = browser.form("/contact-sales").fill("email", "ada@").fill("name", "").fill("company", "Acme <Ltd>").fill("team_size", "0").fill("message", message);
        browser.send(&form).await;
        assert_eq!(browser.status, StatusCode::UNPROCESSABLE_ENTITY);
        for shown in ["3 things need another look", "href=\"#email\"", "href=\"#name\">Name is needed.</a>", "href=\"#team_size\"", "id=\"errors\" role=\"alert\" tabindex=\"-1\""] {
            assert!(browser.html.contains(shown), "{shown}: {}", browser.html);
        }
        let again = browser.form("/contact-sales");
        for (name, value) in [("email", "ada@"), ("name", ""), ("company", "Acme <Ltd>"), ("team_size", "0"), ("message", message.trim())] {
            let kept = again.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.trim());
            assert_eq!(kept, Some(value), "{name}");
        }
        let leads = "select email, name, company, team_size, message from sales_leads";
        assert!(product.database.all::<Lead>(leads).await.is_empty());

        let form = again.fill("email", "Ada@Example.com").fill("name", "Ada").fill("team_size", "11-50");
        for _ in 0..2 {
            browser.send(&form).await;
            assert_eq!((browser.path.as_str(), browser.status), ("/contact-sales/thanks", StatusCode::OK), "{}", browser.html);
        }
        browser.send_with(&form, &[("sec-fetch-site", "cross-site")]).await;
        assert_eq!(browser.status, StatusCode::FORBIDDEN);
        let text = |text: &str| text.to_owned();
        let noted = Lead { email: text("ada@example.com"), name: text("Ada"), company: text("Acme <Ltd>"), team_size: Some(text("11-50")), message: Some(text(message.trim())) };
        assert_eq!(product.database.all::<Lead>(leads).await, [noted]);

        // Somebody who writes again writes again; what is left empty stays empty.
        browser.go("/contact-sales").await;
        browser.send(&browser.form("/contact-sales").fill("email", "bob@example.com").fill("name", "Bob").fill("company", "B").fill("team_size", " 12 ")).await;
        let all = product.database.all::<Lead>(leads).await;
        assert_eq!((all.len(), all[1].team_size.as_deref(), &all[1].message), (2, Some("12"), &None));
    }
}

on_both! {
    async fn the_mailbox_is_emptied_by_its_button(database: Database) {
        let settings = Settings::default().with("TENANTRY_SECRET_KEY", "a secret of at least 32 characters");
        let product = Product::start_with(database, settings.clone()).await;
        product.visit("Acme", "free").await;
        let mut browser = Browser::new(&product);
        browser.go("/dev/mailbox").await;
        assert!(browser.html.contains("acme@example.com") && browser.html.contains(">Open verify-email<"), "{}", browser.html);
        let form = browser.form("/dev/mailbox/empty");
        browser.send_with(&form, &[("sec-fetch-site", "cross-site")]).await;
        assert_eq!((browser.status, product.mails().await.len()), (StatusCode::FORBIDDEN, 1));
        browser.send(&form).await;
        assert_eq!((browser.path.as_str(), product.mails().await.len()), ("/dev/mailbox", 0));
        assert!(browser.html.contains("No mail yet") && !browser.html.contains("/dev/mailbox/empty"), "{}", browser.html);

        let product = Product::start_with(product.stop().await, settings.with("TENANTRY_ENVIRONMENT", "preview")).await;
        let mut browser = Browser::new(&product);
        browser.go("/signin").await;
        browser.send(&FormOn { action: form.action, ..browser.form("/signin") }).await;
        assert_eq!(browser.status, StatusCode::NOT_FOUND);
        browser.go("/").await;
        assert!(!browser.html.contains("/dev/mailbox"), "{}", browser.html);
    }
}

on_both! {
    async fn every_page_is_sound(database: Database) {
        let product = Product::start_with(database, Settings::default().with("TENANTRY_BASE_DOMAIN", "tenants.example")).await;
        let visitor = product.settle("Acme", "pro").await;
        product.post("/api/v1/auth/magic-link", &json!({"email": visitor.email})).await.expect(202);
        let mut titles = Titles::default();
        let mut browser = Browser::new(&product);
        for path in ["/", "/pricing", "/contact-sales", "/contact-sales/thanks", "/onboarding", "/signin", "/forgot-password", "/reset-password?token=x", "/dev/mailbox", "/admin/signin", "/nothing/here", "/magic-link", "/verify-email?token=x"] {
            browser.go(path).await;
            titles.check(path, &browser);
        }
        browser.send(&browser.form("/verify-email")).await;
        titles.check("a link that does not work", &browser);
        browser.go("/signin").await;
        browser.send(&browser.form("/signin").fill("email", "x").fill("link", "1")).await;
        titles.check("a refused address", &browser);
        browser.send(&browser.form("/signin").fill("email", "x@example.com").fill("link", "1")).await;
        titles.check("a link that was sent", &browser);
        browser.go("/contact-sales").await;
        let form = browser.form("/contact-sales");
        browser.send(&form).await;
        titles.check("a refused message", &browser);
        browser.send(&form.fill("csrf", "")).await;
        titles.check("a form from elsewhere", &browser);
        browser.go("/dev/mailbox").await;
        browser.send(&browser.form("/dev/mailbox/empty")).await;
        titles.0.remove("Mailbox · Tenantry");
        titles.check("an empty mailbox", &browser);

        browser.go("/admin/signin").await;
        browser.send(&browser.form("/admin/signin").fill("token", "wrong")).await;
        titles.check("a wrong token", &browser);
        browser.send(&browser.form("/admin/signin").fill("token", ADMIN_TOKEN)).await;
        for path in ["/admin", "/admin/onboard", "/admin/tenants/acme"] {
            browser.go(path).await;
            titles.check(path, &browser);
        }
        browser.go("/admin/onboard").await;
        browser.send(&browser.form("/admin/onboard")).await;
        titles.check("a refused onboarding", &browser);
        let front = product.call(reqwest::Method::GET, "/", None, None, &[("host", "acme.tenants.example")]).await;
        titles.check_html("the tenant's page", &front.text);
    }
}

/// Titles by the pages that have them.
#[derive(Default)]
struct Titles(BTreeMap<String, String>);

impl Titles {
    fn check(&mut self, page: &str, browser: &Browser<'_>) {
        assert!(!browser.status.is_server_error(), "{page}: {}", browser.html);
        self.check_html(page, &browser.html);
    }

    /// What screen readers and the content security policy ask of every page, and a title that no other has.
    fn check_html(&mut self, page: &str, html: &str) {
        assert!(html.starts_with("<!doctype html>\n<html lang=\"en\">"), "{page}: {html}");
        for (once, what) in [
            ("<h1", "heading"),
            ("<title>", "title"),
            ("<main id=\"main\"", "main part"),
            ("href=\"#main\"", "way past the navigation"),
        ] {
            assert_eq!(html.matches(once).count(), 1, "{page}: {what} in {html}");
        }
        for never in ["<style", " style=\"", " onclick=", "<script>", "javascript:", "href=\"\""] {
            assert!(!html.contains(never), "{page}: {never} in {html}");
        }
        for script in html.split("<script").skip(1) {
            assert!(script.starts_with(" type=\"module\" src=\"/assets/"), "{page}: {script}");
        }
        let title = html.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next()).unwrap_or_default();
        let ids: Vec<_> = html.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        for (at, id) in ids.iter().enumerate() {
            assert!(!ids[..at].contains(id), "{page}: two elements are called {id}");
        }
        let other = self.0.insert(title.to_owned(), page.to_owned());
        assert_eq!(other, None, "{page} is called {title}, too");
    }
}
