//! Does anything answer at a tenant's webhook URL?

use std::{collections::BTreeMap, fmt, time::Duration};

use reqwest::Method;
use url::Url;

use super::{Egress, EgressError, Request};

/// The request that the webhook accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// HEAD, GET or OPTIONS.
    pub method: Method,
    /// The status it answered.
    pub status: u16,
}

/// What one request of a probe came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// An answer, with a status that does not count.
    Answered(u16),
    /// No answer.
    Failed(EgressError),
}

/// None of the requests was accepted. Reads as a reason for the webhook's owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ProbeFailed {
    /// What was tried, in order. A forbidden URL ends the probe at once.
    pub tries: Vec<(Method, Outcome)>,
}

impl ProbeFailed {
    /// Whether trying again later may help: some request met a timeout, a broken network, a 429 or a 5xx.
    pub fn is_transient(&self) -> bool {
        self.tries.iter().any(|(_, outcome)| match outcome {
            Outcome::Answered(status) => matches!(status, 408 | 429 | 500..),
            Outcome::Failed(error) => error.is_transient(),
        })
    }
}

impl fmt::Display for ProbeFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Same outcomes share a phrase; a BTreeMap from text to (first position, methods) keeps that order.
        let mut phrases: BTreeMap<String, (usize, Vec<&str>)> = BTreeMap::new();
        for (position, (method, outcome)) in self.tries.iter().enumerate() {
            let text = match outcome {
                Outcome::Answered(status) => format!("answered {status} to"),
                Outcome::Failed(error) => format!("failed ({error}) on"),
            };
            let (_, methods) = phrases.entry(text).or_insert((position, Vec::new()));
            methods.push(method.as_str());
        }
        let mut phrases: Vec<_> = phrases.into_iter().collect();
        phrases.sort_by_key(|(_, (position, _))| *position);
        let phrases: Vec<_> =
            phrases.iter().map(|(text, (_, methods))| format!("{text} {}", listed(methods))).collect();
        write!(f, "the webhook {}", listed(&phrases))
    }
}

/// "a", "a and b", "a, b and c".
fn listed<S: AsRef<str>>(items: &[S]) -> String {
    let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
    match items.as_slice() {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [init @ .., last] => format!("{} and {last}", init.join(", ")),
    }
}

/// Asks the webhook with HEAD, then GET, then OPTIONS, `per_try` each, until one answer counts.
///
/// `strict` counts 2xx only; otherwise 401, 403, 404 and 405 count too, as signs that something lives there. Redirects
/// of HEAD and GET are followed as long as they stay on `hosts`. Bodies are not read.
///
/// # Errors
/// [`ProbeFailed`] with everything that was tried.
pub async fn probe(
    egress: &Egress,
    url: &Url,
    hosts: &[String],
    strict: bool,
    per_try: Duration,
) -> Result<Accepted, ProbeFailed> {
    let mut tries = Vec::new();
    for method in [Method::HEAD, Method::GET, Method::OPTIONS] {
        let mut request = Request::new(method.clone(), url.clone(), per_try);
        request.body_cap = 0;
        request.hosts = Some(hosts.to_vec());
        let outcome = match egress.send(request).await {
            Ok(answer) if counts(answer.status, strict) => {
                let status = answer.status;
                return Ok(Accepted { method, status });
            }
            Ok(answer) => Outcome::Answered(answer.status),
            Err(error) => Outcome::Failed(error),
        };
        let hopeless = matches!(outcome, Outcome::Failed(EgressError::Forbidden(_)));
        tries.push((method, outcome));
        if hopeless {
            break;
        }
    }
    Err(ProbeFailed { tries })
}

fn counts(status: u16, strict: bool) -> bool {
    (200..300).contains(&status) || (!strict && matches!(status, 401 | 403..=405))
}

#[cfg(test)]
mod tests {
    use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

    use super::*;
    use crate::egress::{
        UrlRefused,
        tests::{SECOND, guarded, redirect_to, trusted},
    };

    async fn probed(server: &MockServer, strict: bool) -> Result<Accepted, ProbeFailed> {
        let url = server.uri().parse().expect("a URL");
        probe(&trusted(), &url, &[], strict, SECOND).await
    }

    async fn methods_answering(answers: &[(&str, u16)]) -> MockServer {
        let server = MockServer::start().await;
        for (verb, status) in answers {
            Mock::given(matchers::method(*verb)).respond_with(ResponseTemplate::new(*status)).mount(&server).await;
        }
        server
    }

    #[tokio::test]
    async fn a_probe_takes_the_first_method_that_counts() {
        let server = methods_answering(&[("HEAD", 405), ("GET", 500), ("OPTIONS", 204)]).await;
        let strict = probed(&server, true).await.expect("accepted");
        assert_eq!((strict.method, strict.status), (Method::OPTIONS, 204));
        let loose = probed(&server, false).await.expect("accepted");
        assert_eq!((loose.method, loose.status), (Method::HEAD, 405));

        for status in [401, 403, 404, 405] {
            let server = methods_answering(&[("HEAD", status), ("GET", status), ("OPTIONS", status)]).await;
            assert!(probed(&server, false).await.is_ok(), "{status}");
            assert!(!probed(&server, true).await.expect_err("strict").is_transient());
        }
    }

    #[tokio::test]
    async fn a_failed_probe_says_what_happened() {
        let server = methods_answering(&[("HEAD", 500), ("GET", 500), ("OPTIONS", 500)]).await;
        let failed = probed(&server, false).await.expect_err("500 never counts");
        assert_eq!(failed.to_string(), "the webhook answered 500 to HEAD, GET and OPTIONS");
        assert!(failed.is_transient());

        let server = methods_answering(&[("HEAD", 405), ("GET", 400), ("OPTIONS", 405)]).await;
        let failed = probed(&server, true).await.expect_err("strict");
        assert_eq!(failed.to_string(), "the webhook answered 405 to HEAD and OPTIONS and answered 400 to GET");
        assert!(!failed.is_transient());
    }

    #[tokio::test]
    async fn a_probe_gives_each_try_its_own_time() {
        let server = MockServer::start().await;
        Mock::given(matchers::method("HEAD"))
            .respond_with(ResponseTemplate::new(200).set_delay(60 * SECOND))
            .mount(&server)
            .await;
        Mock::given(matchers::method("GET")).respond_with(ResponseTemplate::new(200)).mount(&server).await;
        let url = server.uri().parse().expect("a URL");
        let accepted = probe(&trusted(), &url, &[], true, Duration::from_millis(200)).await;
        assert_eq!(accepted.expect("accepted").method, Method::GET);
    }

    #[tokio::test]
    async fn a_probe_stops_at_a_forbidden_url_and_stays_on_the_listed_hosts() {
        let server = MockServer::start().await;
        let (egress, url) = guarded(&server);
        let hosts = ["hook.test".to_owned()];
        Mock::given(matchers::path("/start")).respond_with(redirect_to("http://elsewhere.test/")).mount(&server).await;
        let failed = probe(&egress, &url, &hosts, false, SECOND).await;
        let refused = UrlRefused::HostNotListed("elsewhere.test".to_owned());
        assert_eq!(
            failed.expect_err("off the list").tries,
            [(Method::HEAD, Outcome::Failed(EgressError::Forbidden(refused)))]
        );
    }
}
