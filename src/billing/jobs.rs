//! What billing does by itself, by the product's own time: the month's credits, the next invoices, what is overdue, and the letters about it.
//!
//! Each tenant is one short transaction that looks again under its lock, so replicas may all do this, and whatever is missed is found the next
//! time.

use std::collections::HashSet;

use sea_orm::{DbErr, FromQueryResult};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{bank, credits, months, notices};
use crate::{app::App, clock::Now, db::sql, entitlements::guard::grace, http::chain, schedule};

/// Between two rounds. Their queries are served by indexes of what is due alone.
const EVERY: chrono::TimeDelta = chrono::TimeDelta::minutes(1);
/// Tenants in one look.
const LIMIT: i64 = 100;

/// Goes round until `stop`.
pub async fn run(app: App, stop: CancellationToken) {
    schedule::every(&app, EVERY, &stop, |app| async move {
        if let Err(error) = round(&app).await {
            tracing::warn!(feature = "billing", error = %chain(&error), "Could not do what is due");
        }
    })
    .await;
}

/// Why a round ends early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An invoice that could not be written.
    #[error(transparent)]
    Bank(#[from] bank::Error),
    /// Credits that could not be granted.
    #[error(transparent)]
    Credits(#[from] credits::Error),
    /// The database.
    #[error(transparent)]
    Database(#[from] DbErr),
}

/// Does what is due now.
pub async fn round(app: &App) -> Result<(), Error> {
    let now = app.clock.now();
    // In this order: what a lapse or a payment changes is told by the letters after it.
    for query in [bank::DUE, bank::OVERDUE, months::DUE] {
        let mut failed = Failed::default();
        loop {
            let due = failed.without(due(app, query, failed.limit()).await?, |tenant_id| *tenant_id);
            if due.is_empty() {
                break;
            }
            for tenant_id in due {
                match one(app, &now, query, tenant_id).await {
                    Ok(()) => {}
                    Err(Error::Database(error)) if !is_about_one(&error) => return Err(error.into()),
                    Err(error) => failed.add(tenant_id, &error),
                }
            }
        }
    }
    notices::send(app, &now).await?;
    Ok(())
}

async fn one(app: &App, now: &Now, query: &str, tenant_id: Uuid) -> Result<(), Error> {
    let tx = app.db.begin().await?;
    match query {
        bank::DUE => bank::renew(&tx, now, &app.post, tenant_id).await?,
        bank::OVERDUE => bank::fall_due(&tx, now, tenant_id).await?,
        _ => months::grant(&tx, now, grace(&app.config), tenant_id).await?,
    }
    tx.commit().await?;
    app.wake.wake();
    Ok(())
}

/// Tenants whose turn failed: they hold nobody up, and are tried again in the next round.
#[derive(Default)]
pub(super) struct Failed(HashSet<Uuid>);

impl Failed {
    /// How many tenants to look for, so that others are found too.
    pub(super) fn limit(&self) -> i64 {
        LIMIT + i64::try_from(self.0.len()).unwrap_or_default()
    }

    /// What is due of others.
    pub(super) fn without<T>(&self, due: Vec<T>, of: impl Fn(&T) -> Uuid) -> Vec<T> {
        due.into_iter().filter(|due| !self.0.contains(&of(due))).collect()
    }

    pub(super) fn add(&mut self, tenant_id: Uuid, error: &(dyn std::error::Error + 'static)) {
        tracing::error!(feature = "billing", %tenant_id, error = %chain(error), "Could not do what is due of a tenant");
        self.0.insert(tenant_id);
    }
}

/// Whether the database has refused a row, rather than everything.
pub(super) fn is_about_one(error: &DbErr) -> bool {
    matches!(error, DbErr::Exec(_) | DbErr::Query(_) | DbErr::RecordNotFound(_))
}

#[derive(FromQueryResult)]
struct Due {
    tenant_id: Uuid,
}

async fn due(app: &App, query: &str, limit: i64) -> Result<Vec<Uuid>, DbErr> {
    let values = [app.clock.now().at.into(), limit.into()];
    let due = Due::find_by_statement(sql(app.db.read(), query, values)).all(app.db.read()).await?;
    Ok(due.into_iter().map(|due| due.tenant_id).collect())
}
