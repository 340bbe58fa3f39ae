//! The keys that sign our tokens, and reading tokens that claim to be signed by them.
//!
//! A key is published some time before it signs ([`PUBLISHED_BEFORE`]), so that verifiers who cache the JWKS know it by then, and
//! verifies until the last token it signed has ended. All keys are in memory: neither signing nor verifying asks the database,
//! but for a token that names an unknown key, and that at most once in [`RELOAD_AFTER`].

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::{
    SigningKey,
    pkcs8::{DecodePrivateKey, EncodePrivateKey},
};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use sea_orm::{ConnectionTrait, DbErr, EntityTrait, Insert, QueryTrait, sea_query::OnConflict};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::store::signing_key;
use crate::{
    clock::{Clock, Now},
    db::{Db, Tx, sql},
    http::Problem,
    seal::Sealer,
};

/// How long a new key is published before it signs; longer than the JWKS may be cached.
pub const PUBLISHED_BEFORE: TimeDelta = TimeDelta::minutes(15);
/// How often an unknown key may lead to a look into the database.
pub const RELOAD_AFTER: TimeDelta = TimeDelta::seconds(3);
/// How often the keys are read again for what rotation, elsewhere, has done.
const REFRESH: Duration = Duration::from_mins(1);
/// What sealed private keys are bound to.
const PURPOSE: &str = "signing_key";
const ALGORITHM: &str = "EdDSA";

/// What a token is for; it is refused everywhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The API, for a member.
    Access,
    /// The sign-up wizard.
    Signup,
}

impl Audience {
    /// The `aud` claim.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Signup => "signup",
        }
    }

    /// The `typ` header (RFC 8725, 3.11; RFC 9068, 2.1).
    fn typ(self) -> &'static str {
        match self {
            Self::Access => "at+jwt",
            Self::Signup => "signup+jwt",
        }
    }
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Ours, and its time is over.
    #[error("the token has expired")]
    Expired,
    /// Not ours, or not for this.
    #[error("the token is invalid")]
    Invalid,
}

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// No key has been loaded that may sign now.
    #[error("there is no signing key")]
    Missing,
    /// A key cannot be read, most likely because `TENANTRY_SECRET_KEY` has changed.
    #[error("signing key {kid} cannot be read; has TENANTRY_SECRET_KEY changed?")]
    Unreadable {
        /// Which key.
        kid: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database.
    #[error("the signing keys cannot be read from the database")]
    Database(#[from] DbErr),
}

impl From<KeysError> for Problem {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Database(error) => Self::database(&error),
            error @ (KeysError::Missing | KeysError::Unreadable { .. }) => Self::internal(&error),
        }
    }
}

/// A public key as JWKS shows it (RFC 8037, 2).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PublicKey {
    /// `OKP`
    pub kty: &'static str,
    /// `Ed25519`
    pub crv: &'static str,
    /// `EdDSA`
    pub alg: &'static str,
    /// `sig`
    #[serde(rename = "use")]
    pub usage: &'static str,
    /// Names the key in tokens.
    pub kid: String,
    /// The key, base64url.
    pub x: String,
}

/// A JSON Web Key Set (RFC 7517, 5).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Jwks {
    /// The keys that verify now or soon.
    pub keys: Vec<PublicKey>,
}

/// The signing keys. Clones share them.
#[derive(Clone)]
pub struct Keys(Arc<Shared>);

struct Shared {
    db: Db,
    sealer: Sealer,
    issuer: String,
    ring: RwLock<Arc<Ring>>,
    reloading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Ring {
    /// Oldest first.
    keys: Vec<Key>,
    loaded_at: Option<DateTime<Utc>>,
}

struct Key {
    kid: String,
    public: Vec<u8>,
    verifies: DecodingKey,
    signs: EncodingKey,
    active_from: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
}

/// The claims that every token of ours has.
#[derive(Deserialize)]
struct Registered {
    iss: String,
    aud: String,
    exp: i64,
    nbf: Option<i64>,
}

impl Keys {
    /// A handle without keys yet; `issuer` is the public URL. [`Keys::load`] fills it.
    pub fn new(db: Db, sealer: Sealer, issuer: &str) -> Self {
        let issuer = issuer.trim_end_matches('/').to_owned();
        Self(Arc::new(Shared { db, sealer, issuer, ring: RwLock::default(), reloading: tokio::sync::Mutex::default() }))
    }

    /// Reads the keys, and makes the first where there is none. Call after migrating, before serving.
    pub async fn load(&self, now: &Now) -> Result<(), KeysError> {
        match self.reload(now).await {
            Err(KeysError::Missing) => {
                let tx = self.0.db.begin().await?;
                add(&tx, now, &self.0.sealer, FIRST, now.at).await?;
                tx.commit().await?;
                self.reload(now).await
            }
            read => read,
        }
    }

    /// Reads the keys again every minute until `stop`, for what rotation has done in another process.
    pub async fn keep_fresh(self, clock: Clock, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(REFRESH)).await.is_some() {
            if let Err(error) = self.reload(&clock.now()).await {
                tracing::warn!(feature = "identity", error = %crate::http::chain(&error), "Signing keys could not be read again");
            }
        }
    }

    async fn reload(&self, now: &Now) -> Result<(), KeysError> {
        let mut rows = signing_key::Entity::find().all(self.0.db.read()).await?;
        rows.retain(|row| row.algorithm == ALGORITHM && row.expires_at.is_none_or(|end| end > now.at));
        rows.sort_by_key(|row| row.active_from);
        let keys = rows.into_iter().map(|row| self.read(row)).collect::<Result<Vec<_>, _>>()?;
        if !keys.iter().any(|key| key.active_from <= now.at) {
            return Err(KeysError::Missing);
        }
        *self.0.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Ring { keys, loaded_at: Some(now.at) });
        Ok(())
    }

    fn read(&self, row: signing_key::Model) -> Result<Key, KeysError> {
        let private = self.0.sealer.open(PURPOSE, &row.private_key);
        let private = private.map_err(|error| KeysError::Unreadable { kid: row.id.clone(), source: error.into() })?;
        let pair = SigningKey::from_pkcs8_der(&private);
        pair.map_err(|error| KeysError::Unreadable { kid: row.id.clone(), source: error.into() })?;
        Ok(Key {
            verifies: DecodingKey::from_ed_der(&row.public_key),
            signs: EncodingKey::from_ed_der(&private),
            kid: row.id,
            public: row.public_key,
            active_from: row.active_from,
            expires_at: row.expires_at,
        })
    }

    fn ring(&self) -> Arc<Ring> {
        self.0.ring.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who signs: the `iss` claim.
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// This server, or in development one that shares its database on another port.
    fn is_issuer(&self, issuer: &str) -> bool {
        const LOCAL: &str = "http://localhost:";
        issuer == self.0.issuer || (self.0.issuer.starts_with(LOCAL) && issuer.starts_with(LOCAL))
    }

    /// Signs claims, which have to hold this issuer and `audience`, with the newest active key.
    ///
    /// # Panics
    /// Before [`Keys::load`] has succeeded, and for claims that cannot be JSON.
    pub fn sign<T: Serialize>(&self, now: &Now, audience: Audience, claims: &T) -> String {
        let ring = self.ring();
        let key = ring.keys.iter().rev().find(|key| key.active_from <= now.at).expect("keys are loaded before serving");
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(audience.typ().to_owned());
        header.kid = Some(key.kid.clone());
        jsonwebtoken::encode(&header, claims, &key.signs)
            .expect("keys were checked when read, and claims are plain data")
    }

    /// Reads a token's claims. Only `EdDSA` by a key of ours; issuer, audience, type and times have to fit. What the token itself
    /// says about where to find a key is ignored (RFC 8725, 3.1 and 3.10).
    pub async fn verify<T: DeserializeOwned>(
        &self,
        token: &str,
        audience: Audience,
        now: &Now,
    ) -> Result<T, TokenError> {
        let (registered, claims) = self.signed(token, audience, now).await?;
        if registered.exp <= now.at.timestamp() {
            return Err(TokenError::Expired);
        }
        serde_json::from_value(claims).map_err(|_| TokenError::Invalid)
    }

    /// As [`Keys::verify`], of a token whose time may be over.
    pub async fn read_expired<T: DeserializeOwned>(
        &self,
        token: &str,
        audience: Audience,
        now: &Now,
    ) -> Result<T, TokenError> {
        let (_, claims) = self.signed(token, audience, now).await?;
        serde_json::from_value(claims).map_err(|_| TokenError::Invalid)
    }

    async fn signed(
        &self,
        token: &str,
        audience: Audience,
        now: &Now,
    ) -> Result<(Registered, serde_json::Value), TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        let fits =
            header.alg == Algorithm::EdDSA && header.typ.as_deref() == Some(audience.typ()) && header.crit.is_none();
        let kid = header.kid.filter(|_| fits).ok_or(TokenError::Invalid)?;
        let mut ring = self.ring();
        if ring.find(&kid, now).is_none() {
            self.look_again(now).await;
            ring = self.ring();
        }
        let key = ring.find(&kid, now).ok_or(TokenError::Invalid)?;
        let decoded = jsonwebtoken::decode::<serde_json::Value>(token, &key.verifies, &signature_only());
        let claims = decoded.map_err(|_| TokenError::Invalid)?.claims;
        let registered = Registered::deserialize(&claims).map_err(|_| TokenError::Invalid)?;
        let begun = registered.nbf.is_none_or(|from| from <= now.at.timestamp());
        if !self.is_issuer(&registered.iss) || registered.aud != audience.as_str() || !begun {
            return Err(TokenError::Invalid);
        }
        Ok((registered, claims))
    }

    /// For a key that is unknown here: it may be newer than what was read. Callers meanwhile wait for the one that looks.
    async fn look_again(&self, now: &Now) {
        let _one = self.0.reloading.lock().await;
        if self.ring().loaded_at.is_some_and(|at| now.at - at < RELOAD_AFTER) {
            return;
        }
        if let Err(error) = self.reload(now).await {
            tracing::warn!(feature = "identity", error = %crate::http::chain(&error), "Signing keys could not be read again");
        }
    }

    /// The public keys of now and soon.
    pub fn jwks(&self, now: &Now) -> Jwks {
        let ring = self.ring();
        let valid = ring.keys.iter().filter(|key| key.is_valid(now));
        Jwks { keys: valid.map(Key::shown).collect() }
    }
}

impl Ring {
    fn find(&self, kid: &str, now: &Now) -> Option<&Key> {
        self.keys.iter().find(|key| key.kid == kid && key.is_valid(now))
    }
}

impl Key {
    fn is_valid(&self, now: &Now) -> bool {
        self.expires_at.is_none_or(|end| end > now.at)
    }

    fn shown(&self) -> PublicKey {
        let x = BASE64_URL_SAFE_NO_PAD.encode(&self.public);
        PublicKey { kty: "OKP", crv: "Ed25519", alg: ALGORITHM, usage: "sig", kid: self.kid.clone(), x }
    }
}

/// Whether a token says of itself that it is for `audience`: which of several kinds to read it as, and no more.
pub fn names(token: &str, audience: Audience) -> bool {
    jsonwebtoken::decode_header(token).is_ok_and(|header| header.typ.as_deref() == Some(audience.typ()))
}

/// The library's own checks read the system's clock; ours follow.
fn signature_only() -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

const FIRST: u64 = 1;

/// Adds a key that signs from now on after [`PUBLISHED_BEFORE`], and gives its `kid`. The older ones verify for
/// `longest_token` after that, because that long may the last token live that they sign.
pub async fn rotate(tx: &Tx, now: &Now, sealer: &Sealer, longest_token: TimeDelta) -> Result<String, KeysError> {
    let keys = signing_key::Entity::find().all(tx).await?;
    let number = keys.iter().filter_map(|key| key.id.parse::<u64>().ok()).max().map_or(FIRST, |last| last + 1);
    let active_from = now.at + PUBLISHED_BEFORE;
    // A replica may learn of the new key a little late.
    let until = active_from + longest_token + TimeDelta::hours(1);
    let retire = "update signing_keys set expires_at = $1 where expires_at is null";
    tx.execute_raw(sql(tx, retire, [until.into()])).await?;
    add(tx, now, sealer, number, active_from).await?;
    Ok(number.to_string())
}

/// As [`rotate`], where the key that signs was made before `made_before`. Of several who call it at once, one rotates.
pub async fn rotate_if_due(
    tx: &Tx,
    now: &Now,
    sealer: &Sealer,
    longest_token: TimeDelta,
    made_before: DateTime<Utc>,
) -> Result<Option<String>, KeysError> {
    // Whoever comes second waits here for the first to commit, and then finds a newer key.
    let hold = "update signing_keys set expires_at = null where expires_at is null and created_at <= $1 returning id";
    if tx.query_one_raw(sql(tx, hold, [made_before.into()])).await?.is_none() {
        return Ok(None);
    }
    rotate(tx, now, sealer, longest_token).await.map(Some)
}

/// Keys are numbered, so that of several processes that start on an empty database one adds the first key.
async fn add(tx: &Tx, now: &Now, sealer: &Sealer, number: u64, active_from: DateTime<Utc>) -> Result<(), KeysError> {
    let kid = number.to_string();
    let key = SigningKey::from_bytes(&now.bytes());
    let private =
        key.to_pkcs8_der().map_err(|error| KeysError::Unreadable { kid: kid.clone(), source: error.into() })?;
    let row = signing_key::Model {
        id: kid,
        algorithm: ALGORITHM.to_owned(),
        public_key: key.verifying_key().to_bytes().to_vec(),
        private_key: sealer.seal(PURPOSE, now.bytes(), private.as_bytes()),
        created_at: now.at,
        active_from,
        expires_at: None,
    };
    let row: signing_key::ActiveModel = row.into();
    let insert =
        Insert::one(row).on_conflict(OnConflict::column(signing_key::Column::Id).do_nothing().to_owned()).into_query();
    tx.execute(&insert).await?;
    Ok(())
}
