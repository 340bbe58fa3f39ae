//! A provider is a first factor like any other.

use serde_json::json;
use totp_rs::Totp;

use super::{Traveller, ada};
use crate::support::{Browser, Product, Provider};

const TOTP: &str = "/api/v1/auth/totp";

on_both! {
    async fn a_provider_does_not_get_around_it(database: Database) {
        let idp = Provider::start();
        let product = Product::start_with(database, idp.settings("google")).await;
        idp.next(ada()).await;
        let tokens = Traveller::new(&product).journey(&idp, "google", "").await.expect(200);
        let access = tokens["access_token"].as_str().unwrap();
        let made = product.post_as(access, &format!("{TOTP}/setup"), &json!({})).await.expect(201);
        let app = Totp::from_url(made["otpauth_url"].as_str().unwrap()).unwrap();
        let code = || {
            let at = product.app.clock.advance(chrono::TimeDelta::seconds(30)).at.timestamp();
            app.generate(u64::try_from(at).unwrap()).to_string()
        };
        product.post_as(access, &format!("{TOTP}/confirm"), &json!({"totp": code()})).await.expect(200);

        idp.next(ada()).await;
        let waiting = Traveller::new(&product).journey(&idp, "google", "").await.expect_problem(401, "TOTP_REQUIRED");
        let body = json!({"pending_token": waiting["pending_token"], "totp": code()});
        product.post(&format!("{TOTP}/verify"), &body).await.expect(200);
        let told = "select count(*) as n from audit_events where action = 'session.opened' \
                    and cast(detail as text) like '%oauth:google%'";
        assert_eq!(product.database.count(told).await, 1);

        idp.next(ada()).await;
        let mut traveller = Traveller::new(&product);
        let url = traveller.set_off("google", "?redirect_to=/pricing").await;
        let back = idp.agree(&url).await;
        let arrived = traveller.get(&back, "text/html").await;
        assert_eq!((arrived.status.as_u16(), &arrived.headers["location"]), (302, &"/signin/code".parse().unwrap()));
        assert!(!traveller.cookies.contains_key("tenantry_session"));
        let mut browser = Browser::new(&product);
        browser.set_cookie("tenantry_pending", traveller.cookies.get("tenantry_pending").map(String::as_str));
        browser.go("/signin/code").await;
        browser.send(&browser.form("/signin/code").fill("totp", &code())).await;
        assert_eq!(browser.path, "/pricing", "where it was going");
        browser.go("/dashboard").await;
        assert_eq!(browser.path, "/dashboard");
    }
}
