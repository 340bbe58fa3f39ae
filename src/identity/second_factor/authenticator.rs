//! What a user and their authenticator app share: time-based codes (RFC 6238) of SHA-1, six digits and 30 seconds, which is what every app
//! can do, and the drawing that an app reads the secret from.

use chrono::{DateTime, Utc};
use qrcode::{QrCode, render::svg};
use totp_rs::{Builder, Totp};

use crate::clock::Now;

/// Bytes of a secret (RFC 4226, 4).
const SECRET: usize = 20;
/// Whose codes they are, in the app's list.
const ISSUER: &str = "Tenantry";

/// A new secret.
pub(super) fn secret(now: &Now) -> [u8; SECRET] {
    now.bytes()
}

/// A secret, and what can be made of it.
pub struct Authenticator(Totp);

impl Authenticator {
    /// For an account, which the app lists by its address.
    pub(super) fn new(secret: &[u8], email: &str) -> Self {
        // The defaults are those above, with a leeway of one step either way (RFC 6238, 5.2).
        let builder = Builder::new().with_secret(secret.to_vec()).with_issuer(Some(ISSUER)).with_account_name(email);
        Self(builder.build_noncompliant())
    }

    /// The 30-second step that a code is of, if it is one of the three around that moment.
    pub(super) fn step(&self, code: &str, at: DateTime<Utc>) -> Option<i64> {
        let step = self.0.check(code, u64::try_from(at.timestamp()).ok()?)?;
        i64::try_from(step).ok()
    }

    /// The secret in base 32 (RFC 4648), to type into an app.
    pub fn secret(&self) -> String {
        self.0.secret().to_base32()
    }

    /// What an app reads (Google Authenticator, Key URI Format).
    ///
    /// # Panics
    /// Where the account has a colon in it, which no address has.
    pub fn url(&self) -> String {
        self.0.to_url().expect("addresses have no colon")
    }

    /// The same as a drawing: an `svg` element, dark on light in any theme.
    ///
    /// # Panics
    /// Where the address is longer than any is.
    pub fn drawing(&self) -> String {
        let code = QrCode::new(self.url()).expect("a QR code holds 2,331 bytes");
        let image = code.render::<svg::Color>().module_dimensions(1, 1).build();
        image.split_once("?>").map_or(image.as_str(), |(_, svg)| svg).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_standard() {
        // RFC 6238, appendix B, the last six of its eight digits.
        let app = Authenticator::new(b"12345678901234567890", "ada@example.com");
        for (at, code) in
            [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (20_000_000_000, "353130")]
        {
            let step = |seconds: i64| app.step(code, DateTime::from_timestamp(at + seconds, 0).unwrap());
            assert_eq!((step(0), step(30), step(-30)), (Some(at / 30), Some(at / 30), Some(at / 30)), "{code}");
            assert_eq!((step(60), step(-60)), (None, None), "{code}");
        }
        for wrong in ["", "28708", "2870820", "+87082", "٢٨٧٠٨٢", "287 08"] {
            assert_eq!(app.step(wrong, DateTime::from_timestamp(59, 0).unwrap()), None, "{wrong}");
        }
    }

    #[test]
    fn an_app_reads_whose_it_is() {
        let app = Authenticator::new(b"12345678901234567890", "ada+work@example.com");
        let url = url::Url::parse(&app.url()).unwrap();
        assert_eq!((url.scheme(), url.host_str()), ("otpauth", Some("totp")));
        let secret = url.query_pairs().find(|(name, _)| name == "secret").unwrap().1;
        assert_eq!(secret, app.secret());
        assert_eq!(secret, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert!(app.url().starts_with("otpauth://totp/Tenantry:ada%2Bwork%40example.com?"), "{}", app.url());
        assert!(app.drawing().starts_with("<svg ") && app.drawing().ends_with("</svg>"));
        Authenticator::new(&[7; SECRET], &format!("{}@example.com", "a".repeat(242))).drawing();
    }
}
