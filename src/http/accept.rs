//! Accepting connections, and ending them: those that do not say what they want, and all of them when the process stops.

use std::{io, net::SocketAddr, pin::pin, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tower::{Layer, ServiceExt};
use tower_http::normalize_path::{NormalizePath, NormalizePathLayer};

use crate::config::Http;

/// How long to leave a listener alone that has run out of something, such as file descriptors.
const PAUSE: Duration = Duration::from_secs(1);

/// Answers HTTP/1 and HTTP/2 (with prior knowledge) until `stop`. Then it takes no more connections, ends those where nothing is
/// under way, and returns when what is under way has been answered. Dropping it ends them all.
pub async fn accept(listener: TcpListener, router: Router, limits: &Http, stop: CancellationToken) {
    let server = Server::new(router, limits, stop.clone());
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = next(&listener) => accepted,
        };
        while connections.try_join_next().is_some() {}
        connections.spawn(server.clone().attend(stream, peer));
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// The next connection, however many fail before it.
async fn next(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_one_connection(&error) => tracing::debug!(%error, "A connection was gone at once"),
            Err(error) => {
                tracing::error!(feature = "http", %error, "Cannot accept connections; trying again in a second");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Whether the next connection may well be better (accept(2), "Error handling").
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, NetworkDown, NetworkUnreachable,
    };
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | HostUnreachable | NetworkDown | NetworkUnreachable
    )
}

/// What every connection needs.
#[derive(Clone)]
struct Server {
    service: NormalizePath<Router>,
    builder: Builder<TokioExecutor>,
    header_timeout: Duration,
    stop: CancellationToken,
}

impl Server {
    fn new(router: Router, limits: &Http, stop: CancellationToken) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        // Hyper counts the time that a connection is idle as part of the next header's.
        builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.keep_alive);
        // On HTTP/2 a client that is there answers pings, and cannot in the middle of a header (RFC 9113, 4.3).
        let (interval, timeout) = (limits.header_timeout, limits.header_timeout);
        builder.http2().timer(TokioTimer::new()).keep_alive_interval(interval).keep_alive_timeout(timeout);
        let service = NormalizePathLayer::trim_trailing_slash().layer(router);
        Self { service, builder, header_timeout: limits.header_timeout, stop }
    }

    /// Answers one connection's requests.
    async fn attend(self, stream: TcpStream, peer: SocketAddr) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "Could not set TCP_NODELAY");
        }
        let asked = CancellationToken::new();
        let service = self.service.map_request({
            let asked = asked.clone();
            move |request: Request<_>| {
                asked.cancel();
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(ConnectInfo(peer));
                request
            }
        });
        let mut connection =
            pin!(self.builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)));
        // How a connection ends is the client's affair.
        tokio::select! {
            // A request that has come in time is seen before the end of that time.
            biased;
            _ = connection.as_mut() => return,
            () = asked.cancelled() => {}
            () = self.stop.cancelled() => return,
            () = sleep(self.header_timeout) => return,
        }
        tokio::select! {
            _ = connection.as_mut() => return,
            () = self.stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}
