//! Name resolution that hands out only addresses which may be connected to.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use hickory_resolver::{
    ResolverBuilder, TokioResolver,
    config::{LookupIpStrategy, NameServerConfig, ResolverConfig},
    net::{NetError, runtime::TokioRuntimeProvider},
};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::{EgressError, UrlRefused, address};

/// The system's name servers, search list and hosts file, behind the address check.
#[derive(Clone)]
pub(super) struct GuardedResolver {
    dns: TokioResolver,
    allow_private_addresses: bool,
    timeout: Duration,
}

impl GuardedResolver {
    /// Reads `/etc/resolv.conf` and `/etc/hosts`; without the former the local name server is asked, as libc does.
    pub(super) fn from_system(allow_private_addresses: bool, timeout: Duration) -> Result<Self, NetError> {
        let builder = TokioResolver::builder_tokio().unwrap_or_else(|error| {
            tracing::warn!(%error, "no readable DNS configuration, asking the name server on this machine");
            asking(NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into()))
        });
        Self::build(builder, allow_private_addresses, timeout)
    }

    fn build(
        mut builder: ResolverBuilder<TokioRuntimeProvider>,
        allow_private_addresses: bool,
        timeout: Duration,
    ) -> Result<Self, NetError> {
        let options = builder.options_mut();
        // Both families always, so that a public A record can't hide a private AAAA record.
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        // Two tries of a quarter each: a silent name server must not cost the address that the hosts file gave.
        options.timeout = timeout / 4;
        options.attempts = 1;
        Ok(Self { dns: builder.build()?, allow_private_addresses, timeout })
    }

    /// The addresses of `host`, with port 0 (reqwest puts in the URL's). One forbidden address refuses the name: a name
    /// with a public and a private address is no honest webhook, and which one is connected to would be chance.
    pub(super) async fn lookup(&self, host: &str) -> Result<Vec<SocketAddr>, EgressError> {
        let no_answer = |reason: &str| EgressError::Dns { reason: reason.to_owned() };
        let found = tokio::time::timeout(self.timeout, self.dns.lookup_ip(host))
            .await
            .map_err(|_| no_answer("the name server did not answer in time"))?
            .map_err(|error| {
                tracing::debug!(%error, "name lookup failed");
                if error.is_nx_domain() || error.is_no_records_found() {
                    no_answer("no such host")
                } else {
                    no_answer("the name server did not answer")
                }
            })?;
        let addresses: Vec<IpAddr> = found.iter().collect();
        if !self.allow_private_addresses
            && let Some(class) = addresses.iter().find_map(|ip| address::forbidden(*ip))
        {
            return Err(EgressError::Forbidden(UrlRefused::ResolvesTo(class)));
        }
        Ok(addresses.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect())
    }

    /// Replaces the hosts file by `text`.
    #[cfg(test)]
    pub(super) fn with_hosts(mut self, text: &str) -> Self {
        let mut hosts = hickory_resolver::Hosts::default();
        hosts.read_hosts_conf(text.as_bytes()).expect("a hosts file");
        self.dns.set_hosts(std::sync::Arc::new(hosts));
        self
    }
}

/// A resolver that knows one name server.
fn asking(server: NameServerConfig) -> ResolverBuilder<TokioRuntimeProvider> {
    TokioResolver::builder_with_config(ResolverConfig::from_name_servers(vec![server]), TokioRuntimeProvider::default())
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let addresses = resolver.lookup(name.as_str()).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[tokio::test]
    async fn a_silent_name_server_bounds_the_wait_and_leaves_the_hosts_file() {
        let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let mut server = NameServerConfig::udp(Ipv4Addr::LOCALHOST.into());
        server.connections[0].port = silent.local_addr().expect("an address").port();
        let timeout = Duration::from_millis(400);
        let resolver = GuardedResolver::build(asking(server), true, timeout)
            .expect("a resolver")
            .with_hosts("10.1.2.3 inside.test\n");

        let found = resolver.lookup("inside.test").await;
        assert_eq!(found, Ok(vec!["10.1.2.3:0".parse().expect("an address")]));

        let missing = resolver.lookup("outside.test");
        let missing = tokio::time::timeout(2 * timeout, missing).await.expect("an end to the waiting");
        assert!(matches!(missing, Err(EgressError::Dns { .. })), "{missing:?}");
    }
}
