//! The configuration: what the operator decides.
//!
//! Four layers, later ones winning: `defaults.toml` (every key, documented), its section for the environment,
//! `tenantry.toml` in the working directory (or where `TENANTRY_CONFIG` points), and environment variables. All that is
//! wrong is told at once, by the name the operator gave it. It refuses unknown keys, values that mean nothing, and what
//! would be unsafe in the environment at hand (see the module `rules`).

mod dev_secret;
mod layers;
mod reader;
mod rules;
mod sections;
#[cfg(test)]
mod tests;
mod values;

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;
use lettre::message::Mailbox;
use secrecy::SecretString;
use serde::Serialize;
use url::Url;

/// Everything the operator decides. `defaults.toml` has each key's meaning and default.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where this server runs; chooses defaults and strictness.
    pub environment: Environment,
    /// Where people reach it: scheme, host and port, and no path. Links in mails begin with it.
    pub public_url: Url,
    /// For the SQLite file and generated development secrets; absolute.
    pub data_dir: PathBuf,
    /// Tenants' hostnames are `{slug}.{base_domain}`.
    pub base_domain: String,
    /// PostgreSQL (or an explicit `sqlite:` path); SQLite in `data_dir` where it is unset.
    pub database_url: Option<SecretString>,
    /// PostgreSQL connections, at most.
    pub database_connections: u32,
    /// Keys for all that is sealed or signed are derived from it.
    pub secret_key: SecretString,
    /// The secret before, while rotating.
    pub secret_key_previous: Option<SecretString>,
    /// A bearer token for the admin API.
    pub admin_token: Option<SecretString>,
    /// The server.
    pub http: Http,
    /// Sign-up.
    pub signup: Signup,
    /// Provisioning.
    pub provision: Provision,
    /// Rate limits.
    pub rate_limit: RateLimit,
    /// The keys that sign tokens.
    pub keys: SigningKeys,
    /// Billing.
    pub billing: Billing,
    /// Stripe.
    pub stripe: Stripe,
    /// Google's Apps Script.
    pub apps_script: AppsScript,
    /// Logs.
    pub log: Log,
    /// Traces.
    pub traces: Traces,
    /// Mail.
    pub smtp: Smtp,
    /// Sign-in providers by name; only those that are configured.
    pub oauth: BTreeMap<String, OauthProvider>,
    /// Identity.
    pub identity: Identity,
    /// Passwords.
    pub password: Password,
    /// Workers.
    pub worker: Worker,
    rows: Vec<Row>,
}

/// Where the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// One person's machine: everything works without keys, nothing leaves it.
    Development,
    /// Deployed for trying out.
    Preview,
    /// Deployed for customers.
    Production,
}

/// The server.
#[derive(Clone, Debug)]
pub struct Http {
    /// Where to listen.
    pub bind: SocketAddr,
    /// Origins that may call the API from a browser, as browsers write them.
    pub cors_origins: Vec<String>,
    /// Networks whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Bytes of a request's body, at most.
    pub body_limit: usize,
    /// A new connection has to send the header of its first request within this time.
    pub header_timeout: Duration,
    /// A connection that is idle for longer is closed.
    pub keep_alive: Duration,
    /// A request that takes longer is given up. Its body has to come within half of it.
    pub request_timeout: Duration,
}

/// Sign-up.
#[derive(Clone, Debug)]
pub struct Signup {
    /// Whether strangers may sign up by themselves.
    pub self_serve_enabled: bool,
    /// Life of the wizard's token.
    pub token_ttl: Duration,
    /// An unfinished sign-up is removed after this time.
    pub abandoned_after: Duration,
    /// Whether sign-up stays open where the kill switch cannot be read.
    pub fail_open: bool,
}

/// Provisioning.
#[derive(Clone, Debug)]
pub struct Provision {
    /// Nothing leaves the server.
    pub dry_run: bool,
    /// Webhooks must answer 2xx.
    pub strict_webhooks: bool,
    /// Lower-case hosts, `*.example.com` for all below a domain, `*` for any.
    pub webhook_hosts: Vec<String>,
    /// Whether webhooks may lead to private, loopback and link-local addresses.
    pub allow_private_addresses: bool,
    /// The operator's application for `call_webhook`; where it is set, so is `app_secret`.
    pub app_url: Option<Url>,
    /// Signs the calls to `app_url`.
    pub app_secret: Option<SecretString>,
    /// A worker that is silent for so long has lost its step.
    pub lease: Duration,
    /// A step's attempt that takes longer has failed.
    pub step_timeout: Duration,
    /// How long the application that took a `call_webhook` with 202 has to call back.
    pub callback_timeout: Duration,
    /// Attempts of a step, at least 1.
    pub max_attempts: u32,
    /// The first pause between two attempts; it doubles.
    pub backoff_base: Duration,
    /// The longest pause between two attempts.
    pub backoff_cap: Duration,
}

/// Rate limits.
#[derive(Clone, Debug)]
pub struct RateLimit {
    /// Off also switches off delays, mail cool-downs, sign-up budgets and trial-once.
    pub enabled: bool,
    /// Log-ins a minute from one network, at least 1, as the others.
    pub log_in: u32,
    /// Sign-ups a minute.
    pub sign_up: u32,
    /// Requests a minute that send a mail.
    pub mail: u32,
    /// Requests a minute that bring a token or code.
    pub tokens: u32,
    /// Admin tokens a minute, of which those right are not counted at the API.
    pub admin: u32,
}

/// The keys that sign tokens.
#[derive(Clone, Copy, Debug)]
pub struct SigningKeys {
    /// A key signs for so long before the next one takes its place; zero is for ever.
    pub rotate_after: Duration,
}

/// Billing.
#[derive(Clone, Debug)]
pub struct Billing {
    /// Days of a trial, whatever the plan says; as the plan says where it is unset.
    pub trial_days: Option<i64>,
    /// Whether the built-in sandbox stands in for Stripe.
    pub sandbox: bool,
    /// A tenant that is past due keeps its access for so long.
    pub past_due_grace: Duration,
    /// Stripe is asked so often what is there of whom nothing was heard.
    pub reconcile_every: Duration,
    /// Who issues our invoices: name and address, line by line.
    pub issuer: Vec<String>,
    /// Where bank transfers go, line by line; without it nobody is told.
    pub bank_details: Vec<String>,
}

/// Stripe.
#[derive(Clone, Debug)]
pub struct Stripe {
    /// Without it checkout is not configured.
    pub secret_key: Option<SecretString>,
    /// Without it no Stripe webhook is accepted.
    pub webhook_secret: Option<SecretString>,
    /// Where Stripe's API is.
    pub api_base: Url,
}

/// Google's Apps Script REST API.
#[derive(Clone, Debug)]
pub struct AppsScript {
    /// Whether plans that have the step deploy a script.
    pub enabled: bool,
    /// Where the API is.
    pub api_base: Url,
    /// A bearer token for it.
    pub token: Option<SecretString>,
}

/// Logs.
#[derive(Clone, Debug)]
pub struct Log {
    /// How lines are written.
    pub format: LogFormat,
}

/// Traces.
#[derive(Clone, Debug)]
pub struct Traces {
    /// The base address of an OpenTelemetry collector that takes OTLP over HTTP; without it there are no traces.
    pub endpoint: Option<Url>,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For a person at a terminal.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Mail.
#[derive(Clone, Debug)]
pub struct Smtp {
    /// `smtp://` or `smtps://`, with the credentials.
    pub url: Option<SecretString>,
    /// The sender.
    pub from: Mailbox,
}

/// A sign-in provider (OIDC).
#[derive(Clone, Debug)]
pub struct OauthProvider {
    /// Our id there.
    pub client_id: String,
    /// Our secret there.
    pub client_secret: SecretString,
    /// Where discovery begins.
    pub issuer: Url,
}

/// Identity.
#[derive(Clone, Debug)]
pub struct Identity {
    /// How long after sign-up somebody may leave their address unproved, before guarded routes are closed to them.
    pub verification_grace: Duration,
    /// Whether a password log-in of somebody who has none names the providers that they sign in with.
    pub names_providers: bool,
}

/// Passwords.
#[derive(Clone, Debug)]
pub struct Password {
    /// Characters, at least.
    pub min_length: usize,
    /// zxcvbn's estimate of the strength, at least: 0 (anything) to 4.
    pub min_score: u8,
    /// Whether a password is refused that is on the bundled list of common ones.
    pub refuse_common: bool,
    /// Argon2id's memory in KiB.
    pub memory_kib: u32,
    /// Argon2id's passes.
    pub iterations: u32,
    /// Argon2id's lanes.
    pub parallelism: u32,
}

/// Workers.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Steps at a time, at least 1.
    pub concurrency: usize,
    /// How often to look for work that nobody announced.
    pub poll: Duration,
}

/// One setting, for `tenantry config check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// As in `tenantry.toml`, with dots.
    pub key: String,
    /// Its value; secrets are masked, and nothing stands for an unset one.
    pub value: String,
    /// Where the value comes from.
    pub source: String,
}

/// All that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// One sentence each, naming the setting and what to do.
    pub problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is refused:")?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the process's environment and the working directory.
    ///
    /// In development it creates the data directory and its secret where they are missing.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn load() -> Result<Self, ConfigError> {
        let variables = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()));
        let folder = std::env::current_dir().map_err(|error| ConfigError {
            problems: vec![format!("the working directory cannot be read: {error}")],
        })?;
        Self::load_from(variables, &folder)
    }

    /// Reads the given environment variables and working directory; otherwise as [`Config::load`].
    ///
    /// # Errors
    /// All that is wrong.
    pub fn load_from(variables: impl Iterator<Item = (String, String)>, cwd: &Path) -> Result<Self, ConfigError> {
        let (layers, problems) = layers::read(variables, cwd)?;
        let mut reader = reader::Reader::new(layers, problems);
        let config = Self::read(&mut reader, cwd);
        rules::check(&config, &mut reader);
        let (rows, problems) = reader.finish();
        if problems.is_empty() { Ok(Self { rows, ..config }) } else { Err(ConfigError { problems }) }
    }

    /// Every setting with its value and source, secrets masked, by key.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }
}
