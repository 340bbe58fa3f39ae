//! Each invariant, broken by hand, is seen by doctor and in `/metrics`.

use tenantry::doctor;

use crate::support::{Database, Kind, Product, healthy};

/// A moment ago, in the form that each database keeps times in.
fn long_ago(kind: Kind) -> &'static str {
    match kind {
        Kind::Sqlite => "'2020-01-01 00:00:00 +00:00'",
        Kind::Postgres => "timestamptz '2020-01-01 00:00:00+00'",
    }
}

/// Breaks one thing on a healthy product with two tenants, and holds doctor to counting just that.
async fn sees(database: Database, name: &str, count: i64, breaks: impl Fn(Kind) -> String) {
    let product = Product::start(database).await;
    product.settle("One", "free").await;
    product.settle("Two", "starter").await;
    healthy(&product).await;
    product.database.execute(&breaks(product.database.kind)).await;
    let counts = doctor::examine(product.app.db.read(), &product.app.clock.now()).await.expect("examines");
    for found in &counts {
        assert_eq!(found.count, if found.name == name { count } else { 0 }, "{}", found.meaning);
    }
    let metric = if counts.iter().any(|found| found.name == name && found.is_invariant) {
        "tenantry_invariant_violations"
    } else {
        "tenantry_warnings"
    };
    let line = format!("{metric}{{name=\"{name}\"}} {count}");
    let metrics = product.get("/metrics").await.text;
    assert!(metrics.lines().any(|l| l == line), "{line} in {metrics}");
}

/// Takes the rules of the database out of the way.
fn unruled(kind: Kind, statement: &str) -> String {
    match kind {
        Kind::Sqlite => format!("pragma foreign_keys = off; {statement}"),
        Kind::Postgres => format!("set session_replication_role = replica; {statement}"),
    }
}

on_both! {
    async fn a_tenant_without_an_owner(database: Database) {
        sees(database, "tenants_without_one_owner", 2, |_| "update memberships set role = 'admin'".into()).await;
    }
}

on_both! {
    async fn a_tenant_with_two_owners(database: Database) {
        sees(database, "tenants_without_one_owner", 1, |kind| unruled(kind,
            "drop index memberships_one_owner; \
             insert into memberships (tenant_id, user_id, role, created_at, updated_at) \
             select t.id, m.user_id, 'owner', m.created_at, m.updated_at from tenants t, memberships m \
             where t.slug = 'one' and m.tenant_id <> t.id")).await;
    }
}

on_both! {
    async fn a_user_without_a_membership(database: Database) {
        sees(database, "users_without_membership", 1, |kind| {
            let (id, at) = match kind {
                Kind::Sqlite => ("x'018f00000000700080000000000000aa'", long_ago(kind)),
                Kind::Postgres => ("'018f0000-0000-7000-8000-0000000000aa'", long_ago(kind)),
            };
            format!("insert into users (id, email, created_at, updated_at) values ({id}, 'lost@example.com', {at}, {at})")
        }).await;
    }
}

on_both! {
    async fn leavers_and_platform_administrators_are_no_lost_users(database: Database) {
        sees(database, "users_without_membership", 0, |kind| {
            let at = long_ago(kind);
            let ids = match kind {
                Kind::Sqlite => ["x'018f00000000700080000000000000aa'", "x'018f00000000700080000000000000ab'"],
                Kind::Postgres => ["'018f0000-0000-7000-8000-0000000000aa'", "'018f0000-0000-7000-8000-0000000000ab'"],
            };
            format!(
                "insert into users (id, email, left_last_tenant_at, created_at, updated_at) values ({}, 'left@example.com', {at}, {at}, {at}); \
                 insert into users (id, email, is_platform_admin, created_at, updated_at) values ({}, 'admin@example.com', true, {at}, {at})",
                ids[0], ids[1]
            )
        }).await;
    }
}

on_both! {
    async fn a_balance_that_is_not_its_ledgers_sum(database: Database) {
        sees(database, "balances_off_ledger", 1, |_| {
            "update credit_balances set balance = balance - 1 where tenant_id = (select id from tenants where slug = 'two')".into()
        }).await;
    }
}

on_both! {
    async fn a_balance_that_is_missing(database: Database) {
        sees(database, "balances_off_ledger", 2, |_| "delete from credit_balances".into()).await;
    }
}

on_both! {
    async fn a_subscription_without_a_plan(database: Database) {
        sees(database, "subscriptions_without_plan", 1, |kind| unruled(kind, "delete from plans where slug = 'free'")).await;
    }
}

on_both! {
    async fn a_tenant_without_a_subscription(database: Database) {
        sees(database, "tenants_without_subscription", 2, |_| "delete from subscriptions".into()).await;
    }
}

on_both! {
    async fn a_tenant_without_a_run(database: Database) {
        sees(database, "tenants_without_run", 2, |_| "delete from provision_runs".into()).await;
    }
}

on_both! {
    async fn a_run_that_is_stuck(database: Database) {
        use tenantry::serve::Roles;
        // Without a worker, which would take it up.
        let product = Product::start_as(database, crate::support::Settings::default(), Roles { http: true, worker: false }).await;
        let visitor = product.visit("One", "free").await;
        product.end(&visitor, "free").await.expect(202);
        healthy(&product).await;
        let ago = long_ago(product.database.kind);
        product.database.execute(&format!("update provision_runs set status = 'processing', lease_expires_at = {ago}")).await;
        let counts = doctor::examine(product.app.db.read(), &product.app.clock.now()).await.expect("examines");
        let stuck = counts.iter().find(|count| count.name == "runs_stuck").expect("counted");
        assert_eq!(stuck.count, 1);
    }
}

on_both! {
    async fn an_empty_catalogue_is_a_warning_after_an_hour(database: Database) {
        let product = Product::start(database).await;
        product.settle("One", "free").await;
        product.database.execute("delete from packages").await;
        healthy(&product).await;
        product.advance(3_601).await;
        let counts = doctor::examine(product.app.db.read(), &product.app.clock.now()).await.expect("examines");
        let empty = counts.iter().find(|count| count.name == "catalogues_empty").expect("counted");
        assert_eq!((empty.count, empty.is_invariant), (1, false));
        assert!(counts.iter().filter(|count| count.is_invariant).all(|count| count.count == 0));
    }
}
