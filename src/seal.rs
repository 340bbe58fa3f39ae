//! Secrets at rest: sealing, opening, and fingerprints.
//!
//! Every purpose has keys of its own, expanded from the operator's secret by HKDF-SHA256 (RFC 5869), so what was sealed
//! for one purpose opens for no other. A sealed value is
//! `version (1) ‖ key id (4) ‖ nonce (24) ‖ XChaCha20-Poly1305 ciphertext and tag`, and the version, the key id and the
//! purpose are authenticated with it. The key id says which of two operator's secrets sealed it, so that during a
//! rotation both open and only the current one seals.
//!
//! It refuses to make up its own nonces: chance comes from [`crate::clock::Now::bytes`].

use std::fmt;

use chacha20poly1305::{
    Key, XChaCha20Poly1305, XNonce,
    aead::{Aead, KeyInit, Payload},
};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

const VERSION: u8 = 1;
const KEY_ID: usize = 4;
const NONCE: usize = 24;
const HEADER: usize = 1 + KEY_ID;

/// Why a sealed value does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It is too short, or of a version that this program does not know.
    #[error("this is not a sealed value")]
    Malformed,
    /// Neither the current secret nor the previous one sealed it.
    #[error("sealed with a secret that is neither TENANTRY_SECRET_KEY nor TENANTRY_SECRET_KEY_PREVIOUS")]
    UnknownKey,
    /// It was changed since, or sealed for another purpose.
    #[error("the sealed value was changed, or sealed for another purpose")]
    Forged,
}

/// Seals and opens secrets, and makes keyed fingerprints. Clones share nothing that could change.
#[derive(Clone)]
pub struct Sealer {
    current: Root,
    previous: Option<Root>,
}

impl Sealer {
    /// Seals with `current`; opens what `current` or `previous` sealed.
    pub fn new(current: &SecretString, previous: Option<&SecretString>) -> Self {
        Self { current: Root::new(current), previous: previous.map(Root::new) }
    }

    /// Seals `plaintext` for `purpose`. A `nonce` is for one call only: draw 24 random bytes each time.
    ///
    /// # Panics
    /// Where `plaintext` is longer than the cipher's 256 GiB.
    pub fn seal(&self, purpose: &'static str, nonce: [u8; 24], plaintext: &[u8]) -> Vec<u8> {
        let mut sealed = self.current.header().to_vec();
        let aad = [&sealed[..], purpose.as_bytes()].concat();
        let payload = Payload { msg: plaintext, aad: &aad };
        let ciphertext = self.current.cipher(purpose).encrypt(&XNonce::from(nonce), payload);
        sealed.extend(nonce);
        sealed.extend(ciphertext.expect("a plaintext that fits in memory fits the cipher"));
        sealed
    }

    /// Opens what [`Sealer::seal`] made for the same purpose.
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn open(&self, purpose: &'static str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (header, rest) = sealed.split_first_chunk::<HEADER>().ok_or(SealError::Malformed)?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE>().ok_or(SealError::Malformed)?;
        if header[0] != VERSION {
            return Err(SealError::Malformed);
        }
        let root = self.roots().find(|root| root.header() == *header).ok_or(SealError::UnknownKey)?;
        let aad = [header, purpose.as_bytes()].concat();
        let payload = Payload { msg: ciphertext, aad: &aad };
        root.cipher(purpose).decrypt(&XNonce::from(*nonce), payload).map_err(|_| SealError::Forged)
    }

    /// HMAC-SHA256 (RFC 2104) of `data` under the current secret's key for `purpose`.
    pub fn mac(&self, purpose: &'static str, data: &[u8]) -> [u8; 32] {
        self.current.hmac(purpose, data).finalize().into_bytes().into()
    }

    /// Whether `tag` is the [`Sealer::mac`] of `data`, under the current or the previous secret; in constant time.
    pub fn verify_mac(&self, purpose: &'static str, data: &[u8], tag: &[u8]) -> bool {
        self.roots().any(|root| root.hmac(purpose, data).verify_slice(tag).is_ok())
    }

    fn roots(&self) -> impl Iterator<Item = &Root> {
        std::iter::once(&self.current).chain(&self.previous)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("rotating", &self.previous.is_some()).finish_non_exhaustive()
    }
}

/// SHA-256 of a token, to keep in its place. Tokens are random and long, so it needs neither salt nor cost.
pub fn hash_token(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// One of the operator's secrets, extracted once; expanding a key from it is two short hashes.
#[derive(Clone)]
struct Root {
    id: [u8; KEY_ID],
    keys: Hkdf<Sha256>,
}

impl Root {
    fn new(secret: &SecretString) -> Self {
        let keys = Hkdf::new(Some(b"tenantry"), secret.expose_secret().as_bytes());
        let mut root = Self { id: [0; KEY_ID], keys };
        root.id = root.expand("id", "");
        root
    }

    fn header(&self) -> [u8; HEADER] {
        let [a, b, c, d] = self.id;
        [VERSION, a, b, c, d]
    }

    fn expand<const N: usize>(&self, usage: &str, purpose: &str) -> [u8; N] {
        let mut key = [0; N];
        let info = [usage.as_bytes(), b":", purpose.as_bytes()];
        self.keys.expand_multi_info(&info, &mut key).expect("HKDF-SHA256 gives up to 8160 bytes");
        key
    }

    fn cipher(&self, purpose: &str) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&Key::from(self.expand("seal", purpose)))
    }

    fn hmac(&self, purpose: &str, data: &[u8]) -> Hmac<Sha256> {
        let key: [u8; 32] = self.expand("mac", purpose);
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&key).expect("HMAC takes keys of any length");
        mac.update(data);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(current: &str, previous: Option<&str>) -> Sealer {
        Sealer::new(&current.into(), previous.map(SecretString::from).as_ref())
    }

    #[test]
    fn what_is_sealed_opens_for_its_purpose_alone() {
        let sealer = sealer("one", None);
        let kept = sealer.seal("mail", [7; 24], b"hello");
        assert_eq!(kept.len(), HEADER + NONCE + 5 + 16);
        assert_eq!(sealer.open("mail", &kept).as_deref(), Ok(&b"hello"[..]));
        assert_eq!(sealer.open("keys", &kept), Err(SealError::Forged));
        assert_eq!(sealer.open("mail", &sealer.seal("mail", [8; 24], b"")), Ok(Vec::new()));
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let sealer = sealer("one", None);
        let kept = sealer.seal("mail", [7; 24], b"hello");
        for at in 0..kept.len() {
            let mut changed = kept.clone();
            changed[at] ^= 1;
            assert!(sealer.open("mail", &changed).is_err(), "byte {at}");
            assert!(sealer.open("mail", &kept[..at]).is_err(), "cut at {at}");
        }
        assert_eq!(sealer.open("mail", &kept[..10]), Err(SealError::Malformed));
    }

    #[test]
    fn a_rotation_opens_both_and_seals_with_the_new_secret() {
        let (old, rotating, new) = (sealer("one", None), sealer("two", Some("one")), sealer("two", None));
        let before = old.seal("mail", [1; 24], b"before");
        assert_eq!(rotating.open("mail", &before).as_deref(), Ok(&b"before"[..]));
        assert_eq!(new.open("mail", &before), Err(SealError::UnknownKey));
        let after = rotating.seal("mail", [2; 24], b"after");
        assert_eq!(new.open("mail", &after).as_deref(), Ok(&b"after"[..]));
        assert_eq!(old.open("mail", &after), Err(SealError::UnknownKey));

        let tag = old.mac("csrf", b"x");
        assert!(rotating.verify_mac("csrf", b"x", &tag));
        assert!(!new.verify_mac("csrf", b"x", &tag));
        assert!(!rotating.verify_mac("csrf", b"y", &tag));
        assert!(!rotating.verify_mac("other", b"x", &tag));
        assert!(!rotating.verify_mac("csrf", b"x", &tag[..31]));
    }

    #[test]
    fn a_key_that_seals_is_not_the_key_that_signs() {
        let root = Root::new(&"one".into());
        assert_ne!(root.expand::<32>("seal", "mail"), root.expand::<32>("mac", "mail"));
        assert!(!format!("{:?}", sealer("one", None)).contains("one"));
    }

    /// The stored form must stay readable by later versions.
    #[test]
    fn the_stored_form_does_not_change() {
        let sealer = sealer("0123456789abcdef0123456789abcdef", None);
        let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        assert_eq!(hex(&sealer.seal("mail", [7; 24], b"hello")), SEALED);
        assert_eq!(
            hex(&hash_token("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "FIPS 180-2, B.1"
        );
    }

    const SEALED: &str =
        "0181039cef070707070707070707070707070707070707070707070707173c8bdd0b63269a69c8946e2616ef55b896e72d38";
}
