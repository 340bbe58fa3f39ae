//! The pages that links in mails open. Opening one changes nothing, because mail scanners open every link; its button does.

use askama::Template;
use axum::{
    Extension, Form, Router,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{Client, Error, api, sessions};
use crate::{
    app::App,
    http::{self, Problem, RequestId},
    tenants,
};

/// This slice's pages.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/verify-email", get(ask_to_verify).post(verify))
        .route("/magic-link", get(ask_to_log_in).post(log_in))
}

#[derive(Template)]
#[template(path = "identity/page.html")]
struct Page<'a> {
    heading: &'a str,
    text: &'a str,
    button: Option<Button<'a>>,
}

/// A form that sends the link's token.
struct Button<'a> {
    action: &'static str,
    label: &'static str,
    token: &'a str,
}

/// The token of a link, and of the form on its page.
#[derive(Deserialize)]
struct Link {
    #[serde(default = "missing")]
    token: SecretString,
}

fn missing() -> SecretString {
    SecretString::default()
}

fn show(status: StatusCode, page: &Page<'_>) -> Result<Response, Problem> {
    let html = page.render().map_err(|error| Problem::internal(&error))?;
    Ok((status, Html(html)).into_response())
}

fn say(status: StatusCode, heading: &str, text: &str) -> Result<Response, Problem> {
    show(status, &Page { heading, text, button: None })
}

/// The page with the button; without a token there is nothing to press it for.
fn ask(link: &Link, heading: &str, text: &str, action: &'static str, label: &'static str) -> Result<Response, Problem> {
    let token = link.token.expose_secret();
    if token.is_empty() {
        return say(StatusCode::BAD_REQUEST, "This link is incomplete", "Copy the whole link from the mail.");
    }
    show(StatusCode::OK, &Page { heading, text, button: Some(Button { action, label, token }) })
}

async fn ask_to_verify(axum::extract::Query(link): axum::extract::Query<Link>) -> Result<Response, Problem> {
    ask(
        &link,
        "Verify your address",
        "One click, and we know that this address is yours.",
        "/verify-email",
        "Verify my address",
    )
}

async fn ask_to_log_in(axum::extract::Query(link): axum::extract::Query<Link>) -> Result<Response, Problem> {
    ask(&link, "Log in", "This link logs you in on this device. It works once.", "/magic-link", "Log in")
}

async fn verify(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    uri: Uri,
    headers: HeaderMap,
    Form(link): Form<Link>,
) -> Result<Response, Problem> {
    from_our_page(&headers, &uri)?;
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    let user = match api::prove_email(&tx, &now, &link.token, &request).await {
        Ok(user) => user,
        Err(refused) => return refuse(refused),
    };
    tx.commit().await?;
    say(StatusCode::OK, "Your address is verified", &format!("{} is yours. You can close this page.", user.email))
}

async fn log_in(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    client: Client,
    uri: Uri,
    headers: HeaderMap,
    Form(link): Form<Link>,
) -> Result<Response, Problem> {
    from_our_page(&headers, &uri)?;
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    let opened = match api::log_in(&tx, &now, &link.token, client, &request).await {
        Ok(opened) => opened,
        Err(refused) => return refuse(refused),
    };
    let tenant = tenants::by_id(&tx, opened.tenant_id).await?.ok_or_else(Problem::not_found)?;
    tx.commit().await?;
    let heading = format!("You are signed in to {}", tenant.name);
    let mut response = say(StatusCode::OK, &heading, "This device stays signed in until you log out.")?;
    let cookie = cookie(app.config.public_url.scheme() == "https", &opened.refresh_token);
    let cookie = HeaderValue::from_str(&cookie).map_err(|error| Problem::internal(&error))?;
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

/// The session's cookie: its refresh token, which pages use up and replace as any client does. Over https it is bound to this host
/// (RFC 6265bis, 4.1.3.2).
fn cookie(secure: bool, refresh_token: &SecretString) -> String {
    let (name, attribute) = if secure { ("__Host-tenantry_session", "; Secure") } else { ("tenantry_session", "") };
    let (value, life) = (refresh_token.expose_secret(), sessions::REFRESH_TTL.num_seconds());
    format!("{name}={value}; Path=/; Max-Age={life}; HttpOnly; SameSite=Lax{attribute}")
}

/// A person gets a page where a program would get a problem.
fn refuse(error: Error) -> Result<Response, Problem> {
    match error {
        Error::TokenExpired => {
            say(StatusCode::GONE, "This link has expired", "Ask for a new one, and use it soon after it arrives.")
        }
        Error::TokenInvalid => say(
            StatusCode::GONE,
            "This link does not work",
            "It was used already, or it is incomplete. If it was you who used it, all is well.",
        ),
        other => Err(other.into()),
    }
}

/// Refuses a form that another site sent: browsers tell by `Sec-Fetch-Site`, older ones by `Origin`; what sends neither is no
/// browser, and has nobody's cookies to misuse.
fn from_our_page(headers: &HeaderMap, uri: &Uri) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let ours = match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => site == "same-origin" || site == "none",
        (None, None) => true,
        (None, Some(origin)) => {
            let host = url::Url::parse(origin).ok().and_then(|origin| origin.host_str().map(str::to_owned));
            host.is_some() && host == http::host(headers, uri)
        }
    };
    if ours { Ok(()) } else { Err(Problem::forbidden()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_other_sites_are_refused() {
        let sent = |pairs: &[(&'static str, &str)]| {
            let headers = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            from_our_page(&headers.collect(), &Uri::from_static("/magic-link")).is_ok()
        };
        let host = ("host", "app.test:8080");
        assert!(sent(&[host]));
        assert!(sent(&[host, ("sec-fetch-site", "same-origin")]));
        assert!(sent(&[host, ("origin", "http://app.test:8080")]));
        assert!(!sent(&[host, ("sec-fetch-site", "cross-site"), ("origin", "http://app.test:8080")]));
        assert!(!sent(&[host, ("sec-fetch-site", "same-site")]));
        assert!(!sent(&[host, ("origin", "http://evil.test")]));
        assert!(!sent(&[host, ("origin", "null")]));
    }

    #[test]
    fn the_cookie_is_out_of_reach_of_scripts_and_other_hosts() {
        let token = SecretString::from("secret");
        let plain = cookie(false, &token);
        assert_eq!(plain, "tenantry_session=secret; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax");
        let secure = cookie(true, &token);
        assert_eq!(secure, "__Host-tenantry_session=secret; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax; Secure");
    }
}
