//! Mail: what is written to people, and how it leaves.
//!
//! A letter is rendered when it is queued, in the transaction of the fact that caused it, and waits sealed in the outbox.
//! It leaves by SMTP, or stays readable in the development mailbox.

mod dev;
pub mod letters;
mod message;
mod transport;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use url::Url;
use uuid::Uuid;

pub use dev::routes;
pub use message::links;
pub use transport::{Transport, TransportError};

use crate::{
    app::App,
    clock::Now,
    db::Batch,
    identity::email::Email,
    outbox::{self, Kind, Outcome},
    seal::Sealer,
};

/// A letter, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// Whom it is for.
    #[serde(deserialize_with = "address")]
    pub to: Email,
    /// Their name, where it is known.
    pub to_name: Option<String>,
    /// One line of text.
    pub subject: String,
    /// The plain part; its links stand on lines of their own.
    pub text: String,
    /// The same as HTML.
    pub html: String,
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Email, D::Error> {
    Email::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// Puts letters into the outbox. Plain data.
#[derive(Clone, Debug)]
pub struct Post {
    /// Seals letters, because their links are secrets.
    pub sealer: Sealer,
    /// What links begin with.
    pub public_url: Url,
    /// Where bank transfers go, line by line.
    pub bank_details: Vec<String>,
}

impl Post {
    /// Queues a letter; answers its id. Wake the workers after the commit.
    pub fn queue(&self, batch: &mut Batch, now: &Now, tenant_id: Option<Uuid>, mail: &Mail) -> Uuid {
        outbox::enqueue(batch, &self.sealer, now, tenant_id, Kind::Mail, mail)
    }
}

/// Sends the sealed letter of an outbox row. A repeat carries the same `Message-ID`.
pub async fn send(app: &App, id: Uuid, payload: &[u8]) -> Outcome {
    match outbox::open::<Mail>(&app.sealer, payload) {
        Ok(mail) => app.mailer.send(id, &app.clock.now(), &mail).await,
        Err(error) => Outcome::Refused { error: crate::http::chain(&error) },
    }
}
