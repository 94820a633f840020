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

mod accounts;
mod adaptations;
mod adapters;
mod bulk_queue;
mod bulks;
mod deliveries;
mod dialect;
mod erasures;
mod events;
mod jobs;
mod line;
mod monitors;
mod outbox;
mod page;
mod predictions;
mod promotions;
mod queue;
mod reach;
mod receipts;
mod requests;
mod row;
mod store;
mod support;
mod tasks;
mod tenants;
mod tx;
mod webhooks;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Connection};
use tokio::time::timeout;
use tracing::Instrument;

use self::dialect::postgres::Bell;
use self::dialect::{Access, Dialect};
use self::reach::Reach;
use self::tx::{Scope, SystemTx, TenantTx};
use super::StoreError;
use crate::config::StoreConfig;
use crate::domain::TenantId;
use crate::faults::{self, Site};

/// A database that is open.
#[derive(Clone, Debug)]
pub(super) struct SqlStore {
    writer: AnyPool,
    reader: AnyPool,
    dialect: &'static Dialect,
    /// Where there can be other processes.
    bell: Option<Arc<Bell>>,
    /// Where the database can be away.
    reach: Option<Arc<Reach>>,
    /// Longest time that a transaction may take.
    longest: Duration,
}

/// Statements of the longest time that one transaction may consist of.
const LONGEST_STATEMENTS: u64 = 6;

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
        let bell = dialect.has_roles.then(|| Arc::new(Bell::new(&config.database_url)));
        metrics::gauge!("imprint_database_is_away").set(0.0);
        let reach = dialect.has_roles.then(|| Arc::new(Reach::new(&config.database_url)));
        let longest = match config.database_statement_timeout_ms {
            0 => Duration::MAX,
            limit => Duration::from_millis(LONGEST_STATEMENTS.saturating_mul(limit)),
        };
        Ok(Some(Self { writer: pools.writer, reader: pools.reader, dialect, bell, reach, longest }))
    }

    /// Whether the database is this process's own.
    pub(super) fn is_embedded(&self) -> bool {
        !self.dialect.has_roles
    }

    /// Brings the schema up to date. Several processes may do so at once.
    pub(super) async fn migrate(&self) -> Result<(), StoreError> {
        Ok(self.dialect.migrations.run(&self.writer).await?)
    }

    /// Lets a role read and write rows, where the database has roles.
    pub(super) async fn let_in(&self, role: &str) -> Result<(), StoreError> {
        if self.dialect.has_roles {
            dialect::postgres::let_in(&mut *self.writer.acquire().await?, role).await?;
        }
        Ok(())
    }

    /// Whether the schema is at least the one that this version knows, and the role one that the policies bind.
    pub(super) async fn check(&self) -> Result<(), StoreError> {
        let db = &mut *self.reader.acquire().await?;
        let done: Vec<i64> = sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success")
            .fetch_all(&mut *db)
            .await
            .or_else(|error| if error.as_database_error().is_some() { Ok(Vec::new()) } else { Err(error) })?;
        let missing = self.dialect.migrations.iter().map(|step| step.version).find(|version| !done.contains(version));
        if let Some(version) = missing {
            return Err(StoreError::OldSchema(version));
        }
        if self.dialect.has_roles {
            dialect::postgres::check_role(db).await?;
            dialect::postgres::check_release(db).await?;
        }
        Ok(())
    }

    /// Runs `body` in a transaction that sees one tenant's rows and may change them.
    async fn change<T, F>(&self, tenant: TenantId, body: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(TenantTx<'c>) -> Body<'c, T> + Send + 'static,
    {
        let dialect = self.dialect;
        self.transaction(Access::Write, Scope::Tenant(tenant), move |db| body(TenantTx::new(db, dialect, tenant))).await
    }

    /// Runs `body` in a transaction that sees one tenant's rows.
    async fn look<T, F>(&self, tenant: TenantId, body: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(TenantTx<'c>) -> Body<'c, T> + Send + 'static,
    {
        let dialect = self.dialect;
        self.transaction(Access::Read, Scope::Tenant(tenant), move |db| body(TenantTx::new(db, dialect, tenant))).await
    }

    /// As [`Self::look`], for one statement: where that is a transaction by itself, it is all that the database is asked.
    async fn glance<T, F>(&self, tenant: TenantId, body: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(TenantTx<'c>) -> Body<'c, T> + Send + 'static,
    {
        let dialect = self.dialect;
        self.transaction(Access::Glance, Scope::Tenant(tenant), move |db| body(TenantTx::new(db, dialect, tenant)))
            .await
    }

    /// Runs `body` in a transaction across tenants.
    async fn across<T, F>(&self, access: Access, scope: Scope, body: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(SystemTx<'c>) -> Body<'c, T> + Send + 'static,
    {
        let dialect = self.dialect;
        self.transaction(access, scope, move |db| body(SystemTx::new(db, dialect))).await
    }

    /// As [`Self::across`], but waits for the end even if the database goes away meanwhile: for what must not happen
    /// without its caller.
    async fn across_to_the_end<T, F>(&self, access: Access, scope: Scope, body: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(SystemTx<'c>) -> Body<'c, T> + Send + 'static,
    {
        let dialect = self.dialect;
        self.work(access, scope, move |db| body(SystemTx::new(db, dialect))).await
    }

    /// Runs `body` in a transaction, as [`Self::work`] does, for a caller who does not wait for a database that is away.
    async fn transaction<T, F>(&self, access: Access, scope: Scope, body: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut AnyConnection) -> Body<'c, T> + Send + 'static,
    {
        self.reached(self.work(access, scope, body)).await
    }

    /// Runs `body` in a transaction: committed if it succeeds, rolled back if not.
    ///
    /// It runs in work of its own, which ends even if the caller goes away in the middle (a client that hangs up, a
    /// database that does not answer): a `BEGIN` that is cancelled leaves its connection in the pool inside an open
    /// transaction, and whatever is written there next is lost. What does not end at all is cut off with its connection,
    /// and so is what may have left it in a state that nobody knows.
    async fn work<T, F>(&self, access: Access, scope: Scope, body: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut AnyConnection) -> Body<'c, T> + Send + 'static,
    {
        let pool = match access {
            Access::Glance | Access::Read => self.reader.clone(),
            Access::Write => self.writer.clone(),
        };
        let begin = (self.dialect.begin)(access, scope);
        let (longest, dialect) = (self.longest, self.dialect);
        let work = async move {
            faults::pass(Site::Acquire).await?;
            let mut connection = pool.acquire().await?;
            let whole = async {
                let Some(begin) = begin else { return body(&mut connection).await };
                let mut transaction = connection.begin_with(AssertSqlSafe(begin)).await?;
                faults::pass(Site::Begin).await?;
                let result = body(&mut transaction).await?; // on failure the drop rolls back
                faults::pass(Site::Commit).await?;
                transaction.commit().await?;
                faults::pass(Site::Committed).await?;
                Ok(result)
            };
            let result = timeout(longest, whole).await.unwrap_or(Err(StoreError::Away));
            if result.as_ref().is_err_and(|error| !dialect.is_usable_after(error)) {
                connection.close_on_drop();
            }
            result
        };
        let work = tokio::spawn(work.in_current_span());
        match work.await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(sqlx::Error::WorkerCrashed.into()), // the runtime is shutting down
        }
    }

    /// The answer of `asked`, or [`StoreError::Away`] once it is clear that none will come.
    async fn reached<T>(&self, asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        match &self.reach {
            Some(reach) => reach.answer(asked).await,
            None => asked.await,
        }
    }
}
