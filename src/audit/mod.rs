//! The audit log: who did what to which tenant, from which request. Append-only: rows are neither changed nor deleted, and
//! outlive what they tell of.

mod api;
mod store;

use sea_orm::DbErr;
use uuid::Uuid;

use crate::{
    clock::Now,
    db::{Batch, Tx},
    http::RequestId,
};

pub use api::routes;
pub use store::{AuditEvent, list};

/// Who did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A user, by id.
    User(Uuid),
    /// One of the platform's own people; without an id where it was the operator's token.
    PlatformAdmin(Option<Uuid>),
    /// Somebody at the command line.
    Cli,
    /// The program itself, or somebody that it does not know yet.
    System,
}

impl Actor {
    /// As in the database.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::PlatformAdmin(_) => "platform_admin",
            Self::Cli => "cli",
            Self::System => "system",
        }
    }

    /// The user's id, where there is one.
    pub const fn id(self) -> Option<Uuid> {
        match self {
            Self::User(id) => Some(id),
            Self::PlatformAdmin(id) => id,
            Self::Cli | Self::System => None,
        }
    }
}

/// Something that was done.
#[derive(Clone, Debug)]
pub struct Event {
    /// Who did it.
    pub actor: Actor,
    /// To which tenant.
    pub tenant_id: Option<Uuid>,
    /// What: a noun and a past participle, such as `tenant.created`.
    pub action: &'static str,
    /// The request it came with.
    pub request_id: Option<String>,
    /// A JSON object with what else matters; no secrets.
    pub detail: serde_json::Value,
}

/// Records an event in the transaction of what it tells of.
pub fn append(batch: &mut Batch, now: &Now, event: Event) {
    batch.insert(store::row::Model {
        id: now.id(),
        tenant_id: event.tenant_id,
        actor_type: event.actor.kind().to_owned(),
        actor_id: event.actor.id(),
        action: event.action.to_owned(),
        request_id: event.request_id,
        detail: event.detail,
        created_at: now.at,
    });
}

/// Records an event by itself, where nothing else is inserted with it: who did what, to which tenant.
pub async fn note(
    tx: &Tx,
    now: &Now,
    RequestId(request): &RequestId,
    (actor, tenant_id): (Actor, Option<Uuid>),
    action: &'static str,
    detail: serde_json::Value,
) -> Result<(), DbErr> {
    let mut batch = Batch::default();
    append(&mut batch, now, Event { actor, tenant_id, action, request_id: Some(request.clone()), detail });
    batch.send(tx).await.map_err(|refused| refused.source)
}
