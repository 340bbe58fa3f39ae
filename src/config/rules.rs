//! What settings demand of each other, and what an environment refuses.

use secrecy::{ExposeSecret, SecretString};

use super::{Config, Environment, dev_secret, reader::Reader};

/// The least length of a secret.
pub(super) const SECRET_BYTES: usize = 32;

/// OWASP's weakest choice for Argon2id: 7 MiB and 5 passes.
const HASH_MEMORY_KIB: u32 = 7 * 1024;
const HASH_COST: u64 = 7 * 1024 * 5;

/// Adds every broken rule to the reader's problems.
pub(super) fn check(config: &Config, reader: &mut Reader) {
    consistent(config, reader);
    match config.environment {
        Environment::Development => {}
        Environment::Preview => deployed(config, reader),
        Environment::Production => {
            deployed(config, reader);
            production(config, reader);
        }
    }
}

fn consistent(config: &Config, reader: &mut Reader) {
    let (lanes, memory) = (config.password.parallelism, config.password.memory_kib);
    if memory / 8 < lanes {
        let name = reader.name("password.memory_kib");
        reader.problem(format!("{name} must be at least 8 times `password.parallelism` (RFC 9106)"));
    }
    if config.provision.backoff_cap < config.provision.backoff_base {
        let name = reader.name("provision.backoff_cap");
        reader.problem(format!("{name} must not be shorter than `provision.backoff_base`"));
    }
    if config.provision.app_url.is_some() && config.provision.app_secret.is_none() {
        let name = reader.name("provision.app_secret");
        reader.problem(format!("{name} must be set where `provision.app_url` is: calls to the application are signed"));
    }
}

/// For servers that others can reach.
fn deployed(config: &Config, reader: &mut Reader) {
    let environment = config.environment.name();
    let name = reader.name("secret_key");
    if let Some(fault) = secret_fault(&config.secret_key) {
        let advice = "set it to at least 32 random characters, for example from `openssl rand -base64 48`";
        reader.problem(format!("{name} {fault}, which {environment} refuses; {advice}"));
    }
    if config.provision.allow_private_addresses {
        let name = reader.name("provision.allow_private_addresses");
        reader.problem(format!("{name} is for development only, and {environment} refuses it; unset it"));
    }
}

fn production(config: &Config, reader: &mut Reader) {
    let name = reader.name("public_url");
    if reader.is_unset("public_url") {
        reader.problem(format!(
            "{name} is missing; set it to where people reach this server, such as https://app.example.com"
        ));
    } else if config.public_url.scheme() != "https" {
        reader.problem(format!("{name} must begin with https:// in production"));
    }
    if config.billing.sandbox {
        let name = reader.name("billing.sandbox");
        reader.problem(format!("{name} lets anybody pay with play money, and production refuses it; unset it"));
    }
    if config.apps_script.enabled && config.apps_script.token.is_none() {
        let name = reader.name("apps_script.token");
        reader.problem(format!("{name} must be set where `apps_script.enabled` is"));
    }
    if config.provision.lease <= config.provision.step_timeout {
        let name = reader.name("provision.lease");
        reader.problem(format!(
            "{name} must be longer than `provision.step_timeout`, or a slow step would be taken from the worker that runs it"
        ));
    }
    let cost = u64::from(config.password.memory_kib) * u64::from(config.password.iterations);
    if config.password.memory_kib < HASH_MEMORY_KIB || cost < HASH_COST {
        reader.problem(
            "the password hash is too cheap for production; unset `TENANTRY_BENCH_CHEAP_HASH`, `password.memory_kib` and \
             `password.iterations`, or choose one of OWASP's settings for Argon2id, such as 19456 and 2"
                .to_owned(),
        );
    }
}

fn secret_fault(secret: &SecretString) -> Option<&'static str> {
    let text = secret.expose_secret();
    let start = text.to_ascii_lowercase();
    if text.is_empty() {
        Some("is missing")
    } else if [dev_secret::MARK, "development", "dev-", "dev_", "changeme"].iter().any(|mark| start.starts_with(mark)) {
        Some("is a development secret")
    } else if text.len() < SECRET_BYTES {
        Some("is shorter than 32 bytes")
    } else {
        None
    }
}
