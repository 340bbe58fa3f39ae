//! Wakes the workers when work was committed.
//!
//! A wake is a hint, never the truth: workers also look on a timer, so one that is lost costs time and nothing else. In
//! this process it is a [`Notify`]; to other processes on PostgreSQL a `NOTIFY` that is sent after the commit and apart from it,
//! because PostgreSQL lets transactions that notify commit only one after the other.

use std::{sync::Arc, time::Duration};

use sea_orm::sqlx::{self, PgPool, postgres::PgListener};
use tokio::sync::{Notify, futures::Notified};
use tokio_util::sync::CancellationToken;

const CHANNEL: &str = "tenantry_work";

/// Tells workers, here and in other processes, that there may be work.
#[derive(Clone, Debug, Default)]
pub struct Wake {
    local: Arc<Notify>,
    outgoing: Arc<Notify>,
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
        sqlx::query("select pg_notify($1, '')").bind(CHANNEL).execute(pool).await.map(drop)
    }

    /// Carries wakes from this process to others and back until `stop`. Reconnects for ever.
    pub async fn relay(self, pool: PgPool, stop: CancellationToken) {
        let send = async {
            loop {
                self.outgoing.notified().await;
                if let Err(error) = Self::notify(&pool).await {
                    tracing::debug!(%error, "Could not notify other replicas; their timers will find the work");
                }
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
        loop {
            listener.recv().await?;
            self.local.notify_waiters();
        }
    }
}
