//! `Idempotency-Key`: a repeat of a request answers what the first one did.
//!
//! The answer is stored in the transaction of the work, so there is no moment at which the work is done and a repeat is not
//! recognised. Two requests that race under one key collide on its row, or on a row of the work, at the latest when they
//! commit: the loser rolls back, finds the winner's answer and replays it.

use axum::{
    Json,
    extract::{FromRequest, Request},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use chrono::TimeDelta;
use sea_orm::{ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, QueryTrait};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::ToSchema;

use super::{FieldError, Problem, extract};
use crate::{
    app::App,
    clock::Now,
    db::{Tx, Unique, failpoint, sql, unique},
};

pub(crate) mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "idempotency_keys")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Vec<u8>,
        pub fingerprint: Vec<u8>,
        pub status_code: i64,
        pub response: Vec<u8>,
        pub created_at: DateTimeUtc,
        pub expires_at: DateTimeUtc,
    }

    crate::db::plain_entity!();
}

const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const PURPOSE: &str = "idempotency";
const KEPT: TimeDelta = TimeDelta::hours(24);

/// The body of a POST that has nothing to say.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// The body of a POST that creates or triggers something, and what recognises its repeats.
///
/// An absent body reads as `{}` where every field is optional.
#[derive(Clone, Debug)]
pub struct Posted<T> {
    /// What was sent.
    pub body: T,
    /// The request's identity.
    pub key: IdempotencyKey,
}

/// The header's value, with the route and the body that it was sent with.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    sent: Option<String>,
    route: String,
    body: Vec<u8>,
}

impl IdempotencyKey {
    /// Of a page's form. What is sent in it belongs to the key, so that a form which was filled in differently is another request.
    pub(super) fn of_form(key: Option<String>, route: String, form: &[u8]) -> Self {
        let sent = key.map(|key| format!("{key} {}", String::from_utf8_lossy(form)));
        Self { sent, route, body: form.to_vec() }
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Posted<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let sent = sent(request.headers())?;
        let route = format!("{} {}", request.method(), request.uri().path().trim_end_matches('/'));
        let value = extract::object(request, state).await?;
        // A parsed object prints its members in order, so a repeat may order them as it likes.
        let body = value.to_string().into_bytes();
        Ok(Self { body: extract::typed(value)?, key: IdempotencyKey { sent, route, body } })
    }
}

fn sent(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(&HEADER) else { return Ok(None) };
    let key = value.to_str().unwrap_or_default().trim();
    if (1..=255).contains(&key.len()) {
        return Ok(Some(key.to_owned()));
    }
    let message = "Idempotency-Key has to be 1 to 255 visible ASCII characters.";
    Err(Problem::invalid(vec![FieldError::new("Idempotency-Key", "INVALID", message)]))
}

/// What a handler answers, in a form that can be kept and replayed.
#[derive(Clone, Debug)]
pub struct Reply {
    status: StatusCode,
    body: serde_json::Value,
    replayed: bool,
}

impl Reply {
    /// An answer with a JSON body.
    ///
    /// # Panics
    /// Where `body` cannot be JSON, which no answer type of ours is.
    pub fn new(status: StatusCode, body: &impl Serialize) -> Self {
        let body = serde_json::to_value(body).expect("answers are plain data");
        Self { status, body, replayed: false }
    }
}

impl Reply {
    /// A member of the body.
    pub fn member(&self, name: &str) -> &serde_json::Value {
        &self.body[name]
    }

    /// Adds a member that was not known when the work was committed; [`Once::amend`] keeps it.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.body[name] = value.into();
        self
    }

    /// What it says, for a page that shows it.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, Problem> {
        serde_json::from_value(self.body).map_err(|error| Problem::internal(&error))
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        if self.replayed {
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }
}

/// One request, recognised among its repeats.
pub struct Once<'a> {
    app: &'a App,
    /// The key's hash and the body's, where a key was sent.
    seen_as: Option<([u8; 32], [u8; 32])>,
}

impl<'a> Once<'a> {
    /// `caller` is the tenant or user; empty for anonymous calls, which share one space of keys.
    pub fn new(app: &'a App, key: &IdempotencyKey, caller: &str) -> Self {
        let seen_as = key.sent.as_ref().map(|sent| {
            let scope = format!("{}\n{caller}\n{sent}", key.route);
            // Keyed, because bodies hold passwords.
            (app.sealer.mac(PURPOSE, scope.as_bytes()), app.sealer.mac(PURPOSE, &key.body))
        });
        Self { app, seen_as }
    }

    /// Replays the first answer, or does `work`, which has to end in [`Once::commit`].
    pub async fn run(&self, work: impl Future<Output = Result<Reply, Problem>>) -> Result<Reply, Problem> {
        if let Some(first) = self.find().await? {
            return Ok(first);
        }
        match work.await {
            Ok(reply) => Ok(reply),
            // It may be refused because a request under the same key has won in the meantime.
            Err(problem) => self.find().await?.ok_or(problem),
        }
    }

    /// Keeps the answer, commits, and wakes the workers.
    pub async fn commit(&self, tx: Tx, now: &Now, reply: Reply) -> Result<Reply, NotKept> {
        let failed = |part| move |source| NotKept::Database { part, source };
        if let Some((id, fingerprint)) = self.seen_as {
            match self.keep(&tx, now, &reply, id, fingerprint).await {
                Err(error) if unique(&error) == Some(Unique::IdempotencyKey) => return Err(NotKept::InProgress),
                kept => kept.map_err(failed("idempotency_keys"))?,
            }
        }
        failpoint("commit::before").map_err(failed("commit"))?;
        tx.commit().await.map_err(failed("commit"))?;
        self.app.wake.wake();
        failpoint("commit::after").map_err(failed("commit"))?;
        Ok(reply)
    }

    /// Keeps what was added to an answer after its commit, so that a repeat has it too.
    pub async fn amend(&self, now: &Now, reply: &Reply) -> Result<(), DbErr> {
        let Some((id, _)) = self.seen_as else { return Ok(()) };
        let sealed = self.app.sealer.seal(PURPOSE, now.bytes(), reply.body.to_string().as_bytes());
        let update = "update idempotency_keys set response = $2 where id = $1 and expires_at > $3";
        let tx = self.app.db.begin().await?;
        tx.execute_raw(sql(&tx, update, [id.to_vec().into(), sealed.into(), now.at.into()])).await?;
        tx.commit().await
    }

    async fn keep(&self, tx: &Tx, now: &Now, reply: &Reply, id: [u8; 32], fingerprint: [u8; 32]) -> Result<(), DbErr> {
        failpoint("insert::idempotency_keys")?;
        let expired = "delete from idempotency_keys where id = $1 and expires_at <= $2";
        tx.execute_raw(sql(tx, expired, [id.to_vec().into(), now.at.into()])).await?;
        let row = row::Model {
            id: id.to_vec(),
            fingerprint: fingerprint.to_vec(),
            status_code: reply.status.as_u16().into(),
            response: self.app.sealer.seal(PURPOSE, now.bytes(), reply.body.to_string().as_bytes()),
            created_at: now.at,
            expires_at: now.at + KEPT,
        };
        let insert = row::Entity::insert(row.into_active_model()).into_query();
        tx.execute(&insert).await.map(drop)
    }

    async fn find(&self) -> Result<Option<Reply>, Problem> {
        let Some((id, fingerprint)) = self.seen_as else { return Ok(None) };
        let Some(row) = row::Entity::find_by_id(id.to_vec()).one(self.app.db.read()).await? else { return Ok(None) };
        if row.expires_at <= self.app.clock.now().at {
            return Ok(None);
        }
        if row.fingerprint != fingerprint {
            let detail = "This Idempotency-Key was sent before with another request body.";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "IDEMPOTENCY_KEY_REUSED", detail));
        }
        let body = self.app.sealer.open(PURPOSE, &row.response).map_err(|error| Problem::internal(&error))?;
        let body = serde_json::from_slice(&body).map_err(|error| Problem::internal(&error))?;
        let status = u16::try_from(row.status_code).ok().and_then(|code| StatusCode::from_u16(code).ok());
        Ok(Some(Reply { status: status.unwrap_or(StatusCode::OK), body, replayed: true }))
    }
}

/// Why a request's work was not committed.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    /// A request under the same key is being committed.
    #[error("a request with this Idempotency-Key is still running")]
    InProgress,
    /// The database refused.
    #[error("writing {part} failed")]
    Database {
        /// What was being written.
        part: &'static str,
        /// What the database said.
        source: DbErr,
    },
}

impl From<NotKept> for Problem {
    fn from(error: NotKept) -> Self {
        match error {
            NotKept::InProgress => {
                Self::conflict("IDEMPOTENCY_IN_PROGRESS", "A request with this Idempotency-Key is still running.")
            }
            NotKept::Database { source, .. } => Self::database(&source),
        }
    }
}
