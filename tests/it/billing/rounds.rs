//! What is due of one tenant and cannot be done holds nobody else up.

use chrono::TimeDelta;
use serde_json::json;

use super::{on_growth, register, round, subjects};
use crate::support::{Database, Kind, Product, healthy};

/// The balance of a tenant.
async fn balance(product: &Product, slug: &str) -> i64 {
    let query = format!(
        "select c.balance as n from credit_balances c join tenants t on t.id = c.tenant_id where t.slug = '{slug}'"
    );
    product.database.count(&query).await
}

on_both! {
    async fn a_balance_that_can_hold_no_more_is_its_tenants_affair(database: Database) {
        let product = Product::start(database).await;
        for name in ["First", "Rich", "Last"] {
            let member = register(&product, name, json!({"plan_slug": "free"})).await;
            product.provisioned(&member.token, &member.tenant).await;
            product.app.clock.advance(TimeDelta::minutes(1));
        }
        let rich = async |balance: i64| {
            let of = "(select id from tenants where slug = 'rich')";
            let transaction = format!(
                "update credit_balances set balance = {balance} where tenant_id = {of}; \
                 update credit_transactions set amount = {balance}, balance_after = {balance} where tenant_id = {of}"
            );
            product.database.execute(&transaction).await;
        };
        rich(i64::MAX - 999).await;
        product.app.clock.advance(TimeDelta::days(32));
        round(&product).await;
        assert_eq!((balance(&product, "first").await, balance(&product, "last").await), (2_000, 2_000));
        assert_eq!(balance(&product, "rich").await, i64::MAX - 999, "nothing is lost of it");
        product.app.clock.advance(TimeDelta::days(31));
        round(&product).await;
        assert_eq!((balance(&product, "first").await, balance(&product, "last").await), (3_000, 3_000));
        // Put right, it catches up.
        rich(1_000).await;
        round(&product).await;
        assert_eq!(balance(&product, "rich").await, 3_000);
        healthy(&product).await;
    }
}

/// Makes the database refuse some rows of a table.
async fn refuse(database: &Database, table: &str, which: &str) {
    let trigger = match database.kind {
        Kind::Sqlite => {
            format!("create trigger refusal before insert on {table} when {which} begin select raise(abort, 'no'); end")
        }
        Kind::Postgres => format!(
            "create function refuse() returns trigger language plpgsql as $$ begin \
             if {which} then raise exception 'no'; end if; return new; end $$; \
             create trigger refusal before insert on {table} for each row execute function refuse()"
        ),
    };
    database.execute(&trigger).await;
}

/// Takes the refusal back.
async fn relent(database: &Database) {
    database
        .execute(match database.kind {
            Kind::Sqlite => "drop trigger refusal",
            Kind::Postgres => "drop function refuse() cascade",
        })
        .await;
}

on_both! {
    async fn an_invoice_that_cannot_be_written_holds_up_neither_other_invoices_nor_other_credits(database: Database) {
        let product = Product::start(database).await;
        for name in ["First", "Broken", "Last"] {
            on_growth(&product, name).await;
            product.app.clock.advance(TimeDelta::minutes(1));
        }
        let free = register(&product, "Free", json!({"plan_slug": "free"})).await;
        product.provisioned(&free.token, &free.tenant).await;
        refuse(&product.database, "invoices", "new.billing_name = 'Broken'").await;
        product.app.clock.advance(TimeDelta::days(32));
        round(&product).await;
        let open = "select count(*) as n from invoices where status = 'open' and billing_name";
        assert_eq!(product.database.count(&format!("{open} in ('First', 'Last')")).await, 2);
        assert_eq!(product.database.count(&format!("{open} = 'Broken'")).await, 0);
        assert_eq!(balance(&product, "free").await, 2_000);
        relent(&product.database).await;
        round(&product).await;
        assert_eq!(product.database.count(&format!("{open} = 'Broken'")).await, 1, "it is made up for");
        healthy(&product).await;
    }
}

on_both! {
    async fn a_letter_that_cannot_be_written_holds_up_no_other(database: Database) {
        let product = Product::start(database).await;
        for name in ["First", "Broken", "Last"] {
            register(&product, name, json!({})).await;
        }
        refuse(&product.database, "billing_notices", "new.tenant_id = (select id from tenants where slug = 'broken')").await;
        product.app.clock.advance(TimeDelta::days(12));
        round(&product).await;
        let heard = async |name: &str| {
            let heard = subjects(&product, &format!("{}@example.com", name.to_lowercase())).await;
            heard.iter().filter(|subject| subject.starts_with("The trial of ")).count()
        };
        assert_eq!((heard("First").await, heard("Broken").await, heard("Last").await), (1, 0, 1));
        relent(&product.database).await;
        round(&product).await;
        assert_eq!((heard("First").await, heard("Broken").await, heard("Last").await), (1, 1, 1));
    }
}
