//! A tenant's content: posts and fixtures.
//!
//! Every tenant begins with a welcome post and a sample fixture ([`seed`]), so that its public page is never empty. A post
//! is known by its slug within the tenant, a fixture by its date and its two teams.

mod store;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use sea_orm::{DbErr, DeriveActiveEnum, EnumIter, FromQueryResult};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

pub use store::{published_posts, upcoming_fixtures};

use crate::{clock::Now, db::Tx};

/// Where a fixture stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum FixtureStatus {
    /// To be played.
    Scheduled,
    /// Being played.
    Live,
    /// Played.
    Finished,
    /// To be played at another date.
    Postponed,
    /// Not to be played.
    Canceled,
}

/// A published post, as everybody sees it.
#[derive(Clone, Debug, Serialize, ToSchema, FromQueryResult)]
pub struct Post {
    /// Its name in addresses, unique within the tenant.
    pub slug: String,
    /// Its headline.
    pub title: String,
    /// Plain text; an empty line parts paragraphs.
    pub body: String,
    /// Since when it can be read.
    pub published_at: DateTime<Utc>,
}

/// A fixture, as everybody sees it.
#[derive(Clone, Debug, Serialize, ToSchema, FromQueryResult)]
pub struct Fixture {
    /// The day it is played.
    pub fixture_date: NaiveDate,
    /// Who plays at home.
    pub home_team: String,
    /// Who visits.
    pub away_team: String,
    /// Where.
    pub venue: Option<String>,
    /// Where it stands.
    pub status: FixtureStatus,
}

impl Fixture {
    /// What visitors have to know about it, where it does not simply take place.
    pub fn note(&self) -> Option<&'static str> {
        match self.status {
            FixtureStatus::Scheduled | FixtureStatus::Finished => None,
            FixtureStatus::Live => Some("Now"),
            FixtureStatus::Postponed => Some("Postponed"),
            FixtureStatus::Canceled => Some("Canceled"),
        }
    }
}

/// The tenant that is to get its first content.
#[derive(Clone, Copy, Debug)]
pub struct Newcomer<'a> {
    /// Which.
    pub tenant_id: Uuid,
    /// Its name, for the texts.
    pub name: &'a str,
    /// When it signed up. The sample fixture counts from here, so that a repeat on another day makes the same one.
    pub since: DateTime<Utc>,
}

const WELCOME: &str = "welcome";
const AWAY_TEAM: &str = "Visitors";
const UNTIL_FIXTURE: TimeDelta = TimeDelta::days(7);

/// Writes the welcome post and the sample fixture; what is there already stays as it is.
pub async fn seed(tx: &Tx, now: &Now, newcomer: Newcomer<'_>) -> Result<(), DbErr> {
    let Newcomer { tenant_id, name, since } = newcomer;
    let post = store::post::Model {
        tenant_id,
        id: now.id(),
        slug: WELCOME.to_owned(),
        title: format!("Welcome to {name}"),
        body: format!("{name} is open.\n\nThis is your first post. Change it, or write the next one."),
        published_at: Some(now.at),
        created_at: now.at,
        updated_at: now.at,
    };
    let fixture = store::fixture::Model {
        tenant_id,
        id: now.id(),
        fixture_date: (since + UNTIL_FIXTURE).date_naive(),
        home_team: name.to_owned(),
        away_team: AWAY_TEAM.to_owned(),
        venue: None,
        status: FixtureStatus::Scheduled,
        created_at: now.at,
        updated_at: now.at,
    };
    store::add_missing(tx, post, fixture).await
}
