//! `tenant delete`: a tenant goes for good, and what it pays for ends before.

use sea_orm::FromQueryResult;
use serde::Serialize;
use uuid::Uuid;

use super::{Failure, args::TenantDelete, output, tenant::find};
use crate::{
    app::App,
    audit,
    billing::stripe,
    db::{for_update, sql},
    tenants,
};

/// What goes, or has gone.
#[derive(Serialize)]
struct Report {
    /// The tenant's slug.
    slug: String,
    /// Its id.
    id: Uuid,
    /// Whether it is gone.
    deleted: bool,
    /// Its users, or those of them that went with it.
    users: u64,
    /// Invoices of ours that were issued to it.
    invoices: u64,
    /// Subscriptions at Stripe that were ended.
    subscriptions_ended: usize,
}

#[derive(FromQueryResult)]
struct Counted {
    users: i64,
    invoices: i64,
}

/// Deletes a tenant, or tells what would go.
pub(super) async fn run(app: &App, args: &TenantDelete) -> Result<(), Failure> {
    let tenant = find(app, &args.tenant).await?;
    let query = "select (select count(*) from memberships where tenant_id = $1) as users, \
                 (select count(*) from invoices where tenant_id = $1 and issuer = 'tenantry') as invoices";
    let counted = Counted::find_by_statement(sql(app.db.read(), query, [tenant.id.into()])).one(app.db.read()).await?;
    let counted = counted.unwrap_or(Counted { users: 0, invoices: 0 });
    let mut report = Report {
        slug: tenant.slug.clone(),
        id: tenant.id,
        deleted: false,
        users: counted.users.unsigned_abs(),
        invoices: counted.invoices.unsigned_abs(),
        subscriptions_ended: 0,
    };
    if args.yes && report.invoices > 0 && !args.with_invoices {
        return Err(Failure::refused(format!(
            "invoices issued to {}: {}; the books may need them, so keep their files, then say --with-invoices",
            report.slug, report.invoices
        )));
    }
    if args.yes {
        // Who cannot be told to stop charging keeps its tenant.
        let ended = stripe::leave(app, tenant.id).await;
        report.subscriptions_ended = ended.map_err(|error| {
            let slug = &report.slug;
            Failure::not_tried(format!("cannot end what {slug} pays for at Stripe, so nothing is deleted: {error}"))
        })?;
        report.users = delete(app, tenant.id).await?;
        report.deleted = true;
    }
    if args.json { output::json(&report) } else { tell(&report) }
}

async fn delete(app: &App, tenant_id: Uuid) -> Result<u64, Failure> {
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    let users = tenants::hold_users(&tx, tenant_id, for_update(&tx)).await?;
    let tenant = tenants::lock(&tx, tenant_id).await?.ok_or_else(|| Failure::refused("the tenant is gone already"))?;
    if stripe::has_checkout(&tx, tenant_id).await? {
        return Err(Failure::refused("a payment page was opened just now; try again"));
    }
    let gone = (audit::Actor::Cli, "tenant.deleted");
    let users = tenants::erase(&tx, &now, (tenant_id, &tenant.slug), &users, gone).await?;
    tx.commit().await?;
    Ok(users)
}

fn tell(report: &Report) -> Result<(), Failure> {
    let Report { slug, users, invoices, subscriptions_ended, deleted, .. } = report;
    if *deleted {
        return output::line(&format!(
            "Deleted {slug}, with its users ({users}) and invoices ({invoices}); subscriptions ended at Stripe: {subscriptions_ended}"
        ));
    }
    output::line(&format!(
        "{slug}: its users ({users}) and invoices ({invoices}) would go. Nothing is deleted without --yes"
    ))
}
