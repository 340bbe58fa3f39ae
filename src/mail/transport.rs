//! How mail leaves: SMTP where a server is configured, else the development mailbox or not at all.

use std::time::Duration;

use lettre::{
    AsyncSmtpTransport, AsyncTransport, Tokio1Executor,
    message::Mailbox,
    transport::smtp::{Error, PoolConfig},
};
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};
use uuid::Uuid;

use super::{Mail, message};
use crate::{
    clock::Now,
    config::{Environment, Smtp},
    http::chain,
    outbox::Outcome,
};

/// Connecting, and each command after it.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Open connections, at most.
const CONNECTIONS: u32 = 4;
/// Servers close idle connections after minutes; we are first.
const IDLE: Duration = Duration::from_secs(30);

/// Where mail goes. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Transport {
    /// To a server.
    Smtp {
        /// The pooled connections.
        client: AsyncSmtpTransport<Tokio1Executor>,
        /// The sender.
        from: Mailbox,
    },
    /// Nowhere: it stays readable at `/dev/mailbox`.
    Mailbox,
    /// Nowhere yet: it waits in the outbox until a server is configured.
    Unconfigured,
}

/// An SMTP URL that cannot be used. It never shows the URL, which holds a password.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Not a URL.
    #[error("TENANTRY_SMTP__URL is not a URL such as smtp://user:password@host:587 or smtps://user:password@host")]
    Url,
    /// lettre refuses it.
    #[error("TENANTRY_SMTP__URL cannot be used")]
    Refused(#[source] Error),
}

impl Transport {
    /// The transport that the configuration asks for. Sends nothing yet. Needs a running Tokio.
    ///
    /// `smtps://` is TLS from the first byte; `smtp://` demands STARTTLS (RFC 3207), except to a loopback address.
    ///
    /// # Errors
    /// See [`TransportError`].
    pub fn new(smtp: &Smtp, environment: Environment) -> Result<Self, TransportError> {
        let Some(url) = &smtp.url else {
            let is_development = environment == Environment::Development;
            return Ok(if is_development { Self::Mailbox } else { Self::Unconfigured });
        };
        // An error means that a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = secured(url)?;
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose_secret());
        let pool = PoolConfig::new().max_size(CONNECTIONS).idle_timeout(IDLE);
        let client = builder.map_err(TransportError::Refused)?.timeout(Some(TIMEOUT)).pool_config(pool).build();
        Ok(Self::Smtp { client, from: smtp.from.clone() })
    }

    /// Whether mails leave the outbox.
    pub fn is_configured(&self) -> bool {
        !matches!(self, Self::Unconfigured)
    }

    /// Sends a letter under the outbox row's id. A 5xx answer is final (RFC 5321, 4.2.1), everything else may pass.
    pub(super) async fn send(&self, id: Uuid, now: &Now, mail: &Mail) -> Outcome {
        match self {
            Self::Mailbox => Outcome::Kept,
            Self::Unconfigured => Outcome::Retry { error: "no SMTP server is configured".into(), after: None },
            Self::Smtp { client, from } => match message::compose(id, from, now, mail) {
                Err(error) => Outcome::Refused { error },
                Ok(message) => match client.send(message).await {
                    Ok(_) => Outcome::Done,
                    Err(error) if error.is_permanent() => Outcome::Refused { error: chain(&error) },
                    Err(error) => Outcome::Retry { error: chain(&error), after: None },
                },
            },
        }
    }
}

/// The URL with STARTTLS demanded where it leaves the machine.
fn secured(url: &SecretString) -> Result<SecretString, TransportError> {
    let mut url: Url = url.expose_secret().parse().map_err(|_| TransportError::Url)?;
    // Not a scheme that URLs know hosts of, so an address stands there as text.
    let host = url.host_str().ok_or(TransportError::Url)?;
    let is_loopback = match Host::parse(host).map_err(|_| TransportError::Url)? {
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
        Host::Domain(name) => name == "localhost",
    };
    if url.scheme() == "smtp" && !is_loopback {
        url.set_query(Some("tls=required"));
    }
    Ok(String::from(url).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smtp(url: Option<&str>) -> Smtp {
        Smtp { url: url.map(Into::into), from: "no-reply@example.com".parse().expect("a mailbox") }
    }

    #[test]
    fn starttls_is_demanded_beyond_this_machine() {
        for (given, used) in [
            ("smtp://localhost:2525", "smtp://localhost:2525"),
            ("smtp://127.0.0.1:25", "smtp://127.0.0.1:25"),
            ("smtp://[::1]:25", "smtp://[::1]:25"),
            ("smtp://u:p@mail.example.com:587", "smtp://u:p@mail.example.com:587?tls=required"),
            ("smtp://mail.example.com?tls=opportunistic", "smtp://mail.example.com?tls=required"),
            ("smtps://u:p@mail.example.com", "smtps://u:p@mail.example.com"),
        ] {
            assert_eq!(secured(&given.into()).expect("usable").expose_secret(), used);
        }
        assert!(secured(&"not a url".into()).is_err());
    }

    #[tokio::test]
    async fn without_a_server_mail_stays_in_development_and_waits_elsewhere() {
        let new = |url, environment| Transport::new(&smtp(url), environment);
        assert!(matches!(new(None, Environment::Development), Ok(Transport::Mailbox)));
        assert!(matches!(new(None, Environment::Production), Ok(Transport::Unconfigured)));
        assert!(matches!(new(Some("smtp://127.0.0.1:1"), Environment::Development), Ok(Transport::Smtp { .. })));
        let refused = new(Some("gopher://u:secret@example.com"), Environment::Production).expect_err("no such scheme");
        assert!(!chain(&refused).contains("secret"));
    }
}
