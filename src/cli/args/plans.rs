//! The commands about plans and their tenants.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum PlanCommand {
    /// List the plans, hidden ones too
    #[command(after_help = "Examples:\n  tenantry plan list --json | jq -r '.data[].slug'")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print all plans and feature flags as a file for `plan diff` and `plan apply`
    ///
    /// The kill switch is not in it.
    #[command(after_help = "Examples:\n  tenantry plan export > plans.toml")]
    Export,
    Diff(PlanDiff),
    Apply(PlanApply),
}

/// Tell what a file would change, and which tenants gain or lose by it
///
/// Changes nothing. Plans that the file does not name are told, and would stay.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  tenantry plan diff plans.toml
  tenantry plan diff plans.toml --json | jq '.effects[] | select(.is_gain | not)'

Exit codes: 0 nothing would change; 2 something would; 1 the file is refused, or it could not be tried.")]
pub(in crate::cli) struct PlanDiff {
    /// The file, as `tenantry plan export` prints it
    pub file: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Make the plans what a file says, after telling who gains or loses by it
///
/// All of it or nothing. Nothing is deleted: plans that the file does not name stay, and `is_public = false` hides one. If the
/// plans have changed since they were shown, nothing happens. Running servers follow at once.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  tenantry plan apply plans.toml                  shows what changes, and asks
  tenantry plan apply plans.toml --yes
  tenantry plan apply plans.toml --expect 3f0c…   only the changes that `plan diff` showed under this digest

Exit codes: 0 the plans are what the file says; 1 refused; 2 could not be tried.")]
pub(in crate::cli) struct PlanApply {
    /// The file, as `tenantry plan export` prints it
    pub file: PathBuf,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Do not ask, and do nothing unless the changes are those that were shown under this digest
    #[arg(long, value_name = "DIGEST")]
    pub expect: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum BackfillCommand {
    Complimentary(Complimentary),
}

/// Give every live tenant a plan as a gift
///
/// Tenants that are open and provisioned, and active or in a trial, become complimentary. Those who pay through Stripe, are past due,
/// canceled, wait for a payment or are complimentary already stay as they are. Credits stay; the plan's own come with the next month.
/// Safe to repeat.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  tenantry backfill complimentary --dry-run
  tenantry backfill complimentary --plan scale --json")]
pub(in crate::cli) struct Complimentary {
    /// The plan's slug
    #[arg(long, value_name = "SLUG", default_value = "pro")]
    pub plan: String,
    /// Change nothing; tell what would be
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
