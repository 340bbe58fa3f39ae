//! A problem as a page, for somebody who came with a browser.

use askama::Template;
use axum::{
    extract::Request,
    http::{HeaderMap, Method, StatusCode, Uri, header},
};

use super::Problem;

/// Somebody who asks for a page: browsers name HTML when they go somewhere, programs do not.
pub(super) struct Visitor {
    /// Where they can try again: the page itself, or the one whose form was sent.
    again: Option<String>,
}

impl Visitor {
    pub(super) fn of(request: &Request) -> Option<Self> {
        let headers = request.headers();
        let accepts = text(headers, header::ACCEPT);
        let is_visitor = accepts.split(',').any(|kind| kind.trim().split(';').next() == Some("text/html"));
        // What begins with two slashes is another host to a browser.
        let path = |uri: &Uri| Some(uri.path_and_query()?.as_str().to_owned()).filter(|path| !path.starts_with("//"));
        let here = || path(request.uri()).filter(|_| request.method() == Method::GET);
        let before = || {
            let came_from: Uri = text(headers, header::REFERER).parse().ok()?;
            let is_ours = super::host(&HeaderMap::new(), &came_from)? == super::host(headers, request.uri())?;
            path(&came_from).filter(|_| is_ours)
        };
        is_visitor.then(|| Self { again: here().or_else(before) })
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[derive(Template)]
#[template(path = "problem.html")]
struct Page<'a> {
    heading: &'a str,
    detail: &'a str,
    /// A link's words and where it leads.
    next: Option<(&'static str, &'a str)>,
    /// On our side.
    is_ours: bool,
    request_id: &'a str,
}

/// The page; nothing where it cannot be written.
pub(super) fn write(problem: &Problem, visitor: &Visitor, request_id: &str) -> Option<String> {
    let (heading, detail) = words(problem);
    let again = |words| visitor.again.as_deref().map(|path| (words, path));
    let next = match problem.status {
        StatusCode::UNAUTHORIZED => Some(("Sign in", "/signin")),
        _ if ["OAUTH_STATE_INVALID", "EMAIL_TAKEN"].contains(&problem.code) => Some(("Sign in", "/signin")),
        StatusCode::FORBIDDEN if problem.code == "FORM_EXPIRED" => again("Back to the form"),
        StatusCode::TOO_MANY_REQUESTS => again("Try again"),
        status if status.is_server_error() => again("Try again"),
        _ => None,
    };
    Page { heading, detail, next, is_ours: problem.status.is_server_error(), request_id }.render().ok()
}

fn words(problem: &Problem) -> (&str, &str) {
    let detail = problem.detail.as_str();
    match (problem.code, problem.status) {
        ("NOT_FOUND", _) => {
            ("This page was never there", "Or it is not there any more. Check the address, or begin at the front door.")
        }
        ("FORM_EXPIRED", _) => (
            "Please send that again",
            "The form was open for too long, or in another window. Nothing was changed. Go back, load the page again, \
             and send it once more. Cookies have to be allowed.",
        ),
        ("RATE_LIMITED", _) => ("That was a little too fast", detail),
        ("INTERNAL", _) => (
            "Something broke on our side",
            "It is not your fault, and nothing was left half done. Please try again in a moment.",
        ),
        ("SERVICE_UNAVAILABLE", _) => (
            "We are not quite there",
            "We cannot answer just now. Please try again in a few seconds. Sending the same form again is safe.",
        ),
        ("OAUTH_STATE_INVALID" | "OAUTH_FAILED" | "OAUTH_DENIED", _) => ("You are not signed in", detail),
        ("EMAIL_TAKEN", _) => ("You have an account already", detail),
        ("METHOD_NOT_ALLOWED", _) => ("That cannot be done here", "This address is for something else."),
        (_, StatusCode::UNAUTHORIZED) => ("Please sign in first", detail),
        (_, StatusCode::FORBIDDEN) => ("This is not open to you", detail),
        (_, StatusCode::CONFLICT) => ("That cannot be done now", detail),
        (_, status) if status.is_server_error() => ("We cannot do that right now", detail),
        _ => ("That could not be understood", detail),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    /// What a request is told: nothing where it wants no page.
    fn visitor(method: Method, headers: &[(&str, &str)]) -> Option<Visitor> {
        let mut request = Request::builder().method(method).uri("/admin/signups?x=1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Visitor::of(&request.body(Body::empty()).expect("a request"))
    }

    fn again(method: Method, headers: &[(&str, &str)]) -> Option<String> {
        visitor(method, headers).expect("wants a page").again
    }

    #[test]
    fn a_way_back_leads_to_our_own_pages() {
        let (page, host) = (("accept", "text/html,*/*;q=0.8"), ("host", "app.test:8080"));
        let from = |address| again(Method::POST, &[page, host, ("referer", address)]);
        assert!(visitor(Method::GET, &[host, ("accept", "application/json")]).is_none());
        assert_eq!(again(Method::GET, &[page, host]).as_deref(), Some("/admin/signups?x=1"));
        assert_eq!(again(Method::POST, &[page, host]), None);
        assert_eq!(from("http://app.test:8080/admin?q=a").as_deref(), Some("/admin?q=a"));
        assert_eq!(from("http://evil.test/admin"), None);
        assert_eq!(from("javascript:alert(1)"), None);
        assert_eq!(from("http://app.test:8080//evil.test/"), None);
    }

    #[test]
    fn what_is_our_fault_has_a_number_to_ask_about() {
        let page =
            |problem| write(&problem, &Visitor { again: Some("/contact-sales".into()) }, "the-id").expect("a page");
        let ours = page(Problem::unavailable());
        assert!(ours.contains("the-id") && ours.contains(r#"href="/contact-sales">Try again<"#), "{ours}");
        let theirs = page(Problem::not_found());
        assert!(!theirs.contains("the-id") && !theirs.contains("Try again"), "{theirs}");
    }
}
