//! Stripe's signature of a webhook (<https://docs.stripe.com/webhooks#verify-manually>): HMAC-SHA256 over `{time}.{body}`.

use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// The header that carries it.
pub const HEADER: &str = "stripe-signature";

/// How far its time may be from ours, before and after.
pub const TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// Why a webhook is not from Stripe, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No secret to check it with: nothing is accepted.
    #[error("the webhook secret is empty")]
    NoSecret,
    /// No header, or one without a time or a signature.
    #[error("the signature is missing or cannot be read")]
    Unreadable,
    /// Signed for another body, or by somebody else.
    #[error("the signature is not Stripe's")]
    Forged,
    /// Signed too long ago, or in the future: perhaps sent again by somebody else.
    #[error("the signature is from another time")]
    OtherTime,
}

/// Whether `body` is signed with `secret` within [`TOLERANCE`] of `now`. Any of several `v1` may be right; others are not looked at.
///
/// # Errors
/// See [`SignatureError`].
pub fn verify(secret: &SecretString, header: &str, body: &[u8], now: DateTime<Utc>) -> Result<(), SignatureError> {
    if secret.expose_secret().is_empty() {
        return Err(SignatureError::NoSecret);
    }
    let parts = || header.split(',').filter_map(|part| part.trim().split_once('='));
    let time = parts().find(|(name, _)| *name == "t").map(|(_, time)| time).ok_or(SignatureError::Unreadable)?;
    let at = time.parse().ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    let at = at.ok_or(SignatureError::Unreadable)?;
    let mut signatures = parts().filter(|(name, _)| *name == "v1").map(|(_, tag)| unhex(tag)).peekable();
    if signatures.peek().is_none() {
        return Err(SignatureError::Unreadable);
    }
    let signed = signer(secret, time, body);
    if !signatures.flatten().any(|tag| signed.clone().verify_slice(&tag).is_ok()) {
        return Err(SignatureError::Forged);
    }
    if (now - at).abs() > TOLERANCE { Err(SignatureError::OtherTime) } else { Ok(()) }
}

/// The header for a body that is sent at a time: what the sandbox signs with.
pub fn sign(secret: &SecretString, body: &[u8], at: DateTime<Utc>) -> String {
    let time = at.timestamp().to_string();
    let tag = signer(secret, &time, body).finalize().into_bytes();
    let hex = tag.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    format!("t={time},v1={hex}")
}

fn signer(secret: &SecretString, time: &str, body: &[u8]) -> Hmac<Sha256> {
    let key = secret.expose_secret().as_bytes();
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let is_hex = text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| {
        text.as_bytes()
            .chunks(2)
            .filter_map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok())
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_test_secret";

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a time")
    }

    /// What `openssl dgst -sha256 -hmac whsec_test_secret` says of `1700000000.{"id":"evt_1"}`.
    #[test]
    fn a_vector_of_another_implementation() {
        let header = sign(&SECRET.into(), br#"{"id":"evt_1"}"#, at(1_700_000_000));
        assert_eq!(header, format!("t=1700000000,v1={VECTOR}"));
    }

    const VECTOR: &str = "248a374f50f943a28b0f6ab50faf9a7e7e29b710fa26df9fb1618b9bf8ea9c9a";

    #[test]
    fn what_is_signed_is_accepted_for_five_minutes_on_both_sides() {
        let (body, now) = (&b"{}"[..], at(1_700_000_000));
        for (age, verdict) in [
            (0, Ok(())),
            (300, Ok(())),
            (-300, Ok(())),
            (301, Err(SignatureError::OtherTime)),
            (-301, Err(SignatureError::OtherTime)),
        ] {
            let header = sign(&SECRET.into(), body, at(1_700_000_000 - age));
            assert_eq!(verify(&SECRET.into(), &header, body, now), verdict, "{age} s old");
        }
    }

    #[test]
    fn one_of_several_signatures_has_to_be_right() {
        let (body, now) = (&b"{}"[..], at(1_700_000_000));
        let good = sign(&SECRET.into(), body, now);
        let tag = good.rsplit('=').next().expect("a tag");
        let zeros = "00".repeat(32);
        for (header, verdict) in [
            (format!("t=1700000000,v1={zeros},v1={tag},v0=x"), Ok(())),
            (format!("t=1700000000, v1={tag}"), Ok(())),
            (format!("t=1700000000,v1={zeros}"), Err(SignatureError::Forged)),
            (format!("t=1700000000,v1={}", &tag[..62]), Err(SignatureError::Forged)),
            (format!("t=1700000000,v1={tag}00"), Err(SignatureError::Forged)),
            ("t=1700000000,v1=".to_owned(), Err(SignatureError::Forged)),
            ("t=1700000000,v1=zz".to_owned(), Err(SignatureError::Forged)),
            (format!("t=1700000001,v1={tag}"), Err(SignatureError::Forged)),
            (format!("t=1700000000,v0={tag}"), Err(SignatureError::Unreadable)),
            (format!("v1={tag}"), Err(SignatureError::Unreadable)),
            (format!("t=now,v1={tag}"), Err(SignatureError::Unreadable)),
            (String::new(), Err(SignatureError::Unreadable)),
        ] {
            assert_eq!(verify(&SECRET.into(), &header, body, now), verdict, "{header}");
        }
        assert_eq!(verify(&SECRET.into(), &good, b"{ }", now), Err(SignatureError::Forged));
        assert_eq!(verify(&"another".into(), &good, body, now), Err(SignatureError::Forged));
        let unkeyed = sign(&"".into(), body, now);
        assert_eq!(verify(&"".into(), &unkeyed, body, now), Err(SignatureError::NoSecret));
    }
}
