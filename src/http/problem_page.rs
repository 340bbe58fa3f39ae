//! A problem as a page, for somebody who came with a browser.

use askama::Template;
use axum::http::{HeaderMap, StatusCode, header};

use super::Problem;

#[derive(Template)]
#[template(path = "problem.html")]
struct Page<'a> {
    heading: &'a str,
    status: u16,
    detail: &'a str,
    request_id: &'a str,
}

/// Whether a request asks for a page: browsers name HTML when they go somewhere, programs do not.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accepts.split(',').any(|kind| kind.trim().split(';').next() == Some("text/html"))
}

/// The page; nothing where it cannot be written.
pub(super) fn write(problem: &Problem, request_id: &str) -> Option<String> {
    let heading = match problem.status {
        StatusCode::NOT_FOUND => "There is nothing at this address",
        StatusCode::FORBIDDEN => "That did not go through",
        StatusCode::UNAUTHORIZED => "Please sign in first",
        StatusCode::CONFLICT => "That cannot be done now",
        StatusCode::TOO_MANY_REQUESTS => "A little slower, please",
        StatusCode::SERVICE_UNAVAILABLE => "We cannot answer right now",
        status if status.is_server_error() => "Something went wrong on our side",
        _ => "That could not be understood",
    };
    let detail = match problem.code {
        "NOT_FOUND" => "The link may be old, or a letter is missing.",
        "INTERNAL" => "It is not your fault, and nothing was done by halves. Please try again in a moment.",
        "SERVICE_UNAVAILABLE" => "Nothing is lost. Wait a moment, then load this page again.",
        "METHOD_NOT_ALLOWED" => "This address is for something else.",
        _ => &problem.detail,
    };
    Page { heading, status: problem.status.as_u16(), detail, request_id }.render().ok()
}
