//! Sales leads: whoever wants more than self-serve offers, and asks to be called. One begins as `new`; the operator's people say how it goes on.

pub mod admin;
mod api;
pub mod pages;
mod store;

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, DeriveActiveEnum, EnumIter, FromQueryResult};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

pub use api::routes;

use crate::{
    audit::{self, Actor},
    clock::Now,
    db::Tx,
    http::{Listing, Page, RequestId},
};

/// How far a lead has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[schema(as = SalesLeadStatus)]
pub enum Status {
    /// Nobody has answered.
    New,
    /// Somebody has.
    Contacted,
    /// It may come to something.
    Qualified,
    /// It is a customer.
    Won,
    /// It came to nothing.
    Lost,
}

impl Status {
    /// In the order that they follow each other.
    pub const ALL: [Self; 5] = [Self::New, Self::Contacted, Self::Qualified, Self::Won, Self::Lost];

    /// As in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Contacted => "contacted",
            Self::Qualified => "qualified",
            Self::Won => "won",
            Self::Lost => "lost",
        }
    }
}

/// Somebody who asked to be called.
#[derive(Clone, Debug, Serialize, ToSchema, FromQueryResult)]
#[schema(as = SalesLead)]
pub struct Lead {
    /// Its id.
    pub id: Uuid,
    /// Where to answer to.
    pub email: String,
    /// Who asked.
    pub name: String,
    /// For which company.
    pub company: String,
    /// How many would use it: a number, or a range.
    pub team_size: Option<String>,
    /// What they want.
    pub message: Option<String>,
    /// How far it has come.
    pub status: Status,
    /// When they asked.
    pub created_at: DateTime<Utc>,
    /// When its status changed last.
    pub updated_at: DateTime<Utc>,
}

/// A page of leads, those of one status where it is given, newest first.
pub async fn list(db: &impl ConnectionTrait, status: Option<Status>, page: Page) -> Result<Listing<Lead>, DbErr> {
    Ok(Listing::of(store::list(db, status, page).await?, page, |lead| lead.id))
}

/// Says how far a lead has come, and who said so; nothing where there is no such lead. The same again changes nothing.
pub async fn set_status(
    tx: &Tx,
    now: &Now,
    (actor, request): (Actor, &RequestId),
    (id, status): (Uuid, Status),
) -> Result<Option<Lead>, DbErr> {
    let Some(before) = store::lock(tx, id).await? else { return Ok(None) };
    if before.status == status {
        return Ok(Some(before));
    }
    store::set_status(tx, now, id, status).await?;
    let detail = json!({"lead_id": id, "from": before.status, "to": status});
    audit::note(tx, now, request, (actor, None), "sales_lead.changed", detail).await?;
    Ok(Some(Lead { status, updated_at: now.at, ..before }))
}
