//! The gift of a plan to every live tenant, from the command line.

use sea_orm::FromQueryResult;
use serde_json::json;

use crate::support::{Product, cli, healthy};

#[derive(Debug, PartialEq, FromQueryResult)]
struct Subscription {
    slug: String,
    plan: String,
    status: String,
    has_end: bool,
    follows: bool,
}

async fn subscriptions(product: &Product) -> Vec<Subscription> {
    let query = "select t.slug, p.slug as plan, s.status, s.trial_ends_at is not null or s.current_period_end is not null as has_end, \
                 s.plan_followed as follows from subscriptions s join tenants t on t.id = s.tenant_id join plans p on p.id = s.plan_id order by t.slug";
    product.database.all(query).await
}

fn is(slug: &str, plan: &str, status: &str, has_end: bool, follows: bool) -> Subscription {
    Subscription { slug: slug.into(), plan: plan.into(), status: status.into(), has_end, follows }
}

on_both! {
    async fn live_tenants_get_the_plan_as_a_gift_and_others_keep_theirs(database: Database) {
        // Without a worker, which would follow the new plan.
        let roles = tenantry::serve::Roles { http: true, worker: false };
        let product = Product::start(database).await;
        for (name, plan) in [("active", "free"), ("trial", "starter"), ("canceled", "growth"), ("late", "growth"), ("given", "free"), ("paying", "growth"), ("waiting", "growth")] {
            product.settle(name, plan).await;
        }
        product.visit("begun", "starter").await;
        let set = |slug: &str, what: &str| format!("update subscriptions set {what} where tenant_id = (select id from tenants where slug = '{slug}')");
        for (slug, what) in [
            ("canceled", "status = 'canceled'"), ("late", "status = 'past_due'"), ("given", "status = 'complimentary'"),
            ("paying", "status = 'active', stripe_subscription_id = 'sub_1'"), ("waiting", "status = 'pending_payment'"),
        ] {
            product.database.execute(&set(slug, what)).await;
        }
        let product = Product::start_as(product.stop().await, crate::support::Settings::default(), roles).await;
        let before = subscriptions(&product).await;
        let balances = product.database.count("select cast(sum(balance) as bigint) as n from credit_balances").await;

        let dry = cli(&product.database, &["backfill", "complimentary", "--dry-run", "--json"]).json(0);
        assert_eq!(subscriptions(&product).await, before, "a dry run changes nothing");
        assert_eq!((&dry["changed"], &dry["dry_run"], &dry["plan"]), (&json!(2), &json!(true), &json!("pro")));
        assert_eq!((&dry["tenants"][0]["slug"], &dry["tenants"][0]["plan"], &dry["tenants"][1]["status"]), (&json!("active"), &json!("free"), &json!("trialing")));
        let untouched = json!({"canceled": 1, "past_due": 1, "complimentary": 1, "stripe_subscription": 1, "pending_payment": 1, "not_open": 1});
        assert_eq!(dry["untouched"], untouched);

        let done = cli(&product.database, &["backfill", "complimentary", "--json"]).json(0);
        assert_eq!((&done["tenants"], &done["untouched"], &done["dry_run"]), (&dry["tenants"], &untouched, &json!(false)));
        let expected = [
            is("active", "pro", "complimentary", false, false), is("begun", "starter", "trialing", true, true), is("canceled", "growth", "canceled", true, true),
            is("given", "free", "complimentary", true, true), is("late", "growth", "past_due", true, true), is("paying", "growth", "active", true, true),
            is("trial", "pro", "complimentary", false, false), is("waiting", "growth", "pending_payment", true, true),
        ];
        assert_eq!(subscriptions(&product).await, expected);
        assert_eq!(product.database.count("select cast(sum(balance) as bigint) as n from credit_balances").await, balances);
        assert_eq!(product.database.count("select count(*) as n from subscriptions where not plan_followed and next_grant_at > updated_at").await, 2);
        assert_eq!(product.database.count("select count(*) as n from audit_events where action = 'subscription.complimentary' and actor_type = 'cli' and tenant_id is not null").await, 2);

        let again = cli(&product.database, &["backfill", "complimentary"]).expect(0);
        assert!(again.contains("0 tenants became complimentary on pro") && again.contains("3 untouched: complimentary"), "{again}");
        assert_eq!(subscriptions(&product).await, expected);
        assert!(cli(&product.database, &["backfill", "complimentary", "--plan", "platinum"]).expect(1).contains("platinum"));
        healthy(&product).await;
    }
}
