//! The API itself: who may call, how it refuses, how it pages, and how it recognises a repeat.

use futures_util::future::join_all;
use reqwest::Method;

use super::*;

on_both! {
    async fn only_our_key_opens_it_and_only_on_our_hostnames(database: Database) {
        let stripe = Stripe::start(database).await;
        let product = &stripe.product;
        for token in [None, Some("sk_test_wrong"), Some("")] {
            let refused = product.call(Method::GET, "/v1/customers", token, None, &[]).await;
            assert!(refused.headers.contains_key("www-authenticate"));
            let body = refused.expect(401);
            assert_eq!(body["error"]["type"], "invalid_request_error", "{body}");
        }
        let basic = product.request(Method::GET, "/v1/customers").basic_auth(&stripe.key, Some(""));
        answer(basic).await.expect(200);
        let theirs = product.call(Method::GET, "/v1/customers", Some(&stripe.key), None, &[("host", "acme.localhost")]).await;
        theirs.expect_problem(404, "NOT_FOUND");
        let called = stripe.call(Method::GET, "customers", &[], &[("stripe-version", "2020-08-27")]).await;
        assert_eq!(called.headers["stripe-version"], "2020-08-27");
        assert!(called.headers["request-id"].to_str().unwrap().starts_with("req_"));
        assert!(!product.get("/docs/openapi.json").await.text.contains("\"/v1/"));
    }
}

on_both! {
    async fn where_it_is_off_nothing_of_it_is_there(database: Database) {
        let product = Product::start_with(database, Settings::default().with("TENANTRY_BILLING__SANDBOX", "false")).await;
        for path in ["/v1/customers", "/dev/sandbox.json", "/sandbox/pay/cs_test_1", "/sandbox/portal/bps_1", "/sandbox/invoices/in_1"] {
            product.get(path).await.expect_problem(404, "NOT_FOUND");
        }
        product.post("/dev/sandbox/faults", &json!({})).await.expect_problem(404, "NOT_FOUND");
    }
}

/// Status, method, path and fields of a call, and the code and parameter of its refusal.
type Case<'a> = (u16, Method, &'a str, &'a [(&'a str, &'a str)], &'a str, &'a str);

on_both! {
    async fn what_it_does_not_know_is_refused_by_its_name(database: Database) {
        let stripe = Stripe::start(database).await;
        let cases: [Case<'_>; 9] = [
            (400, Method::POST, "customers", &[("colour", "red")], "parameter_unknown", "colour"),
            (400, Method::POST, "products", &[], "parameter_missing", "name"),
            (400, Method::POST, "prices", &[("currency", "usd"), ("unit_amount", "-5")], "", "unit_amount"),
            (404, Method::GET, "customers/cus_nobody", &[], "resource_missing", "id"),
            (404, Method::GET, "prices/price_nothing_month_1", &[], "resource_missing", "id"),
            (400, Method::POST, "subscriptions", &[("customer", "cus_nobody")], "resource_missing", "customer"),
            (400, Method::GET, "customers", &[("limit", "1000")], "", "limit"),
            (400, Method::GET, "customers", &[("starting_after", "cus_nobody")], "resource_missing", "starting_after"),
            (400, Method::POST, "customers", &[("expand[]", "colour")], "", "expand"),
        ];
        for (status, method, path, fields, code, param) in cases {
            let error = stripe.refused(status, method, path, fields).await;
            assert_eq!(error["type"], "invalid_request_error", "{error}");
            assert_eq!((error["code"].as_str().unwrap_or_default(), text(&error["param"])), (code, param), "{error}");
            assert!(!text(&error["message"]).is_empty());
        }
        for (method, path) in [(Method::POST, "charges"), (Method::GET, "charges"), (Method::DELETE, "products/prod_pro")] {
            let error = stripe.refused(404, method, path, &[]).await;
            assert!(text(&error["message"]).starts_with("Unrecognized request URL"), "{error}");
        }
        assert_eq!(stripe.get("customers", &[]).await["data"], json!([]), "nothing is left of what was refused");
    }
}

on_both! {
    async fn lists_are_paged_both_ways_and_filtered(database: Database) {
        let stripe = Stripe::start(database).await;
        let mut made = Vec::new();
        for n in 0..7 {
            let email = format!("{}@example.com", n % 2);
            made.push(text(&stripe.post("customers", &[("email", &email)]).await["id"]).to_owned());
        }
        let ids = |list: &Value| -> Vec<String> {
            list["data"].as_array().unwrap().iter().map(|it| text(&it["id"]).to_owned()).collect()
        };
        let newest: Vec<_> = made.iter().rev().cloned().collect();
        let first = stripe.get("customers", &[("limit", "3")]).await;
        assert_eq!((ids(&first), &first["has_more"]), (newest[..3].to_vec(), &json!(true)));
        assert_eq!(first["url"], "/v1/customers");
        let second = stripe.get("customers", &[("limit", "3"), ("starting_after", &newest[2])]).await;
        assert_eq!((ids(&second), &second["has_more"]), (newest[3..6].to_vec(), &json!(true)));
        let last = stripe.get("customers", &[("limit", "3"), ("starting_after", &newest[5])]).await;
        assert_eq!((ids(&last), &last["has_more"]), (newest[6..].to_vec(), &json!(false)));
        let back = stripe.get("customers", &[("limit", "3"), ("ending_before", &newest[6])]).await;
        assert_eq!((ids(&back), &back["has_more"]), (newest[3..6].to_vec(), &json!(true)));
        let odd = stripe.get("customers", &[("email", "1@example.com"), ("limit", "2")]).await;
        assert_eq!((ids(&odd), &odd["has_more"]), (vec![made[5].clone(), made[3].clone()], &json!(true)));
        stripe.call(Method::DELETE, &format!("customers/{}", made[6]), &[], &[]).await.expect(200);
        assert!(!ids(&stripe.get("customers", &[]).await).contains(&made[6]));
        assert_eq!(stripe.get(&format!("customers/{}", made[6]), &[]).await["deleted"], true);
        let none = stripe.get("events", &[("types[]", "customer.deleted"), ("created[gt]", "99999999999")]).await;
        assert_eq!(none["data"], json!([]));
        let events = stripe.get("events", &[("types[0]", "customer.deleted")]).await;
        assert_eq!(events["data"][0]["data"]["object"]["id"], made[6].as_str());
    }
}

on_both! {
    async fn a_repeat_under_a_key_is_answered_what_the_first_was(database: Database) {
        let stripe = Stripe::start(database).await;
        let key = [("idempotency-key", "k1")];
        let call = async |fields: &[(&str, &str)]| stripe.call(Method::POST, "customers", fields, &key).await;
        let first = call(&[("email", "a@example.com")]).await;
        let again = call(&[("email", "a@example.com")]).await;
        assert_eq!(again.headers["idempotent-replayed"], "true");
        assert!(!first.headers.contains_key("idempotent-replayed"));
        assert_eq!(first.expect(200), again.expect(200));
        let other = call(&[("email", "b@example.com")]).await.expect(400);
        assert_eq!(other["error"]["type"], "idempotency_error");
        let events = stripe.get("events", &[]).await;
        assert_eq!(events["data"][0]["request"]["idempotency_key"], "k1");

        // A refusal after the work had begun is kept; one before it is not.
        let customer = stripe.post("customers", &[]).await;
        let fields = [("customer", text(&customer["id"]))];
        let attach = "payment_methods/pm_card_chargeDeclined/attach";
        for replayed in [false, true] {
            let refused = stripe.call(Method::POST, attach, &fields, &[("idempotency-key", "k2")]).await;
            assert_eq!(refused.headers.contains_key("idempotent-replayed"), replayed);
            refused.expect(402);
        }
        stripe.call(Method::POST, "products", &[], &[("idempotency-key", "k3")]).await.expect(400);
        stripe.call(Method::POST, "products", &[("name", "P")], &[("idempotency-key", "k3")]).await.expect(200);

        stripe.advance(TimeDelta::hours(25)).await;
        let late = call(&[("email", "b@example.com")]).await;
        assert_eq!(late.expect(200)["email"], "b@example.com", "a key is forgotten after a day");
    }
}

on_both! {
    async fn sixteen_at_once_under_one_key_do_it_once(database: Database) {
        let stripe = Stripe::start(database).await;
        let call = || stripe.call(Method::POST, "customers", &[("email", "a@example.com")], &[("idempotency-key", "k")]);
        let answers = join_all((0..16).map(|_| call())).await;
        let mut ids = Vec::new();
        for answer in answers {
            match answer.status.as_u16() {
                200 => ids.push(text(&answer.body["id"]).to_owned()),
                409 => assert_eq!(answer.body["error"]["code"], "idempotency_key_in_use"),
                _ => panic!("{}", answer.text),
            }
        }
        assert!(!ids.is_empty());
        ids.dedup();
        assert_eq!(ids.len(), 1);
        let list = stripe.get("customers", &[]).await;
        assert_eq!(list["data"].as_array().map(Vec::len), Some(1));
        assert_eq!(stripe.events().await, ["customer.created"]);
    }
}

on_both! {
    async fn changes_at_once_come_one_after_the_other_and_none_is_lost(database: Database) {
        let stripe = Stripe::start(database).await;
        let customer = stripe.customer("pm_card_visa").await;
        let path = format!("customers/{customer}");
        join_all((0..16).map(async |n| stripe.post(&path, &[(format!("metadata[k{n}]").as_str(), "1")]).await)).await;
        let metadata = stripe.get(&path, &[]).await["metadata"].clone();
        assert_eq!(metadata.as_object().map(serde_json::Map::len), Some(16), "{metadata}");
        let twice = "select count(*) as n from (select sequence from sandbox_objects group by sequence having count(*) > 1) t";
        assert_eq!(stripe.product.database.count(twice).await, 0);
        let highest = "select count(*) as n from sandbox_objects where sequence > (select last_number from sandbox_counter)";
        assert_eq!(stripe.product.database.count(highest).await, 0);
    }
}
