//! Sign-in providers: what they publish of themselves, where they send somebody, and what their answer proves.
//!
//! Discovery and keys are read when they are needed first, and again after a while or where a token names a key that is new. Answers
//! are `OpenID` Connect ID tokens; what is not signed by the provider, for us, now and for this browser is refused (Core 1.0, 3.1.3.7).

use std::{collections::BTreeMap, pin::Pin, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use openidconnect::{
    AsyncHttpClient, AuthType, AuthenticationFlow, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret,
    CsrfToken, EndUserName, HttpRequest, HttpResponse, IdTokenVerifier, LocalizedClaim, Nonce, OAuth2TokenResponse,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope, SignatureVerificationError,
    UserInfoError,
    core::{CoreClientAuthMethod, CoreJsonWebKey, CoreJsonWebKeySet, CoreResponseType},
};
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use url::Url;

use super::{
    Person,
    wire::{Claims, Client, Metadata, UserInfo},
};
use crate::{
    clock::Now,
    config::{Config, OauthProvider},
    egress::{BuildError, Egress, EgressError, Policy, Request},
    identity::email::Email,
};

/// How long what a provider publishes is used before it is read again.
const KEPT: TimeDelta = TimeDelta::hours(1);
/// How often an unknown key, or a failure, may lead to another look.
const AGAIN_AFTER: TimeDelta = TimeDelta::seconds(5);
/// For each call.
const TIMEOUT: Duration = Duration::from_secs(10);
/// For connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Of each answer.
const BODY_CAP: usize = 1024 * 1024;
/// How far a provider's clock may be ahead of ours.
const SKEW: TimeDelta = TimeDelta::minutes(2);
/// In the issuer that Microsoft publishes for all of its tenants together.
const ANY_TENANT: &str = "{tenantid}";

/// Why a provider proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It cannot be reached, or does not answer as a provider does.
    #[error("the provider cannot be used now: {0}")]
    Unavailable(String),
    /// It has taken the code from us, or we its token, for nothing.
    #[error("the provider's answer is refused: {0}")]
    Refused(String),
}

/// What a provider's answer is bound to.
pub struct Binding {
    /// Comes back in the ID token.
    pub nonce: SecretString,
    /// Shows that whoever exchanges the code began the flow (RFC 7636).
    pub verifier: SecretString,
}

/// The configured providers. Clones share what was read of them.
#[derive(Clone)]
pub struct Providers(Arc<BTreeMap<String, Provider>>);

/// One provider.
pub struct Provider {
    name: String,
    settings: OauthProvider,
    redirect: RedirectUrl,
    http: Http,
    /// Whoever reads it holds it; the others wait for what is read.
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    metadata: Option<Arc<Metadata>>,
    read_at: Option<DateTime<Utc>>,
    failed_at: Option<DateTime<Utc>>,
}

impl Providers {
    /// Those that the configuration names. Nothing is read of them yet.
    ///
    /// # Errors
    /// The HTTP client cannot be built.
    ///
    /// # Panics
    /// Where a path below the public URL is no URL, which it is.
    pub fn new(config: &Config) -> Result<Self, BuildError> {
        // The operator named them; a stranger cannot.
        let policy = Policy { https_only: !config.environment.is_development(), allow_private_addresses: true };
        let egress = Egress::new(policy, CONNECT_TIMEOUT)?;
        let of = |(name, settings): (&String, &OauthProvider)| {
            let base = config.public_url.as_str().trim_end_matches('/');
            let redirect = RedirectUrl::new(format!("{base}/api/v1/auth/oauth/{name}/callback"));
            let redirect = redirect.expect("a path below a URL is one");
            let provider = Provider {
                name: name.clone(),
                settings: settings.clone(),
                redirect,
                http: Http(egress.clone()),
                seen: Mutex::default(),
            };
            (name.clone(), provider)
        };
        Ok(Self(Arc::new(config.oauth.iter().map(of).collect())))
    }

    /// By name.
    pub fn get(&self, name: &str) -> Option<&Provider> {
        self.0.get(name)
    }

    /// Names and what people call them.
    pub fn labels(&self) -> Vec<(String, String)> {
        self.0.keys().map(|name| (name.clone(), label(name))).collect()
    }
}

/// Where Microsoft issues tokens: its clouds, and what they were before.
const MICROSOFT: [&str; 6] = [
    "microsoftonline.com",
    "microsoftonline.us",
    "partner.microsoftonline.cn",
    "chinacloudapi.cn",
    "ciamlogin.com",
    "windows.net",
];

/// Whether Google itself keeps the mailbox. It vouches for others as it once saw them, and they may have other owners since (Google, "Verify the
/// Google ID token on your server side").
fn is_googles_own(email: Option<&Email>, claims: &Claims) -> bool {
    claims.additional_claims().hd.is_some() || email.is_some_and(|email| email.as_str().ends_with("@gmail.com"))
}

impl Provider {
    /// As the configuration calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As people call it.
    pub fn label(&self) -> String {
        label(&self.name)
    }

    /// Where to send the browser. `state` comes back with it.
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`].
    pub async fn authorize_url(
        &self,
        now: &Now,
        state: &SecretString,
        binding: &Binding,
    ) -> Result<Url, ProviderError> {
        let metadata = self.metadata(now).await?;
        let client = self.client(&metadata);
        let [state, nonce, verifier] = [state, &binding.nonce, &binding.verifier].map(ExposeSecret::expose_secret);
        let verifier = PkceCodeVerifier::new(verifier.to_owned());
        let (state, nonce) = (CsrfToken::new(state.to_owned()), Nonce::new(nonce.to_owned()));
        let flow = AuthenticationFlow::<CoreResponseType>::AuthorizationCode;
        let (url, _, _) = client
            .authorize_url(flow, || state, || nonce)
            .add_scope(Scope::new("email".into()))
            .add_scope(Scope::new("profile".into()))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .url();
        Ok(url)
    }

    /// Whether `issuer`, as the provider named itself beside the code, is it (RFC 9207, 2.4).
    ///
    /// # Errors
    /// [`ProviderError::Refused`] for another one, and for none where the provider says it names itself.
    pub async fn check_issuer(&self, now: &Now, issuer: Option<&str>) -> Result<(), ProviderError> {
        let metadata = self.metadata(now).await?;
        let expected = metadata.issuer().as_str();
        match issuer {
            Some(issuer) if is_issuer(expected, issuer) => Ok(()),
            None if !metadata.additional_metadata().names_itself() => Ok(()),
            _ => Err(ProviderError::Refused("the answer is another provider's".into())),
        }
    }

    /// Exchanges the code for who somebody is.
    ///
    /// # Errors
    /// See [`ProviderError`].
    pub async fn person(&self, now: &Now, code: &str, binding: &Binding) -> Result<Person, ProviderError> {
        let metadata = self.metadata(now).await?;
        let client = self.client(&metadata);
        let request = client.exchange_code(AuthorizationCode::new(code.to_owned()));
        let request = request.map_err(|_| ProviderError::Unavailable("it has no token endpoint".into()))?;
        let request = request.set_pkce_verifier(PkceCodeVerifier::new(binding.verifier.expose_secret().to_owned()));
        let answer = request.request_async(&self.http).await.map_err(|error| match error {
            RequestTokenError::ServerResponse(said) => ProviderError::Refused(said.to_string()),
            RequestTokenError::Request(error) => ProviderError::Unavailable(error.to_string()),
            RequestTokenError::Parse(error, body) if has_id_token(&body) => ProviderError::Refused(error.to_string()),
            RequestTokenError::Parse(error, _) => ProviderError::Unavailable(error.to_string()),
            RequestTokenError::Other(error) => ProviderError::Unavailable(error),
        })?;
        let token = answer.extra_fields().id_token();
        let token = token.ok_or_else(|| ProviderError::Refused("there is no ID token".into()))?;
        let nonce = Nonce::new(binding.nonce.expose_secret().to_owned());
        let claims = match token.claims(&self.verifier(&metadata, now), &nonce) {
            Err(ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey)) => {
                let metadata = self.metadata_with_new_keys(now).await?;
                token.claims(&self.verifier(&metadata, now), &nonce).cloned()
            }
            read => read.cloned(),
        };
        let claims = claims.map_err(|error| ProviderError::Refused(crate::http::chain(&error)))?;
        let subject = self.subject(now, &metadata, &claims)?;
        let (email, is_verified, name) = match claims.email() {
            // Many leave it out of the token and tell it when asked (Core 1.0, 5.4).
            None if metadata.userinfo_endpoint().is_some() && !self.is_microsoft(&metadata) => {
                let asked = client.user_info(answer.access_token().clone(), Some(claims.subject().clone()));
                let asked = asked.map_err(|_| ProviderError::Unavailable("it has no userinfo endpoint".into()))?;
                let told: Result<UserInfo, _> = asked.request_async(&self.http).await;
                let told = told.map_err(|error| match error {
                    UserInfoError::Request(error) => ProviderError::Unavailable(error.to_string()),
                    other => ProviderError::Refused(crate::http::chain(&other)),
                })?;
                (told.email().cloned(), told.email_verified(), full_name(told.name()))
            }
            email => (email.cloned(), claims.email_verified(), full_name(claims.name())),
        };
        let email = email.and_then(|email| Email::parse(&email).ok());
        // An administrator of any Microsoft tenant can write any address there ("nOAuth").
        let email_is_proved = is_verified == Some(true)
            && !self.is_microsoft(&metadata)
            && (!self.is_google() || is_googles_own(email.as_ref(), &claims));
        Ok(Person { provider: self.name.clone(), subject, email, email_is_proved, name })
    }

    fn client(&self, metadata: &Metadata) -> Client {
        let secret = ClientSecret::new(self.settings.client_secret.expose_secret().to_owned());
        let id = ClientId::new(self.settings.client_id.clone());
        let methods = metadata.token_endpoint_auth_methods_supported();
        // Basic where nothing is said (Discovery 1.0, 3).
        let by_body = methods.is_some_and(|methods| !methods.contains(&CoreClientAuthMethod::ClientSecretBasic));
        Client::from_provider_metadata(metadata.clone(), id, Some(secret))
            .set_redirect_uri(self.redirect.clone())
            .set_auth_type(if by_body { AuthType::RequestBody } else { AuthType::BasicAuth })
    }

    fn verifier(&self, metadata: &Metadata, now: &Now) -> IdTokenVerifier<'static, CoreJsonWebKey> {
        let (id, issuer) = (ClientId::new(self.settings.client_id.clone()), metadata.issuer().clone());
        let latest = now.at + SKEW;
        let at = now.at;
        // As for a public client: a token that the client's own secret signs would not be the provider's.
        IdTokenVerifier::new_public_client(id, issuer, metadata.jwks().clone())
            .set_allowed_algs(metadata.id_token_signing_alg_values_supported().clone())
            // Microsoft's is different for each of its tenants, and looked at in `read`.
            .require_issuer_match(!is_template(metadata))
            .set_time_fn(move || at)
            .set_issue_time_verifier_fn(
                move |issued| {
                    if issued <= latest { Ok(()) } else { Err("issued in the future".to_owned()) }
                },
            )
    }

    /// The provider's own name for whom a good token is about.
    fn subject(&self, now: &Now, metadata: &Metadata, claims: &Claims) -> Result<String, ProviderError> {
        let refuse = |why: &str| Err(ProviderError::Refused(why.to_owned()));
        let extra = claims.additional_claims();
        if extra.nbf.is_some_and(|from| from > (now.at + SKEW).timestamp()) {
            return refuse("the token is not good yet");
        }
        let subject = if self.is_microsoft(metadata) {
            let (Some(tenant), Some(object)) = (&extra.tid, &extra.oid) else {
                return refuse("Microsoft's token has no tid and oid");
            };
            if is_template(metadata)
                && metadata.issuer().as_str().replace(ANY_TENANT, tenant) != claims.issuer().as_str()
            {
                return refuse("the token is of another Microsoft tenant than it says");
            }
            format!("{tenant}.{object}")
        } else {
            claims.subject().as_str().to_owned()
        };
        if subject.is_empty() || subject.len() > 255 || subject.contains('\0') {
            return refuse("the token names nobody");
        }
        Ok(subject)
    }

    fn is_microsoft(&self, metadata: &Metadata) -> bool {
        let host = self.settings.issuer.host_str().unwrap_or_default();
        let is_theirs = |domain: &str| host == domain || host.ends_with(&format!(".{domain}"));
        self.name == "microsoft" || MICROSOFT.into_iter().any(is_theirs) || is_template(metadata)
    }

    fn is_google(&self) -> bool {
        self.settings.issuer.host_str() == Some("accounts.google.com")
    }

    async fn metadata(&self, now: &Now) -> Result<Arc<Metadata>, ProviderError> {
        self.metadata_read_within(now, KEPT).await
    }

    async fn metadata_with_new_keys(&self, now: &Now) -> Result<Arc<Metadata>, ProviderError> {
        self.metadata_read_within(now, AGAIN_AFTER).await
    }

    async fn metadata_read_within(&self, now: &Now, age: TimeDelta) -> Result<Arc<Metadata>, ProviderError> {
        let mut seen = self.seen.lock().await;
        let is_recent = |at: Option<DateTime<Utc>>, age| at.is_some_and(|at| now.at - at < age);
        if let Some(metadata) = seen.metadata.clone().filter(|_| is_recent(seen.read_at, age)) {
            return Ok(metadata);
        }
        if is_recent(seen.failed_at, AGAIN_AFTER) {
            return Err(ProviderError::Unavailable("it could not be reached a moment ago".into()));
        }
        match self.discover().await {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                *seen = Seen { metadata: Some(metadata.clone()), read_at: Some(now.at), failed_at: None };
                Ok(metadata)
            }
            Err(error) => {
                seen.failed_at = Some(now.at);
                Err(error)
            }
        }
    }

    async fn discover(&self) -> Result<Metadata, ProviderError> {
        let unavailable = |why: String| ProviderError::Unavailable(why);
        let issuer = self.settings.issuer.as_str().trim_end_matches('/');
        let url = format!("{issuer}/.well-known/openid-configuration");
        let url: Url = url.parse().map_err(|error| unavailable(format!("{url}: {error}")))?;
        let mut request = Request::new(Method::GET, url, TIMEOUT);
        request.body_cap = BODY_CAP;
        let answer = self.http.0.send(request).await.map_err(|error| unavailable(error.to_string()))?;
        if !answer.is_success() {
            return Err(unavailable(format!("its discovery document answers {}", answer.status)));
        }
        let metadata: Metadata = serde_json::from_slice(&answer.body)
            .map_err(|error| unavailable(format!("its discovery document cannot be read: {error}")))?;
        if !is_configured(metadata.issuer().as_str(), issuer) {
            let says = metadata.issuer().as_str();
            return Err(unavailable(format!("its discovery document is {says}'s, and {issuer} is configured")));
        }
        let keys = CoreJsonWebKeySet::fetch_async(metadata.jwks_uri(), &self.http).await;
        let keys = keys.map_err(|error| unavailable(crate::http::chain(&error)))?;
        Ok(metadata.set_jwks(keys))
    }
}

/// A provider's name for people: `google` is Google.
pub fn label(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Several names for people: Google or Microsoft.
pub fn labels(names: &[String]) -> String {
    names.iter().map(|name| label(name)).collect::<Vec<_>>().join(" or ")
}

/// Whether an answer that cannot be read is at least what was asked for: an ID token, if one that lacks what it needs.
fn has_id_token(body: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(body).is_ok_and(|answer| answer["id_token"].is_string())
}

fn full_name(name: Option<&LocalizedClaim<EndUserName>>) -> Option<String> {
    Some(name?.get(None)?.as_str().to_owned())
}

fn is_template(metadata: &Metadata) -> bool {
    metadata.issuer().as_str().contains(ANY_TENANT)
}

/// Whether a document's issuer is the one that is configured; for all of Microsoft's tenants together it is a template.
fn is_configured(published: &str, configured: &str) -> bool {
    let published = published.trim_end_matches('/');
    published == configured
        || ["common", "organizations", "consumers"]
            .iter()
            .any(|all| published.contains(ANY_TENANT) && published.replace(ANY_TENANT, all) == configured)
}

fn is_issuer(expected: &str, said: &str) -> bool {
    match expected.split_once(ANY_TENANT) {
        Some((before, after)) => {
            let tenant = said.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
            tenant.is_some_and(|tenant| tenant.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-'))
        }
        None => said == expected,
    }
}

/// The library's calls, by our own way out.
struct Http(Egress);

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = EgressError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, EgressError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let url = parts.uri.to_string().parse();
            let url = url.map_err(|error: url::ParseError| EgressError::Request { reason: error.to_string() })?;
            let mut call = Request::new(parts.method, url, TIMEOUT);
            (call.headers, call.body, call.body_cap) = (parts.headers, body, BODY_CAP);
            let answer = self.0.send(call).await?;
            let mut response = HttpResponse::new(answer.body);
            *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or_default();
            *response.headers_mut() = answer.headers;
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_itself_and_microsofts_is_any_of_its_tenants() {
        let common = "https://login.microsoftonline.com/{tenantid}/v2.0";
        assert!(is_configured(common, "https://login.microsoftonline.com/common/v2.0"));
        assert!(!is_configured(common, "https://login.microsoftonline.com/evil/v2.0"));
        assert!(is_configured("https://accounts.google.com", "https://accounts.google.com"));
        assert!(!is_configured("https://accounts.google.com.evil.test", "https://accounts.google.com"));
        assert!(is_issuer(common, "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0"));
        assert!(!is_issuer(common, "https://login.microsoftonline.com/x/../evil/v2.0"));
        assert!(!is_issuer("https://a.test", "https://a.test/"));
        assert_eq!(label("google"), "Google");
    }
}
