//! The only way the program makes HTTP calls to the outside.
//!
//! A tenant's URL is a stranger's instruction to our network, so every hop of a call is held to a [`Policy`]: the URL's
//! form, a host written as an address, and every address that a host name resolves to. The connection is made to the
//! very addresses that were checked (the check sits in the HTTP client's resolver), so a name server that answers
//! differently the second time (DNS rebinding) gains nothing. Redirects are not left to the client: at most
//! [`MAX_REDIRECTS`] are followed, for GET and HEAD only, each checked like the first URL. No proxy is used, whatever
//! the environment says. Answers are read up to a cap, and all of it within the request's time.
//!
//! What it refuses: [`UrlRefused`]. URLs that the operator configured are trusted: [`Egress::trusted`].

pub mod address;
mod error;
pub mod probe;
mod request;
mod resolve;
#[cfg(test)]
mod tests;
pub mod validate;

use std::time::Duration;

use reqwest::{
    Method, StatusCode,
    header::{AUTHORIZATION, COOKIE, HeaderMap, LOCATION},
    redirect,
};
use tracing::Instrument;
use url::{Host, Url};

pub use error::{EgressError, UrlRefused};
pub use request::{DEFAULT_BODY_CAP, Request, Response};
use resolve::GuardedResolver;

use crate::telemetry::traces::span;

/// How many redirects a GET or HEAD follows.
pub const MAX_REDIRECTS: usize = 3;

/// What an outbound call may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Refuse `http`.
    pub https_only: bool,
    /// Skip the address check: for development, tests, and URLs that the operator configured.
    pub allow_private_addresses: bool,
}

impl Policy {
    /// Checks a URL without any network: scheme, user info, a host written as an address.
    pub fn check(&self, url: &Url) -> Result<(), UrlRefused> {
        match url.scheme() {
            "https" => {}
            "http" if !self.https_only => {}
            "http" => return Err(UrlRefused::HttpsOnly),
            _ => return Err(UrlRefused::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlRefused::UserInfo);
        }
        let literal = match url.host() {
            Some(Host::Ipv4(ip)) => Some(ip.into()),
            Some(Host::Ipv6(ip)) => Some(ip.into()),
            Some(Host::Domain(_)) => None,
            None => return Err(UrlRefused::Invalid("it has no host".to_owned())),
        };
        match literal.and_then(address::forbidden) {
            Some(class) if !self.allow_private_addresses => Err(UrlRefused::Address(class)),
            _ => Ok(()),
        }
    }
}

/// The HTTP client could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The name resolver.
    #[error("could not set up name resolution: {0}")]
    Resolver(#[from] hickory_resolver::net::NetError),
    /// The HTTP client.
    #[error("could not set up the HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

/// An HTTP client held to a [`Policy`]. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct Egress {
    policy: Policy,
    client: reqwest::Client,
    connect_timeout: Duration,
}

impl Egress {
    /// A client for URLs that came from outside. `connect_timeout` bounds name lookup, connecting and TLS together;
    /// the whole call is bounded by [`Request::timeout`].
    pub fn new(policy: Policy, connect_timeout: Duration) -> Result<Self, BuildError> {
        let resolver = GuardedResolver::from_system(policy.allow_private_addresses, connect_timeout)?;
        let build = || client_builder(resolver.clone(), connect_timeout);
        let client = build().build().or_else(|error| {
            // A slim container without CA certificates must still start, and reach plain http.
            tracing::warn!(%error, "no CA certificates found: https calls will fail until ca-certificates is installed");
            build().tls_certs_only([]).build()
        })?;
        Ok(Self { policy, client, connect_timeout })
    }

    /// A client for URLs that the operator configured, which may be http and on a private network.
    pub fn trusted(connect_timeout: Duration) -> Result<Self, BuildError> {
        let policy = Policy { https_only: false, allow_private_addresses: true };
        Self::new(policy, connect_timeout)
    }

    /// What this client may reach.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Makes the call, follows redirects, reads the answer up to its cap. Any HTTP status is an answer.
    ///
    /// # Errors
    /// See [`EgressError`]; [`EgressError::Forbidden`] before anything is sent to the forbidden hop.
    pub async fn send(&self, request: Request) -> Result<Response, EgressError> {
        let after = request.timeout;
        let (method, host) = (&request.method, request.url.host_str());
        let span = span!("call", otel.name = %method, otel.kind = "client", http.request.method = %method, server.address = host);
        tokio::time::timeout(after, self.follow(request).instrument(span))
            .await
            .unwrap_or(Err(EgressError::Timeout { after }))
    }

    async fn follow(&self, request: Request) -> Result<Response, EgressError> {
        let mut url = request.url;
        let mut headers = request.headers;
        for _ in 0..=MAX_REDIRECTS {
            self.policy.check(&url).map_err(EgressError::Forbidden)?;
            if let Some(hosts) = &request.hosts {
                validate::check_host(&url, hosts, self.policy.allow_private_addresses)
                    .map_err(EgressError::Forbidden)?;
            }
            let answer = self
                .client
                .request(request.method.clone(), url.clone())
                .headers(headers.clone())
                .body(request.body.clone())
                .send()
                .await
                .map_err(|error| EgressError::from_reqwest(&error, self.connect_timeout))?;
            let Some(next) = next_hop(&request.method, &url, &answer) else {
                return Response::read(answer, request.body_cap)
                    .await
                    .map_err(|error| EgressError::from_reqwest(&error, self.connect_timeout));
            };
            if next.origin() != url.origin() {
                remove_credentials(&mut headers);
            }
            url = next;
        }
        Err(EgressError::TooManyRedirects)
    }
}

fn client_builder(resolver: GuardedResolver, connect_timeout: Duration) -> reqwest::ClientBuilder {
    // An error means that a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(concat!("Tenantry/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .dns_resolver(resolver)
        .connect_timeout(connect_timeout)
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(4)
}

/// Where a GET or HEAD goes on. An answer without a usable `Location` is final.
fn next_hop(method: &Method, url: &Url, answer: &reqwest::Response) -> Option<Url> {
    let redirects = matches!(
        answer.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    if !redirects || !matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let location = answer.headers().get(LOCATION)?.to_str().ok()?;
    url.join(location).ok()
}

fn remove_credentials(headers: &mut HeaderMap) {
    headers.remove(AUTHORIZATION);
    headers.remove(COOKIE);
}
