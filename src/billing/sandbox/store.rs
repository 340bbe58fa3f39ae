//! The sandbox's objects in the database: Stripe's JSON, with what queries need beside it.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use serde_json::Value;

use crate::db::{Tx, for_update, sql};

/// What an object knows and Stripe's API does not show is under this name.
pub const HIDDEN: &str = "_sandbox";

#[derive(FromQueryResult)]
struct Row {
    sequence: i64,
    data: String,
}

impl Row {
    fn read(self) -> Result<(i64, Value), DbErr> {
        let unreadable = |error| DbErr::Custom(format!("object {} of the sandbox is not JSON: {error}", self.sequence));
        Ok((self.sequence, serde_json::from_str(&self.data).map_err(unreadable)?))
    }
}

#[derive(FromQueryResult)]
struct Number {
    last_number: i64,
}

/// One object, with what is hidden.
pub async fn find(db: &impl ConnectionTrait, id: &str) -> Result<Option<Value>, DbErr> {
    Ok(place(db, id).await?.map(|(_, object)| object))
}

/// One object with its place in the order.
pub async fn place(db: &impl ConnectionTrait, id: &str) -> Result<Option<(i64, Value)>, DbErr> {
    let query = "select sequence, data from sandbox_objects where id = $1";
    Row::find_by_statement(sql(db, query, [id.into()])).one(db).await?.map(Row::read).transpose()
}

/// The objects of a kind, of one customer or (empty) of all, the newest first, that come in the order after `after` and before `before`.
pub async fn newest(
    db: &impl ConnectionTrait,
    kind: &str,
    customer: &str,
    (after, before): (i64, i64),
    limit: i64,
) -> Result<Vec<(i64, Value)>, DbErr> {
    let query = "select sequence, data from sandbox_objects where object = $1 and ($2 = '' or customer = $2) \
                 and sequence > $3 and sequence < $4 order by sequence desc limit $5";
    let values = [kind.into(), customer.into(), after.into(), before.into(), limit.into()];
    let rows = Row::find_by_statement(sql(db, query, values)).all(db).await?;
    rows.into_iter().map(Row::read).collect()
}

/// The same from the other end: the oldest first.
pub async fn oldest(
    db: &impl ConnectionTrait,
    kind: &str,
    customer: &str,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, Value)>, DbErr> {
    let query = "select sequence, data from sandbox_objects where object = $1 and ($2 = '' or customer = $2) \
                 and sequence > $3 order by sequence limit $4";
    let values = [kind.into(), customer.into(), after.into(), limit.into()];
    let rows = Row::find_by_statement(sql(db, query, values)).all(db).await?;
    rows.into_iter().map(Row::read).collect()
}

/// All objects of a kind that one customer has, the newest first.
pub async fn all_of(db: &impl ConnectionTrait, kind: &str, customer: &str) -> Result<Vec<Value>, DbErr> {
    let rows = newest(db, kind, customer, (0, i64::MAX), i64::MAX).await?;
    Ok(rows.into_iter().map(|(_, object)| object).collect())
}

#[derive(FromQueryResult)]
struct Due {
    due_at: DateTime<Utc>,
    data: String,
}

/// The object that has to be looked at first, and when.
pub async fn next_due(db: &impl ConnectionTrait) -> Result<Option<(DateTime<Utc>, Value)>, DbErr> {
    let query = "select due_at, data from sandbox_objects where due_at is not null order by due_at, sequence limit 1";
    let Some(due) = Due::find_by_statement(sql(db, query, [])).one(db).await? else { return Ok(None) };
    let object = serde_json::from_str(&due.data).map_err(|error| DbErr::Custom(error.to_string()))?;
    Ok(Some((due.due_at, object)))
}

/// Holds the counter until the transaction ends, so that changes come one after the other; answers the number given last.
pub(super) async fn lock(tx: &Tx) -> Result<i64, DbErr> {
    let query = format!("select last_number from sandbox_counter where id = 1{}", for_update(tx));
    let number = Number::find_by_statement(sql(tx, &query, [])).one(tx).await?;
    number.map(|row| row.last_number).ok_or_else(|| DbErr::RecordNotFound("the sandbox's counter".into()))
}

/// Writes down the number given last.
pub(super) async fn count(tx: &Tx, last_number: i64) -> Result<(), DbErr> {
    let update = "update sandbox_counter set last_number = $1 where id = 1";
    tx.execute_raw(sql(tx, update, [last_number.into()])).await.map(drop)
}

/// Adds an object.
pub(super) async fn insert(tx: &Tx, sequence: i64, object: &Value, due_at: Option<DateTime<Utc>>) -> Result<(), DbErr> {
    let insert =
        "insert into sandbox_objects (id, object, customer, sequence, due_at, data) values ($1, $2, $3, $4, $5, $6)";
    let values = [
        text(object, "id").into(),
        text(object, "object").into(),
        owner(object).into(),
        sequence.into(),
        due_at.into(),
        object.to_string().into(),
    ];
    tx.execute_raw(sql(tx, insert, values)).await.map(drop)
}

/// Puts an object in the place of what it was.
pub(super) async fn update(tx: &Tx, object: &Value, due_at: Option<DateTime<Utc>>) -> Result<(), DbErr> {
    let update = "update sandbox_objects set customer = $2, due_at = $3, data = $4 where id = $1";
    let values = [text(object, "id").into(), owner(object).into(), due_at.into(), object.to_string().into()];
    tx.execute_raw(sql(tx, update, values)).await.map(drop)
}

/// The customer that an object belongs to; a customer is its own.
fn owner(object: &Value) -> Option<String> {
    let field = if object["object"] == "customer" { "id" } else { "customer" };
    object[field].as_str().map(str::to_owned)
}

/// A text of an object; empty where there is none.
pub fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

/// A number of an object; 0 where there is none.
pub fn int(object: &Value, field: &str) -> i64 {
    object[field].as_i64().unwrap_or_default()
}

/// Takes out of an answer what Stripe would not show.
pub fn hide(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove(HIDDEN);
            fields.values_mut().for_each(hide);
        }
        Value::Array(items) => items.iter_mut().for_each(hide),
        _ => {}
    }
}
