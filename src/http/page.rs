//! Lists: a page at a time, by opaque cursor.

use std::fmt::Display;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problem::Problem;
use crate::domain::Timestamp;
use crate::service::Page;

const DEFAULT_LIMIT: usize = 20;
const MAX_LIMIT: usize = 100;

/// Which page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PageParams {
    /// Most rows, 1 to 100.
    #[param(default = 20, minimum = 1, maximum = 100)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    after: Option<String>,
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct List<T> {
    /// `list`
    object: &'static str,
    /// The rows, newest first.
    data: Vec<T>,
    /// Whether there are more.
    has_more: bool,
    /// What to send as `after` for the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

impl PageParams {
    /// From parameters that a list takes among others.
    pub fn new(limit: Option<usize>, after: Option<String>) -> Self {
        Self { limit, after }
    }

    /// How many rows were asked for.
    pub fn limit(&self) -> Result<usize, Problem> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if (1..=MAX_LIMIT).contains(&limit) {
            return Ok(limit);
        }
        Err(Problem::malformed("invalid_query", "limit", format!("{limit} is outside 1..={MAX_LIMIT}")))
    }

    /// The page as the service takes it: one row more than was asked for, which tells whether there are more.
    pub fn page<Id: FromStr>(&self) -> Result<Page<Id>, Problem> {
        let read = |cursor: &str| {
            let (created, id) = split(cursor)?;
            Some((Timestamp::from_millis(created.parse().ok()?), id.parse().ok()?))
        };
        let after = self.after.as_deref().map(|cursor| read(cursor).ok_or_else(invalid_cursor)).transpose()?;
        Ok(Page { after, limit: self.limit()? + 1 })
    }

    /// The cursor of a list that is ordered by a number.
    pub fn before(&self) -> Result<Option<u32>, Problem> {
        let read = |cursor: &str| decode(cursor)?.parse().ok();
        self.after.as_deref().map(|cursor| read(cursor).ok_or_else(invalid_cursor)).transpose()
    }
}

fn invalid_cursor() -> Problem {
    let detail = "send `next_cursor` as it was given, or no cursor for the first page".to_owned();
    Problem::malformed("invalid_cursor", "after", detail)
}

fn decode(cursor: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()
}

/// A cursor's moment and id.
fn split(cursor: &str) -> Option<(String, String)> {
    let text = decode(cursor)?;
    let (created, id) = text.split_once(' ')?;
    Some((created.to_owned(), id.to_owned()))
}

impl<T> List<T> {
    /// From the rows of [`PageParams::page`]; `key` is what a list is ordered by.
    pub fn new<R>(rows: Vec<R>, limit: usize, key: impl Fn(&R) -> (Timestamp, String), body: impl Fn(R) -> T) -> Self {
        let cursor = |row: &R| {
            let (created, id) = key(row);
            format!("{} {id}", created.millis())
        };
        Self::with_cursor(rows, limit, cursor, body)
    }

    /// From rows that are ordered by a number.
    pub fn numbered<R, N: Display>(rows: Vec<R>, limit: usize, key: impl Fn(&R) -> N, body: impl Fn(R) -> T) -> Self {
        Self::with_cursor(rows, limit, |row| key(row).to_string(), body)
    }

    /// A list that is whole.
    pub fn whole(data: Vec<T>) -> Self {
        Self { object: "list", data, has_more: false, next_cursor: None }
    }

    fn with_cursor<R>(mut rows: Vec<R>, limit: usize, cursor: impl Fn(&R) -> String, body: impl Fn(R) -> T) -> Self {
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| has_more);
        let next_cursor = last.map(|row| URL_SAFE_NO_PAD.encode(cursor(row)));
        Self { object: "list", data: rows.into_iter().map(body).collect(), has_more, next_cursor }
    }
}
