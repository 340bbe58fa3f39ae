//! Makes tokens that are wrong in one way each.

use base64::{Engine, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer, SigningKey, pkcs8::DecodePrivateKey};
use hmac::{Hmac, KeyInit, Mac};
use sea_orm::FromQueryResult;
use serde_json::{Value, json};

use crate::support::Product;

const DAY: i64 = 24 * 60 * 60;

#[derive(FromQueryResult)]
struct Private {
    private_key: Vec<u8>,
}

fn encode(part: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(part)
}

pub fn decode(part: &str) -> Value {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
}

/// `value` with other members; null takes one out.
#[expect(clippy::needless_pass_by_value, reason = "its callers read better")]
fn with(value: &Value, changes: Value) -> Value {
    let mut value = value.clone();
    let members = value.as_object_mut().expect("an object");
    for (name, new) in changes.as_object().expect("an object") {
        if new.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), new.clone());
        }
    }
    value
}

/// What tokens are forged from.
pub struct Forge {
    /// The server's own key.
    pub ours: SigningKey,
    /// Somebody else's.
    theirs: SigningKey,
    header: Value,
    claims: Value,
    /// A good token.
    good: String,
}

/// The attacker's key.
fn theirs() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

pub fn jwk(kid: &str) -> Value {
    let x = encode(theirs().verifying_key().to_bytes());
    json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid, "x": x})
}

fn sign_text(key: &SigningKey, header: &str, claims: &str) -> String {
    let message = format!("{}.{}", encode(header), encode(claims));
    format!("{message}.{}", encode(key.sign(message.as_bytes()).to_bytes()))
}

fn mac_text(secret: &[u8], header: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret).expect("any length");
    mac.update(message.as_bytes());
    format!("{message}.{}", encode(mac.finalize().into_bytes()))
}

/// What is wrong with a token, and the token.
pub type Named = (String, String);

impl Forge {
    pub async fn of(product: &Product, good: &str) -> Self {
        let row: Private = product.database.one("select private_key from signing_keys").await;
        let private = product.app.sealer.open("signing_key", &row.private_key).expect("opens");
        let parts: Vec<&str> = good.split('.').collect();
        Self {
            ours: SigningKey::from_pkcs8_der(&private).expect("a key"),
            theirs: theirs(),
            header: decode(parts[0]),
            claims: decode(parts[1]),
            good: good.to_owned(),
        }
    }

    pub fn signed(&self, key: &SigningKey, header: Value, claims: Value) -> String {
        sign_text(key, &with(&self.header, header).to_string(), &with(&self.claims, claims).to_string())
    }

    /// No signature, or one that needs no key.
    pub fn unsigned(&self) -> Vec<Named> {
        let mut made = Vec::new();
        let claims = encode(self.claims.to_string());
        for alg in ["none", "None", "NONE", "nOnE", "none ", "", "null"] {
            let header = encode(with(&self.header, json!({"alg": alg})).to_string());
            made.push((format!("alg {alg:?} without a signature"), format!("{header}.{claims}.")));
            made.push((
                format!("alg {alg:?} with a signature"),
                self.signed(&self.ours, json!({"alg": alg}), json!({})),
            ));
        }
        let public = self.ours.verifying_key().to_bytes();
        let der = [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00], &public[..]].concat();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64_STANDARD.encode(&der));
        for (form, secret) in [
            ("raw", public.to_vec()),
            ("base64url", encode(public).into_bytes()),
            ("DER", der),
            ("PEM", pem.into_bytes()),
            ("empty", Vec::new()),
            ("kid", self.header["kid"].as_str().expect("a kid").as_bytes().to_vec()),
        ] {
            let header = with(&self.header, json!({"alg": "HS256"}));
            made.push((
                format!("HS256 with the public key as secret, {form}"),
                mac_text(&secret, &header, &self.claims),
            ));
        }
        for alg in ["HS384", "HS512", "RS256", "RS512", "PS256", "ES256", "ES384", "ES256K", "eddsa", "EDDSA", "Ed448"]
        {
            made.push((format!("alg {alg}"), self.signed(&self.ours, json!({"alg": alg}), json!({}))));
        }
        made.push(("alg is a list".into(), self.signed(&self.ours, json!({"alg": ["EdDSA"]}), json!({}))));
        made.push(("alg is missing".into(), self.signed(&self.ours, json!({"alg": null}), json!({}))));
        made
    }

    /// Signed with a key of the attacker's own, who tells where to find it.
    pub fn strange_keys(&self, there: &str) -> Vec<Named> {
        let jwk = jwk("1");
        let headers = [
            json!({}),
            json!({"kid": "attacker"}),
            json!({"jwk": jwk}),
            json!({"jwk": jwk, "kid": null}),
            json!({"jku": format!("{there}/jwks.json")}),
            json!({"jku": format!("{there}/jwks.json"), "kid": "attacker"}),
            json!({"jku": format!("http://localhost:8080@{}/jwks.json", there.trim_start_matches("http://"))}),
            json!({"x5u": format!("{there}/cert.pem")}),
            json!({"x5c": ["MIIBszCCAWWgAwIBAgIUZ"]}),
            json!({"x5t": "AAAA", "x5t#S256": "AAAA"}),
            json!({"kid": format!("{there}/jwks.json")}),
            json!({"iss": there, "jku": format!("{there}/.well-known/openid-configuration")}),
        ];
        headers
            .map(|header| {
                (format!("a strange key with {header}"), self.signed(&self.theirs, header.clone(), json!({})))
            })
            .into()
    }

    /// Signed with our key, under a header that is wrong.
    pub fn headers(&self) -> Vec<Named> {
        let mut headers = vec![
            json!({"kid": null}),
            json!({"kid": 1}),
            json!({"kid": ["1"]}),
            json!({"crit": ["b64"], "b64": false}),
            json!({"crit": ["exp"]}),
            json!({"crit": []}),
            json!({"zip": "DEF", "crit": ["zip"]}),
        ];
        for kid in [
            "",
            "0",
            "2",
            "01",
            " 1",
            "1 ",
            "1\u{0}",
            "../../../../dev/null",
            "/dev/null",
            "%2e%2e/1",
            "1' or '1'='1",
            "1; drop table signing_keys",
            "1' union select 'x",
            "１",
        ] {
            headers.push(json!({"kid": kid}));
        }
        for typ in ["JWT", "id_token", "ID", "at+jwt+x", "signup+jwt", "logout+jwt", "dpop+jwt", "", "at+jwt "] {
            headers.push(json!({"typ": typ}));
        }
        headers.push(json!({"typ": null}));
        headers
            .into_iter()
            .map(|header| (format!("header {header}"), self.signed(&self.ours, header.clone(), json!({}))))
            .collect()
    }

    /// Signed with our key, and saying what is not so.
    pub fn wrong_claims(&self, other: &Value) -> Vec<Named> {
        let now = self.claims["iat"].as_i64().expect("a time");
        let mut claims = vec![
            json!({"iss": null}),
            json!({"iss": "https://evil.example"}),
            json!({"iss": "http://localhost"}),
            json!({"iss": "http://localhost.evil.example:8080"}),
            json!({"iss": ["http://localhost:8080"]}),
            json!({"aud": null}),
            json!({"aud": "signup"}),
            json!({"aud": ["signup"]}),
            json!({"aud": ["access", "signup"]}),
            json!({"aud": "access "}),
            json!({"aud": {"access": true}}),
            json!({"exp": null}),
            json!({"exp": now - 1}),
            json!({"exp": 0}),
            json!({"exp": -1}),
            json!({"exp": (now + 900).to_string()}),
            json!({"exp": "never"}),
            json!({"exp": 9_999_999_999.5}),
            json!({"exp": 1e300}),
            json!({"exp": u64::MAX}),
            json!({"exp": [now + 900]}),
            json!({"exp": true}),
            json!({"nbf": now + DAY}),
            json!({"nbf": i64::MAX}),
            json!({"nbf": "tomorrow"}),
            json!({"sub": null}),
            json!({"sub": ""}),
            json!({"sub": "' or 1=1 --"}),
            json!({"sub": [self.claims["sub"]]}),
            json!({"tid": null}),
            json!({"sid": null}),
            json!({"sid": self.claims["jti"]}),
            json!({"role": "superuser"}),
            json!({"role": null}),
        ];
        // Somebody else's, one by one and together.
        for name in ["sub", "tid", "sid"] {
            claims.push(json!({name: other[name]}));
        }
        claims.push(json!({"sub": other["sub"], "tid": other["tid"]}));
        claims.push(json!({"sid": other["sid"], "tid": other["tid"]}));
        claims.push(json!({"sid": other["sid"], "sub": other["sub"]}));
        let mut made: Vec<Named> = claims
            .into_iter()
            .map(|claims| (format!("claims {claims}"), self.signed(&self.ours, json!({}), claims.clone())))
            .collect();
        let (header, text) = (self.header.to_string(), self.claims.to_string());
        // The last of two is what a parser keeps (RFC 7519, 4).
        for twice in
            [json!({"exp": 1}), json!({"aud": "signup"}), json!({"tid": other["tid"]}), json!({"sub": other["sub"]})]
        {
            let twice = format!("{},{}", text.trim_end_matches('}'), twice.to_string().trim_start_matches('{'));
            made.push((format!("a claim twice: {twice}"), sign_text(&self.ours, &header, &twice)));
        }
        let alg_twice = format!("{{\"alg\":\"none\",{}", header.trim_start_matches('{'));
        made.push(("alg twice".into(), sign_text(&self.ours, &alg_twice, &text)));
        for claims in ["null", "[]", "\"x\"", "1", "", "{", "{}", "{\"sub\":"] {
            made.push((format!("claims are {claims}"), sign_text(&self.ours, &header, claims)));
        }
        for header in ["null", "[]", "{}", "", "{\"alg\":"] {
            made.push((format!("the header is {header}"), sign_text(&self.ours, header, &text)));
        }
        let nested = sign_text(&self.ours, &with(&self.header, json!({"cty": "JWT"})).to_string(), &self.good);
        made.push(("a token in a token".into(), nested));
        made
    }

    /// A good token, damaged.
    pub fn damaged(&self) -> Vec<Named> {
        let parts: Vec<&str> = self.good.split('.').collect();
        let (header, claims, signature) = (parts[0], parts[1], parts[2]);
        let richer = encode(with(&self.claims, json!({"role": "owner", "plan": "enterprise"})).to_string());
        let mut longer = self.ours.sign(b"x").to_bytes().to_vec();
        longer.push(0);
        // The last letter of 64 bytes has four bits to spare.
        let (start, last) = signature.split_at(signature.len() - 1);
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let at = alphabet.find(last).expect("base64url");
        let spare = alphabet.as_bytes()[at + 1] as char;
        let long = "a".repeat(60_000);
        let tokens = [
            ("empty parts", "..".to_owned()),
            ("a dot", ".".into()),
            ("four dots", "....".into()),
            ("a word", "null".into()),
            ("header alone", header.into()),
            ("no signature", format!("{header}.{claims}")),
            ("an empty signature", format!("{header}.{claims}.")),
            ("no claims", format!("{header}..{signature}")),
            ("no header", format!(".{claims}.{signature}")),
            ("a fourth part", format!("{}.{signature}", self.good)),
            ("a dot before", format!(".{}", self.good)),
            ("a dot behind", format!("{}.", self.good)),
            ("JWE's five parts", format!("{}.a.b.c.d", encode(r#"{"alg":"dir","enc":"A256GCM"}"#))),
            ("JWE with a good token inside", format!("{header}.{claims}.{signature}.{claims}.{signature}")),
            ("JSON serialization", json!({"protected": header, "payload": claims, "signature": signature}).to_string()),
            ("padding", format!("{}==", self.good)),
            ("padding of the claims", format!("{header}.{claims}=.{signature}")),
            ("bits to spare", format!("{header}.{claims}.{start}{spare}")),
            ("another alphabet", format!("{header}.{claims}.+/{}", &signature[2..])),
            ("richer claims", format!("{header}.{richer}.{signature}")),
            ("a signature of nothing", format!("{header}.{claims}.{}", encode([0; 64]))),
            ("a short signature", format!("{header}.{claims}.{}", &signature[..40])),
            ("a long signature", format!("{header}.{claims}.{}", encode(longer))),
            ("parts in another order", format!("{claims}.{header}.{signature}")),
            ("space within", format!("{header}. {claims}.{signature}")),
            ("a tab within", format!("{header}.\t{claims}.{signature}")),
            ("quotes", format!("\"{}\"", self.good)),
            ("two tokens", format!("{} {}", self.good, self.good)),
            ("two tokens and a comma", format!("{}, Bearer {}", self.good, self.good)),
            ("percent", self.good.replacen('.', "%2e", 1)),
            ("capitals", self.good.to_uppercase()),
            ("cut", self.good[..self.good.len() - 5].into()),
            ("unicode", "🔑.🔑.🔑".into()),
            ("wide dots", self.good.replace('.', "。")),
            ("long", long.clone()),
            ("long parts", format!("{long}.{long}.{long}")),
        ];
        tokens.map(|(name, token)| (name.to_owned(), token)).into()
    }
}
