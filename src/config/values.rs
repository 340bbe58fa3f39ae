//! Kinds of values: what is expected, how it is read, and how it may be shown.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use lettre::message::Mailbox;
use secrecy::SecretString;
use url::{Host, Url};

use super::{Environment, LogFormat};

/// A kind of value.
pub(super) struct Kind<T> {
    /// Completes "… must be".
    pub expected: &'static str,
    /// Nothing where the text is not of this kind.
    pub parse: fn(&str) -> Option<T>,
    pub shown: Shown,
}

/// How a value may be shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    Plain,
    /// Not at all.
    Masked,
    /// As a URL without its password.
    UrlMasked,
}

impl Shown {
    /// The text as it may be shown.
    pub fn mask(self, text: &str) -> String {
        const MASK: &str = "********";
        match self {
            Self::Plain => text.to_owned(),
            Self::Masked => MASK.to_owned(),
            Self::UrlMasked => {
                let Some(mut url) = Url::parse(text).ok().filter(Url::has_host) else { return MASK.to_owned() };
                url.set_query(None);
                if url.password().is_some() && url.set_password(Some(MASK)).is_err() {
                    return MASK.to_owned();
                }
                url.into()
            }
        }
    }
}

const fn plain<T>(expected: &'static str, parse: fn(&str) -> Option<T>) -> Kind<T> {
    Kind { expected, parse, shown: Shown::Plain }
}

pub(super) const ENVIRONMENT: Kind<Environment> =
    plain("development, preview or production", |text| Environment::ALL.into_iter().find(|one| one.name() == text));

pub(super) const LOG_FORMAT: Kind<LogFormat> = plain("pretty or json", |text| match text {
    "pretty" => Some(LogFormat::Pretty),
    "json" => Some(LogFormat::Json),
    _ => None,
});

pub(super) const FLAG: Kind<bool> = plain("true or false (or 1 or 0)", |text| match text {
    "true" | "1" => Some(true),
    "false" | "0" => Some(false),
    _ => None,
});

pub(super) const DAYS: Kind<i64> =
    plain("a whole number of days, 0 to 36500", |text| text.parse().ok().filter(|days| (0..=36_500).contains(days)));

pub(super) const COUNT: Kind<u32> =
    plain("a whole number, 1 or more", |text| text.parse().ok().filter(|count| *count > 0));

pub(super) const SIZE: Kind<usize> =
    plain("a whole number, 1 or more", |text| text.parse().ok().filter(|size| *size > 0));

pub(super) const SCORE: Kind<u8> =
    plain("a whole number from 0 to 4", |text| text.parse().ok().filter(|score| *score <= 4));

/// A century: longer ones could not be added to a date.
const LONGEST: Duration = Duration::from_hours(24 * 36_525);

pub(super) const DURATION: Kind<Duration> = plain("a duration such as 90s, 15m or 7d, of at most 100 years", |text| {
    let seconds = text.parse().ok().map(Duration::from_secs);
    seconds.or_else(|| humantime::parse_duration(text).ok()).filter(|duration| *duration <= LONGEST)
});

pub(super) const TIME_SPAN: Kind<Duration> =
    plain("a duration such as 90s, 15m or 7d, longer than 0 and at most 100 years", |text| {
        (DURATION.parse)(text).filter(|duration| !duration.is_zero())
    });

pub(super) const SECRET: Kind<SecretString> =
    Kind { expected: "a text", parse: |text| Some(text.into()), shown: Shown::Masked };

pub(super) const TEXT: Kind<String> = plain("a text", |text| Some(text.to_owned()));

/// As long as a line of an invoice may be.
pub(super) const LINE: Kind<String> = plain("lines of at most 100 characters each, and 8 at most", |text| {
    let is_line = text.chars().count() <= 100 && !text.chars().any(char::is_control);
    is_line.then(|| text.to_owned())
});

pub(super) const FOLDER: Kind<PathBuf> = plain("a folder", |text| Some(text.into()));

pub(super) const BIND: Kind<SocketAddr> =
    plain("an IP address and a port, such as 127.0.0.1:8080", |text| text.parse().ok());

pub(super) const NETWORK: Kind<IpNet> = plain("networks or addresses such as 10.0.0.0/8, with commas", |text| {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
});

pub(super) const URL: Kind<Url> = plain("an http or https URL", http_url);

pub(super) const PUBLIC_URL: Kind<Url> = plain("a URL such as https://app.example.com, without a path", origin_url);

pub(super) const ORIGIN: Kind<String> = plain(
    "origins such as https://app.example.com, with commas, without a path; `*` is not possible, for calls carry credentials",
    |text| origin_url(text).map(|url| url.origin().ascii_serialization()),
);

pub(super) const DOMAIN: Kind<String> = plain("a domain such as example.com or localhost", domain);

pub(super) const HOST_PATTERN: Kind<String> =
    plain("hosts such as hook.eu1.make.com, *.example.com or *, with commas", |text| {
        let text = text.to_ascii_lowercase();
        match text.strip_prefix("*.") {
            Some(rest) => domain(rest).map(|rest| format!("*.{rest}")),
            None if text == "*" => Some(text),
            None => domain(&text).or_else(|| text.parse::<IpAddr>().ok().map(|address| address.to_string())),
        }
    });

pub(super) const DATABASE_URL: Kind<SecretString> = Kind {
    expected: "postgres://user:password@host/database (or sqlite:path)",
    parse: |text| {
        let starts = ["postgres://", "postgresql://", "sqlite:"];
        starts.iter().any(|start| text.len() > start.len() && text.starts_with(start)).then(|| text.into())
    },
    shown: Shown::UrlMasked,
};

pub(super) const SMTP_URL: Kind<SecretString> = Kind {
    expected: "smtp://user:password@host:port or smtps://…",
    parse: |text| {
        let url = Url::parse(text).ok().filter(Url::has_host)?;
        ["smtp", "smtps"].contains(&url.scheme()).then(|| text.into())
    },
    shown: Shown::UrlMasked,
};

pub(super) const MAILBOX: Kind<Mailbox> =
    plain("a sender such as Tenantry <no-reply@example.com>", |text| text.parse().ok());

fn http_url(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host())
}

/// Scheme, host and port, and nothing else.
fn origin_url(text: &str) -> Option<Url> {
    http_url(text).filter(|url| {
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        bare && url.username().is_empty() && url.password().is_none()
    })
}

fn domain(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_name = matches!(Host::parse(&text), Ok(Host::Domain(_)));
    (is_name && text.len() <= 253 && text.split('.').all(label)).then_some(text)
}
