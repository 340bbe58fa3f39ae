//! Email addresses: one person's address has one spelling here.
//!
//! The grammar is RFC 5321's as lettre reads it, without what no sign-up needs and much software mistakes: quoted local
//! parts, addresses at an IP address, letters outside ASCII (a domain in another script has an `xn--` form).

use std::{fmt, str::FromStr};

use serde::Serialize;

/// RFC 5321, 4.5.3.1.3, less the two angle brackets.
const MAX_LENGTH: usize = 254;

/// An email address, in lower case, so that equal addresses are equal strings.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Email(String);

/// Why a text is refused as an email address. Fit to show to a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmailError {
    /// Nothing was given.
    #[error("Enter an email address.")]
    Empty,
    /// Longer than a mail server takes (RFC 5321).
    #[error("An email address has at most 254 characters.")]
    TooLong,
    /// A letter outside ASCII, in either part.
    #[error("Use plain letters a–z, digits and signs; write an international domain in its xn-- form.")]
    NotAscii,
    /// Not `name@example.com`.
    #[error("This is not an email address such as name@example.com.")]
    Invalid,
}

impl EmailError {
    /// Stable, for programs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Empty => "EMAIL_REQUIRED",
            Self::TooLong => "EMAIL_TOO_LONG",
            Self::NotAscii => "EMAIL_NOT_ASCII",
            Self::Invalid => "EMAIL_INVALID",
        }
    }
}

impl Email {
    /// Reads an address as somebody typed it; space around it is dropped and capitals are lowered.
    ///
    /// # Errors
    /// See [`EmailError`].
    pub fn parse(text: &str) -> Result<Self, EmailError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(EmailError::Empty);
        }
        if text.len() > MAX_LENGTH {
            return Err(EmailError::TooLong);
        }
        if !text.is_ascii() {
            return Err(EmailError::NotAscii);
        }
        let address: lettre::Address = text.parse().map_err(|_| EmailError::Invalid)?;
        if address.user().starts_with('"') || !is_host_name(address.domain()) {
            return Err(EmailError::Invalid);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands after the `@`.
    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

/// A name with a dot, or `localhost`; not an IP address, whose last part is a number.
fn is_host_name(domain: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let named = domain.rsplit_once('.').is_some_and(|(_, last)| last.bytes().any(|byte| byte.is_ascii_alphabetic()));
    domain.eq_ignore_ascii_case("localhost") || named && domain.split('.').all(label)
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Email {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for Email {
    type Err = EmailError;

    fn from_str(text: &str) -> Result<Self, EmailError> {
        Self::parse(text)
    }
}

impl From<Email> for String {
    fn from(email: Email) -> Self {
        email.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_trimmed_and_lowered() {
        for (typed, kept) in [
            (" Ada@Example.COM \n", "ada@example.com"),
            ("a.b+tag@mail.example.co.uk", "a.b+tag@mail.example.co.uk"),
            ("o'hara_x@xn--bcher-kva.example", "o'hara_x@xn--bcher-kva.example"),
            ("root@localhost", "root@localhost"),
            ("x@1and1.com", "x@1and1.com"),
        ] {
            let email = Email::parse(typed).expect(typed);
            assert_eq!((email.as_str(), email.to_string().as_str()), (kept, kept));
            assert_eq!(serde_json::json!(email), serde_json::json!(kept));
        }
        assert_eq!(Email::parse("a@Sub.Example.com").expect("valid").domain(), "sub.example.com");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for (typed, error) in [
            ("", EmailError::Empty),
            ("  ", EmailError::Empty),
            ("ada", EmailError::Invalid),
            ("ada@", EmailError::Invalid),
            ("@example.com", EmailError::Invalid),
            ("ada@example", EmailError::Invalid),
            ("ada@@example.com", EmailError::Invalid),
            ("ada@b@example.com", EmailError::Invalid),
            ("a da@example.com", EmailError::Invalid),
            (".ada@example.com", EmailError::Invalid),
            ("a..da@example.com", EmailError::Invalid),
            ("ada.@example.com", EmailError::Invalid),
            ("ada@example.com.", EmailError::Invalid),
            ("ada@example..com", EmailError::Invalid),
            ("ada@-example.com", EmailError::Invalid),
            ("ada@exa_mple.com", EmailError::Invalid),
            ("\"ada\"@example.com", EmailError::Invalid),
            ("ada@127.0.0.1", EmailError::Invalid),
            ("ada@[127.0.0.1]", EmailError::Invalid),
            ("ada@[::1]", EmailError::Invalid),
            ("ada@::1", EmailError::Invalid),
            ("ada\r\nBcc: x@example.com", EmailError::Invalid),
            ("ada\0@example.com", EmailError::Invalid),
            ("Ada <ada@example.com>", EmailError::Invalid),
            ("аda@example.com", EmailError::NotAscii),
            ("ada@bücher.example", EmailError::NotAscii),
        ] {
            assert_eq!(Email::parse(typed), Err(error), "{typed:?}");
            assert!(error.code().starts_with("EMAIL_"));
        }
        assert_eq!(Email::parse(&format!("a@{}com", "b.".repeat(130))), Err(EmailError::TooLong));
        assert_eq!(Email::parse(&format!("{}@example.com", "a".repeat(65))), Err(EmailError::Invalid));
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_stable_and_safe_in_a_header(typed in "\\PC{0,12}@[a-zA-Z0-9.-]{1,20}") {
            if let Ok(email) = Email::parse(&typed) {
                prop_assert_eq!(Email::parse(email.as_str()), Ok(email.clone()));
                prop_assert!(email.as_str().bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()));
                prop_assert_eq!(email.as_str().matches('@').count(), 1);
            }
        }
    }
}
