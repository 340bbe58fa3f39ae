//! Lists: `?limit=` and `?cursor=`, newest first, by id.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{FieldError, Problem};

/// What a list is asked for.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// How many rows, 1 to 200; 50 unless told.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<u64>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// A page to fetch: rows with an id below `before`, newest first.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// At most this many rows.
    pub limit: u64,
    /// The last id of the page before, or the highest id there is.
    pub before: Uuid,
}

impl PageQuery {
    /// Reads the cursor and checks the limit.
    pub fn page(&self) -> Result<Page, Problem> {
        let limit = self.limit.unwrap_or(50);
        if !(1..=200).contains(&limit) {
            return Err(Problem::invalid(vec![FieldError::new("limit", "OUT_OF_RANGE", "limit has to be 1 to 200.")]));
        }
        let before = match &self.cursor {
            None => Uuid::max(),
            Some(cursor) => read(cursor).ok_or_else(|| {
                Problem::invalid(vec![FieldError::new(
                    "cursor",
                    "INVALID",
                    "This cursor is not one that a list returned.",
                )])
            })?,
        };
        Ok(Page { limit, before })
    }
}

fn read(cursor: &str) -> Option<Uuid> {
    Uuid::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()
}

/// One page of a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Listing<T> {
    /// The rows.
    pub data: Vec<T>,
    /// Where the next page begins; null on the last.
    pub next_cursor: Option<String>,
}

impl<T> Listing<T> {
    /// A page of rows that were fetched with `limit + 1`, so that a next one is known of.
    pub fn of(mut rows: Vec<T>, page: Page, id: impl Fn(&T) -> Uuid) -> Self {
        let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| more);
        Self { next_cursor: last.map(|row| BASE64_URL_SAFE_NO_PAD.encode(id(row).as_bytes())), data: rows }
    }
}
