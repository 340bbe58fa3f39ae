//! Wakes the workers when work was committed.
//!
//! A wake is a hint, never the truth: workers also look on a timer, so one that is lost costs time and nothing else. In
//! this process it is a [`Notify`]; to other processes on PostgreSQL a `NOTIFY` that is sent after the commit and apart from it,
//! because PostgreSQL lets transactions that notify commit only one after the other. It names the process that sent it by the
//! backend that listens for it, so that nobody looks twice on account of their own wake.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use sea_orm::sqlx::{self, PgPool, postgres::PgListener};
use tokio::sync::{Notify, futures::Notified};
use tokio_util::sync::CancellationToken;

const CHANNEL: &str = "tenantry_work";
/// The least time between two `NOTIFY` of one process; the first of a storm goes out at once.
const PACE: Duration = Duration::from_millis(5);

/// Tells workers, here and in other processes, that there may be work.
#[derive(Clone, Debug, Default)]
pub struct Wake {
    local: Arc<Notify>,
    outgoing: Arc<Notify>,
    /// The PostgreSQL backend that listens for this process; 0 while none does.
    listener: Arc<AtomicI32>,
}

impl Wake {
    /// Call after a commit that queued work.
    pub fn wake(&self) {
        self.local.notify_waiters();
        self.outgoing.notify_one();
    }

    /// Resolves at the next wake after this call.
    pub fn woken(&self) -> Notified<'_> {
        self.local.notified()
    }

    /// Sends one `NOTIFY` now: for commands, which end before [`Wake::relay`] could.
    pub async fn notify(pool: &PgPool) -> Result<(), sqlx::Error> {
        Self::notify_as(pool, 0).await
    }

    async fn notify_as(pool: &PgPool, listener: i32) -> Result<(), sqlx::Error> {
        let notify = sqlx::query("select pg_notify($1, $2)").bind(CHANNEL).bind(listener.to_string());
        notify.execute(pool).await.map(drop)
    }

    /// Carries wakes from this process to others and back until `stop`. Reconnects for ever.
    pub async fn relay(self, pool: PgPool, stop: CancellationToken) {
        let send = async {
            loop {
                self.outgoing.notified().await;
                if let Err(error) = Self::notify_as(&pool, self.listener.load(Ordering::Relaxed)).await {
                    tracing::debug!(%error, "Could not notify other replicas; their timers will find the work");
                }
                tokio::time::sleep(PACE).await;
            }
        };
        let receive = async {
            loop {
                if let Err(error) = self.listen(&pool).await {
                    tracing::debug!(%error, "Lost the notification channel; listening again");
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            () = send => (),
            () = receive => (),
            () = stop.cancelled() => (),
        }
    }

    async fn listen(&self, pool: &PgPool) -> Result<(), sqlx::Error> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(CHANNEL).await?;
        let own: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut listener).await?;
        self.listener.store(own, Ordering::Relaxed);
        let own = own.to_string();
        loop {
            if listener.recv().await?.payload() != own {
                self.local.notify_waiters();
            }
        }
    }
}
