//! The janitor removes sign-ups that nobody will come back for, whole, and nothing else.

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::json;
use tenantry::provisioning::janitor::sweep;

use super::{HTTP, Tenant, World};
use crate::support::{Database, Kind, Reply};

async fn world(database: Database) -> World {
    World::new(database, HTTP, |_, settings| settings).await
}

fn days(world: &World, days: i64) {
    world.product.app.clock.advance(TimeDelta::days(days));
}

async fn swept(world: &World) -> usize {
    sweep(&world.product.app).await.expect("sweeps")
}

async fn brand(tenant: &Tenant<'_>) -> u16 {
    let colour = json!({"primary_color": "#1d4ed8"});
    tenant.world.product.post_as(&tenant.token, "/public/signup/brand", &colour).await.status.as_u16()
}

async fn finish(tenant: &Tenant<'_>) -> u16 {
    tenant.world.product.post_as(&tenant.token, "/public/signup/finish", &json!({})).await.status.as_u16()
}

on_both! {
    async fn an_abandoned_wizard_goes_whole(database: Database) {
        let world = world(database).await;
        let tenant = world.begin("Acme", "starter").await;
        days(&world, 6);
        assert_eq!(swept(&world).await, 0, "it may still be gone on with");
        days(&world, 2);
        assert_eq!(swept(&world).await, 1);
        for (table, rows) in world.product.database.rows().await {
            assert!(rows == 0 || table == "audit_events", "{rows} left in {table}");
        }
        assert_eq!(tenant.count("audit_events", "and action = 'tenant.abandoned'").await, 1);
        assert!(tenant.count("audit_events", "").await > 1, "what was known of it is kept");
        assert_eq!(brand(&tenant).await, 401);
        // Slug and address are free again.
        let again = world.begin("Acme", "starter").await;
        assert_eq!(again.slug, "acme");
        assert_ne!(again.id, tenant.id);
        assert_eq!(swept(&world).await, 0);
    }
}

on_both! {
    async fn a_run_that_failed_and_is_left_to_itself_goes_too(database: Database) {
        let world = world(database).await;
        world.fake.tell("POST", "/app", [Reply::status(403)]);
        let worker = world.worker(TimeDelta::zero()).await;
        world.queue("Acme").await.failed().await;
        worker.stop().await;
        days(&world, 8);
        assert_eq!(swept(&world).await, 1);
        assert_eq!(world.product.database.count("select count(*) as n from tenants").await, 0);
        assert_eq!(world.product.database.count("select count(*) as n from posts").await, 0);
    }
}

on_both! {
    async fn who_has_another_tenant_stays(database: Database) {
        let world = world(database).await;
        world.begin("Acme", "free").await;
        let other = world.begin("Other", "free").await;
        assert_eq!(finish(&other).await, 202);
        let membership = "insert into memberships (tenant_id, user_id, role, created_at, updated_at) select o.id, m.user_id, \
            'member', m.created_at, m.updated_at from tenants o, tenants a join memberships m on m.tenant_id = a.id \
            where o.slug = 'other' and a.slug = 'acme'";
        world.product.database.execute(membership).await;
        days(&world, 8);
        assert_eq!(swept(&world).await, 1, "the other one's run is queued");
        assert_eq!(world.product.database.count("select count(*) as n from tenants where slug = 'acme'").await, 0);
        assert_eq!(world.product.database.count("select count(*) as n from users").await, 2);
        assert_eq!(world.product.database.count("select count(*) as n from memberships").await, 2);
    }
}

on_both! {
    async fn a_wizard_that_was_touched_stays(database: Database) {
        let world = world(database).await;
        let tenant = world.begin("Acme", "free").await;
        days(&world, 6);
        assert_eq!(brand(&tenant).await, 200);
        days(&world, 6);
        assert_eq!(swept(&world).await, 0);
        assert_eq!(finish(&tenant).await, 202);
        days(&world, 30);
        assert_eq!(swept(&world).await, 0, "what is queued is no longer abandoned");
    }
}

on_both! {
    async fn who_goes_on_just_then_wins_or_finds_nothing(database: Database) {
        let world = world(database).await;
        let mut tenants = Vec::new();
        for n in 0..12 {
            tenants.push(world.begin(&format!("Tenant {n}"), "free").await);
        }
        days(&world, 8);
        let (removed, answers) = tokio::join!(swept(&world), join_all(tenants.iter().map(finish)));
        let mut gone = 0;
        for (tenant, answer) in tenants.iter().zip(answers) {
            let of = tenant.id_in_sql();
            let there = world.product.database.count(&format!("select count(*) as n from tenants where id = {of}")).await;
            let queued = tenant.count("provision_runs", "and queued_at is not null").await;
            match answer {
                202 => assert_eq!((there, queued), (1, 1), "{}", tenant.slug),
                401 | 404 => {
                    assert_eq!((there, queued), (0, 0), "{}", tenant.slug);
                    gone += 1;
                }
                other => panic!("{other} for {}", tenant.slug),
            }
        }
        assert_eq!(gone, removed);
        let users = world.product.database.count("select count(*) as n from users").await;
        assert_eq!(users, 12 - i64::try_from(removed).expect("few"), "no user is left without a tenant");
    }
}

on_both! {
    async fn who_has_an_invoice_or_is_a_customer_of_stripes_stays(database: Database) {
        let world = world(database).await;
        let (buys, pays, leaves) = (world.begin("Buys", "free").await, world.begin("Pays", "free").await, world.begin("Leaves", "free").await);
        let login = json!({"email": "buys@example.com", "password": "correct-horse-battery"});
        let token = world.product.post("/api/v1/auth/login", &login).await.expect(200)["access_token"].as_str().unwrap().to_owned();
        let order = json!({"plan_slug": "growth", "payment_method": "bank_transfer"});
        let ordered = world.product.post_as(&token, "/api/v1/billing/change-plan", &order).await.expect(200);
        assert_eq!(buys.count("invoices", "").await, 1, "{ordered}");
        let customer = format!("update subscriptions set stripe_customer_id = 'cus_1' where tenant_id = {}", pays.id_in_sql());
        world.product.database.execute(&customer).await;
        days(&world, 30);
        assert_eq!(swept(&world).await, 1);
        for (tenant, there) in [(&buys, 1), (&pays, 1), (&leaves, 0)] {
            assert_eq!(tenant.count("subscriptions", "").await, there, "{}", tenant.slug);
        }
        // What was ordered is still bought.
        let invoice = ordered["invoice_id"].as_str().unwrap();
        world.product.admin_post(&format!("/invoices/{invoice}/mark-paid"), &json!({})).await.expect(200);
        assert_eq!(buys.count("subscriptions", "and status = 'active' and billing_interval = 'month'").await, 1);
        // Where that is not so any more, it goes.
        world.product.database.execute(&customer.replace("'cus_1'", "null")).await;
        assert_eq!(swept(&world).await, 1);
        assert_eq!(pays.count("subscriptions", "").await, 0);
    }
}

on_both! {
    async fn one_that_cannot_be_removed_holds_up_no_other(database: Database) {
        let world = world(database).await;
        for name in ["Stuck", "Leaves"] {
            world.begin(name, "free").await;
        }
        let refuse = match world.product.database.kind {
            Kind::Sqlite => "create trigger refusal before delete on tenants when old.slug = 'stuck' begin select raise(abort, 'no'); end",
            Kind::Postgres => {
                "create function refuse() returns trigger language plpgsql as $$ begin \
                 if old.slug = 'stuck' then raise exception 'no'; end if; return old; end $$; \
                 create trigger refusal before delete on tenants for each row execute function refuse()"
            }
        };
        world.product.database.execute(refuse).await;
        days(&world, 8);
        assert_eq!(swept(&world).await, 1);
        let left = "select count(*) as n from tenants where slug = 'stuck'";
        assert_eq!(world.product.database.count(left).await, 1);
        assert_eq!(world.product.database.count("select count(*) as n from tenants").await, 1);
        assert_eq!(world.product.database.count("select count(*) as n from users").await, 1, "it is left as it was");
    }
}
