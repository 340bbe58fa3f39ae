//! Tokens that somebody else made, or changed, or kept too long.

use std::path::PathBuf;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use ed25519_dalek::{Signer, SigningKey, pkcs8::DecodePrivateKey};
use sea_orm::{ConnectionTrait, EntityTrait};
use serde_json::{Value, json};

use super::{
    keys::{self, Audience, Keys, TokenError},
    sessions::{ACCESS_TTL, AccessClaims},
    signup_token::{self, SignupClaims},
    store::signing_key,
};
use crate::{
    clock::{Clock, Now},
    db::{self, Db, Location},
    seal::Sealer,
};

const ISSUER: &str = "https://app.example.com";

/// A house of our own: a database with its first key.
struct House {
    clock: Clock,
    db: Db,
    sealer: Sealer,
    keys: Keys,
    folder: PathBuf,
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl House {
    async fn build() -> Self {
        let clock = Clock::system();
        let folder = std::env::temp_dir().join(format!("tenantry-keys-{}", clock.now().id()));
        let db = db::connect(&Location::Sqlite(folder.join("tenantry.db")), 1).await.unwrap();
        db::migrate(&db).await.unwrap();
        let sealer = Sealer::new(&"a secret of at least 32 characters".into(), None);
        let keys = Keys::new(db.clone(), sealer.clone(), &format!("{ISSUER}/"));
        keys.load(&clock.now()).await.unwrap();
        Self { clock, db, sealer, keys, folder }
    }

    /// Another process on the same database.
    async fn replica(&self) -> Keys {
        let keys = Keys::new(self.db.clone(), self.sealer.clone(), ISSUER);
        keys.load(&self.clock.now()).await.unwrap();
        keys
    }

    async fn private_key(&self) -> SigningKey {
        let row = signing_key::Entity::find_by_id("1").one(self.db.read()).await.unwrap().unwrap();
        SigningKey::from_pkcs8_der(&self.sealer.open("signing_key", &row.private_key).unwrap()).unwrap()
    }

    async fn refused(&self, token: &str, audience: Audience) -> Option<TokenError> {
        self.keys.verify::<Value>(token, audience, &self.clock.now()).await.err()
    }
}

fn claims(now: &Now) -> Value {
    json!({
        "iss": ISSUER, "aud": "access", "sub": now.id(), "tid": now.id(), "role": "owner", "plan": "pro", "ev": true,
        "sid": now.id(), "iat": now.at.timestamp(), "exp": (now.at + ACCESS_TTL).timestamp(), "jti": now.id(),
    })
}

/// `value` with one member replaced, or taken out where the new value is null.
fn with(mut value: Value, name: &str, new: Value) -> Value {
    let members = value.as_object_mut().unwrap();
    if new.is_null() {
        members.remove(name)
    } else {
        members.insert(name.to_owned(), new)
    };
    value
}

fn encode(part: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(part)
}

fn signed(key: &SigningKey, header: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    let signature = key.sign(message.as_bytes());
    format!("{message}.{}", encode(&signature.to_bytes()))
}

#[tokio::test]
async fn a_token_of_ours_is_read_and_one_whose_claims_do_not_fit_its_place_is_not() {
    let house = House::build().await;
    let now = house.clock.now();
    let good = house.keys.sign(&now, Audience::Access, &claims(&now));
    let read: AccessClaims = house.keys.verify(&good, Audience::Access, &now).await.unwrap();
    assert_eq!((read.iss.as_str(), read.plan.as_str(), read.ev), (ISSUER, "pro", true));
    let (signup, ends) = signup_token::issue(&house.keys, &now, std::time::Duration::from_hours(1), now.id(), now.id());
    let read: SignupClaims = house.keys.verify(&signup, Audience::Signup, &now).await.unwrap();
    assert_eq!((read.aud.as_str(), read.exp), ("signup", ends.timestamp()));
    assert!(keys::names(&good, Audience::Access) && !keys::names(&signup, Audience::Access));
    let without_session = house.keys.sign(&now, Audience::Access, &with(claims(&now), "sid", Value::Null));
    let read = house.keys.verify::<AccessClaims>(&without_session, Audience::Access, &now).await;
    assert_eq!(read.unwrap_err(), TokenError::Invalid);
}

#[tokio::test]
async fn a_signup_token_may_live_for_longer_than_time_is_counted() {
    let house = House::build().await;
    let now = house.clock.now();
    let (token, ends) = signup_token::issue(&house.keys, &now, std::time::Duration::MAX, now.id(), now.id());
    assert!(ends > now.at + TimeDelta::days(365_000));
    assert!(house.keys.verify::<SignupClaims>(&token, Audience::Signup, &now).await.is_ok());
}

#[tokio::test]
async fn claims_that_are_signed_but_wrong_are_refused() {
    let house = House::build().await;
    let now = house.clock.now();
    let (second, good) = (now.at.timestamp(), claims(&now));
    let wrong: Vec<(&str, Value)> = vec![
        ("iss", Value::Null),
        ("iss", json!("https://evil.example.com")),
        ("iss", json!("https://app.example.com/")),
        ("iss", json!(["https://app.example.com"])),
        ("iss", json!("")),
        ("aud", Value::Null),
        ("aud", json!("signup")),
        ("aud", json!("ACCESS")),
        ("aud", json!(["access", "signup"])),
        ("aud", json!({})),
        ("exp", Value::Null),
        ("exp", json!("9999999999")),
        ("exp", json!(1e300)),
        ("exp", json!(second + 900).to_string().into()),
        ("nbf", json!(second + 60)),
        ("nbf", json!("now")),
        ("nbf", json!(i64::MAX)),
    ];
    for (name, value) in wrong {
        let token = house.keys.sign(&now, Audience::Access, &with(good.clone(), name, value.clone()));
        assert_eq!(house.refused(&token, Audience::Access).await, Some(TokenError::Invalid), "{name}: {value}");
    }
    for exp in [second, second - 1, 0, -1, i64::MIN] {
        let token = house.keys.sign(&now, Audience::Access, &with(good.clone(), "exp", json!(exp)));
        let refused = house.keys.verify::<Value>(&token, Audience::Access, &now).await.err();
        assert_eq!(refused, Some(TokenError::Expired), "{exp}");
    }
    for claims in [json!(null), json!([]), json!("x"), json!(1)] {
        let token = house.keys.sign(&now, Audience::Access, &claims);
        assert_eq!(house.refused(&token, Audience::Access).await, Some(TokenError::Invalid), "{claims}");
    }
}

#[tokio::test]
async fn headers_that_are_signed_but_wrong_are_refused() {
    let house = House::build().await;
    let (now, key) = (house.clock.now(), house.private_key().await);
    let (good, claims) = (json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "1"}), claims(&now));
    assert_eq!(house.refused(&signed(&key, &good, &claims), Audience::Access).await, None);
    let wrong: Vec<(&str, Value)> = vec![
        ("alg", Value::Null),
        ("alg", json!("none")),
        ("alg", json!("None")),
        ("alg", json!("nOnE")),
        ("alg", json!("")),
        ("alg", json!("HS256")),
        ("alg", json!("RS256")),
        ("alg", json!("ES256")),
        ("alg", json!("Ed448")),
        ("alg", json!(["EdDSA"])),
        ("typ", Value::Null),
        ("typ", json!("JWT")),
        ("typ", json!("signup+jwt")),
        ("typ", json!("AT+JWT ")),
        ("kid", Value::Null),
        ("kid", json!("")),
        ("kid", json!("2")),
        ("kid", json!("../../etc/passwd")),
        ("kid", json!("1' or '1'='1")),
        ("kid", json!(1)),
        ("crit", json!(["b64"])),
        ("crit", json!([])),
    ];
    for (name, value) in wrong {
        let token = signed(&key, &with(good.clone(), name, value.clone()), &claims);
        assert_eq!(house.refused(&token, Audience::Access).await, Some(TokenError::Invalid), "{name}: {value}");
    }
}

#[tokio::test]
async fn a_key_that_the_token_brings_along_opens_nothing() {
    let house = House::build().await;
    let now = house.clock.now();
    let stranger = SigningKey::from_bytes(&now.bytes());
    let own = encode(&stranger.verifying_key().to_bytes());
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": own, "kid": "1", "alg": "EdDSA"});
    let brought = [
        json!({}),
        json!({"jwk": jwk}),
        json!({"jku": "https://evil.example.com/jwks.json"}),
        json!({"jku": format!("{ISSUER}@evil.example.com/jwks.json")}),
        json!({"x5u": "https://evil.example.com/cert.pem"}),
        json!({"x5c": ["MIIB"]}),
        json!({"x5t": "AAAA", "jwk": jwk}),
    ];
    for extra in brought {
        let mut header = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "1"});
        header.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let token = signed(&stranger, &header, &claims(&now));
        assert_eq!(house.refused(&token, Audience::Access).await, Some(TokenError::Invalid), "{header}");
    }
}

#[tokio::test]
async fn the_public_key_is_no_shared_secret() {
    use hmac::{Hmac, KeyInit, Mac};
    let house = House::build().await;
    let now = house.clock.now();
    let public = house.private_key().await.verifying_key().to_bytes();
    let x = encode(&public);
    for secret in [&public[..], x.as_bytes(), b"", b"1"] {
        for alg in ["HS256", "EdDSA"] {
            let header = json!({"alg": alg, "typ": "at+jwt", "kid": "1"}).to_string();
            let message = format!("{}.{}", encode(header.as_bytes()), encode(claims(&now).to_string().as_bytes()));
            let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret).unwrap();
            mac.update(message.as_bytes());
            let token = format!("{message}.{}", encode(&mac.finalize().into_bytes()));
            assert_eq!(house.refused(&token, Audience::Access).await, Some(TokenError::Invalid), "{alg}");
        }
    }
}

#[tokio::test]
async fn damaged_tokens_are_refused() {
    let house = House::build().await;
    let now = house.clock.now();
    let good = house.keys.sign(&now, Audience::Access, &claims(&now));
    let parts: Vec<&str> = good.split('.').collect();
    let (header, body, signature) = (parts[0], parts[1], parts[2]);
    let richer = encode(with(claims(&now), "plan", json!("enterprise")).to_string().as_bytes());
    let damaged = [
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        "null".into(),
        "\u{0}".into(),
        "🔑.🔑.🔑".into(),
        header.to_owned(),
        format!("{header}.{body}"),
        format!("{header}.{body}."),
        format!("{header}..{signature}"),
        format!(".{body}.{signature}"),
        format!("{good}.{signature}"),
        format!(" {good}"),
        format!("{good} "),
        format!("{good}="),
        format!("{header}.{richer}.{signature}"),
        format!("{header}.{body}.{}", encode(&[0; 64])),
        format!("{header}.{body}.{}", encode(&[0xff; 64])),
        format!("{header}.{body}.{}", encode(&[0; 63])),
        format!("{header}.{body}.{}", signature.chars().rev().collect::<String>()),
        format!("{}.{body}.{signature}", encode(b"{}")),
        format!("{}.{body}.{signature}", encode(b"[]")),
        "a".repeat(100_000),
    ];
    for token in &damaged {
        assert_eq!(house.refused(token, Audience::Access).await, Some(TokenError::Invalid), "{token:.80}");
    }
    for end in 0..good.len() {
        let token = &good[..end];
        assert_eq!(house.refused(token, Audience::Access).await, Some(TokenError::Invalid), "cut at {end}");
    }
    assert_eq!(house.refused(&good, Audience::Signup).await, Some(TokenError::Invalid));
}

#[tokio::test]
async fn tokens_end_by_the_clock_that_was_passed_in() {
    let house = House::build().await;
    let now = house.clock.now();
    let token = house.keys.sign(&now, Audience::Access, &claims(&now));
    assert_eq!(house.refused(&token, Audience::Access).await, None);
    house.clock.advance(ACCESS_TTL);
    assert_eq!(house.refused(&token, Audience::Access).await, Some(TokenError::Expired));
}

#[tokio::test]
async fn a_new_key_is_published_first_signs_later_and_the_old_one_stays_for_its_tokens() {
    let house = House::build().await;
    let replica = house.replica().await;
    let kid = |token: &str| jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
    let year = TimeDelta::days(365);

    let before = house.clock.now();
    let life = std::time::Duration::from_hours(24 * 365);
    let (old, _) = signup_token::issue(&house.keys, &before, life, before.id(), before.id());
    let tx = house.db.begin().await.unwrap();
    assert_eq!(keys::rotate(&tx, &before, &house.sealer, year).await.unwrap(), "2");
    tx.commit().await.unwrap();
    house.keys.load(&before).await.unwrap();
    assert_eq!(house.keys.jwks(&before).keys.iter().map(|key| key.kid.as_str()).collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(kid(&house.keys.sign(&before, Audience::Access, &claims(&before))), "1");

    let after = house.clock.advance(keys::PUBLISHED_BEFORE);
    let new = house.keys.sign(&after, Audience::Access, &claims(&after));
    assert_eq!(kid(&new), "2");
    // The replica has not heard of it, and looks.
    assert!(replica.verify::<AccessClaims>(&new, Audience::Access, &after).await.is_ok());

    let late = house.clock.advance(year - keys::PUBLISHED_BEFORE - TimeDelta::minutes(1));
    assert!(house.keys.verify::<SignupClaims>(&old, Audience::Signup, &late).await.is_ok());
    let over = house.clock.advance(keys::PUBLISHED_BEFORE + TimeDelta::hours(2));
    assert_eq!(house.keys.jwks(&over).keys.len(), 1);
}

#[tokio::test]
async fn unknown_keys_lead_to_the_database_seldom() {
    let house = House::build().await;
    let replica = house.replica().await;
    let now = house.clock.now();
    let tx = house.db.begin().await.unwrap();
    keys::rotate(&tx, &now, &house.sealer, TimeDelta::days(1)).await.unwrap();
    tx.execute_unprepared("update signing_keys set active_from = created_at").await.unwrap();
    tx.commit().await.unwrap();
    house.keys.load(&now).await.unwrap();
    let token = house.keys.sign(&now, Audience::Access, &claims(&now));
    assert!(replica.verify::<Value>(&token, Audience::Access, &now).await.is_err());
    let later = house.clock.advance(keys::RELOAD_AFTER);
    assert!(replica.verify::<Value>(&token, Audience::Access, &later).await.is_ok());
}

#[tokio::test]
async fn several_processes_that_start_at_once_agree_on_one_first_key() {
    let house = House::build().await;
    let tx = house.db.begin().await.unwrap();
    tx.execute_unprepared("delete from signing_keys").await.unwrap();
    tx.commit().await.unwrap();
    let processes: Vec<_> = (0..8).map(|_| Keys::new(house.db.clone(), house.sealer.clone(), ISSUER)).collect();
    let now = house.clock.now();
    for loaded in futures_util::future::join_all(processes.iter().map(|keys| keys.load(&now))).await {
        loaded.unwrap();
    }
    let token = processes[0].sign(&now, Audience::Access, &claims(&now));
    for keys in &processes {
        assert!(keys.verify::<Value>(&token, Audience::Access, &now).await.is_ok());
    }
}

#[tokio::test]
async fn keys_sealed_under_another_secret_stop_the_start_with_a_hint() {
    let house = House::build().await;
    let other = Sealer::new(&"another secret of at least 32 characters".into(), None);
    let error = Keys::new(house.db.clone(), other, ISSUER).load(&house.clock.now()).await.unwrap_err();
    assert!(error.to_string().contains("TENANTRY_SECRET_KEY"), "{error}");
}
