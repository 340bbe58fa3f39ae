//! What the journeys stand on: a product of their own each, on a database of its own.

mod browser;
mod census;
mod cli;
mod database;
pub mod factor;
mod fake;
mod logs;
mod product;
mod provider;
mod walk;

pub use browser::{Browser, FormOn};
pub use census::grown;
pub use cli::{cli, cli_with};
pub use database::{Database, Kind, WRITTEN_BY_SIGNUP, eventually};
pub use fake::{Fake, Gate, PATIENCE, Reply, Seen};
pub use logs::{Logged, Logs};
pub use product::{ADMIN_TOKEN, Answer, Product, Settings, answer, signup_body};
pub use provider::Provider;
pub use walk::{MAKE_URL, Visitor, fields, healthy, names, tally, text, with_status};

/// Makes two tests of one journey: `name::sqlite` and `name::postgres`.
macro_rules! on_both {
    ($(#[$meta:meta])* async fn $name:ident($database:ident: Database) $body:block) => {
        mod $name {
            #[allow(unused_imports, reason = "a journey may need nothing from around it")]
            use super::*;

            async fn journey($database: $crate::support::Database) $body

            $(#[$meta])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                journey($crate::support::Database::create($crate::support::Kind::Sqlite).await).await;
            }

            $(#[$meta])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                journey($crate::support::Database::create($crate::support::Kind::Postgres).await).await;
            }
        }
    };
}
