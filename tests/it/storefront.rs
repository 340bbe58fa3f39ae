//! A tenant's public face, by slug and by hostname, in its own colours, whatever it calls itself.

use reqwest::Method;
use serde_json::json;

use crate::support::{Answer, Product, Settings, names, signup_body};

async fn at(product: &Product, host: &str, path: &str) -> Answer {
    product.call(Method::GET, path, None, None, &[("host", host)]).await
}

fn settings() -> Settings {
    Settings::default().with("TENANTRY_BASE_DOMAIN", "tenants.example")
}

on_both! {
    async fn it_opens_with_the_tenant(database: Database) {
        let product = Product::start_with(database, settings()).await;
        let visitor = product.visit("Acme", "starter").await;
        let brand = json!({"primary_color": "#AA0011", "secondary_color": "#00ff00", "logo_url": "https://cdn.example.com/a.png?x=1&y=\"2"});
        product.post_as(&visitor.token, "/public/signup/brand", &brand).await.expect(200);
        for closed in [product.get("/public/storefronts/acme").await, at(&product, "acme.tenants.example", "/").await, at(&product, "acme.tenants.example", "/tenant.css").await] {
            closed.expect_problem(404, "NOT_FOUND");
        }
        product.end(&visitor, "starter").await.expect(202);
        product.provisioned(&visitor.token, &visitor.tenant).await;

        let front = product.get("/public/storefronts/acme").await.expect(200);
        assert_eq!(names(&front), ["fixtures", "posts", "segments", "tenant"]);
        assert_eq!(names(&front["tenant"]), ["branding", "name", "slug"]);
        assert_eq!(front["tenant"]["branding"]["primary_color"], "#aa0011");
        let packages = front["segments"][0]["packages"].as_array().unwrap();
        assert_eq!((front["segments"].as_array().unwrap().len(), packages.len()), (1, 3));
        for package in packages {
            assert!(names(&package["price"]) == ["amount", "currency"] && package["description"].is_string());
        }
        for host in ["acme.tenants.example", "ACME.tenants.example:8080"] {
            let page = at(&product, host, "/").await;
            assert_eq!(page.status, 200);
            assert!(page.headers["content-type"].to_str().unwrap().starts_with("text/html"));
            for shown in [packages[0]["name"].as_str().unwrap(), front["posts"][0]["title"].as_str().unwrap(), front["fixtures"][0]["home_team"].as_str().unwrap(), "<h1>Acme</h1>"] {
                assert!(page.text.contains(shown), "{shown}: {}", page.text);
            }
            assert!(!page.text.contains("<style") && !page.text.contains(" style="), "{}", page.text);
            let css = at(&product, host, "/tenant.css").await;
            assert!(css.headers["content-type"].to_str().unwrap().starts_with("text/css"));
            assert!(css.text.contains("#aa0011") && css.text.contains("#00ff00"), "{}", css.text);
        }
        at(&product, "nobody.tenants.example", "/").await.expect_problem(404, "NOT_FOUND");
        assert!(at(&product, "tenants.example", "/").await.text.contains("Tenantry"));
        let nobodys = product.get("/tenant.css").await;
        assert_eq!((nobodys.status.as_u16(), nobodys.text.as_str()), (200, ""));

        product.database.execute("update tenants set status = 'suspended'").await;
        for closed in [product.get("/public/storefronts/acme").await, at(&product, "acme.tenants.example", "/").await] {
            closed.expect_problem(404, "NOT_FOUND");
        }
    }
}

on_both! {
    async fn a_tenants_name_is_text_wherever_it_stands(database: Database) {
        let product = Product::start_with(database, settings()).await;
        let name = "<script>alert(1)</script><img src=x onerror='x'>\"&";
        let mut body = signup_body("Evil", "free");
        body["tenant_name"] = json!(name);
        body["slug"] = json!("evil");
        let visitor: crate::support::Visitor = product.post("/public/signup/start", &body).await.expect(201).into();
        let brand = json!({"primary_color": "#000000", "logo_url": "https://x.example/\"onload=\"alert(1)"});
        product.post_as(&visitor.token, "/public/signup/brand", &brand).await.expect(200);
        product.end(&visitor, "free").await.expect(202);
        product.provisioned(&visitor.token, &visitor.tenant).await;
        let page = at(&product, "evil.tenants.example", "/").await;
        let mailbox = product.get("/dev/mailbox").await;
        for html in [&page.text, &mailbox.text] {
            assert!(!html.contains("<script") && !html.contains("<img src=x") && !html.contains("\"onload="), "{html}");
            assert!(html.contains("&#60;script&#62;") || html.contains("&lt;script&gt;"), "{html}");
        }
        let front = product.get("/public/storefronts/evil").await.expect(200);
        assert_eq!(front["tenant"]["name"], name, "JSON has it as it is");
        for mail in product.mails().await {
            assert!(!mail["html"].as_str().unwrap().contains("<script"), "{mail}");
        }
    }
}

on_both! {
    async fn tenants_see_their_own_rows_alone(database: Database) {
        let product = Product::start_with(database, settings()).await;
        product.settle("One", "free").await;
        product.settle("Two", "free").await;
        product.database.execute("update packages set name = 'Only of One' where tenant_id = (select id from tenants where slug = 'one')").await;
        let two = product.get("/public/storefronts/two").await.expect(200).to_string();
        assert!(!two.contains("Only of One"));
        assert_eq!(at(&product, "one.tenants.example", "/").await.text.matches("Only of One").count(), 3);
        assert!(!at(&product, "two.tenants.example", "/").await.text.contains("Only of One"));
    }
}
