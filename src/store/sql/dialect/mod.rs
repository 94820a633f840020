//! Where the databases differ.
//!
//! To add one: a file beside these with a [`Dialect`] and an `open`, an arm in `SqlStore::open`, a folder of
//! migrations, and a line in the list of backends in `tests/it/store`.

pub(super) mod postgres;
pub(super) mod sqlite;

use sqlx::migrate::Migrator;
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe};

pub(super) use postgres::POSTGRES;
pub(super) use sqlite::SQLITE;

use super::tx::Scope;
use crate::domain::Timestamp;
use crate::store::StoreError;

/// The words of one database.
#[derive(Debug)]
pub(super) struct Dialect {
    /// Starts a transaction about somebody's rows; nothing to do where the statement is one by itself.
    pub(super) begin: fn(Access, Scope) -> Option<String>,
    /// Makes the transaction under way one about somebody else's rows; nothing to do where the database does not look.
    pub(super) enter: fn(Scope) -> Option<String>,
    /// Ends a `SELECT` so that its row stays as it is until the transaction ends.
    pub(super) lock: &'static str,
    /// Ends the `SELECT` of a claim on `adaptations AS a`: as `lock`, but passes over rows that others hold.
    pub(super) lock_free_job: &'static str,
    /// The same for `deliveries AS a` and their `webhooks AS w`.
    pub(super) lock_free_delivery: &'static str,
    /// Ends a `SELECT` from one table: its rows stay as they are, and those that others hold are passed over.
    pub(super) lock_free_row: &'static str,
    /// Lets transactions that say it wait for each other; nothing to do where those that write do so anyway.
    pub(super) one_at_a_time: Option<&'static str>,
    /// The database's time in milliseconds since 1970, as an expression.
    pub(super) clock: &'static str,
    /// Whether it has roles: one that owns the tables, and one that the server runs as.
    pub(super) has_roles: bool,
    /// The schema's history.
    pub(super) migrations: Migrator,
}

/// What a transaction is going to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Read, by one statement.
    Glance,
    /// Read.
    Read,
    /// Read and write.
    Write,
}

/// Connections that may write, and connections that need not.
pub(super) struct Pools {
    pub(super) writer: AnyPool,
    pub(super) reader: AnyPool,
}

impl Dialect {
    /// Whether a connection is as it should be once a transaction that ended so is rolled back. `SQLite` ends a
    /// transaction by itself when it runs out of room or memory, which the driver does not notice: to it the connection is
    /// inside that transaction for ever.
    pub(super) fn is_usable_after(&self, error: &StoreError) -> bool {
        match error {
            StoreError::Away => false,
            StoreError::Database(error) => error
                .as_database_error()
                .is_some_and(|error| self.has_roles || !matches!(error.kind(), sqlx::error::ErrorKind::Other)),
            _ => true,
        }
    }

    /// The time on the clock that all processes share: leases are measured on it.
    pub(super) async fn now(&self, db: &mut AnyConnection) -> Result<Timestamp, StoreError> {
        let statement = AssertSqlSafe(format!("SELECT {}", self.clock));
        Ok(Timestamp::from_millis(sqlx::query_scalar(statement).fetch_one(db).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_databases_have_the_same_migrations() {
        let names = |dialect: &Dialect| -> Vec<(i64, String)> {
            dialect.migrations.iter().map(|step| (step.version, step.description.to_string())).collect()
        };

        assert_eq!(names(&SQLITE), names(&POSTGRES));
        assert!(!names(&SQLITE).is_empty());
    }
}
