//! Billing: what a tenant is on, what it pays, and what it has of it.
//!
//! [`open`] writes subscription, credits, payment method and first invoice into the sign-up transaction; [`switch_plan`] follows a wizard that changes
//! its mind before provisioning. From then on a subscription is changed in one way ([`subscription`]), whether it is paid at Stripe ([`stripe`]) or by
//! bank transfer ([`bank`]); what happens by itself is in [`jobs`].

pub mod api;
pub mod bank;
pub mod change;
pub mod complimentary;
pub mod credits;
pub mod invoices;
pub mod jobs;
mod months;
mod notices;
pub mod pages;
mod pdf;
pub mod sandbox;
pub mod shown;
pub mod state;
pub(crate) mod store;
pub mod stripe;
pub mod subscription;
pub mod trials;

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use self::{
    credits::{Entry, Kind},
    invoices::NewInvoice,
    months::period_end,
};
pub use crate::entitlements::Status;
use crate::{
    clock::Now,
    db::{Batch, Tx, sql},
    mail::Post,
    plans::{self, Money, PlanRow},
};

/// How a new tenant pays.
#[derive(Clone, Debug)]
pub enum Payment {
    /// Not yet: free plans and trials.
    None,
    /// By bank transfer, against an invoice.
    BankTransfer {
        /// Where the invoice goes to.
        address: Option<serde_json::Value>,
    },
    /// By a checkout session that starts afterwards.
    Stripe,
}

/// A tenant's terms at sign-up.
pub struct Terms<'a> {
    /// Whose.
    pub tenant_id: Uuid,
    /// The tenant's name, for the invoice.
    pub tenant_name: &'a str,
    /// Where invoices go.
    pub billing_email: &'a str,
    /// The plan.
    pub plan: &'a PlanRow,
    /// How it pays.
    pub payment: &'a Payment,
    /// What the operator configured in place of the plan's own trial days.
    pub trial_days: Option<i64>,
    /// The invoice's number, drawn by [`invoices::next_number`] where [`Payment::BankTransfer`] needs one.
    pub invoice_number: Option<String>,
}

/// What [`open`] wrote.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The subscription's status.
    pub status: Status,
    /// When the trial ends, where there is one.
    pub trial_ends_at: Option<DateTime<Utc>>,
    /// The balance after the first grant.
    pub credits: i64,
    /// The invoice, where there is one to pay.
    pub invoice: Option<FirstInvoice>,
}

impl Opened {
    /// Whether the plan holds from the first moment on, as `entitlements` has it.
    pub fn gives_its_plan(&self, at: DateTime<Utc>) -> bool {
        let terms = crate::entitlements::Terms {
            status: self.status,
            trial_ends_at: self.trial_ends_at,
            current_period_start: at,
            current_period_end: None,
            cancel_at_period_end: false,
            past_due_since: None,
        };
        terms.standing(at, TimeDelta::zero()).is_entitled()
    }
}

/// The open invoice of a tenant that pays by bank transfer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FirstInvoice {
    /// Its id.
    pub id: Uuid,
    /// Its number, without gaps.
    #[schema(example = "INV-2026-000001")]
    pub number: String,
    /// `open`
    pub status: &'static str,
    /// What is to be paid.
    pub total: Money,
}

/// The subscription's status and its trial's end, as the plan and the payment have it.
pub fn first_status(
    plan: &PlanRow,
    payment: &Payment,
    trial_days: Option<i64>,
    at: DateTime<Utc>,
) -> (Status, Option<DateTime<Utc>>) {
    match payment {
        Payment::BankTransfer { .. } => (Status::PendingPayment, None),
        Payment::Stripe => (Status::Incomplete, None),
        Payment::None if plan.price_amount == 0 => (Status::Active, None),
        Payment::None => (Status::Trialing, Some(at + TimeDelta::days(trial_days.unwrap_or(plan.trial_days)))),
    }
}

/// Writes the subscription, the credit grant with its ledger row and, for a bank transfer, the payment method and the invoice.
pub fn open(batch: &mut Batch, now: &Now, post: &Post, terms: &Terms<'_>) -> Opened {
    let (tenant_id, at, plan) = (terms.tenant_id, now.at, terms.plan);
    let (status, trial_ends_at) = first_status(plan, terms.payment, terms.trial_days, at);
    let waits = matches!(status, Status::PendingPayment | Status::Incomplete);
    let credits = included(plan, trial_ends_at, at);
    batch.insert(store::subscription::Model {
        tenant_id,
        id: now.id(),
        plan_id: plan.id,
        status,
        trial_ends_at,
        current_period_start: at,
        current_period_end: Some(trial_ends_at.unwrap_or_else(|| period_end(&plan.price_interval, at, at))),
        billing_interval: plan.price_interval.clone(),
        billing_anchor: Some(at),
        credits_advanced: if waits { credits } else { 0 },
        cancel_at_period_end: false,
        canceled_at: None,
        past_due_since: None,
        next_grant_at: (!waits).then(|| period_end("month", at, at)),
        plan_followed: true,
        stripe_customer_id: None,
        stripe_subscription_id: None,
        stripe_synced_at: None,
        created_at: at,
        updated_at: at,
    });
    batch.insert(store::credit_balance::Model { tenant_id, balance: credits, updated_at: at });
    batch.insert(store::credit_transaction::Model {
        tenant_id,
        id: now.id(),
        transaction_type: "grant".into(),
        amount: credits,
        balance_after: credits,
        description: format!("Included with {}", plan.name),
        metadata: serde_json::json!({"plan": plan.slug}),
        idempotency_key: "signup".into(),
        created_at: at,
    });
    let invoice = match (terms.payment, &terms.invoice_number) {
        (Payment::BankTransfer { address }, Some(number)) => {
            batch.insert(store::bank_transfer(tenant_id, now));
            let new = NewInvoice {
                tenant_id,
                number,
                billing_name: terms.tenant_name,
                billing_email: terms.billing_email,
                billing_address: address.as_ref(),
                plan,
                interval: &plan.price_interval,
                amount: plan.price_amount,
                period: None,
                due_at: at + invoices::DUE_AFTER,
            };
            let id = bank::issue(batch, now, post, &new);
            let total = Money { amount: plan.price_amount, currency: plan.price_currency.clone() };
            Some(FirstInvoice { id, number: number.clone(), status: "open", total })
        }
        _ => None,
    };
    Opened { status, trial_ends_at, credits, invoice }
}

/// The credits of a sign-up. A trial that is over before it begins brings none.
fn included(plan: &PlanRow, trial_ends_at: Option<DateTime<Utc>>, at: DateTime<Utc>) -> i64 {
    if trial_ends_at.is_none_or(|ends| ends > at) { plan.included_credits } else { 0 }
}

/// Puts a tenant that is not provisioned yet, and has spent nothing, on another plan: subscription, trial, and the grant's difference in the ledger.
pub async fn switch_plan(
    tx: &Tx,
    now: &Now,
    tenant_id: Uuid,
    plan: &PlanRow,
    trial_days: Option<i64>,
) -> Result<(), credits::Error> {
    let (status, trial_ends_at) = first_status(plan, &Payment::None, trial_days, now.at);
    let update = "update subscriptions set plan_id = $2, status = $3, trial_ends_at = $4, current_period_start = $5, \
                  billing_anchor = $5, current_period_end = $6, billing_interval = $7, updated_at = $5 where tenant_id = $1";
    let end = trial_ends_at.unwrap_or_else(|| period_end(&plan.price_interval, now.at, now.at));
    let values = [
        tenant_id.into(),
        plan.id.into(),
        status.into(),
        trial_ends_at.into(),
        now.at.into(),
        end.into(),
        plan.price_interval.as_str().into(),
    ];
    tx.execute_raw(sql(tx, update, values)).await?;
    let difference = included(plan, trial_ends_at, now.at) - credits::balance(tx, tenant_id).await?;
    if difference == 0 {
        return Ok(());
    }
    let entry = Entry {
        kind: Kind::Adjustment,
        amount: difference,
        key: format!("switch:{}", now.id()),
        description: format!("Switched to {}", plan.name),
        metadata: serde_json::json!({"plan": plan.slug}),
    };
    credits::post(tx, now, tenant_id, &entry).await.map(drop)
}

/// A tenant's plan, trial and credits, as pages show them.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Summary {
    /// The plan's slug.
    pub plan: String,
    /// The plan's name.
    pub plan_name: String,
    /// The plan's price in minor units.
    pub price_amount: i64,
    /// ISO 4217.
    pub price_currency: String,
    /// `month` or `year`.
    pub price_interval: String,
    /// Credits that come with each interval.
    pub included_credits: i64,
    /// The subscription's status.
    pub status: Status,
    /// When the trial ends, where there is one.
    pub trial_ends_at: Option<DateTime<Utc>>,
    /// When the subscription began.
    pub created_at: DateTime<Utc>,
    /// Credits left.
    pub balance: i64,
}

impl Summary {
    /// What the plan costs.
    pub fn price(&self) -> Money {
        Money { amount: self.price_amount, currency: self.price_currency.clone() }
    }

    /// The credits left, for people.
    pub fn credits(&self) -> String {
        plans::thousands(self.balance)
    }

    /// The credits that come with the plan, for people.
    pub fn included(&self) -> String {
        plans::thousands(self.included_credits)
    }

    /// The days of a trial that is under way: those that are left, begun ones too, and all.
    pub fn trial(&self, now: DateTime<Utc>) -> Option<(i64, i64)> {
        let ends = self.trial_ends_at.filter(|ends| self.status == Status::Trialing && *ends > now)?;
        let days = |from: DateTime<Utc>| (ends - from + TimeDelta::days(1) - TimeDelta::microseconds(1)).num_days();
        Some((days(now), days(self.created_at)))
    }
}

/// A tenant's plan, trial and credits; nothing where there is no such tenant.
pub async fn summary(db: &impl ConnectionTrait, tenant_id: Uuid) -> Result<Option<Summary>, DbErr> {
    let query = "select p.slug as plan, p.name as plan_name, p.price_amount, p.price_currency, p.price_interval, \
                 p.included_credits, s.status, s.trial_ends_at, s.created_at, c.balance from subscriptions s \
                 join plans p on p.id = s.plan_id join credit_balances c on c.tenant_id = s.tenant_id where s.tenant_id = $1";
    Summary::find_by_statement(sql(db, query, [tenant_id.into()])).one(db).await
}
