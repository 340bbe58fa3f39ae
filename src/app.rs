//! The running product: what the edges hold, and how its parts are put together.

use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::Context;
use axum::{Router, middleware::from_fn_with_state};
use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;
use url::Url;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    admin, audit,
    billing::{
        self,
        sandbox::{self, Sandbox},
    },
    clock::Clock,
    config::{Config, Environment},
    dashboard,
    db::{self, Db, Location, Wake},
    doctor,
    egress::{Egress, Policy},
    entitlements, home,
    http::{self, limits::Limits},
    identity::{self, keys::Keys, oauth::provider::Providers, passwords::Hasher},
    leads,
    mail::{self, Post, Transport},
    plans, provisioning,
    seal::Sealer,
    signup, storefront, webhooks,
};

/// What edges (`api`, `pages`, `jobs`, the command line) work with. Verbs never see it.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// The parts of an [`App`].
pub struct Parts {
    /// The configuration.
    pub config: Config,
    /// The database.
    pub db: Db,
    /// Time and chance.
    pub clock: Clock,
    /// Wakes the workers after a commit.
    pub wake: Wake,
    /// Seals secrets at rest.
    pub sealer: Sealer,
    /// Signs and reads tokens, once [`Keys::load`] has been called.
    pub keys: Keys,
    /// Hashes passwords.
    pub hasher: Hasher,
    /// How often a network may call.
    pub limits: Limits,
    /// Puts letters into the outbox.
    pub post: Post,
    /// Takes letters out of it.
    pub mailer: Transport,
    /// The way out for calls that customers aim.
    pub egress: Egress,
    /// The way out for calls that the operator aims.
    pub trusted: Egress,
    /// What this process remembers of the Stripe sandbox.
    pub sandbox: Sandbox,
    /// Where people can sign in with.
    pub providers: Providers,
    /// Where this process listens, once it does: the sandbox of Stripe is called there.
    pub own_url: OnceLock<Url>,
    /// Cancelled when the process is to stop.
    pub stop: CancellationToken,
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl App {
    /// Puts the parts together. Connects, but neither migrates nor starts anything.
    pub async fn new(mut config: Config, clock: Clock) -> anyhow::Result<Self> {
        let location = match &config.database_url {
            Some(url) if url.expose_secret().starts_with("sqlite:") => {
                let path = url.expose_secret().trim_start_matches("sqlite:").trim_start_matches("//");
                Location::Sqlite(path.into())
            }
            Some(url) => Location::Postgres(url.clone()),
            None => Location::Sqlite(config.data_dir.join("tenantry.db")),
        };
        let db = db::connect(&location, config.database_connections).await.context("cannot open the database")?;
        if db.postgres().is_none() {
            // Another process on the file cannot be heard, only looked for; a look costs microseconds.
            config.worker.poll = config.worker.poll.min(SQLITE_POLL);
        }
        let sealer = Sealer::new(&config.secret_key, config.secret_key_previous.as_ref());
        let keys = Keys::new(db.clone(), sealer.clone(), config.public_url.as_str());
        let hasher = Hasher::new(&config.password, Hasher::cores())?;
        let limits = Limits::new(&config.rate_limit, &clock);
        let post = Post {
            sealer: sealer.clone(),
            public_url: config.public_url.clone(),
            bank_details: config.billing.bank_details.clone(),
        };
        let mailer = Transport::new(&config.smtp, config.environment)?;
        let provision = &config.provision;
        let https_only = config.environment != Environment::Development;
        let policy = Policy { https_only, allow_private_addresses: provision.allow_private_addresses };
        let egress = Egress::new(policy, CONNECT_TIMEOUT)?;
        let trusted = Egress::trusted(CONNECT_TIMEOUT)?;
        let providers = Providers::new(&config)?;
        let (wake, stop) = (Wake::default(), CancellationToken::new());
        Ok(Self(Arc::new(Parts {
            config,
            db,
            clock,
            wake,
            sealer,
            keys,
            hasher,
            limits,
            post,
            mailer,
            egress,
            trusted,
            sandbox: Sandbox::default(),
            providers,
            own_url: OnceLock::new(),
            stop,
        })))
    }

    /// Every route, inside the edge.
    pub fn router(&self) -> Router {
        let (router, collected) = api().split_for_parts();
        let document = http::document(collected);
        let pages = pages().route_layer(from_fn_with_state(self.clone(), http::edge::on_our_host));
        let others = front().merge(sandbox::api_routes()).merge(http::documentation(&document));
        http::edge::around(router.merge(others).merge(pages), self)
    }
}

/// How often workers look for work that another process has put into the SQLite file.
const SQLITE_POLL: Duration = Duration::from_millis(50);

/// How long an outbound connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Every JSON route with its description.
pub fn api() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(http::base())
        .merge(plans::api::routes())
        .merge(entitlements::api::routes())
        .merge(billing::api::routes())
        .merge(billing::subscription::routes())
        .merge(leads::routes())
        .merge(identity::api::routes())
        .merge(signup::api::routes())
        .merge(signup::register::routes())
        .merge(signup::oauth::routes())
        .merge(provisioning::api::routes())
        .merge(storefront::routes())
        .merge(webhooks::api::routes())
        .merge(billing::stripe::api::routes())
        .merge(admin::routes())
        .merge(audit::routes())
        .merge(doctor::routes())
        .merge(mail::routes())
        .merge(http::dev::routes())
        .merge(sandbox::dev_routes())
}

/// The pages that any hostname has: a tenant's own is one of them.
fn front() -> Router<App> {
    http::assets::routes().merge(home::routes())
}

/// The product's own pages.
fn pages() -> Router<App> {
    plans::pages::routes()
        .merge(billing::pages::routes())
        .merge(identity::pages::routes())
        .merge(signup::pages::routes())
        .merge(dashboard::routes())
        .merge(leads::pages::routes())
        .merge(admin::pages::routes())
        .merge(sandbox::page_routes())
}
