//! Postgres: any number of server processes on one database.
//!
//! Deliberately absent: retries. Row locks are taken in one order, and a transaction that the server cut off (a
//! timeout, a restart) is the caller's to repeat.

use std::time::Duration;

use sqlx::any::AnyPoolOptions;
use sqlx::{AnyConnection, AssertSqlSafe, Executor};

use super::{Dialect, Pools};
use crate::config::StoreConfig;
use crate::store::StoreError;

pub(in crate::store::sql) static POSTGRES: Dialect = Dialect {
    begin: "BEGIN",
    // Not FOR UPDATE: rows that point at this one may come meanwhile.
    lock: " FOR NO KEY UPDATE",
    lock_free_job: " FOR UPDATE OF a SKIP LOCKED",
    // Not now(), which stands still from the transaction's start.
    clock: "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
    migrations: sqlx::migrate!("migrations/postgres"),
};

/// Longest wait for a row that another transaction holds, in milliseconds.
const LOCK_TIMEOUT_MS: u64 = 2_000;
/// When the server ends a transaction that does nothing: the second wall against one that was left open.
const IDLE_IN_TRANSACTION_TIMEOUT_MS: u64 = 10_000;

/// Opens a pool.
pub(in crate::store::sql) async fn open(config: &StoreConfig) -> Result<Pools, StoreError> {
    let statement_timeout_ms = config.database_statement_timeout_ms;
    let pool = AnyPoolOptions::new()
        .max_connections(config.database_max_connections)
        .acquire_timeout(Duration::from_millis(config.database_acquire_timeout_ms))
        .after_connect(move |db, _| Box::pin(prepare(db, statement_timeout_ms)))
        .connect(&config.database_url)
        .await?;
    Ok(Pools { writer: pool.clone(), reader: pool })
}

async fn prepare(db: &mut AnyConnection, statement_timeout_ms: u64) -> Result<(), sqlx::Error> {
    // Numbers of ours, in a statement that takes no parameters.
    let settings = format!(
        "SET application_name = 'imprint'; SET statement_timeout = {statement_timeout_ms}; \
         SET lock_timeout = {LOCK_TIMEOUT_MS}; \
         SET idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION_TIMEOUT_MS}"
    );
    db.execute(AssertSqlSafe(settings)).await?;
    Ok(())
}
