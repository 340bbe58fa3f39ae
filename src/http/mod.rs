//! The HTTP edge that all slices share: how connections come and go ([`accept()`]), what every request passes ([`edge`]), how its
//! parts are read ([`Json`], [`Path`],
//! [`Query`]), how often they may come ([`limits`]), how a repeat is recognised ([`Posted`], [`Once`]), and how it is refused ([`Problem`]).

mod accept;
pub mod assets;
mod client;
mod cookies;
pub mod dev;
pub mod edge;
mod extract;
mod form;
mod headers;
mod idempotency;
pub mod limits;
mod openapi;
mod paging;
mod problem;
mod problem_page;
mod refused;

pub use accept::accept;
pub use client::{Client, network};
pub use cookies::Cookie;
pub use edge::RequestId;
pub use extract::{Bearer, Json, Path, Query};
pub use form::{Form, NoFields, Visit, go_to, show};
pub use idempotency::{IdempotencyKey, NotKept, Nothing, Once, Posted, Reply};
pub use openapi::{base, document, documentation};
pub use paging::{Listing, Page, PageQuery};
pub use problem::{FieldError, Problem, ProblemBody, chain, line};
pub use refused::Refused;

use axum::http::{HeaderMap, Uri, header};

/// The host that a request was sent to, lower-case, without port.
pub fn host(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let authority = uri.authority().map(axum::http::uri::Authority::as_str);
    let sent = authority.or_else(|| headers.get(header::HOST)?.to_str().ok())?;
    let host = sent
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
        .map_or(sent, |(host, _)| host);
    Some(host.trim_end_matches('.').to_ascii_lowercase())
}
