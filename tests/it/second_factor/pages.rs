//! The second factor's pages, by forms alone.

use serde_json::json;
use totp_rs::Totp;

use super::{AUTH, EMAIL, PASSWORD};
use crate::support::{Browser, Product};

on_both! {
    async fn in_a_browser_by_forms_alone(database: Database) {
        const HOME: &str = "/settings/second-factor";
        let product = Product::start(database).await;
        product.settle("Acme", "free").await;
        product.prove(EMAIL).await;
        let mut browser = Browser::new(&product);
        browser.go(HOME).await;
        assert_eq!(browser.path, "/signin");
        browser.send(&browser.form("/signin").fill("email", EMAIL).fill("password", PASSWORD)).await;
        assert_eq!(browser.path, "/dashboard");

        browser.go(HOME).await;
        browser.send(&browser.form(&format!("{HOME}/set-up"))).await;
        assert_eq!(browser.path, format!("{HOME}/set-up"));
        assert!(browser.html.contains("<svg xmlns") && !browser.html.contains("<?xml"), "{}", browser.html);
        let secret = browser.html.split("<code class=\"secret\">").nth(1).unwrap().split('<').next().unwrap().replace(' ', "");
        let app = Totp::from_url(format!("otpauth://totp/x?secret={secret}")).unwrap();
        let code = || {
            let at = product.app.clock.advance(chrono::TimeDelta::seconds(30)).at.timestamp();
            app.generate(u64::try_from(at).unwrap()).to_string()
        };
        let confirm = format!("{HOME}/confirm");
        browser.send(&browser.form(&confirm).fill("totp", "no code")).await;
        assert_eq!(browser.status, 401);
        assert!(browser.html.contains("That code did not work"), "{}", browser.html);
        let form = browser.form(&confirm).fill("totp", &code());
        browser.send(&form).await;
        let codes = |browser: &Browser| -> Vec<String> {
            let rows = browser.html.split("<li><code>").skip(1);
            rows.map(|row| row.split('<').next().unwrap().to_owned()).collect()
        };
        let shown = codes(&browser);
        assert_eq!(shown.len(), 10);
        // A double click loses none of them.
        browser.send(&form).await;
        assert_eq!(codes(&browser), shown);
        browser.go(HOME).await;
        assert!(browser.html.contains("10 are left."), "{}", browser.html);

        let mut other = Browser::new(&product);
        other.go("/signin/code").await;
        assert_eq!(other.path, "/signin");
        let sign_in = async |browser: &mut Browser<'_>| {
            browser.go("/signin").await;
            browser.send(&browser.form("/signin").fill("email", EMAIL).fill("password", PASSWORD)).await;
            assert_eq!((browser.path.as_str(), browser.cookie("tenantry_session")), ("/signin/code", None));
        };
        sign_in(&mut other).await;
        other.go("/dashboard").await;
        assert_eq!(other.path, "/signin");
        other.go("/signin/code").await;
        other.send(&other.form("/signin/code").fill("totp", "000")).await;
        assert_eq!((other.status.as_u16(), other.cookie("tenantry_session")), (401, None));
        other.send(&other.form("/signin/code").fill("totp", &code())).await;
        assert_eq!((other.path.as_str(), other.cookie("tenantry_pending")), ("/dashboard", None));

        let mut other = Browser::new(&product);
        sign_in(&mut other).await;
        other.go("/signin/code?recovery=1").await;
        other.send(&other.form("/signin/code").fill("totp", "wrong")).await;
        assert!(other.html.contains("<h1>Use a recovery code</h1>"), "{}", other.html);
        other.send(&other.form("/signin/code").fill("totp", &shown[0])).await;
        assert_eq!(other.path, "/dashboard");

        // By a mailed link, too.
        let mut other = Browser::new(&product);
        product.post(&format!("{AUTH}/magic-link"), &json!({"email": EMAIL})).await.expect(202);
        other.go(&format!("/magic-link?token={}", product.secret(EMAIL, "/magic-link").await)).await;
        other.send(&other.form("/magic-link")).await;
        assert_eq!((other.path.as_str(), other.cookie("tenantry_session")), ("/signin/code", None));
        let late = other.form("/signin/code").fill("totp", &shown[1]);
        product.advance(600).await;
        other.send(&late).await;
        assert_eq!(other.status, 410);
        assert!(other.html.contains("That took too long"), "{}", other.html);

        let renew = format!("{HOME}/recovery-codes");
        browser.go(&renew).await;
        browser.send(&browser.form(&renew).fill("totp", &code())).await;
        assert!(codes(&browser).len() == 10 && codes(&browser) != shown);
        let fresh = codes(&browser);
        let off = format!("{HOME}/switch-off");
        browser.go(&off).await;
        browser.send(&browser.form(&off).fill("totp", &shown[2])).await;
        assert_eq!(browser.status, 401);
        browser.send(&browser.form(&off).fill("totp", &fresh[0])).await;
        assert_eq!(browser.path, HOME);
        browser.go(&off).await;
        assert_eq!(browser.path, HOME);
        // It was opened too long ago to set a new one up, which would lock its user out.
        assert!(browser.html.contains("Sign in again") && !browser.html.contains("Set it up"), "{}", browser.html);
    }
}
