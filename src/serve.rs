//! Serving: the listener, the workers beside it, and stopping both without losing anything.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::Context;
use secrecy::ExposeSecret;
use tokio::{net::TcpListener, sync::oneshot, task::JoinSet};
use url::Url;

use crate::{
    app::App,
    billing::{self, sandbox, stripe::Access},
    config::Environment,
    doctor::promises,
    home, http, identity, outbox, provisioning,
};

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
        tasks.spawn(identity::jobs::run(app.clone(), app.stop.clone()));
        tasks.spawn(provisioning::jobs::run(app.clone(), app.stop.clone()));
        tasks.spawn(provisioning::janitor::run(app.clone(), app.stop.clone()));
        tasks.spawn(provisioning::follow::run(app.clone(), app.stop.clone()));
        tasks.spawn(billing::jobs::run(app.clone(), app.stop.clone()));
        tasks.spawn(outbox::jobs::run(app.clone(), app.stop.clone()));
        tasks.spawn(sandbox::jobs::run(app.clone(), app.stop.clone()));
        tasks.spawn(billing::stripe::reconcile::run(app.clone(), app.stop.clone()));
    }
    if roles.http {
        app.keys.load(&app.clock.now()).await.context("cannot load the signing keys")?;
        warn(&app).await;
        tasks.spawn(app.keys.clone().keep_fresh(app.clock.clone(), app.stop.clone()));
        let listener = TcpListener::bind(app.config.http.bind).await;
        let listener = listener.with_context(|| format!("cannot listen on {}", app.config.http.bind))?;
        let address = listener.local_addr()?;
        let _ = app.own_url.set(own_url(address));
        let _ = bound.send(address);
        let (app, router) = (app.clone(), app.router());
        tasks.spawn(async move { http::accept(listener, router, &app.config.http, app.stop.clone()).await });
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

/// Says what the pages promise and the plans do not grant. Nobody is turned away for it.
async fn warn(app: &App) {
    match promises::broken(app.db.read(), &app.config).await {
        Ok(broken) => {
            for promise in broken {
                tracing::warn!(feature = "plans", promise, "A promise does not hold");
            }
        }
        Err(error) => tracing::warn!(feature = "plans", %error, "The plans could not be checked"),
    }
}

/// This process, for itself.
fn own_url(bound: SocketAddr) -> Url {
    let ip = match bound.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    let url = format!("http://{}", SocketAddr::new(ip, bound.port()));
    url.parse().expect("an address is a URL")
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
    if config.billing.sandbox {
        let key = Access::sandbox(app).secret_key;
        println!("  Stripe    sandbox {url}/v1 with key {}", key.expose_secret());
    }
    println!();
    println!("Sign a tenant up:");
    println!();
    println!("  {}", home::try_it(app).replace('\n', "\n  "));
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
