//! `backfill`: what many tenants missed.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

use super::{Failure, args::Complimentary, output};
use crate::{
    app::App,
    billing::complimentary::{self, Candidate},
    plans::{self, thousands},
};

/// What was done, or would be.
#[derive(Serialize)]
struct Report {
    /// The plan's slug.
    plan: String,
    /// Whether nothing was changed.
    dry_run: bool,
    /// How many tenants got the plan.
    changed: usize,
    /// Those, as they were before.
    tenants: Vec<Candidate>,
    /// How many stayed as they are, by the reason.
    untouched: BTreeMap<String, i64>,
}

/// The most that are told one by one to a person.
const TOLD: usize = 50;

/// Gives every live tenant a plan, or tells to whom it would be given.
pub(super) async fn complimentary(app: &App, args: &Complimentary) -> Result<(), Failure> {
    let db = app.db.read();
    let plan = plans::by_slug(db, &args.plan).await?;
    let plan = plan.ok_or_else(|| Failure::refused(format!("there is no plan {}", args.plan)))?;
    // Before: those who get the plan now would count as complimentary already.
    let untouched = complimentary::left_alone(db).await?;
    let (mut tenants, mut last) = (Vec::new(), Uuid::nil());
    loop {
        let reached = if args.dry_run {
            complimentary::candidates(db, last, false).await?
        } else {
            let tx = app.db.begin().await?;
            let reached = complimentary::give(&tx, &app.clock.now(), &plan, last).await?;
            tx.commit().await?;
            reached
        };
        let Some(next) = reached.last() else { break };
        last = next.tenant_id;
        tenants.extend(reached);
    }
    let report = Report { plan: plan.slug, dry_run: args.dry_run, changed: tenants.len(), tenants, untouched };
    if args.json { output::json(&report) } else { tell(&report) }
}

fn tell(report: &Report) -> Result<(), Failure> {
    let row = |tenant: &Candidate| [tenant.slug.clone(), tenant.plan.clone(), super::word(&tenant.status)];
    let rows: Vec<_> = report.tenants.iter().take(TOLD).map(row).collect();
    if !rows.is_empty() {
        output::rows(["tenant", "plan before", "status before"], &rows)?;
        if report.tenants.len() > rows.len() {
            output::line(&format!("and {} more; --json lists them all", report.tenants.len() - rows.len()))?;
        }
        output::line("")?;
    }
    let verb = if report.dry_run { "would become" } else { "became" };
    output::line(&format!("{} {verb} complimentary on {}", counted(report.changed), report.plan))?;
    for (reason, count) in &report.untouched {
        output::line(&format!("{} untouched: {}", thousands(*count), reason.replace('_', " ")))?;
    }
    Ok(())
}

fn counted(tenants: usize) -> String {
    if tenants == 1 { "1 tenant".to_owned() } else { format!("{tenants} tenants") }
}
