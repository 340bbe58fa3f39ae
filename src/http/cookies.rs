//! Cookies of pages: out of reach of scripts, sent by links from elsewhere but not by other sites' forms, and over https bound to
//! this host (`__Host-`, RFC 6265bis, 4.1.3.2).

use axum::http::{HeaderMap, HeaderValue, header};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::TimeDelta;

use crate::{app::App, config::Config};

/// One of our cookies, by name.
#[derive(Clone, Copy, Debug)]
pub struct Cookie(pub &'static str);

impl Cookie {
    /// Sets it for `life`.
    ///
    /// # Panics
    /// Where `value` is not visible ASCII, which tokens and base64 are.
    pub fn set(self, config: &Config, value: &str, life: TimeDelta) -> HeaderValue {
        let secure = is_secure(config);
        let attribute = if secure { "; Secure" } else { "" };
        let (name, life) = (self.name(secure), life.num_seconds());
        let text = format!("{name}={value}; Path=/; Max-Age={life}; HttpOnly; SameSite=Lax{attribute}");
        HeaderValue::from_str(&text).expect("visible ASCII")
    }

    /// Sets it to something that only we can read, and that nobody else can have made.
    pub fn set_sealed(self, app: &App, purpose: &'static str, plaintext: &[u8], life: TimeDelta) -> HeaderValue {
        let sealed = app.sealer.seal(purpose, app.clock.now().bytes(), plaintext);
        self.set(&app.config, &BASE64_URL_SAFE_NO_PAD.encode(sealed), life)
    }

    /// What [`Cookie::set_sealed`] set for the same purpose; nothing where it was made up or changed.
    pub fn open(self, app: &App, purpose: &'static str, headers: &HeaderMap) -> Option<Vec<u8>> {
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(self.read(&app.config, headers)?).ok()?;
        app.sealer.open(purpose, &sealed).ok()
    }

    /// Takes it back.
    pub fn clear(self, config: &Config) -> HeaderValue {
        self.set(config, "", TimeDelta::zero())
    }

    /// What a browser sent.
    pub fn read<'a>(self, config: &Config, headers: &'a HeaderMap) -> Option<&'a str> {
        let name = self.name(is_secure(config));
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(sent, value)| *sent == name && !value.is_empty()).map(|(_, value)| value)
    }

    fn name(self, secure: bool) -> String {
        if secure { format!("__Host-{}", self.0) } else { self.0.to_owned() }
    }
}

fn is_secure(config: &Config) -> bool {
    config.public_url.scheme() == "https"
}
