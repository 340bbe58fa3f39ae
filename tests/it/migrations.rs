//! Migrating: by many at once, back again where nothing is lost, and what the schema itself refuses.

use futures_util::future::join_all;
use sea_orm::ConnectionTrait;
use tenantry::db::{self, Location};

use crate::support::{Database, Product};

fn location(database: &Database) -> Location {
    match &database.url {
        Some(url) => Location::Postgres(url.clone().into()),
        None => Location::Sqlite(database.folder().join("tenantry.db")),
    }
}

async fn connected(database: &Database) -> db::Db {
    db::connect(&location(database), 2).await.expect("connects")
}

on_both! {
    async fn four_at_once_migrate_once(database: Database) {
        let first = connected(&database).await;
        for _ in 0..3 {
            let back = db::roll_back(&first, 4).await.expect("an empty product goes back");
            assert_eq!(back.versions, ["0004_billing", "0003_identity", "0002_default_plans", "0001_part_one"]);
            let databases = join_all((0..4).map(|_| connected(&database))).await;
            let migrated = join_all(databases.iter().map(db::migrate)).await;
            let mut versions: Vec<_> = migrated.into_iter().map(|done| done.expect("migrates").versions).collect();
            versions.sort();
            assert_eq!(versions[..3], [const { Vec::<String>::new() }; 3], "three found nothing to do");
            assert_eq!(versions[3], ["0001_part_one", "0002_default_plans", "0003_identity", "0004_billing"]);
            join_all(databases.into_iter().map(db::Db::close)).await;
        }
        assert!(db::pending(&first).await.expect("asks").is_empty());
        first.close().await;
        assert_eq!(database.count("select count(*) as n from plans").await, 6);
        let product = Product::start(database).await;
        product.settle("Acme", "starter").await;
    }
}

on_both! {
    async fn nothing_goes_back_while_there_are_tenants(database: Database) {
        let product = Product::start(database).await;
        product.settle("Acme", "free").await;
        let database = product.stop().await;
        let before = database.rows().await;
        let db = connected(&database).await;
        for _ in 0..2 {
            let refused = db::roll_back(&db, 4).await.expect_err("there is a tenant").to_string();
            assert!(refused.contains("tenants"), "{refused}");
            assert!(db::pending(&db).await.expect("asks").is_empty(), "all or nothing");
        }
        db.close().await;
        assert_eq!(database.rows().await, before);
        assert_eq!(database.count("select count(*) as n from plans").await, 6);
    }
}

on_both! {
    async fn the_audit_log_only_grows(database: Database) {
        let product = Product::start(database).await;
        product.visit("Acme", "free").await;
        let connection = product.database.open().await;
        for statement in ["update audit_events set action = 'x'", "delete from audit_events", "update audit_events set tenant_id = null"] {
            let refused = connection.execute_unprepared(statement).await.expect_err("append-only").to_string();
            assert!(refused.contains("append-only"), "{refused}");
        }
        assert_eq!(product.database.count("select count(*) as n from audit_events where action = 'tenant.created'").await, 1);
    }
}

on_both! {
    async fn the_schema_refuses_what_must_never_be(database: Database) {
        let product = Product::start(database).await;
        product.settle("Acme", "free").await;
        product.settle("Other", "free").await;
        let connection = product.database.open().await;
        for statement in [
            "update credit_balances set balance = -1",
            "update users set email = 'ACME@example.com' where email = 'acme@example.com'",
            "update users set email = 'other@example.com' where email = 'acme@example.com'",
            "update tenants set slug = 'other' where slug = 'acme'",
            "update tenants set slug = 'x'",
            "update tenants set status = 'odd'",
            "update subscriptions set status = 'odd'",
            "insert into memberships (tenant_id, user_id, role, created_at, updated_at) select t.id, u.id, 'owner', t.created_at, t.created_at \
             from tenants t, users u where t.slug = 'acme' and u.email = 'other@example.com'",
            "insert into provision_runs select * from provision_runs",
        ] {
            assert!(connection.execute_unprepared(statement).await.is_err(), "{statement}");
        }
    }
}
