//! [`SqlStore`]: the one implementation of [`Store`](crate::store::Store), over either database.
//!
//! The statements are written once, in SQL that both databases speak, one file a noun; what truly differs (how to
//! connect, the clock, the words for locks) is in [`dialect`]. Here is what holds them together: which pool a call
//! uses, and what is one transaction.
//!
//! Locks are taken in one order, tenant before task before adaptation, so that no two calls wait for each other. The
//! claim alone goes from a job to its tenant; nothing that holds a tenant waits for a job.
//!
//! Deliberately absent: compile-time checked statements, which know one database only. The stories in `tests/it/store`
//! run every statement on both.

mod adaptations;
mod adapters;
mod dialect;
mod events;
mod page;
mod promotions;
mod queue;
mod row;
mod store;
mod support;
mod tasks;
mod tenants;

use std::pin::Pin;

use sqlx::{AnyConnection, AnyPool};
use tracing::Instrument;

use self::dialect::Dialect;
use super::StoreError;
use crate::config::StoreConfig;

/// A database that is open.
#[derive(Clone, Debug)]
pub(super) struct SqlStore {
    writer: AnyPool,
    reader: AnyPool,
    dialect: &'static Dialect,
}

/// What a transaction does with its connection.
type Body<'c, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'c>>;

impl SqlStore {
    /// Opens the database that the URL names; `None` if no dialect knows its scheme.
    pub(super) async fn open(config: &StoreConfig) -> Result<Option<Self>, StoreError> {
        sqlx::any::install_default_drivers();
        let (dialect, pools) = match config.database_url.split_once(':') {
            Some(("sqlite", place)) => (&dialect::SQLITE, dialect::sqlite::open(place, config).await?),
            Some(("postgres" | "postgresql", _)) => (&dialect::POSTGRES, dialect::postgres::open(config).await?),
            _ => return Ok(None),
        };
        Ok(Some(Self { writer: pools.writer, reader: pools.reader, dialect }))
    }

    /// Brings the schema up to date. Several processes may do so at once.
    pub(super) async fn migrate(&self) -> Result<(), StoreError> {
        Ok(self.dialect.migrations.run(&self.writer).await?)
    }

    /// Runs `body` in a transaction: committed if it succeeds, rolled back if not.
    ///
    /// It runs in work of its own, which ends even if the caller goes away in the middle (a client that hangs up): a
    /// `BEGIN` that is cancelled leaves its connection in the pool inside an open transaction, and whatever is written
    /// there next is lost.
    async fn transaction<T, F>(&self, body: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut AnyConnection) -> Body<'c, T> + Send + 'static,
    {
        let (pool, begin) = (self.writer.clone(), self.dialect.begin);
        let work = async move {
            let mut transaction = pool.begin_with(begin).await?;
            let result = body(&mut transaction).await?; // on failure the drop rolls back
            transaction.commit().await?;
            Ok(result)
        };
        match tokio::spawn(work.in_current_span()).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(sqlx::Error::WorkerCrashed.into()), // the runtime is shutting down
        }
    }
}
