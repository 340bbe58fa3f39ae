//! Subscriptions, credits, payment methods and invoices in the database.

use chrono::TimeDelta;
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use serde_json::json;
use uuid::Uuid;

use super::Terms;
use crate::{
    clock::Now,
    db::{Batch, Tx, sql},
    plans::PlanRow,
};

pub(crate) mod subscription {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "subscriptions")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: Uuid,
        pub id: Uuid,
        pub plan_id: Uuid,
        pub status: crate::billing::Status,
        pub trial_ends_at: Option<DateTimeUtc>,
        pub current_period_start: DateTimeUtc,
        pub current_period_end: Option<DateTimeUtc>,
        pub cancel_at_period_end: bool,
        pub created_at: DateTimeUtc,
        pub updated_at: DateTimeUtc,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) mod credit_balance {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "credit_balances")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: Uuid,
        pub balance: i64,
        pub updated_at: DateTimeUtc,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) mod credit_transaction {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "credit_transactions")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub transaction_type: String,
        pub amount: i64,
        pub balance_after: i64,
        pub description: String,
        pub metadata: Json,
        pub idempotency_key: String,
        pub created_at: DateTimeUtc,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) mod payment_method {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "payment_methods")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub method_type: String,
        pub is_default: bool,
        pub created_at: DateTimeUtc,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) mod invoice {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "invoices")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub number: String,
        pub status: String,
        pub currency: String,
        pub total: i64,
        pub billing_name: String,
        pub billing_email: String,
        pub billing_address: Option<Json>,
        pub issued_at: DateTimeUtc,
        pub due_at: DateTimeUtc,
        pub paid_at: Option<DateTimeUtc>,
        pub external_payment_id: Option<String>,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) mod invoice_line {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "invoice_lines")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub invoice_id: Uuid,
        pub description: String,
        pub quantity: i64,
        pub unit_amount: i64,
        pub amount: i64,
        pub position: i64,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// How long a bank transfer may take.
const DUE_AFTER: TimeDelta = TimeDelta::days(14);

/// The payment method and the open invoice of a tenant that pays by bank transfer. Answers the invoice's id.
pub(super) fn first_invoice(
    batch: &mut Batch,
    now: &Now,
    terms: &Terms<'_>,
    address: Option<&serde_json::Value>,
    number: &str,
) -> Uuid {
    let (tenant_id, plan, at) = (terms.tenant_id, terms.plan, now.at);
    batch.insert(payment_method::Model {
        tenant_id,
        id: now.id(),
        method_type: "bank_transfer".into(),
        is_default: true,
        created_at: at,
    });
    let id = now.id();
    batch.insert(invoice::Model {
        tenant_id,
        id,
        number: number.to_owned(),
        status: "open".into(),
        currency: plan.price_currency.clone(),
        total: plan.price_amount,
        billing_name: terms.tenant_name.to_owned(),
        billing_email: terms.billing_email.to_owned(),
        billing_address: address.cloned(),
        issued_at: at,
        due_at: at + DUE_AFTER,
        paid_at: None,
        external_payment_id: None,
    });
    batch.insert(invoice_line::Model {
        tenant_id,
        id: now.id(),
        invoice_id: id,
        description: format!("{}, one {}", plan.name, plan.price_interval),
        quantity: 1,
        unit_amount: plan.price_amount,
        amount: plan.price_amount,
        position: 1,
    });
    id
}

/// Brings the balance of a tenant that has spent nothing yet to the plan's grant, and writes the difference into the ledger.
pub(super) async fn adjust_grant(tx: &Tx, now: &Now, tenant_id: Uuid, plan: &PlanRow) -> Result<(), DbErr> {
    #[derive(FromQueryResult)]
    struct Balance {
        balance: i64,
    }
    let read = sql(tx, "select balance from credit_balances where tenant_id = $1", [tenant_id.into()]);
    let before = Balance::find_by_statement(read).one(tx).await?.map_or(0, |row| row.balance);
    let difference = plan.included_credits - before;
    if difference == 0 {
        return Ok(());
    }
    let set = "update credit_balances set balance = $2, updated_at = $3 where tenant_id = $1";
    tx.execute_raw(sql(tx, set, [tenant_id.into(), plan.included_credits.into(), now.at.into()])).await?;
    let id = now.id();
    let ledger = "insert into credit_transactions (tenant_id, id, transaction_type, amount, balance_after, description, metadata, idempotency_key, created_at) \
                  values ($1, $2, 'adjustment', $3, $4, $5, $6, $7, $8)";
    let values = [
        tenant_id.into(),
        id.into(),
        difference.into(),
        plan.included_credits.into(),
        format!("Switched to {}", plan.name).into(),
        json!({"plan": plan.slug}).into(),
        format!("switch:{id}").into(),
        now.at.into(),
    ];
    tx.execute_raw(sql(tx, ledger, values)).await.map(drop)
}
