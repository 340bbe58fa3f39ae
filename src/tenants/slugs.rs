//! Slugs: the short names that stand in hostnames and addresses. This is the only slug function.
//!
//! A slug is 2 to 50 of `a-z`, `0-9` and single hyphens inside. An explicit slug is taken as it is or refused; one
//! derived from a name always exists. Both refuse what could pass for something else: letters of other scripts that look
//! Latin, `xn--` and its like, and names that the product or the operator uses.

use std::{fmt, str::FromStr};

use crate::clock::Now;
use serde::Serialize;
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

const MIN_LENGTH: usize = 2;
const MAX_LENGTH: usize = 50;
/// What a name is called that has no Latin letter or digit.
const FALLBACK: &str = "tenant";

/// A valid slug.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Slug(String);

/// Why a text is refused as a slug. Fit to show to a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlugError {
    /// Fewer than 2 characters.
    #[error("A slug has at least 2 characters.")]
    TooShort,
    /// More than 50 characters.
    #[error("A slug has at most 50 characters.")]
    TooLong,
    /// A letter or sign outside ASCII, which could pass for another.
    #[error("A slug has plain letters a–z only; one of these is from another alphabet, though it may look the same.")]
    NotAscii,
    /// A capital, space or sign.
    #[error("A slug has lower-case letters a–z, digits and hyphens only.")]
    Characters,
    /// A hyphen at an end, or two in a row (as in `xn--`, which hostnames reserve; RFC 5890, 2.3.1).
    #[error("Hyphens stand between letters or digits, one at a time.")]
    Hyphens,
    /// The product or the operator uses this name.
    #[error("This name is reserved. Choose another.")]
    Reserved,
}

impl SlugError {
    /// Stable, for programs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooShort => "SLUG_TOO_SHORT",
            Self::TooLong => "SLUG_TOO_LONG",
            Self::NotAscii => "SLUG_NOT_ASCII",
            Self::Characters => "SLUG_INVALID",
            Self::Hyphens => "SLUG_HYPHENS",
            Self::Reserved => "SLUG_RESERVED",
        }
    }
}

impl Slug {
    /// Takes an explicit slug as it is.
    ///
    /// # Errors
    /// See [`SlugError`].
    pub fn parse(text: &str) -> Result<Self, SlugError> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !text.is_ascii() {
            return Err(SlugError::NotAscii);
        }
        match text.len() {
            0..MIN_LENGTH => return Err(SlugError::TooShort),
            MIN_LENGTH..=MAX_LENGTH => {}
            _ => return Err(SlugError::TooLong),
        }
        if !text.bytes().all(is_plain) {
            return Err(SlugError::Characters);
        }
        if text.starts_with('-') || text.ends_with('-') || text.contains("--") {
            return Err(SlugError::Hyphens);
        }
        if RESERVED.binary_search(&text).is_ok() {
            return Err(SlugError::Reserved);
        }
        Ok(Self(text.to_owned()))
    }

    /// The slug.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `acme-2`, `acme-3` … after `acme`, in the order to try or suggest them. Never longer than 50, and never ends.
    pub fn following(&self) -> impl Iterator<Item = Self> + '_ {
        numbered(&self.0).skip(1)
    }

    /// This slug with a suffix of chance, for a name that so many have that counting on would take long.
    ///
    /// # Panics
    /// Never: four hexadecimal digits make any slug's head a slug.
    #[must_use]
    pub fn by_chance(&self, now: &Now) -> Self {
        let suffix = format!("-{:04x}", u16::from_be_bytes(now.bytes()));
        let room = self.0.len().min(MAX_LENGTH - suffix.len());
        Self::parse(&(self.0[..room].trim_end_matches('-').to_owned() + &suffix)).expect("a slug with a suffix")
    }
}

/// Derives a slug from any name: accents are dropped, letters of other scripts too, the rest becomes hyphens.
///
/// `Crème Brûlée GmbH` becomes `creme-brulee-gmbh`; a reserved result gets a suffix; with nothing left it is `tenant`.
///
/// # Panics
/// Never: what is derived is valid, as the tests hold for arbitrary names.
pub fn derive(name: &str) -> Slug {
    let base = cut(&transliterate(name)).to_owned();
    let base = match base.len() {
        0 => FALLBACK.to_owned(),
        1 => format!("{FALLBACK}-{base}"),
        _ => base,
    };
    numbered(&base).next().expect("of all suffixes, at most a few are reserved")
}

/// The base and its numbered variants, less the reserved ones.
fn numbered(base: &str) -> impl Iterator<Item = Slug> + '_ {
    let plain = std::iter::once(base.to_owned());
    let suffixed = (2_u32..).map(move |number| {
        let suffix = format!("-{number}");
        let room = base.len().min(MAX_LENGTH - suffix.len());
        base[..room].trim_end_matches('-').to_owned() + &suffix
    });
    plain.chain(suffixed).filter_map(|text| Slug::parse(&text).ok())
}

/// Lower-case ASCII words, joined by single hyphens, of any length.
fn transliterate(name: &str) -> String {
    let mut slug = String::new();
    for letter in name.nfkd().flat_map(char::to_lowercase) {
        match letter {
            'a'..='z' | '0'..='9' => slug.push(letter),
            // "Joe's" is one word. Invisible characters part nothing.
            '\'' | '’' | 'ʼ' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' => {}
            _ if is_combining_mark(letter) => {}
            _ if letter.is_alphanumeric() => slug.push_str(latin(letter)),
            _ if slug.is_empty() || slug.ends_with('-') => {}
            _ => slug.push('-'),
        }
    }
    slug.trim_end_matches('-').to_owned()
}

/// Latin letters that no decomposition takes to ASCII; nothing for other scripts.
const fn latin(letter: char) -> &'static str {
    match letter {
        'ß' => "ss",
        'æ' | 'ǽ' => "ae",
        'œ' => "oe",
        'ø' => "o",
        'đ' | 'ð' => "d",
        'þ' => "th",
        'ł' => "l",
        'ħ' => "h",
        'ı' => "i",
        'ŋ' => "ng",
        'ŧ' => "t",
        'ĸ' => "k",
        'ə' => "e",
        _ => "",
    }
}

/// At most 50 characters: whole words, unless that would lose half of them.
fn cut(slug: &str) -> &str {
    if slug.len() <= MAX_LENGTH {
        return slug;
    }
    let head = &slug[..MAX_LENGTH];
    let ends_with_a_word = slug.as_bytes()[MAX_LENGTH] == b'-';
    match head.rfind('-') {
        Some(at) if !ends_with_a_word && at >= MAX_LENGTH / 2 => &head[..at],
        _ => head.trim_end_matches('-'),
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Slug {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for Slug {
    type Err = SlugError;

    fn from_str(text: &str) -> Result<Self, SlugError> {
        Self::parse(text)
    }
}

impl From<Slug> for String {
    fn from(slug: Slug) -> Self {
        slug.0
    }
}

/// Sorted: names of the product's own paths and hosts, of mail (RFC 2142) and of what browsers look for by themselves.
#[rustfmt::skip]
const RESERVED: [&str; 242] = [
    "about", "abuse", "access", "account", "accounts", "admin", "administrator", "analytics", "api", "app",
    "apps", "asset", "assets", "auth", "authorize", "autoconfig", "autodiscover", "backup", "beta", "billing",
    "blog", "broadcasthost", "cache", "careers", "cdn", "cdn-cgi", "checkout", "cloud", "community", "config",
    "console", "contact", "contact-sales", "css", "customer", "customers", "dashboard", "data", "db", "demo",
    "dev", "developer", "developers", "dns", "docs", "documentation", "domain", "download", "downloads",
    "email", "enterprise", "error", "events", "favicon", "favicon-ico", "feedback", "files", "forgot", "forum",
    "ftp", "git", "graphql", "guest", "health", "healthz", "help", "home", "host", "hostmaster", "hostname",
    "http", "https", "identity", "image", "images", "imap", "img", "index", "info", "install", "internal",
    "invite", "invites", "invoice", "invoices", "ip", "isatap", "it-support", "jobs", "js", "jwks", "legal",
    "list", "localdomain", "localhost", "login", "logout", "mail", "mail1", "mail2", "mailbox", "mailer-daemon",
    "mailserver", "manage", "marketing", "me", "media", "members", "metrics", "mobile", "monitor", "mx", "my",
    "news", "newsletter", "no-reply", "nobody", "noc", "noreply", "notifications", "ns", "ns1", "ns2", "ns3",
    "ns4", "null", "oauth", "oauth2", "oidc", "onboard", "onboarding", "openapi", "openapi-json", "operator",
    "owner", "partner", "partners", "password", "pay", "payment", "payments", "plans", "platform", "pop",
    "pop3", "portal", "postmaster", "preflight", "preview", "pricing", "privacy", "private", "prod",
    "production", "profile", "proxy", "public", "readyz", "redirect", "register", "registration", "reset",
    "robots", "robots-txt", "root", "sales", "sandbox", "scim", "search", "secure", "security", "server",
    "service", "services", "session", "sessions", "settings", "shop", "sign-in", "sign-out", "sign-up",
    "signin", "signout", "signup", "site", "sitemap", "sites", "smtp", "ssh", "ssl", "sso", "staff", "staging",
    "static", "stats", "status", "store", "storefront", "storefronts", "stripe", "subdomain", "subscribe",
    "subscription", "sudo", "superuser", "support", "sysadmin", "system", "team", "teams", "tenantry",
    "tenants", "terms", "test", "testing", "tls", "token", "tokens", "tools", "undefined", "update", "upload",
    "uploads", "usenet", "user", "users", "uucp", "vpn", "web", "webhook", "webhooks", "webmail", "webmaster",
    "well-known", "wizard", "wpad", "www", "www-data", "www1", "www2", "www3", "xml",
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_reserved_names_are_sorted_and_would_be_slugs_otherwise() {
        assert!(RESERVED.is_sorted_by(|a, b| a < b));
        for name in RESERVED {
            assert_eq!(Slug::parse(name), Err(SlugError::Reserved), "{name}");
        }
        for name in ["www", "api", "admin", "app", "mail", "dev", "login", "docs", "healthz", "metrics", "billing"] {
            assert!(RESERVED.contains(&name), "{name}");
        }
        assert!(!RESERVED.contains(&FALLBACK));
    }

    #[test]
    fn an_explicit_slug_is_taken_as_it_is_or_refused() {
        for text in ["acme", "a1", "42", "a-b-c", &"a".repeat(50)] {
            assert_eq!(Slug::parse(text).expect(text).to_string(), text);
        }
        for (text, error) in [
            ("", SlugError::TooShort),
            ("a", SlugError::TooShort),
            (&*"a".repeat(51), SlugError::TooLong),
            ("Acme", SlugError::Characters),
            ("ac me", SlugError::Characters),
            ("ac_me", SlugError::Characters),
            ("ac.me", SlugError::Characters),
            ("аcme", SlugError::NotAscii),
            ("acmé", SlugError::NotAscii),
            ("-acme", SlugError::Hyphens),
            ("acme-", SlugError::Hyphens),
            ("xn--80ak6aa92e", SlugError::Hyphens),
            ("ac--me", SlugError::Hyphens),
            ("admin", SlugError::Reserved),
        ] {
            assert_eq!(Slug::parse(text), Err(error), "{text:?}");
            assert!(error.code().starts_with("SLUG_"));
        }
    }

    #[test]
    fn a_name_becomes_a_slug() {
        for (name, slug) in [
            ("Acme", "acme"),
            ("  Acme, Inc.  ", "acme-inc"),
            ("Crème Brûlée GmbH", "creme-brulee-gmbh"),
            ("Großmann & Söhne", "grossmann-sohne"),
            ("GROẞ", "gross"),
            ("Łódź Ægir Œuvre Ørsted Þór", "lodz-aegir-oeuvre-orsted-thor"),
            ("İstanbul Işık", "istanbul-isik"),
            ("Joe's Pizza", "joes-pizza"),
            ("Ａｃｍｅ ４２", "acme-42"),
            ("Ac\u{200b}me", "acme"),
            ("株式会社 Acme", "acme"),
            ("Аcme", "cme"),
            ("株式会社", "tenant"),
            ("Акме", "tenant"),
            ("🚀", "tenant"),
            ("", "tenant"),
            ("X", "tenant-x"),
            ("xn--acme", "xn-acme"),
            ("Admin", "admin-2"),
        ] {
            assert_eq!(derive(name).as_str(), slug, "{name}");
        }
    }

    #[test]
    fn a_long_name_is_cut_between_words_where_that_keeps_most_of_it() {
        let words = derive("The Very Long Name Of A Company That Never Knew When To Stop Writing");
        assert_eq!(words.as_str(), "the-very-long-name-of-a-company-that-never-knew");
        assert_eq!(derive(&"a".repeat(80)).as_str(), "a".repeat(50));
        assert_eq!(derive(&format!("ab {}", "c".repeat(80))).as_str().len(), 50);
        assert_eq!(derive(&format!("{} b", "a".repeat(50))).as_str(), "a".repeat(50));
        assert_eq!(derive(&format!("{} b", "a".repeat(49))).as_str(), "a".repeat(49));
    }

    #[test]
    fn the_following_slugs_count_up_and_stay_short() {
        let following: Vec<String> = derive("Acme").following().take(3).map(String::from).collect();
        assert_eq!(following, ["acme-2", "acme-3", "acme-4"]);
        let long = derive(&format!("{} bcd", "a".repeat(46)));
        assert_eq!(long.as_str().len(), 50);
        assert!(long.following().take(1200).all(|slug| slug.as_str().len() <= 50));
        assert_eq!(long.following().take(1200).collect::<HashSet<_>>().len(), 1200);
    }

    proptest! {
        #[test]
        fn any_name_gives_a_valid_slug_that_stays_itself(name in "\\PC{0,120}") {
            let slug = derive(&name);
            prop_assert_eq!(Slug::parse(slug.as_str()), Ok(slug.clone()));
            prop_assert_eq!(derive(slug.as_str()), slug.clone());
            for next in slug.following().take(12) {
                prop_assert_eq!(Slug::parse(next.as_str()), Ok(next.clone()));
            }
        }

        #[test]
        fn a_valid_slug_is_its_own_slug(text in "[a-z0-9]{1,9}(-[a-z0-9]{1,9}){0,4}") {
            if let Ok(slug) = Slug::parse(&text) {
                prop_assert_eq!(derive(&text), slug);
            }
        }
    }
}
