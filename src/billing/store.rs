//! Subscriptions, credits, payment methods and invoices in the database.

use sea_orm::{ConnectionTrait, DbErr};
use uuid::Uuid;

use crate::{clock::Now, db::sql};

pub(crate) mod subscription {
    use sea_orm::entity::prelude::*;

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
        pub billing_interval: String,
        pub billing_anchor: Option<DateTimeUtc>,
        pub credits_advanced: i64,
        pub cancel_at_period_end: bool,
        pub canceled_at: Option<DateTimeUtc>,
        pub past_due_since: Option<DateTimeUtc>,
        pub next_grant_at: Option<DateTimeUtc>,
        pub plan_followed: bool,
        pub stripe_customer_id: Option<String>,
        pub stripe_subscription_id: Option<String>,
        pub stripe_synced_at: Option<DateTimeUtc>,
        pub created_at: DateTimeUtc,
        pub updated_at: DateTimeUtc,
    }

    crate::db::plain_entity!();
}

pub(crate) mod credit_balance {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "credit_balances")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: Uuid,
        pub balance: i64,
        pub updated_at: DateTimeUtc,
    }

    crate::db::plain_entity!();
}

pub(crate) mod credit_transaction {
    use sea_orm::entity::prelude::*;

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

    crate::db::plain_entity!();
}

pub(crate) mod payment_method {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "payment_methods")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub method_type: String,
        pub is_default: bool,
        pub external_id: Option<String>,
        pub brand: Option<String>,
        pub last4: Option<String>,
        pub exp_month: Option<i64>,
        pub exp_year: Option<i64>,
        pub created_at: DateTimeUtc,
    }

    crate::db::plain_entity!();
}

pub(crate) mod invoice {
    use sea_orm::entity::prelude::*;

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
        pub issuer: String,
        pub external_id: Option<String>,
        pub hosted_url: Option<String>,
        pub plan_id: Option<Uuid>,
        pub billing_interval: Option<String>,
        pub period_start: Option<DateTimeUtc>,
        pub period_end: Option<DateTimeUtc>,
    }

    crate::db::plain_entity!();
}

pub(crate) mod invoice_line {
    use sea_orm::entity::prelude::*;

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

    crate::db::plain_entity!();
}

/// The default payment method of a tenant that pays by bank transfer.
pub(super) fn bank_transfer(tenant_id: Uuid, now: &Now) -> payment_method::Model {
    payment_method::Model {
        tenant_id,
        id: now.id(),
        method_type: "bank_transfer".into(),
        is_default: true,
        external_id: None,
        brand: None,
        last4: None,
        exp_month: None,
        exp_year: None,
        created_at: now.at,
    }
}

/// Whether a row of `subscriptions` is paid at Stripe now: it is changed there, and nothing else can be ordered beside it.
pub(super) const PAYS_BY_CARD: &str =
    "stripe_subscription_id is not null and status in ('trialing', 'active', 'past_due')";

/// Whether a tenant's is ([`PAYS_BY_CARD`]).
pub(super) async fn pays_by_card(db: &impl ConnectionTrait, tenant_id: Uuid) -> Result<bool, DbErr> {
    let query = format!("select 1 as one from subscriptions where tenant_id = $1 and {PAYS_BY_CARD}");
    Ok(db.query_one_raw(sql(db, &query, [tenant_id.into()])).await?.is_some())
}
