//! What a request came with: the program that sent it, and the address that it came from.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, header, request::Parts},
};
use ipnet::{IpNet, Ipv6Net};

use crate::app::App;

/// The caller's program and address.
#[derive(Clone, Debug)]
pub struct Client {
    /// As it calls itself.
    pub user_agent: Option<String>,
    /// The address of the connection, or what trusted proxies say of it.
    pub ip: Option<IpAddr>,
}

impl FromRequestParts<App> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
        let ip = peer.map(|peer| behind(peer, &parts.headers, &app.config.http.trusted_proxies));
        Ok(Self { user_agent: agent.map(str::to_owned), ip })
    }
}

impl Client {
    /// The network that it came from: what limits and delays go by. Nobody has only one IPv6 address, so that is its /64 (RFC 6177, 2).
    pub fn network(&self) -> IpNet {
        network(self.ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
    }

    /// Both, as a session keeps them.
    pub fn kept(self) -> (Option<String>, Option<String>) {
        (self.user_agent, self.ip.map(|ip| ip.to_string()))
    }
}

/// The network of an address: an IPv4 address by itself, mapped into IPv6 or not, and the /64 of an IPv6 address.
pub fn network(ip: IpAddr) -> IpNet {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Net::new_assert(ip, 64).trunc().into(),
        ip @ IpAddr::V4(_) => ip.into(),
    }
}

/// Walks `X-Forwarded-For` from the end, where the nearest proxy wrote, as long as the writer is trusted: what comes before that
/// anybody can have made up.
fn behind(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |ip: &IpAddr| trusted.iter().any(|net| net.contains(&ip.to_canonical()));
    let lines = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let said: Vec<&str> = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
    let mut client = peer.to_canonical();
    for address in said.into_iter().rev() {
        if !is_trusted(&client) {
            break;
        }
        let Ok(before) = address.parse::<IpAddr>() else { break };
        client = before.to_canonical();
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_trusted_proxies_wrote_is_believed() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let seen = |peer: &str, forwarded: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", forwarded.parse().unwrap());
            behind(peer.parse().unwrap(), &headers, &trusted).to_string()
        };
        assert_eq!(seen("203.0.113.9", "198.51.100.1"), "203.0.113.9");
        assert_eq!(seen("10.0.0.1", "198.51.100.1"), "198.51.100.1");
        assert_eq!(seen("10.0.0.1", "6.6.6.6, 198.51.100.1, 10.0.0.2"), "198.51.100.1");
        assert_eq!(seen("::ffff:10.0.0.1", "198.51.100.1"), "198.51.100.1");
        assert_eq!(seen("10.0.0.1", "nonsense"), "10.0.0.1");
    }

    #[test]
    fn a_network_is_what_one_customer_has() {
        let net = |ip: &str| network(ip.parse().unwrap()).to_string();
        assert_eq!(net("203.0.113.9"), "203.0.113.9/32");
        assert_eq!(net("::ffff:203.0.113.9"), "203.0.113.9/32");
        assert_eq!(net("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(net("2001:db8:1:2:ffff::"), net("2001:db8:1:2::1"));
        assert_ne!(net("2001:db8:1:3::1"), net("2001:db8:1:2::1"));
    }
}
