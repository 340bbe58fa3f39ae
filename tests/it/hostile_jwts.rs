//! Tokens that somebody else made, changed, kept or brought to the wrong place: all are refused alike, and none leads anywhere.
//!
//! Those that our own key signed could not be made by a stranger. They are here because a check must not lean on another one.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, routing::any};
use base64::{Engine, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer, SigningKey, pkcs8::DecodePrivateKey};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{Method, header::HeaderValue};
use sea_orm::FromQueryResult;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{Product, answer};

const ME: &str = "/api/v1/auth/me";
const DAY: i64 = 24 * 60 * 60;

#[derive(FromQueryResult)]
struct Private {
    private_key: Vec<u8>,
}

fn encode(part: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(part)
}

fn decode(part: &str) -> Value {
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
struct Forge {
    /// The server's own key.
    ours: SigningKey,
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

fn jwk(kid: &str) -> Value {
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

type Named = (String, String);

impl Forge {
    async fn of(product: &Product, good: &str) -> Self {
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

    fn signed(&self, key: &SigningKey, header: Value, claims: Value) -> String {
        sign_text(key, &with(&self.header, header).to_string(), &with(&self.claims, claims).to_string())
    }

    /// No signature, or one that needs no key.
    fn unsigned(&self) -> Vec<Named> {
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
    fn strange_keys(&self, there: &str) -> Vec<Named> {
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
    fn headers(&self) -> Vec<Named> {
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
    fn wrong_claims(&self, other: &Value) -> Vec<Named> {
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
    fn damaged(&self) -> Vec<Named> {
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

on_both! {
    async fn hostile_tokens_are_refused_and_nothing_they_name_is_called(database: Database) {
        let product = Product::start(database).await;
        let called = Arc::new(AtomicUsize::new(0));
        let there = attackers_keys(called.clone()).await;
        let (ada, bob) = (product.visit("Ada", "free").await, product.visit("Bob", "free").await);
        let log_in = async |email: &str| {
            let body = json!({"email": email, "password": "correct-horse-battery"});
            let tokens = product.post("/api/v1/auth/login", &body).await.expect(200);
            tokens["access_token"].as_str().expect("a token").to_owned()
        };
        let (good, other) = (log_in(&ada.email).await, log_in(&bob.email).await);
        let forge = Forge::of(&product, &good).await;
        let other = decode(other.split('.').nth(1).expect("claims"));
        product.get_as(&forge.signed(&forge.ours, json!({}), json!({})), ME).await.expect(200);

        let mut hostile = vec![("a sign-up token".to_owned(), ada.token.clone())];
        hostile.extend(forge.unsigned());
        hostile.extend(forge.strange_keys(&there));
        hostile.extend(forge.headers());
        hostile.extend(forge.wrong_claims(&other));
        hostile.extend(forge.damaged());
        let distinct: BTreeSet<_> = hostile.iter().map(|(_, token)| token).collect();
        assert_eq!(distinct.len(), hostile.len(), "some are the same");
        assert!(hostile.len() >= 60, "only {}", hostile.len());
        for (name, token) in &hostile {
            let value = HeaderValue::from_bytes(format!("Bearer {token}").as_bytes()).expect("a header");
            let refused = answer(product.request(Method::GET, ME).header("authorization", value)).await;
            assert_eq!(refused.status, 401, "{name}: {}", refused.text);
            assert!(refused.headers.contains_key("www-authenticate"), "{name}");
            refused.expect_problem(401, "UNAUTHENTICATED");
        }
        println!("{} hostile tokens refused", hostile.len());
        // Nor does an access token open what a sign-up token does.
        product.get_as(&good, "/public/signup").await.expect_problem(401, "TOKEN_INVALID");
        assert_eq!(called.load(Ordering::Relaxed), 0, "somebody looked for keys where a token said");
        product.get_as(&good, ME).await.expect(200);
    }
}

/// The attacker's key set, really served, and how often anybody came for it.
async fn attackers_keys(called: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let there = format!("http://{}", listener.local_addr().expect("an address"));
    let router = Router::new().fallback(any(async move || {
        called.fetch_add(1, Ordering::Relaxed);
        axum::Json(json!({"keys": [jwk("1"), jwk("attacker")]}))
    }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    there
}

on_both! {
    async fn a_token_comes_in_one_authorization_header_or_not_at_all(database: Database) {
        let product = Product::start(database).await;
        let ada = product.visit("Ada", "free").await;
        let body = json!({"email": ada.email, "password": "correct-horse-battery"});
        let tokens = product.post("/api/v1/auth/login", &body).await.expect(200);
        let token = tokens["access_token"].as_str().expect("a token");
        let get = async |path: &str, headers: &[(&str, String)]| {
            let request = product.request(Method::GET, path);
            let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
            answer(request).await.status.as_u16()
        };
        for scheme in ["Bearer", "bearer", "BEARER", "bEaReR", "Bearer "] {
            assert_eq!(get(ME, &[("authorization", format!("{scheme} {token}"))]).await, 200, "{scheme}");
        }
        for value in [token.to_owned(), format!("Bearer{token}"), format!("Bearer: {token}"), format!("Token {token}"), format!("Basic {token}"), format!("Bearer\t{token}"), "Bearer".into(), "Bearer ".into(), String::new()] {
            assert_eq!(get(ME, &[("authorization", value.clone())]).await, 401, "{value}");
        }
        for query in ["access_token", "token", "authorization", "bearer"] {
            assert_eq!(get(&format!("{ME}?{query}={token}"), &[]).await, 401, "{query}");
        }
        for (name, value) in [("cookie", format!("access_token={token}; tenantry_session={token}")), ("x-access-token", token.into()), ("proxy-authorization", format!("Bearer {token}"))] {
            assert_eq!(get(ME, &[(name, value)]).await, 401, "{name}");
        }
        let twice = [("authorization", format!("Bearer {token}")), ("authorization", "Bearer x".to_owned())];
        assert_eq!(get(ME, &twice).await, 401);
        let refresh = tokens["refresh_token"].as_str().expect("a token");
        assert_eq!(get(ME, &[("authorization", format!("Bearer {refresh}"))]).await, 401);
    }
}
