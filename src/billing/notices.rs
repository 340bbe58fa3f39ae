//! Letters about money (B12): a trial that ends soon or has ended, a payment that is missing, a receipt.
//!
//! Each leaves once: the row that says so is written in the transaction that queues it. What is told too late to be of use is not told.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use uuid::Uuid;

use super::{
    invoices,
    jobs::{Failed, is_about_one},
};
use crate::{
    app::App,
    clock::Now,
    db::{Batch, Tx, sql},
    identity::email::Email,
    mail::{Mail, Post, letters::billing as letters},
    plans::Money,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notice {
    TrialEndsIn3Days,
    TrialEndsIn1Day,
    TrialEnded,
    PaymentMissing,
}

impl Notice {
    const ALL: [Self; 4] = [Self::TrialEndsIn3Days, Self::TrialEndsIn1Day, Self::TrialEnded, Self::PaymentMissing];

    /// As in `billing_notices`.
    const fn name(self) -> &'static str {
        match self {
            Self::TrialEndsIn3Days => "trial_ending_3d",
            Self::TrialEndsIn1Day => "trial_ending_1d",
            Self::TrialEnded => "trial_ended",
            Self::PaymentMissing => "payment_missing",
        }
    }

    /// Who is told between `$1` (exclusive) and `$2`, and has not been told since it happened.
    const fn due(self) -> &'static str {
        match self {
            Self::PaymentMissing => {
                "select s.tenant_id, s.past_due_since as at, p.name as plan_name, t.name, t.billing_email from subscriptions s \
                 join plans p on p.id = s.plan_id join tenants t on t.id = s.tenant_id \
                 where s.status = 'past_due' and s.past_due_since > $1 and s.past_due_since <= $2 and not exists (select 1 \
                 from billing_notices n where n.tenant_id = s.tenant_id and n.notice = $3 and n.created_at >= s.past_due_since) limit $4"
            }
            _ => {
                "select s.tenant_id, s.trial_ends_at as at, p.name as plan_name, t.name, t.billing_email from subscriptions s \
                 join plans p on p.id = s.plan_id join tenants t on t.id = s.tenant_id \
                 where s.status = 'trialing' and s.trial_ends_at > s.created_at and s.trial_ends_at > $1 and s.trial_ends_at <= $2 and not exists (select 1 \
                 from billing_notices n where n.tenant_id = s.tenant_id and n.notice = $3) limit $4"
            }
        }
    }

    /// The moments that it is about, as seen from now.
    fn between(self, now: DateTime<Utc>) -> (DateTime<Utc>, DateTime<Utc>) {
        let days = TimeDelta::days;
        match self {
            Self::TrialEndsIn3Days => (now + days(1), now + days(3)),
            Self::TrialEndsIn1Day => (now, now + days(1)),
            Self::TrialEnded | Self::PaymentMissing => (now - days(7), now),
        }
    }

    /// Told again where it was told before this: a payment may be missing again, and a trial ends once.
    fn again_since(self, about: &About) -> DateTime<Utc> {
        match self {
            Self::PaymentMissing => about.at,
            Self::TrialEndsIn3Days | Self::TrialEndsIn1Day | Self::TrialEnded => DateTime::UNIX_EPOCH,
        }
    }

    fn letter(self, post: &Post, to: &Email, about: &About) -> Mail {
        let (url, name, plan) = (&post.public_url, &about.name, &about.plan_name);
        match self {
            Self::TrialEndsIn3Days | Self::TrialEndsIn1Day => letters::trial_ending(url, to, name, plan, about.at),
            Self::TrialEnded => letters::trial_ended(url, to, name, plan),
            Self::PaymentMissing => letters::payment_missing(url, to, name, plan),
        }
    }
}

#[derive(FromQueryResult)]
struct About {
    tenant_id: Uuid,
    at: DateTime<Utc>,
    plan_name: String,
    name: String,
    billing_email: String,
}

/// Queues every letter that is due. Answers how many.
pub async fn send(app: &App, now: &Now) -> Result<usize, DbErr> {
    let mut sent = 0;
    for notice in Notice::ALL {
        let (after, until) = notice.between(now.at);
        let mut failed = Failed::default();
        loop {
            let values = [after.into(), until.into(), notice.name().into(), failed.limit().into()];
            let due = About::find_by_statement(sql(app.db.read(), notice.due(), values)).all(app.db.read()).await?;
            let due = failed.without(due, |about| about.tenant_id);
            if due.is_empty() {
                break;
            }
            for about in due {
                match one(app, now, notice, &about).await {
                    Ok(told) => sent += usize::from(told),
                    Err(error) if !is_about_one(&error) => return Err(error),
                    Err(error) => failed.add(about.tenant_id, &error),
                }
            }
        }
    }
    Ok(sent)
}

async fn one(app: &App, now: &Now, notice: Notice, about: &About) -> Result<bool, DbErr> {
    let tx = app.db.begin().await?;
    let told = tell(&tx, now, &app.post, notice, about).await?;
    tx.commit().await?;
    app.wake.wake();
    Ok(told)
}

/// Tells one tenant. Of several who try at once, one does.
async fn tell(tx: &Tx, now: &Now, post: &Post, notice: Notice, about: &About) -> Result<bool, DbErr> {
    let once = "insert into billing_notices (tenant_id, notice, created_at) values ($1, $2, $3) \
                on conflict (tenant_id, notice) do update set created_at = $3 where billing_notices.created_at < $4 returning notice";
    let values = [about.tenant_id.into(), notice.name().into(), now.at.into(), notice.again_since(about).into()];
    if tx.query_one_raw(sql(tx, once, values)).await?.is_none() {
        return Ok(false);
    }
    let Ok(to) = Email::parse(&about.billing_email) else { return Ok(false) };
    let mut batch = Batch::default();
    post.queue(&mut batch, now, Some(about.tenant_id), &notice.letter(post, &to, about));
    batch.send(tx).await.map_err(|refused| refused.source)?;
    Ok(true)
}

/// A paid invoice, for its receipt.
#[derive(Clone, Debug)]
pub struct Receipt<'a> {
    /// Whose.
    pub tenant_id: Uuid,
    /// Where it goes.
    pub billing_email: &'a str,
    /// The invoice.
    pub invoice_id: Uuid,
    /// Its number.
    pub number: &'a str,
    /// What was paid.
    pub total: Money,
}

/// Queues the receipt of an invoice that has just been paid.
pub fn receipt(batch: &mut Batch, now: &Now, post: &Post, receipt: &Receipt<'_>) {
    if let Ok(to) = Email::parse(receipt.billing_email) {
        let letter =
            letters::receipt(&post.public_url, &to, receipt.number, &receipt.total.to_string(), receipt.invoice_id);
        post.queue(batch, now, Some(receipt.tenant_id), &letter);
    }
}

/// Queues the receipts of a tenant's invoices that have just been paid; where nothing was to be paid there is none.
pub async fn receipts(tx: &Tx, now: &Now, post: &Post, tenant_id: Uuid, paid: &[Uuid]) -> Result<(), DbErr> {
    let mut batch = Batch::default();
    for invoice_id in paid {
        let Some((invoice, _)) = invoices::by_id(tx, tenant_id, *invoice_id).await? else { continue };
        if invoice.total > 0 {
            let (billing_email, number) = (invoice.billing_email.as_str(), invoice.number.as_str());
            let total = invoice.total();
            receipt(
                &mut batch,
                now,
                post,
                &Receipt { tenant_id, billing_email, invoice_id: *invoice_id, number, total },
            );
        }
    }
    batch.send(tx).await.map_err(|refused| refused.source)
}

/// Queues an invoice that is to be paid by bank transfer.
pub fn invoice(batch: &mut Batch, now: &Now, post: &Post, issued: &Receipt<'_>, due_at: DateTime<Utc>) {
    if let Ok(to) = Email::parse(issued.billing_email) {
        let letter = letters::invoice(
            &post.public_url,
            &to,
            issued.number,
            &issued.total.to_string(),
            issued.invoice_id,
            (due_at, &post.bank_details),
        );
        post.queue(batch, now, Some(issued.tenant_id), &letter);
    }
}
