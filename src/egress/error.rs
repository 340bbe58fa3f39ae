//! What can go wrong with an outbound call, in words that a tenant's owner may read.
//!
//! No message holds the URL (a webhook's path is often its password), nor an address that a name resolved to (that
//! would let a stranger map the operator's network).

use std::{error::Error, io, time::Duration};

/// Why a URL is refused before any byte is sent to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlRefused {
    /// Not an absolute URL at all.
    #[error("it is not a valid URL: {0}")]
    Invalid(String),
    /// Longer than [`MAX_URL`](super::validate::MAX_URL) bytes.
    #[error("it is longer than 2048 characters")]
    TooLong,
    /// Anything but `http` or `https`.
    #[error("its scheme is not https")]
    Scheme,
    /// `http` where only `https` is allowed.
    #[error("it must use https")]
    HttpsOnly,
    /// `https://user:password@host/`.
    #[error("it must not contain a user name or password")]
    UserInfo,
    /// The host is not on the operator's list.
    #[error("the host {0} is not on the list of allowed hosts")]
    HostNotListed(String),
    /// The host is written as an address that is not public; the class of it.
    #[error("it leads to a {0} address")]
    Address(&'static str),
    /// The host name resolves, among others, to an address that is not public; the class of it.
    #[error("its host name resolves to a {0} address")]
    ResolvesTo(&'static str),
}

/// How an outbound call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// The policy forbids the URL, or one that it redirected to.
    #[error("the URL is not allowed: {0}")]
    Forbidden(UrlRefused),
    /// No complete answer in time. Whether the other side acted on the request is unknown.
    #[error("no answer within {}", humantime::format_duration(*after))]
    Timeout {
        /// How long was waited.
        after: Duration,
    },
    /// No connection (refused, unreachable, reset while connecting).
    #[error("could not connect: {reason}")]
    Connect {
        /// The operating system's words.
        reason: String,
    },
    /// The host name has no address, or the name server did not answer.
    #[error("the host name could not be resolved: {reason}")]
    Dns {
        /// What the name server said.
        reason: String,
    },
    /// The certificate or the handshake was not acceptable.
    #[error("TLS failed: {reason}")]
    Tls {
        /// What was wrong with it.
        reason: String,
    },
    /// More than [`MAX_REDIRECTS`](super::MAX_REDIRECTS).
    #[error("too many redirects")]
    TooManyRedirects,
    /// The connection broke while the request was sent or the answer was read. Whether the other side acted on it is
    /// unknown.
    #[error("the connection broke: {reason}")]
    Body {
        /// The cause.
        reason: String,
    },
    /// The request itself could not be formed (a header value, a signing secret).
    #[error("the request could not be built: {reason}")]
    Request {
        /// What was wrong with it.
        reason: String,
    },
}

impl EgressError {
    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::Connect { .. } | Self::Dns { .. } | Self::Body { .. } => true,
            Self::Forbidden(_) | Self::Tls { .. } | Self::TooManyRedirects | Self::Request { .. } => false,
        }
    }

    /// Sorts what reqwest reports; its only time limit is `connect`, that on connecting.
    pub(super) fn from_reqwest(error: &reqwest::Error, connect: Duration) -> Self {
        // The resolver's own verdict travels inside reqwest's error.
        if let Some(own) = causes(error).find_map(|cause| cause.downcast_ref::<Self>()) {
            return own.clone();
        }
        let reason = causes(error).last().map_or_else(String::new, ToString::to_string);
        if causes(error).any(<dyn Error>::is::<rustls::Error>) {
            Self::Tls { reason }
        } else if error.is_timeout() {
            Self::Timeout { after: connect }
        } else if error.is_connect() {
            Self::Connect { reason }
        } else if error.is_builder() {
            Self::Request { reason }
        } else {
            Self::Body { reason }
        }
    }
}

/// The chain of causes below `error`, looking into `io::Error`, whose `source` skips the error it wraps.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause: &&'a (dyn Error + 'static)| {
        let cause = *cause;
        match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
            None => cause.source(),
        }
    })
}
