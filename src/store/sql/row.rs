//! Columns to domain values: the one place that knows how each kind of value is written.

use std::fmt::Display;
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::any::AnyRow;
use sqlx::{Any, Decode, Row, Type};

use crate::domain::Timestamp;
use crate::store::StoreError;

/// A row that is being read.
pub(super) struct Fields<'r> {
    /// Its table, for messages.
    table: &'static str,
    row: &'r AnyRow,
    is_joined: bool,
}

impl<'r> Fields<'r> {
    /// A row of that table.
    pub(super) fn of(table: &'static str, row: &'r AnyRow) -> Self {
        Self { table, row, is_joined: false }
    }

    /// A row of that table as part of a longer one, in which its columns begin with its name and an underscore.
    pub(super) fn joined(table: &'static str, row: &'r AnyRow) -> Self {
        Self { table, row, is_joined: true }
    }

    /// A column as the database has it; `Option<T>` where it may be null.
    pub(super) fn get<T: Decode<'r, Any> + Type<Any>>(&self, column: &str) -> Result<T, StoreError> {
        let got = if self.is_joined {
            self.row.try_get(format!("{}_{column}", self.table).as_str())
        } else {
            self.row.try_get(column)
        };
        got.map_err(|error| self.unreadable(column, error))
    }

    /// A text that a domain type parses: ids, kinds, statuses.
    pub(super) fn parse<T: FromStr<Err: Display>>(&self, column: &str) -> Result<T, StoreError> {
        self.get::<&str>(column)?.parse().map_err(|error| self.unreadable(column, error))
    }

    /// A text that a domain type parses, if there is one.
    pub(super) fn parse_if_any<T: FromStr<Err: Display>>(&self, column: &str) -> Result<Option<T>, StoreError> {
        let text: Option<String> = self.get(column)?;
        text.map(|text| text.parse()).transpose().map_err(|error| self.unreadable(column, error))
    }

    /// A text in JSON.
    pub(super) fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, StoreError> {
        serde_json::from_str(self.get::<&str>(column)?).map_err(|error| self.unreadable(column, error))
    }

    /// A text in JSON, if there is one.
    pub(super) fn json_if_any<T: DeserializeOwned>(&self, column: &str) -> Result<Option<T>, StoreError> {
        let text: Option<String> = self.get(column)?;
        text.map(|text| serde_json::from_str(&text)).transpose().map_err(|error| self.unreadable(column, error))
    }

    /// A number that is not negative.
    pub(super) fn number<T: TryFrom<i64, Error: Display>>(&self, column: &str) -> Result<T, StoreError> {
        T::try_from(self.get(column)?).map_err(|error| self.unreadable(column, error))
    }

    /// A number that is not negative, if there is one.
    pub(super) fn number_if_any<T: TryFrom<i64, Error: Display>>(&self, column: &str) -> Result<Option<T>, StoreError> {
        let number: Option<i64> = self.get(column)?;
        number.map(T::try_from).transpose().map_err(|error| self.unreadable(column, error))
    }

    /// A truth value, written as 0 or 1.
    pub(super) fn flag(&self, column: &str) -> Result<bool, StoreError> {
        Ok(self.get::<i64>(column)? != 0)
    }

    /// A moment.
    pub(super) fn moment(&self, column: &str) -> Result<Timestamp, StoreError> {
        Ok(Timestamp::from_millis(self.get(column)?))
    }

    /// A moment, if there was one.
    pub(super) fn moment_if_any(&self, column: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.get::<Option<i64>>(column)?.map(Timestamp::from_millis))
    }

    /// This row cannot be read because of `column`.
    pub(super) fn unreadable(&self, column: &str, reason: impl Display) -> StoreError {
        StoreError::Unreadable { table: self.table, reason: format!("{column}: {reason}") }
    }
}

/// A domain value as JSON text.
pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("domain values have string keys and finite numbers")
}

/// A count as databases have them.
pub(super) fn number(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
