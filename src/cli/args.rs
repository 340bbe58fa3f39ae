//! The commands and their arguments. Doc comments here are the program's help.

mod plans;

use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand};
use secrecy::SecretString;
use url::Url;

pub(super) use plans::{BackfillCommand, Complimentary, PlanApply, PlanCommand, PlanDiff};

/// The front door of a multi-tenant SaaS: self-serve sign-up and atomic tenant provisioning
///
/// Without a command it serves. In development nothing has to be configured: data goes to ./data (SQLite), or to
/// PostgreSQL where `DATABASE_URL` is set.
///
/// Settings come from environment variables (TENANTRY_…) and tenantry.toml; `tenantry config check` shows them all.
#[derive(Debug, Parser)]
#[command(name = "tenantry", version, after_help = ROOT_EXAMPLES)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
}

const ROOT_EXAMPLES: &str = "\
Examples:
  tenantry                                        serve on http://127.0.0.1:8080
  tenantry preflight --base-url http://127.0.0.1:8080
  tenantry tenant create --email grace@example.com --name \"Hopper Ltd\" --plan pro --wait
  tenantry flag set signup_enabled false          the kill switch

Exit codes: 0 done; 1 refused, or what was checked does not hold; 2 could not be tried.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Serve(Serve),
    Worker(Worker),
    Migrate(Migrate),
    Preflight(Preflight),
    /// Count what must hold in the database
    ///
    /// Every invariant must read 0: each tenant has one owner, a subscription, a run, a balance that is its ledger's sum, and
    /// so on. Warnings want a look and do not fail: among them is what the pricing page promises and the plans do not
    /// grant. Safe on a running product: it only reads.
    #[command(after_help = "\
Examples:
  tenantry doctor
  tenantry doctor --json | jq '.counts[] | select(.count > 0)'

Exit codes: 0 all invariants hold; 1 one does not; 2 the database could not be read.")]
    Doctor {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List, show, create and retry tenants
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// List and set feature flags, among them the kill switch
    #[command(subcommand)]
    Flag(FlagCommand),
    /// List the plans; keep them as a file
    #[command(subcommand)]
    Plan(PlanCommand),
    /// Do at once to many tenants what they missed
    #[command(subcommand)]
    Backfill(BackfillCommand),
    /// Rotate the keys that sign tokens
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Check the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the HTTP API's OpenAPI document
    ///
    /// The same document that a server answers at /openapi.json. It needs neither configuration nor database.
    #[command(after_help = "Examples:\n  tenantry openapi > docs/openapi.json")]
    Openapi,
}

impl Default for Command {
    fn default() -> Self {
        Self::Serve(Serve::default())
    }
}

/// Serve HTTP, and work the queues beside it
///
/// Migrates the database first, under a lock, so that many may start at once. SIGINT or SIGTERM stops it: what runs is
/// finished or handed back.
#[derive(Clone, Copy, Debug, Default, Args)]
#[command(after_help = "\
Examples:
  tenantry serve
  DATABASE_URL=postgres://user:password@host/db tenantry serve
  tenantry serve --no-worker                      with `tenantry worker` elsewhere")]
pub(super) struct Serve {
    /// Only serve: `tenantry worker` provisions, mails and delivers
    #[arg(long)]
    pub no_worker: bool,
    /// Do not migrate; refuse to start where the schema is not up to date
    #[arg(long)]
    pub no_migrate: bool,
}

/// Work the queues without serving: provision, mail, deliver
///
/// As many as you like share one PostgreSQL; leases see to it that none does another's work.
#[derive(Clone, Copy, Debug, Args)]
#[command(after_help = "Examples:\n  DATABASE_URL=postgres://user:password@host/db tenantry worker")]
pub(super) struct Worker {
    /// Do not migrate; refuse to start where the schema is not up to date
    #[arg(long)]
    pub no_migrate: bool,
}

/// Bring the database's schema up to date, or take versions back
///
/// Safe to run by several at once: one works, the others wait. A version whose data would be lost is not taken back.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  tenantry migrate
  tenantry migrate --status                       exit code 1 where versions are pending
  tenantry migrate --down 1")]
pub(super) struct Migrate {
    /// Take the newest N versions back
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "status")]
    pub down: Option<u32>,
    /// Only tell which versions are pending
    #[arg(long)]
    pub status: bool,
}

/// Sign tenants up on a running server, and see them provisioned
///
/// The smoke test after a deployment, over HTTP alone: it needs neither configuration nor database. It signs two tenants up,
/// one on Starter and one on Pro, whose names begin with preflight-, and checks that repeats are recognised, taken names
/// and forged tokens refused.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  tenantry preflight --base-url http://127.0.0.1:8080
  tenantry preflight --base-url https://app.example.com --webhook-url https://hook.eu1.make.com/abc --json

Exit codes: 0 PREFLIGHT PASSED; 1 PREFLIGHT FAILED; 2 the server could not be reached.")]
pub(super) struct Preflight {
    /// Where the server is
    #[arg(long, value_name = "URL", value_parser = http_url)]
    pub base_url: Url,
    /// The webhook to give the tenants; needed where the server really calls it (no dry run)
    #[arg(long, value_name = "URL", value_parser = http_url)]
    pub webhook_url: Option<Url>,
    /// Also check the admin API, with this token
    #[arg(long, value_name = "TOKEN", env = "PREFLIGHT_ADMIN_TOKEN", hide_env_values = true)]
    pub admin_token: Option<SecretString>,
    /// The most that a check may take, such as 30s or 2m
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

fn http_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).ok().filter(|url| ["http", "https"].contains(&url.scheme()));
    url.ok_or("it has to begin with http:// or https://")
}

#[derive(Debug, Subcommand)]
pub(super) enum TenantCommand {
    List(TenantList),
    /// Show a tenant with its provisioning run
    #[command(after_help = "Examples:\n  tenantry tenant show hopper")]
    Show {
        /// Its slug or id
        tenant: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    Create(TenantCreate),
    /// Set a tenant's failed provisioning going again
    ///
    /// Finished steps are not repeated.
    #[command(after_help = "Examples:\n  tenantry tenant retry hopper --wait")]
    Retry {
        /// Its slug or id
        tenant: String,
        /// Wait until it is provisioned, doing the work where no server does
        #[arg(long)]
        wait: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    Delete(TenantDelete),
}

/// Delete a tenant for good, with everything that is of it
///
/// What it pays for at Stripe is ended first; where Stripe cannot be told, nothing is deleted. Users who belong to no other tenant go with it.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  tenantry tenant delete hopper
  tenantry tenant delete hopper --yes --with-invoices --json")]
pub(super) struct TenantDelete {
    /// Its slug or id
    pub tenant: String,
    /// Do it, and not only tell what would go
    #[arg(long)]
    pub yes: bool,
    /// Also the invoices that were issued to it, whose numbers are then missing in the books
    #[arg(long)]
    pub with_invoices: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// List tenants, newest first
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  tenantry tenant list --search hop
  tenantry tenant list --json | jq -r '.data[] | select(.provision_state == \"failed\") | .slug'")]
pub(super) struct TenantList {
    /// Only those whose slug, name or owner's address begins with this
    #[arg(long, value_name = "TEXT")]
    pub search: Option<String>,
    /// How many, 1 to 200
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=200))]
    pub limit: u64,
    /// `next_cursor` of the list before
    #[arg(long)]
    pub cursor: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Make a tenant for somebody, who gets a letter to take it over
///
/// The kill switch does not apply. With --wait the command provisions the tenant itself where no server does; letters go out
/// when one runs.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  tenantry tenant create --email grace@example.com --name \"Hopper Ltd\" --plan pro --wait
  tenantry tenant create --email g@example.com --name Hopper --plan enterprise --slug hopper --json

Exit codes: 0 made (with --wait: and provisioned); 1 refused, or provisioning failed; 2 could not be tried.")]
pub(super) struct TenantCreate {
    /// The owner's address
    #[arg(long)]
    pub email: String,
    /// The tenant's name
    #[arg(long)]
    pub name: String,
    /// A plan's slug; `tenantry plan list` shows them
    #[arg(long)]
    pub plan: String,
    /// The tenant's name in addresses; made from its name where absent
    #[arg(long)]
    pub slug: Option<String>,
    /// The owner's name
    #[arg(long)]
    pub owner_name: Option<String>,
    /// Wait until it is provisioned, doing the work where no server does
    #[arg(long)]
    pub wait: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum FlagCommand {
    /// List the feature flags
    #[command(after_help = "Examples:\n  tenantry flag list")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Switch a feature flag on or off
    ///
    /// Running servers on the same database follow at once. `signup_enabled` is the kill switch: off, every public
    /// sign-up door answers 503 `SIGNUPS_DISABLED`.
    #[command(after_help = "Examples:\n  tenantry flag set signup_enabled false")]
    Set {
        /// Its name
        name: String,
        /// On or off
        #[arg(action = ArgAction::Set)]
        enabled: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Add a new signing key and retire the older ones
    ///
    /// The new key is published at once and signs a quarter of an hour later, when every verifier knows it. Older keys
    /// verify until the last token they signed has ended, so nobody is logged out.
    #[command(after_help = "Examples:\n  tenantry keys rotate")]
    Rotate {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Show every setting with its source, or all that is wrong
    ///
    /// Secrets are masked.
    #[command(after_help = "\
Examples:
  tenantry config check
  TENANTRY_ENVIRONMENT=production tenantry config check

Exit codes: 0 a server would start with it; 1 it is refused.")]
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, error::ErrorKind};

    use super::*;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        let words = std::iter::once("tenantry").chain(line.split_whitespace());
        Cli::try_parse_from(words).map(|cli| cli.command.unwrap_or_default())
    }

    #[test]
    fn the_definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_about_and_every_leaf_examples() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{} has no about", command.get_name());
            let subcommands: Vec<_> = command.get_subcommands().collect();
            let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(
                !subcommands.is_empty() || examples.contains("Examples:"),
                "{} has no examples",
                command.get_name()
            );
            subcommands.into_iter().for_each(check);
        }
        check(&Cli::command());
    }

    #[test]
    fn nothing_at_all_serves_with_the_worker() {
        assert!(matches!(parse(""), Ok(Command::Serve(Serve { no_worker: false, no_migrate: false }))));
        assert!(matches!(parse("serve --no-worker"), Ok(Command::Serve(Serve { no_worker: true, no_migrate: false }))));
    }

    #[test]
    fn a_flag_is_set_to_true_or_false_and_nothing_else() {
        let set = parse("flag set signup_enabled false").unwrap();
        assert!(matches!(set, Command::Flag(FlagCommand::Set { enabled: false, .. })));
        assert_eq!(parse("flag set signup_enabled off").unwrap_err().kind(), ErrorKind::InvalidValue);
    }

    #[test]
    fn usage_errors_exit_with_2() {
        for line in [
            "preflight",
            "preflight --base-url localhost:8080",
            "tenant create --name x",
            "migrate --down 0",
            "nonsense",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn preflight_reads_its_url_and_time() {
        let Ok(Command::Preflight(args)) = parse("preflight --base-url http://127.0.0.1:8080 --timeout 2m") else {
            panic!("should parse");
        };
        assert_eq!((args.base_url.port(), args.timeout), (Some(8080), Duration::from_mins(2)));
    }
}
