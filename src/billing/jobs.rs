//! What billing does by itself, by the product's own time: the month's credits, the next invoices, what is overdue, and the letters about it.
//!
//! Each tenant is one short transaction that looks again under its lock, so replicas may all do this, and whatever is missed is found the next
//! time.

use sea_orm::{DbErr, FromQueryResult};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{bank, credits, months, notices};
use crate::{app::App, db::sql, entitlements::guard::grace, http::chain, schedule};

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
        loop {
            let due = due(app, query).await?;
            for tenant_id in &due {
                let tx = app.db.begin().await?;
                match query {
                    bank::DUE => bank::renew(&tx, &now, &app.post, *tenant_id).await?,
                    bank::OVERDUE => bank::fall_due(&tx, &now, *tenant_id).await?,
                    _ => months::grant(&tx, &now, grace(&app.config), *tenant_id).await?,
                }
                tx.commit().await?;
                app.wake.wake();
            }
            if due.is_empty() {
                break;
            }
        }
    }
    notices::send(app, &now).await?;
    Ok(())
}

#[derive(FromQueryResult)]
struct Due {
    tenant_id: Uuid,
}

async fn due(app: &App, query: &str) -> Result<Vec<Uuid>, DbErr> {
    let values = [app.clock.now().at.into(), LIMIT.into()];
    let due = Due::find_by_statement(sql(app.db.read(), query, values)).all(app.db.read()).await?;
    Ok(due.into_iter().map(|due| due.tenant_id).collect())
}
