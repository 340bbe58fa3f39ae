//! What somebody logs in with: in words, and whether their account knows it.
//!
//! A device is a program and a network. Programs are compared without their version numbers, which change by themselves, and
//! addresses by the network that a provider hands them out of (IPv4 /24, IPv6 /48).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};

use super::{email::Email, sessions::NewSession};
use crate::{
    clock::Now,
    db::{Batch, Tx, sql},
    mail::{Post, letters::security},
};

/// A device that an account was not used with for so long is a new one to it.
const REMEMBERED: TimeDelta = TimeDelta::days(90);

/// Browsers by what only they have in their `User-Agent`; those that pretend to be another come first.
const PROGRAMS: [(&str, &str); 10] = [
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Vivaldi/", "Vivaldi"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];

/// Systems, likewise.
const SYSTEMS: [(&str, &str); 8] = [
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Macintosh", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
];

/// A program in a few words of ours, such as `Firefox on Linux`; of a program that we do not know, the first word of its name.
pub fn words(user_agent: Option<&str>) -> String {
    let agent = user_agent.unwrap_or_default();
    let known =
        |names: &[(&str, &'static str)]| names.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name);
    match (known(&PROGRAMS), known(&SYSTEMS)) {
        (Some(program), Some(system)) => format!("{program} on {system}"),
        (Some(program), None) => program.to_owned(),
        (None, Some(system)) if agent.starts_with("Mozilla/") => format!("a browser on {system}"),
        _ => own_name(agent).map_or_else(|| "an unknown program".to_owned(), str::to_owned),
    }
}

/// What a program calls itself, where that is a plain word and nothing else.
fn own_name(agent: &str) -> Option<&str> {
    let end = agent.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-').unwrap_or(agent.len());
    let (name, rest) = agent.split_at(end);
    let is_name =
        (2..=30).contains(&name.len()) && name != "Mozilla" && (rest.is_empty() || rest.starts_with(['/', ' ']));
    is_name.then_some(name)
}

/// An address without its last part, as a mail may show it: `203.0.113.x`.
fn place(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            format!("{a}.{b}.{c}.x")
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}:x")
        }
    }
}

/// The network that an address is in.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            Ipv4Addr::new(a, b, c, 0).into()
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
        }
    }
}

/// What a session was opened with.
#[derive(FromQueryResult)]
struct Seen {
    user_agent: Option<String>,
    ip: Option<String>,
}

impl Seen {
    fn address(&self) -> Option<IpAddr> {
        self.ip.as_ref().and_then(|ip| ip.parse().ok())
    }

    /// What two sessions of one device have in common.
    fn device(&self) -> (String, Option<IpAddr>) {
        let is_version = |letter: char| letter.is_ascii_digit() || letter == '.' || letter == '_';
        let agent = self.user_agent.as_deref().unwrap_or_default();
        (agent.chars().filter(|letter| !is_version(*letter)).collect(), self.address().map(network))
    }
}

#[derive(FromQueryResult)]
struct Owner {
    email: String,
    created_at: DateTime<Utc>,
}

/// Writes to a user whose account is about to be opened with a device that it does not know. Nobody is told of their first session.
pub(super) async fn tell_of_new(
    tx: &Tx,
    now: &Now,
    post: &Post,
    batch: &mut Batch,
    session: &NewSession,
) -> Result<(), DbErr> {
    let seen = Seen { user_agent: session.kept_agent(), ip: session.ip.clone() };
    let since = now.at - REMEMBERED;
    // Sessions of a stranger who had the account before it was claimed are not its owner's.
    let of_owner =
        "from sessions where user_id = $1 and last_used_at > $2 and coalesce(revoked_reason, '') <> 'address_claimed'";
    // The same program at the same address, which is nearly everybody, is found at once.
    let same = format!(
        "select 1 as one {of_owner} and user_agent is not distinct from $3 and ip is not distinct from $4 limit 1"
    );
    let values = [session.user_id.into(), since.into(), seen.user_agent.clone().into(), seen.ip.clone().into()];
    if tx.query_one_raw(sql(tx, &same, values)).await?.is_some() {
        return Ok(());
    }
    let all = format!("select distinct user_agent, ip {of_owner}");
    let known = Seen::find_by_statement(sql(tx, &all, [session.user_id.into(), since.into()])).all(tx).await?;
    if known.iter().any(|known| known.device() == seen.device()) {
        return Ok(());
    }
    let query = "select email, created_at from users where id = $1";
    let owner = Owner::find_by_statement(sql(tx, query, [session.user_id.into()])).one(tx).await?;
    // An account that is older than what is remembered may have had sessions that are forgotten.
    let owner = owner.filter(|owner| !known.is_empty() || owner.created_at <= since);
    if let Some(email) = owner.and_then(|owner| Email::parse(&owner.email).ok()) {
        let program = words(seen.user_agent.as_deref());
        let device = match seen.address() {
            Some(ip) => format!("{program}, from {}", place(ip)),
            None => program,
        };
        post.queue(batch, now, Some(session.tenant_id), &security::new_device(&post.public_url, &email, &device));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";

    #[test]
    fn devices_are_named_in_words() {
        for (agent, named) in [
            (FIREFOX, "Firefox on Linux"),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15",
                "Safari on macOS",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/126.0 Mobile/15E148 Safari/604.1",
                "Chrome on iPhone",
            ),
            (
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
                "Chrome on Android",
            ),
            ("Mozilla/5.0 (Windows NT 10.0)", "a browser on Windows"),
            ("curl/8.5.0", "curl"),
            ("python-requests/2.32", "python-requests"),
        ] {
            assert_eq!(words(Some(agent)), named, "{agent}");
        }
    }

    #[test]
    fn a_hostile_name_is_not_repeated() {
        let long = "a".repeat(400);
        for agent in [
            "",
            "x",
            "evil\r\nBcc: victim@example.com",
            "<script>alert(1)</script>",
            "https://evil.example/x",
            "Žluťoučký/1.0",
            "\u{202e}lruc/8",
            "{name}",
            "=cmd|'/c calc'!A1",
            "Mozilla/5.0",
            &long,
        ] {
            assert_eq!(words(Some(agent)), "an unknown program", "{agent}");
        }
        assert_eq!(words(None), "an unknown program");
    }

    #[test]
    fn a_device_stays_itself_with_another_version_and_another_address_of_its_network() {
        let device = |agent: &str, ip: &str| Seen { user_agent: Some(agent.into()), ip: Some(ip.into()) }.device();
        let newer = FIREFOX.replace("128", "131");
        assert_eq!(device(FIREFOX, "203.0.113.7"), device(&newer, "203.0.113.250"));
        assert_ne!(device(FIREFOX, "203.0.113.7"), device(FIREFOX, "203.0.114.7"));
        assert_ne!(device(FIREFOX, "203.0.113.7"), device("curl/8.5.0", "203.0.113.7"));
        assert_eq!(device(FIREFOX, "2001:db8:1:2::3"), device(FIREFOX, "2001:db8:1:ffff::9"));
        assert_ne!(device(FIREFOX, "2001:db8:1:2::3"), device(FIREFOX, "2001:db8:2:2::3"));
        assert_eq!(place("203.0.113.7".parse().unwrap()), "203.0.113.x");
        assert_eq!(place("2001:db8:1:2::3".parse().unwrap()), "2001:db8:1:x");
    }
}
