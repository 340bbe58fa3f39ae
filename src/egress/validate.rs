//! May a tenant's webhook URL be called at all? ([`probe`](super::probe) asks whether anything answers there.)

use url::{Host, Url};

use super::{Policy, UrlRefused};

/// The longest URL taken, in bytes, before and after it is normalised.
pub const MAX_URL: usize = 2048;

/// Checks and normalises `text`, without any network.
///
/// The URL comes back with lower-case ASCII host (IDN in its `xn--` form), numeric IPv4 in dotted form, no trailing
/// dot on the host, and no fragment. `hosts` holds exact host names, `*.domain` for every name below a domain (not the
/// domain itself), or `*`. Where the policy allows private addresses (development), loopback hosts need not be listed.
pub fn check_url(text: &str, hosts: &[String], policy: Policy) -> Result<Url, UrlRefused> {
    let text = text.trim();
    if text.len() > MAX_URL {
        return Err(UrlRefused::TooLong);
    }
    // The URL standard would silently drop tabs and newlines; what a person meant by them is unknown.
    if text.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(UrlRefused::Invalid("it contains spaces or control characters".to_owned()));
    }
    let mut url = Url::parse(text).map_err(|error| UrlRefused::Invalid(error.to_string()))?;
    url.set_fragment(None);
    policy.check(&url)?;
    if let Some(Host::Domain(name)) = url.host() {
        let name = name.strip_suffix('.').unwrap_or(name).to_owned();
        if !is_host_name(&name) {
            return Err(UrlRefused::Invalid("its host is not a host name".to_owned()));
        }
        url.set_host(Some(&name)).map_err(|error| UrlRefused::Invalid(error.to_string()))?;
    }
    if url.as_str().len() > MAX_URL {
        return Err(UrlRefused::TooLong);
    }
    check_host(&url, hosts, policy.allow_private_addresses)?;
    Ok(url)
}

/// Refuses a URL whose host no entry of `hosts` covers.
pub(super) fn check_host(url: &Url, hosts: &[String], allow_loopback: bool) -> Result<(), UrlRefused> {
    let host = url.host_str().unwrap_or_default().trim_end_matches('.');
    if hosts.iter().any(|entry| covers(entry, host)) || (allow_loopback && is_loopback(url)) {
        Ok(())
    } else {
        Err(UrlRefused::HostNotListed(host.to_owned()))
    }
}

/// The DNS's own limits (RFC 1035, 2.3.4): no empty label, 63 bytes a label, 253 in all.
fn is_host_name(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(|label| (1..=63).contains(&label.len()))
}

fn covers(entry: &str, host: &str) -> bool {
    let entry = entry.trim();
    if entry == "*" {
        return true;
    }
    let (domain, below) = match entry.strip_prefix("*.") {
        Some(domain) => (domain, true),
        None => (entry, false),
    };
    // The same normalisation that the URL's host went through.
    let Ok(domain) = Host::parse(domain.trim_end_matches('.')).map(|host| host.to_string()) else {
        return false;
    };
    if below {
        host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
    } else {
        host == domain
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: Policy = Policy { https_only: true, allow_private_addresses: false };
    const DEVELOPMENT: Policy = Policy { https_only: false, allow_private_addresses: true };

    fn check(text: &str, hosts: &[&str], policy: Policy) -> Result<String, UrlRefused> {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        check_url(text, &hosts, policy).map(String::from)
    }

    #[test]
    fn urls_are_normalised() {
        for (text, expected) in [
            ("https://Hook.EU1.Make.com/AbC?x=1#frag", "https://hook.eu1.make.com/AbC?x=1"),
            (" https://hook.eu1.make.com./x ", "https://hook.eu1.make.com/x"),
            ("https://hook.eu1.make.com:8443/x", "https://hook.eu1.make.com:8443/x"),
            ("https://hook.eu1.make.com\\@evil.example/x", "https://hook.eu1.make.com/@evil.example/x"),
            ("https://@hook.eu1.make.com/", "https://hook.eu1.make.com/"),
        ] {
            let hosts = ["*.make.com"];
            assert_eq!(check(text, &hosts, PUBLIC).as_deref(), Ok(expected), "{text}");
        }
        let idn = "https://xn--bcher-kva.example/";
        for (text, entry) in
            [("https://Bücher.example", "bücher.example"), (idn, "BÜCHER.example."), ("https://bücher.example.", "*")]
        {
            assert_eq!(check(text, &[entry], PUBLIC).as_deref(), Ok(idn), "{text}");
        }
    }

    #[test]
    fn hosts_off_the_list_are_refused() {
        for host in ["make.com", "evilmake.com", "hook.make.com.evil.example", "hook.make.org", "8.8.8.8"] {
            let refused = check(&format!("https://{host}/"), &["*.make.com"], PUBLIC);
            assert_eq!(refused, Err(UrlRefused::HostNotListed(host.to_owned())));
        }
        let refused = check("https://sub.a.example/", &["a.example"], PUBLIC);
        assert!(refused.is_err());
        assert!(check("https://a.example/", &[], PUBLIC).is_err());
        assert!(check("https://8.8.8.8/", &["8.8.8.8"], PUBLIC).is_ok());
        assert!(check("https://[2606:4700:4700::1111]/", &["*"], PUBLIC).is_ok());
    }

    #[test]
    fn odd_urls_are_refused_with_a_reason() {
        let label = "a".repeat(64);
        let long = format!("https://a.example/{}", "x".repeat(MAX_URL));
        for (text, expected) in [
            ("", "it is not a valid URL: relative URL without a base"),
            ("hook.eu1.make.com/x", "it is not a valid URL: relative URL without a base"),
            ("https://", "it is not a valid URL: empty host"),
            ("https://a b/", "it is not a valid URL: it contains spaces or control characters"),
            ("https://a\n.example/", "it is not a valid URL: it contains spaces or control characters"),
            ("https://a..example/", "it is not a valid URL: its host is not a host name"),
            ("https://a.example../", "it is not a valid URL: its host is not a host name"),
            ("https://a.example:99999/", "it is not a valid URL: invalid port number"),
            ("https://[::1", "it is not a valid URL: invalid IPv6 address"),
            ("https://[fe80::1%25eth0]/", "it is not a valid URL: invalid IPv6 address"),
            ("https://1.2.3.400/", "it is not a valid URL: invalid IPv4 address"),
            ("http://a.example/", "it must use https"),
            ("ftp://a.example/", "its scheme is not https"),
            ("javascript:alert(1)", "its scheme is not https"),
            ("https://me:pw@a.example/", "it must not contain a user name or password"),
            ("https://me@a.example/", "it must not contain a user name or password"),
            ("https://10.0.0.1/", "it leads to a private address"),
            ("https://0x7f.1/", "it leads to a loopback address"),
            ("https://017700000001/", "it leads to a loopback address"),
            ("https://[::ffff:10.1.2.3]/", "it leads to a private address"),
            ("https://[fd00::1]:8443/", "it leads to a unique local address"),
            (&long, "it is longer than 2048 characters"),
            (&format!("https://{label}.example/"), "it is not a valid URL: its host is not a host name"),
        ] {
            let refused = check(text, &["*"], PUBLIC).expect_err(text);
            assert_eq!(refused.to_string(), expected, "{text}");
        }
    }

    #[test]
    fn development_may_use_http_and_loopback_but_no_unlisted_host() {
        for text in [
            "http://localhost:9000/hook",
            "http://api.localhost/",
            "http://127.0.0.1:9000/",
            "http://[::1]:9000/",
            "http://hook.make.com/",
        ] {
            assert_eq!(check(text, &["*.make.com"], DEVELOPMENT).as_deref(), Ok(text));
        }
        assert!(check("http://10.0.0.1/", &["*.make.com"], DEVELOPMENT).is_err());
        assert!(check("http://10.0.0.1/", &["10.0.0.1"], DEVELOPMENT).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_check_panic_or_pass_a_forbidden_host(text in ".{0,60}", host in "[0-9a-fx.:\\[\\]%]{0,20}") {
            for url in [text.clone(), format!("https://{host}/"), format!("https://{text}")] {
                if let Ok(url) = check_url(&url, &["*".to_owned()], PUBLIC) {
                    assert_eq!(PUBLIC.check(&url), Ok(()));
                    // Normalising once is enough.
                    assert_eq!(check_url(url.as_str(), &["*".to_owned()], PUBLIC), Ok(url));
                }
            }
        }
    }
}
