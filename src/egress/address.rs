//! Which addresses a stranger's URL may lead to.
//!
//! IPv4 is a deny-list of every network that IANA's special-purpose registry (RFC 6890 and successors) does not call
//! globally reachable. IPv6 is the other way round: only global unicast `2000::/3` is let through, less the special
//! networks inside it. Forms of IPv6 that carry an IPv4 address are judged by the address they carry, because a
//! translator or tunnel on the way would deliver there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// Says why `ip` must not be connected to, or `None` for an ordinary public address.
///
/// The answer is the class of the address ("private", "loopback" …), fit to be shown to the person who gave the URL.
pub fn forbidden(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) => class_v4(ip),
        IpAddr::V6(ip) => class_v6(ip),
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

/// A network that starts with the 16-bit groups `a:b:c`.
const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

/// The first network that holds an address names its class.
const V4: &[(Ipv4Net, &str)] = &[
    (v4(0, 0, 0, 0, 32), "unspecified"),
    (v4(0, 0, 0, 0, 8), "\"this network\""),
    (v4(10, 0, 0, 0, 8), "private"),
    (v4(100, 64, 0, 0, 10), "carrier-grade NAT"),
    (v4(127, 0, 0, 0, 8), "loopback"),
    // The virtual platform address inside every Azure network: public by number, the host's by effect.
    (v4(168, 63, 129, 16, 32), "cloud platform"),
    (v4(169, 254, 0, 0, 16), "link-local"),
    (v4(172, 16, 0, 0, 12), "private"),
    (v4(192, 0, 0, 0, 24), "protocol assignment"),
    (v4(192, 0, 2, 0, 24), "documentation"),
    (v4(192, 88, 99, 0, 24), "6to4 relay"),
    (v4(192, 168, 0, 0, 16), "private"),
    (v4(198, 18, 0, 0, 15), "benchmark"),
    (v4(198, 51, 100, 0, 24), "documentation"),
    (v4(203, 0, 113, 0, 24), "documentation"),
    (v4(224, 0, 0, 0, 4), "multicast"),
    (v4(255, 255, 255, 255, 32), "broadcast"),
    (v4(240, 0, 0, 0, 4), "reserved"),
];

/// Special networks that are refused whole. What lies outside `2000::/3` would be refused anyway; it is listed for its name.
const V6: &[(Ipv6Net, &str)] = &[
    (Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128), "unspecified"),
    (Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128), "loopback"),
    // Deprecated by RFC 4291, 2.5.5.1.
    (v6(0, 0, 0, 96), "IPv4-compatible"),
    (v6(0xfc00, 0, 0, 7), "unique local"),
    (v6(0xfe80, 0, 0, 10), "link-local"),
    (v6(0xfec0, 0, 0, 10), "site-local"),
    (v6(0xff00, 0, 0, 8), "multicast"),
    (v6(0x0100, 0, 0, 64), "discard"),
    (v6(0x64, 0xff9b, 1, 48), "local-use NAT64"),
    (v6(0x2001, 0, 0, 32), "Teredo"),
    (v6(0x2001, 0x0db8, 0, 32), "documentation"),
    (v6(0x3fff, 0, 0, 20), "documentation"),
    // IETF protocol assignments (RFC 2928): benchmarking, ORCHID, anycast; no host's address.
    (v6(0x2001, 0, 0, 23), "protocol assignment"),
];

const GLOBAL_UNICAST: Ipv6Net = v6(0x2000, 0, 0, 3);
/// `::ffff:a.b.c.d`, another spelling of the IPv4 address.
const MAPPED: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96);
/// `64:ff9b::a.b.c.d`, how an IPv6-only network reaches IPv4 hosts (RFC 6052).
const NAT64: Ipv6Net = v6(0x64, 0xff9b, 0, 96);

fn class_v4(ip: Ipv4Addr) -> Option<&'static str> {
    V4.iter().find(|(net, _)| net.contains(&ip)).map(|(_, class)| *class)
}

fn class_v6(ip: Ipv6Addr) -> Option<&'static str> {
    if let Some((_, class)) = V6.iter().find(|(net, _)| net.contains(&ip)) {
        return Some(class);
    }
    if let Some(class) = embedded_v4(ip).and_then(class_v4) {
        return Some(class);
    }
    let reachable = [GLOBAL_UNICAST, MAPPED, NAT64].iter().any(|net| net.contains(&ip));
    (!reachable).then_some("not global unicast")
}

/// The IPv4 address that a mapped (RFC 4291), NAT64 (RFC 6052), 6to4 (RFC 3056) or ISATAP (RFC 5214) address leads to.
fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let ([0, 0, 0, 0, 0, 0xffff, high, low]
    | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
    | [0x2002, high, low, ..]
    | [_, _, _, _, 0x0000 | 0x0200, 0x5efe, high, low]) = ip.segments()
    else {
        return None;
    };
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    Some(Ipv4Addr::new(a, b, c, d))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(text: &str) -> Option<&'static str> {
        forbidden(text.parse().unwrap_or_else(|_| panic!("{text} is an address")))
    }

    #[test]
    fn every_special_class_is_refused_by_name() {
        let table = [
            ("0.0.0.0", "unspecified"),
            ("0.1.2.3", "\"this network\""),
            ("10.0.0.1", "private"),
            ("10.255.255.255", "private"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.168.0.1", "private"),
            ("100.64.0.1", "carrier-grade NAT"),
            ("100.127.255.255", "carrier-grade NAT"),
            ("127.0.0.1", "loopback"),
            ("127.255.255.254", "loopback"),
            ("168.63.129.16", "cloud platform"),
            ("169.254.169.254", "link-local"),
            ("192.0.0.1", "protocol assignment"),
            ("192.0.2.1", "documentation"),
            ("192.88.99.1", "6to4 relay"),
            ("198.18.0.1", "benchmark"),
            ("198.19.255.255", "benchmark"),
            ("198.51.100.1", "documentation"),
            ("203.0.113.1", "documentation"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.255", "broadcast"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("fc00::1", "unique local"),
            ("fdff:ffff::1", "unique local"),
            ("fd00:ec2::254", "unique local"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("fec0::1", "site-local"),
            ("feff::1", "site-local"),
            ("ff02::1", "multicast"),
            ("100::1", "discard"),
            ("2001:db8::1", "documentation"),
            ("3fff::1", "documentation"),
            ("3fff:0fff::1", "documentation"),
            ("2001:2::1", "protocol assignment"),
            ("2001:20::1", "protocol assignment"),
            ("2001::1", "Teredo"),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "Teredo"),
            ("64:ff9b:1::8.8.8.8", "local-use NAT64"),
            ("5f00::1", "not global unicast"),
            ("4000::1", "not global unicast"),
            ("5f00::5efe:8.8.8.8", "not global unicast"),
            ("::ffff:0:8.8.8.8", "not global unicast"),
        ];
        for (text, expected) in table {
            assert_eq!(class(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn ipv6_that_carries_a_forbidden_ipv4_is_refused_for_it() {
        let table = [
            ("::ffff:127.0.0.1", "loopback"),
            ("::ffff:10.0.0.1", "private"),
            ("::ffff:169.254.169.254", "link-local"),
            ("::ffff:0.0.0.0", "unspecified"),
            ("::127.0.0.1", "IPv4-compatible"),
            ("::8.8.8.8", "IPv4-compatible"),
            ("64:ff9b::127.0.0.1", "loopback"),
            ("64:ff9b::192.168.1.1", "private"),
            ("2002:7f00:1::", "loopback"),
            ("2002:0a00:0001::1", "private"),
            ("2002:a9fe:a9fe::1", "link-local"),
            ("2a00:1450::5efe:10.0.0.1", "private"),
            ("2a00:1450::200:5efe:192.168.0.1", "private"),
            ("fe80::5efe:10.0.0.1", "link-local"),
        ];
        for (text, expected) in table {
            assert_eq!(class(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn public_addresses_pass() {
        let table = [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450:4001::200e",
            "2001:4860:4860::8888",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
            "2a00:1450::5efe:8.8.8.8",
        ];
        for text in table {
            assert_eq!(class(text), None, "{text}");
        }
    }
}
