//! Calls against servers on loopback. Where the address check has to be on, the first hop gets its address from
//! reqwest's override table, which stands before the guarded resolver; every further hop meets the real check.

use reqwest::header::{DATE, HeaderValue, RETRY_AFTER};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

use super::*;

const GUARDED: Policy = Policy { https_only: false, allow_private_addresses: false };
pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn trusted() -> Egress {
    Egress::trusted(SECOND).expect("a client")
}

/// A guarded client for which `hook.test` alone is on a public address.
pub(super) fn guarded(server: &MockServer) -> (Egress, Url) {
    let resolver = GuardedResolver::from_system(false, SECOND)
        .expect("a resolver")
        .with_hosts("127.0.0.1 inside.test\n::1 inside6.test\n93.184.216.34 mixed.test\n10.0.0.1 mixed.test\n");
    let client = client_builder(resolver, SECOND).resolve("hook.test", *server.address()).build().expect("a client");
    let egress = Egress { policy: GUARDED, client, connect_timeout: SECOND };
    let url = format!("http://hook.test:{}/start", server.address().port());
    (egress, url.parse().expect("a URL"))
}

fn get(url: &str) -> Request {
    Request::new(Method::GET, url.parse().expect("a URL"), 5 * SECOND)
}

async fn answering(path: &str, answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(matchers::path(path)).respond_with(answer).mount(&server).await;
    server
}

pub(super) fn redirect_to(location: &str) -> ResponseTemplate {
    ResponseTemplate::new(302).insert_header("location", location)
}

async fn paths(server: &MockServer) -> Vec<String> {
    let requests = server.received_requests().await.expect("recorded");
    requests.iter().map(|request| request.url.path().to_owned()).collect()
}

/// `refused` is `Err` of a send that was forbidden for an address.
fn class(refused: Result<Response, EgressError>) -> String {
    match refused {
        Err(EgressError::Forbidden(reason)) => reason.to_string(),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[tokio::test]
async fn address_literals_are_refused_in_every_spelling() {
    let server = MockServer::start().await;
    let (egress, _) = guarded(&server);
    let port = server.address().port();
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "0x7f000001",
        "%31%32%37.0.0.1",
        "127.0.0.1.",
        "①②⑦.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
    ] {
        let refused = egress.send(get(&format!("http://{host}:{port}/"))).await;
        assert_eq!(class(refused), "it leads to a loopback address", "{host}");
    }
    assert_eq!(paths(&server).await, [""; 0]);
}

#[tokio::test]
async fn names_that_resolve_to_forbidden_addresses_are_refused() {
    let server = MockServer::start().await;
    let (egress, _) = guarded(&server);
    let port = server.address().port();
    for (host, expected) in [
        ("localhost", "loopback"),
        ("LOCALHOST.", "loopback"),
        ("inside.test", "loopback"),
        ("inside6.test", "loopback"),
        ("mixed.test", "private"),
    ] {
        let refused = egress.send(get(&format!("http://{host}:{port}/"))).await;
        let expected = format!("its host name resolves to a {expected} address");
        assert_eq!(class(refused), expected, "{host}");
    }
    assert_eq!(paths(&server).await, [""; 0]);
}

#[tokio::test]
async fn a_trusted_client_reaches_localhost_by_name_and_address() {
    let server = answering("/", ResponseTemplate::new(204)).await;
    let port = server.address().port();
    for host in ["localhost", "127.0.0.1", "[::ffff:127.0.0.1]"] {
        let answer = trusted().send(get(&format!("http://{host}:{port}/"))).await;
        assert_eq!(answer.expect("an answer").status, 204, "{host}");
    }
}

#[tokio::test]
async fn a_redirect_to_a_forbidden_place_is_not_followed() {
    for (target, expected) in [
        ("http://127.0.0.1:PORT/secret", "it leads to a loopback address"),
        ("//127.0.0.1:PORT/secret", "it leads to a loopback address"),
        ("http://[::ffff:127.0.0.1]:PORT/secret", "it leads to a loopback address"),
        ("http://169.254.169.254/latest/meta-data", "it leads to a link-local address"),
        ("http://localhost:PORT/secret", "its host name resolves to a loopback address"),
        ("http://inside.test:PORT/secret", "its host name resolves to a loopback address"),
        ("http://me:pw@hook.test:PORT/secret", "it must not contain a user name or password"),
        ("file:///etc/passwd", "its scheme is not https"),
    ] {
        let server = MockServer::start().await;
        let (egress, url) = guarded(&server);
        let location = target.replace("PORT", &server.address().port().to_string());
        Mock::given(matchers::path("/start")).respond_with(redirect_to(&location)).mount(&server).await;
        assert_eq!(class(egress.send(get(url.as_str())).await), expected, "{target}");
        assert_eq!(paths(&server).await, ["/start"], "{target}");
    }
}

#[tokio::test]
async fn three_redirects_are_followed_and_a_fourth_is_not() {
    let server = MockServer::start().await;
    for (from, to) in [("/4", "/3"), ("/3", "/2"), ("/2", "/1"), ("/1", "/0")] {
        Mock::given(matchers::path(from)).respond_with(redirect_to(to)).mount(&server).await;
    }
    Mock::given(matchers::path("/0")).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    let send = |path: &str| {
        let request = get(&format!("{}{path}", server.uri()));
        async move { trusted().send(request).await }
    };
    assert_eq!(send("/3").await.expect("an answer").status, 200);
    assert_eq!(send("/4").await.map(drop), Err(EgressError::TooManyRedirects));
}

#[tokio::test]
async fn a_post_does_not_follow_and_an_odd_location_is_final() {
    let server = answering("/", redirect_to("/next")).await;
    let mut post = get(&server.uri());
    post.method = Method::POST;
    assert_eq!(trusted().send(post).await.expect("an answer").status, 302);
    assert_eq!(paths(&server).await, ["/"]);

    let server = answering("/", redirect_to("http://[")).await;
    let answer = trusted().send(get(&server.uri())).await;
    assert_eq!(answer.expect("an answer").status, 302);
}

#[tokio::test]
async fn credentials_stay_at_their_origin() {
    let other = answering("/", ResponseTemplate::new(200)).await;
    let server = answering("/", redirect_to(&other.uri())).await;
    let mut request = get(&server.uri());
    request.headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer x"));
    trusted().send(request).await.expect("an answer");
    let (first, second) =
        (server.received_requests().await.expect("recorded"), other.received_requests().await.expect("recorded"));
    assert_eq!((first.len(), second.len()), (1, 1));
    assert!(first[0].headers.contains_key(AUTHORIZATION));
    assert!(!second[0].headers.contains_key(AUTHORIZATION));
}

#[tokio::test]
async fn a_body_is_read_up_to_its_cap() {
    let server = answering("/", ResponseTemplate::new(200).set_body_string("abcdef")).await;
    for (cap, body, truncated) in [(0, "", true), (4, "abcd", true), (6, "abcdef", false)] {
        let mut request = get(&server.uri());
        request.body_cap = cap;
        let answer = trusted().send(request).await.expect("an answer");
        assert_eq!(answer.body, body.as_bytes());
        assert_eq!(answer.truncated, truncated);
    }
}

#[tokio::test]
async fn a_slow_answer_times_out_and_a_closed_port_does_not_connect() {
    let slow = ResponseTemplate::new(200).set_delay(60 * SECOND);
    let server = answering("/", slow).await;
    let mut request = get(&server.uri());
    request.timeout = Duration::from_millis(50);
    let error = trusted().send(request).await.expect_err("no answer");
    assert_eq!(error.to_string(), "no answer within 50ms");
    assert!(error.is_transient());

    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let free = listener.local_addr().expect("an address");
    drop(listener);
    let error = trusted().send(get(&format!("http://{free}/"))).await;
    let error = error.expect_err("nobody listens");
    assert!(matches!(error, EgressError::Connect { .. }), "{error:?}");
    assert!(error.is_transient());
}

#[tokio::test]
async fn plain_http_behind_https_is_a_tls_failure() {
    let server = MockServer::start().await;
    let url = server.uri().replace("http://", "https://");
    let error = trusted().send(get(&url)).await.expect_err("no TLS there");
    assert!(matches!(error, EgressError::Tls { .. }), "{error:?}");
    assert!(!error.is_transient());
}

#[tokio::test]
async fn http_and_user_info_are_refused_by_policy() {
    let policy = Policy { https_only: true, allow_private_addresses: true };
    let egress = Egress::new(policy, SECOND).expect("a client");
    let refused = egress.send(get("http://127.0.0.1:9/")).await.map(drop);
    assert_eq!(refused, Err(EgressError::Forbidden(UrlRefused::HttpsOnly)));
    for url in ["https://a@127.0.0.1/", "https://:b@127.0.0.1/"] {
        let refused = egress.send(get(url)).await.map(drop);
        assert_eq!(refused, Err(EgressError::Forbidden(UrlRefused::UserInfo)));
    }
    for url in ["data:text/plain,x", "mailto:a@example.com", "ftp://127.0.0.1/"] {
        let refused = egress.send(get(url)).await.map(drop);
        assert_eq!(refused, Err(EgressError::Forbidden(UrlRefused::Scheme)), "{url}");
    }
}

#[tokio::test]
async fn retry_after_reads_seconds_and_dates() {
    for (date, value, expected) in [
        ("Wed, 21 Oct 2015 07:28:00 GMT", "120", Some(120)),
        ("Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:30 GMT", Some(30)),
        ("Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:00:00 GMT", Some(0)),
        ("Wed, 21 Oct 2015 07:28:00 GMT", "soon", None),
    ] {
        let answer = Response {
            status: 503,
            headers: [(DATE, HeaderValue::from_static(date)), (RETRY_AFTER, HeaderValue::from_static(value))]
                .into_iter()
                .collect(),
            body: Vec::new(),
            truncated: false,
        };
        assert_eq!(answer.retry_after(), expected.map(Duration::from_secs), "{value}");
    }
}
