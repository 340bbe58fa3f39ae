//! Buying: one session at a time, and one subscription.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{CHECKOUT, Tenant, buy, deliver, form, model::Fault, register, start, start_idle, text};
use crate::support::{Answer, Product, Settings, eventually, healthy, names};

async fn ask(product: &Product, tenant: &Tenant, plan: &str, interval: &str) -> Answer {
    product.post_as(&tenant.token, CHECKOUT, &json!({"plan_slug": plan, "interval": interval})).await
}

on_both! {
    async fn a_trial_becomes_what_is_bought(database: Database) {
        let (product, stripe) = start(database).await;
        let acme = register(&product, "Acme").await;
        let session = ask(&product, &acme, "scale", "year").await.expect(201);
        assert_eq!(names(&session), ["id", "url"]);
        let asked = &stripe.calls("POST /v1/checkout/sessions")[0];
        for (name, value) in [
            ("mode", "subscription"),
            ("client_reference_id", acme.id.as_str()),
            ("line_items[0][price]", "price_y_scale"),
            ("success_url", "http://localhost:8080/billing?checkout=done"),
            ("cancel_url", "http://localhost:8080/billing"),
        ] {
            assert_eq!(asked.fields[name], value, "{name}");
        }
        assert_eq!(asked.version.as_deref(), Some("2025-03-31.basil"));
        assert_eq!(asked.authorization.as_deref(), Some("Bearer sk_test_of_these_tests"));
        assert!(asked.key.is_some());

        stripe.pay(&text(&session["id"]));
        for event in stripe.take_events() {
            deliver(&product, &event).await.expect(200);
        }
        let active = "select count(*) as n from subscriptions s join plans p on p.id = s.plan_id where s.status = 'active' and p.slug = 'scale' \
                      and s.billing_interval = 'year' and s.next_grant_at > s.current_period_start";
        eventually("it is bought", async || product.database.count(active).await == 1).await;
        let paid = "select count(*) as n from invoices i join invoice_lines l on l.invoice_id = i.id where i.issuer = 'stripe' and i.status = 'paid' \
                    and i.total = 399000 and i.currency = 'USD' and i.billing_name = 'Acme, as Stripe knows it' and l.amount = 399000 and i.plan_id is not null";
        assert_eq!(product.database.count(paid).await, 1);
        let card = "select count(*) as n from payment_methods where is_default and method_type = 'stripe' and brand = 'visa' and exp_year = 2040";
        assert_eq!(product.database.count(card).await, 1);
        assert_eq!(product.database.count("select balance as n from credit_balances").await, 250_000);
        assert_eq!(product.database.count("select count(*) as n from checkouts").await, 0);
        eventually("every event is done with", async || {
            product.database.count("select count(*) as n from stripe_events where status <> 'processed'").await == 0
        }).await;
        let changed = "select count(*) as n from audit_events where action in ('checkout.opened', 'subscription.changed')";
        assert_eq!(product.database.count(changed).await, 2);
        ask(&product, &acme, "pro", "month").await.expect_problem(409, "ALREADY_SUBSCRIBED");
        healthy(&product).await;
    }
}

on_both! {
    async fn what_cannot_be_bought_is_refused(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let acme = register(&product, "Acme").await;
        for (body, status, code) in [
            (json!({"plan_slug": "nope"}), 422, "VALIDATION_FAILED"),
            (json!({"plan_slug": "pro", "interval": "week"}), 422, "VALIDATION_FAILED"),
            (json!({}), 422, "VALIDATION_FAILED"),
            (json!({"plan_slug": "free"}), 422, "PLAN_NOT_SELF_SERVE"),
            (json!({"plan_slug": "enterprise"}), 422, "PLAN_NOT_SELF_SERVE"),
        ] {
            product.post_as(&acme.token, CHECKOUT, &body).await.expect_problem(status, code);
        }
        product.database.execute("update plans set yearly_amount = null where slug = 'pro'").await;
        let refused = ask(&product, &acme, "pro", "year").await.expect_problem(422, "VALIDATION_FAILED");
        assert_eq!(refused["errors"][0]["field"], "interval");
        product.database.execute("update plan_billing set stripe_price_monthly = null").await;
        ask(&product, &acme, "pro", "month").await.expect_problem(503, "BILLING_NOT_CONFIGURED");
        product.post(CHECKOUT, &json!({"plan_slug": "pro"})).await.expect_problem(401, "UNAUTHENTICATED");
        product.database.execute("update memberships set role = 'member'").await;
        ask(&product, &acme, "pro", "month").await.expect_problem(403, "FORBIDDEN");
        assert_eq!(stripe.calls("POST").len(), 0, "nothing was asked of Stripe");
    }
}

on_both! {
    async fn without_stripe_nothing_can_be_bought(database: Database) {
        let settings = Settings::default().with("TENANTRY_BILLING__SANDBOX", "false");
        let product = Product::start_with(database, settings).await;
        let acme = register(&product, "Acme").await;
        ask(&product, &acme, "pro", "month").await.expect_problem(503, "BILLING_NOT_CONFIGURED");
        for path in ["portal-session", "cancel", "resume"] {
            let asked = product.post_as(&acme.token, &format!("/api/v1/billing/{path}"), &json!({})).await;
            assert!([409, 503].contains(&asked.status.as_u16()), "{path}: {}", asked.text);
        }
    }
}

on_both! {
    async fn sixteen_tabs_open_one_session(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let acme = register(&product, "Acme").await;
        let answers = join_all((0..16).map(|_| ask(&product, &acme, "pro", "month"))).await;
        let first = &answers[0].body["id"];
        for answer in &answers {
            assert_eq!((answer.status.as_u16(), &answer.body["id"]), (201, first), "{}", answer.text);
        }
        let open: Vec<_> = stripe.all("checkout.session").into_iter().filter(|session| session["status"] == "open").collect();
        assert_eq!((open.len(), &open[0]["id"]), (1, first), "the others are ended");
        assert_eq!(stripe.all("customer").len(), 1, "one customer");
        assert_eq!(&ask(&product, &acme, "pro", "month").await.expect(201)["id"], first, "and later the same");
    }
}

on_both! {
    async fn sixteen_tabs_for_several_plans_leave_one_session_open(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let acme = register(&product, "Acme").await;
        let plans = ["starter", "growth", "pro", "scale"];
        let answers = join_all((0..16).map(|tab| ask(&product, &acme, plans[tab % 4], "month"))).await;
        for answer in &answers {
            let told = (answer.status.as_u16(), answer.body["code"].as_str().unwrap_or_default());
            assert!([(201, ""), (409, "CHECKOUT_IN_PROGRESS"), (503, "SERVICE_UNAVAILABLE")].contains(&told), "{}", answer.text);
        }
        let open: Vec<_> = stripe.all("checkout.session").into_iter().filter(|session| session["status"] == "open").collect();
        let kept = format!("select count(*) as n from checkouts where session_id = '{}'", text(&open[0]["id"]));
        assert_eq!((open.len(), product.database.count(&kept).await), (1, 1));
    }
}

on_both! {
    async fn another_plan_ends_the_session_before(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let acme = register(&product, "Acme").await;
        let first = ask(&product, &acme, "pro", "month").await.expect(201);
        let second = ask(&product, &acme, "pro", "year").await.expect(201);
        assert_ne!(first["id"], second["id"]);
        let status = |session: &Value| stripe.world().objects[session["id"].as_str().unwrap()]["status"].clone();
        assert_eq!((status(&first), status(&second)), (json!("expired"), json!("open")));
        // A session that has ended by itself is replaced.
        stripe.world().set(second["id"].as_str().unwrap(), &json!({"status": "expired"}));
        let third = ask(&product, &acme, "pro", "year").await.expect(201);
        assert_ne!(third["id"], second["id"]);
        // Paid, and the event is late: it is looked up, and nothing can be bought twice.
        stripe.pay(third["id"].as_str().unwrap());
        ask(&product, &acme, "pro", "year").await.expect_problem(409, "ALREADY_SUBSCRIBED");
        ask(&product, &acme, "scale", "year").await.expect_problem(409, "ALREADY_SUBSCRIBED");
        assert_eq!(product.database.count("select count(*) as n from subscriptions where status = 'active'").await, 1);
        assert_eq!(stripe.all("subscription").len(), 1);
    }
}

on_both! {
    async fn one_that_has_ended_can_be_followed_by_another(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let acme = register(&product, "Acme").await;
        let first = buy(&product, &stripe, &acme, "pro", "month").await;
        ask(&product, &acme, "pro", "month").await.expect_problem(409, "ALREADY_SUBSCRIBED");
        stripe.happen(|world| world.end(&first));
        product.post_as(&acme.token, "/api/v1/billing/cancel", &json!({})).await.expect_problem(409, "SUBSCRIPTION_ENDED");
        tenantry::billing::stripe::sync(&product.app, acme.id.parse().unwrap(), "test").await.unwrap();
        stripe.happen(|world| world.now += 60);
        let second = buy(&product, &stripe, &acme, "starter", "month").await;
        ask(&product, &acme, "pro", "month").await.expect_problem(409, "ALREADY_SUBSCRIBED");
        let linked = format!("select count(*) as n from subscriptions where status = 'active' and stripe_subscription_id = '{second}'");
        assert_eq!(product.database.count(&linked).await, 1);
    }
}

on_both! {
    async fn of_two_subscriptions_the_newer_is_paid_back_and_ended(database: Database) {
        let (product, stripe) = start_idle(database).await;
        let acme = register(&product, "Acme").await;
        let first = buy(&product, &stripe, &acme, "pro", "month").await;
        let second = stripe.happen(|world| {
            world.now += 1;
            let (customer, metadata) = (text(&world.objects[&first]["customer"]), world.objects[&first]["metadata"].clone());
            world.subscribe(&customer, "price_m_pro", "pm_none", &metadata)
        });
        for _ in 0..2 {
            tenantry::billing::stripe::sync(&product.app, acme.id.parse().unwrap(), "test").await.unwrap();
        }
        let status = |id: &str| stripe.world().objects[id]["status"].clone();
        assert_eq!((status(&first), status(&second)), (json!("active"), json!("canceled")));
        assert_eq!(stripe.all("refund").len(), 1);
        assert_eq!(product.database.count("select balance as n from credit_balances").await, 100_000, "credits of one");
        let told = "select count(*) as n from audit_events where action = 'subscription.duplicate_refunded'";
        assert_eq!(product.database.count(told).await, 1);
        let linked = format!("select count(*) as n from subscriptions where stripe_subscription_id = '{first}' and status = 'active'");
        assert_eq!(product.database.count(&linked).await, 1);
    }
}

on_both! {
    async fn who_registers_by_card_is_told_where_to_pay(database: Database) {
        let (product, stripe) = start(database).await;
        let body = form("Acme", &json!({"plan_slug": "growth", "payment_method": "stripe"}));
        let register = async || {
            product.call(reqwest::Method::POST, "/api/v1/auth/register", None, Some(&body), &[("idempotency-key", "one")]).await
        };
        // Stripe is down when the tenant is made: it is there all the same, and the same request has the page later.
        stripe.fail("POST /v1/customers", [Fault::Status(500); 3]);
        let made = register().await.expect(201);
        assert_eq!((&made["subscription"]["status"], &made["payment_method"]["type"]), (&json!("incomplete"), &json!("stripe")));
        assert!(made.get("checkout_url").is_none(), "{made}");
        let again = register().await;
        assert_eq!(again.headers["idempotent-replayed"], "true");
        let again = again.expect(201);
        let url = text(&again["checkout_url"]);
        assert_eq!((&again["access_token"], &again["tenant"]["id"]), (&made["access_token"], &made["tenant"]["id"]));
        assert_eq!(text(&register().await.expect(201)["checkout_url"]), url);
        assert_eq!(stripe.all("checkout.session").len(), 1);

        stripe.pay(url.rsplit('/').next().unwrap());
        for event in stripe.take_events() {
            deliver(&product, &event).await.expect(200);
        }
        let active = "select count(*) as n from subscriptions s join plans p on p.id = s.plan_id where s.status = 'active' and p.slug = 'growth'";
        eventually("it is paid", async || product.database.count(active).await == 1).await;
        assert_eq!(product.database.count("select balance as n from credit_balances").await, 20_000, "they came with the sign-up");
        let status = product.provisioned(&text(&made["access_token"]), &text(&made["tenant"]["id"])).await;
        assert_eq!(status["status"], "complete", "{status}");
        healthy(&product).await;
    }
}

on_both! {
    async fn where_a_price_is_missing_nobody_registers_by_card(database: Database) {
        let (product, _stripe) = start_idle(database).await;
        product.database.execute("update plan_billing set stripe_price_monthly = null").await;
        let body = form("Acme", &json!({"plan_slug": "growth", "payment_method": "stripe"}));
        product.post("/api/v1/auth/register", &body).await.expect_problem(503, "BILLING_NOT_CONFIGURED");
        assert_eq!(product.database.count("select count(*) as n from tenants").await, 0);
    }
}
