//! Serving: the listener, the workers beside it, and stopping both without losing anything.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use axum::{ServiceExt, extract::Request, serve::ListenerExt};
use tokio::{net::TcpListener, sync::oneshot, task::JoinSet};
use tower::Layer;
use tower_http::normalize_path::NormalizePathLayer;

use crate::{app::App, config::Environment, home, outbox, provisioning};

/// Which parts of the product a process runs.
#[derive(Clone, Copy, Debug)]
pub struct Roles {
    /// Answers HTTP.
    pub http: bool,
    /// Provisions, mails and delivers.
    pub worker: bool,
}

/// How long what runs has to finish after the signal to stop.
const GRACE: Duration = Duration::from_secs(25);

/// Runs until SIGINT or SIGTERM; then takes no new work, finishes or hands back what runs, and closes the database.
pub async fn run(app: App, roles: Roles) -> anyhow::Result<()> {
    let (bound, address) = oneshot::channel();
    let signals = tokio::spawn({
        let app = app.clone();
        async move {
            if let Ok(address) = address.await {
                greet(&app, address);
            }
            signal().await;
            tracing::info!(feature = "serve", "Stopping: finishing what runs");
            app.stop.cancel();
        }
    });
    let ended = until_stopped(app, roles, bound).await;
    signals.abort();
    ended
}

/// Runs until `app.stop` is cancelled. Tells where it listens.
pub async fn until_stopped(app: App, roles: Roles, bound: oneshot::Sender<SocketAddr>) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    if let Some(pool) = app.db.postgres() {
        tasks.spawn(app.wake.clone().relay(pool.clone(), app.stop.clone()));
    }
    if roles.worker {
        tasks.spawn(provisioning::jobs::run(app.clone(), app.stop.clone()));
        tasks.spawn(provisioning::janitor::run(app.clone(), app.stop.clone()));
        tasks.spawn(outbox::jobs::run(app.clone(), app.stop.clone()));
    }
    if roles.http {
        app.keys.load(&app.clock.now()).await.context("cannot load the signing keys")?;
        tasks.spawn(app.keys.clone().keep_fresh(app.clock.clone(), app.stop.clone()));
        let listener = TcpListener::bind(app.config.http.bind).await;
        let listener = listener.with_context(|| format!("cannot listen on {}", app.config.http.bind))?;
        let _ = bound.send(listener.local_addr()?);
        tasks.spawn(answer(app.clone(), listener));
    } else {
        // Whoever waits for the address is not to wait for ever.
        drop(bound);
    }
    app.stop.cancelled().await;
    let finished = tokio::time::timeout(GRACE, async {
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "A task ended badly");
            }
        }
    });
    if finished.await.is_err() {
        tracing::warn!(feature = "serve", "Not everything finished in time; leases will hand it on");
    }
    app.db.clone().close().await;
    Ok(())
}

async fn answer(app: App, listener: TcpListener) {
    let router = NormalizePathLayer::trim_trailing_slash().layer(app.router());
    let service = ServiceExt::<Request>::into_make_service_with_connect_info::<SocketAddr>(router);
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "Could not set TCP_NODELAY");
        }
    });
    let stop = app.stop.clone();
    let served = axum::serve(listener, service).with_graceful_shutdown(stop.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(%error, "The listener failed");
        app.stop.cancel();
    }
}

/// The first lines: what to open, and what to try.
fn greet(app: &App, bound: SocketAddr) {
    let (config, url) = (&app.config, app.config.public_url.as_str().trim_end_matches('/'));
    tracing::info!(feature = "serve", %bound, database = app.db.name(), environment = %config.environment, "Listening");
    if config.environment != Environment::Development {
        return;
    }
    println!("Tenantry {} is up ({} on {bound}, {})", env!("CARGO_PKG_VERSION"), config.environment, app.db.name());
    println!();
    println!("  Open      {url}/");
    println!("  API docs  {url}/docs");
    println!("  Mailbox   {url}/dev/mailbox");
    println!();
    println!("Sign a tenant up:");
    println!();
    println!("  {}", home::try_it(app));
    println!();
}

async fn signal() {
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => (),
        () = terminate => (),
    }
}
