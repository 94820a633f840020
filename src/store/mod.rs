//! What Imprint remembers, behind one trait: SQLite (the embedded default, one process) and Postgres (any number of
//! replicas).
//!
//! [`Store`] speaks the domain, one method a use case, so that a transaction never crosses the trait. Absence is
//! `Ok(None)`, not an error. Every call about a tenant's things takes the [`TenantId`]; what belongs to another
//! tenant is absent.
//!
//! Deliberately absent: tensors, HTTP, the application's clock in leases (they are on the database's clock).

pub mod accounts;
pub mod bulk;
mod jobs;
pub mod monitors;
pub mod requests;
mod sql;
pub mod webhooks;

use std::sync::Arc;

use async_trait::async_trait;

pub use self::jobs::{Claim, Completion, EndNotice, JobStore, MAX_ATTEMPTS};
use self::sql::SqlStore;
use crate::config::StoreConfig;
use crate::domain::{
    Adapter, AdapterBlob, AdapterId, AdapterOrigin, Example, KeyId, LabelCount, PredictionId, Promoted, Promotion,
    Recipe, StoredPrediction, Support, SupportFilter, SupportId, Task, TaskId, TaskPatch, TenantId, Timestamp,
};
use crate::faults::Planned;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL names no store that is built in.
    #[error("`{0}` is not a store: use sqlite:PATH or postgres://USER@HOST/DATABASE")]
    UnknownScheme(String),
    /// A unique name is taken.
    #[error("{0} exists already")]
    Exists(&'static str),
    /// A limit that the caller set would be passed.
    #[error("the limit of {limit} {what} is reached")]
    Full {
        /// What there would be too much of.
        what: &'static str,
        /// How much may be.
        limit: usize,
    },
    /// The row changed since the caller read it.
    #[error("changed in the meantime")]
    Conflict,
    /// An adapter's bytes are not the ones that were stored.
    #[error("adapter {0} is corrupt: its bytes do not match their sha256")]
    Corrupt(AdapterId),
    /// A row that this version cannot read.
    #[error("row of {table} cannot be read: {reason}")]
    Unreadable {
        /// Its table.
        table: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The role is one that row level security does not bind, so that one wall between tenants would be missing.
    #[error(
        "the database role `{role}` {why}; connect as one that neither owns the tables nor is a superuser, which \
         `imprint migrate --for-role NAME` lets in"
    )]
    Privileged {
        /// Who connected.
        role: String,
        /// Why the policies do not bind it.
        why: String,
    },
    /// The schema is older than this version.
    #[error("the database's schema lacks migration {0}; run `imprint migrate` as the role that owns the tables")]
    OldSchema(i64),
    /// The database does not answer at all; come back later.
    #[error("the database is away")]
    Away,
    /// The database is full, slow or in disorder.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("migration: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

impl From<Planned> for StoreError {
    /// As if the connection broke.
    fn from(planned: Planned) -> Self {
        Self::Database(sqlx::Error::Io(planned.into()))
    }
}

impl StoreError {
    /// Whether the database has no room left (`PostgreSQL`'s 53100, `SQLite`'s 13).
    pub fn is_out_of_room(&self) -> bool {
        let Self::Database(error) = self else { return false };
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        code.is_some_and(|code| code == "53100" || code == "13")
    }

    /// Whether a row could not be written because what it belongs to is gone.
    pub fn is_of_nobody(&self) -> bool {
        let Self::Database(error) = self else { return false };
        error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_foreign_key_violation)
    }
}

/// A page of a keyset-ordered list: newest first, rows that come after `after`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page<Id> {
    /// The last row of the page before: its creation and its id.
    pub after: Option<(Timestamp, Id)>,
    /// Most rows to return.
    pub limit: usize,
}

/// What adding examples did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Ids of the examples that are new, in the order given.
    pub added: Vec<SupportId>,
    /// Place in the request and id of each example that was there already (same digest, or same `external_id`).
    pub duplicates: Vec<(usize, SupportId)>,
}

/// A task and its adapter that is to answer, if there is one.
#[derive(Clone, Debug, PartialEq)]
pub struct Answering {
    /// The task.
    pub task: Task,
    /// The adapter.
    pub adapter: Option<Adapter>,
}

/// Which base model made the adapter that answers for a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveBase {
    /// The task.
    pub task: TaskId,
    /// The base model that the task names.
    pub base_model: String,
    /// The base model's sha256 when it made the adapter.
    pub base_sha256: String,
    /// How it made it.
    pub recipe: Recipe,
}

/// What one process tells the others. Only a hint: nothing depends on it but how soon they know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// There is something new: a job, or the end of one.
    Look,
    /// A task is gone, or some of it.
    Task(TaskId),
    /// A tenant is gone.
    Tenant(TenantId),
    /// A key has ended, or will.
    Key(KeyId),
    /// Hints may have been lost.
    Missed,
}

/// Opens the store that the URL names: SQLite's schema is brought up to date first, if the settings say so.
///
/// # Errors
/// [`StoreError::UnknownScheme`] for a URL of another kind of database, [`StoreError::OldSchema`] and
/// [`StoreError::Privileged`] for a database or a role that it must not be served from.
pub async fn open(config: &StoreConfig) -> Result<Arc<dyn Store>, StoreError> {
    let store = connect(config).await?;
    if config.migrate_on_start && store.is_embedded() {
        store.migrate().await?;
    }
    store.check().await?;
    Ok(Arc::new(store))
}

/// Brings the schema of the store that the URL names up to date and, in Postgres, lets the role `for_role` use it. The
/// role that this connects as owns the tables.
///
/// # Errors
/// [`StoreError::UnknownScheme`] for a URL of another kind of database, [`StoreError::Migrate`] if the schema is not
/// one that this version can follow.
pub async fn migrate(config: &StoreConfig, for_role: Option<&str>) -> Result<(), StoreError> {
    // A migration may take as long as it takes.
    let store = connect(&StoreConfig { database_statement_timeout_ms: 0, ..config.clone() }).await?;
    store.migrate().await?;
    match for_role {
        Some(role) => store.let_in(role).await,
        None => Ok(()),
    }
}

async fn connect(config: &StoreConfig) -> Result<SqlStore, StoreError> {
    SqlStore::open(config).await?.ok_or_else(|| StoreError::UnknownScheme(config.shown_url()))
}

/// Everything that is remembered.
#[async_trait]
pub trait Store:
    accounts::AccountStore
    + bulk::BulkStore
    + JobStore
    + monitors::MonitorStore
    + requests::RequestStore
    + webhooks::WebhookStore
    + Send
    + Sync
{
    /// Answers if the database does.
    async fn ping(&self) -> Result<(), StoreError>;

    /// The time on the database's clock.
    async fn now(&self) -> Result<Timestamp, StoreError>;

    /// Adds a task and its first examples, all or nothing. A task of this id that is there stays as it is. [`StoreError::Full`] above `max_tasks` of the tenant.
    async fn create_task(
        &self,
        tenant: TenantId,
        task: &Task,
        support: &[Support],
        max_tasks: usize,
    ) -> Result<Added, StoreError>;
    /// The task.
    async fn find_task(&self, tenant: TenantId, task: TaskId) -> Result<Option<Task>, StoreError>;
    /// Which base models made the adapters that answer, by task after `after`; tasks without one are left out.
    async fn list_active_bases(
        &self,
        tenant: TenantId,
        after: Option<TaskId>,
        limit: usize,
    ) -> Result<Vec<ActiveBase>, StoreError>;
    /// Newest first.
    async fn list_tasks(&self, tenant: TenantId, page: Page<TaskId>) -> Result<Vec<Task>, StoreError>;
    /// Applies a patch and counts the revision up. [`StoreError::Conflict`] if `revision` is given and is not the row's.
    async fn update_task(
        &self,
        tenant: TenantId,
        task: TaskId,
        patch: &TaskPatch,
        revision: Option<u64>,
        now: Timestamp,
    ) -> Result<Option<Task>, StoreError>;
    /// Removes the task with its examples, adaptations and adapters; false if there was none. A running job is fenced out.
    async fn delete_task(&self, tenant: TenantId, task: TaskId) -> Result<bool, StoreError>;

    /// Adds examples to a task, and `labels` to its label list (those that are not in it yet), all or nothing; `None`
    /// if there is no such task. [`StoreError::Full`] if the task would hold more than `max_support`.
    async fn add_support(
        &self,
        tenant: TenantId,
        task: TaskId,
        support: &[Support],
        labels: &[String],
        max_support: usize,
        now: Timestamp,
    ) -> Result<Option<Added>, StoreError>;
    /// Newest first.
    async fn list_support(
        &self,
        tenant: TenantId,
        task: TaskId,
        filter: &SupportFilter,
        page: Page<SupportId>,
    ) -> Result<Vec<Support>, StoreError>;
    /// One example.
    async fn find_support(&self, tenant: TenantId, task: TaskId, id: SupportId) -> Result<Option<Support>, StoreError>;
    /// Puts `next` in the place of an example that is still `before`, and adds `labels` to the task's; false if there is
    /// no such task. [`StoreError::Conflict`] if the example is another or gone, [`StoreError::Exists`] if the task has
    /// an equal one.
    async fn replace_support(
        &self,
        tenant: TenantId,
        task: TaskId,
        before: &Support,
        next: &Example,
        labels: &[String],
        now: Timestamp,
    ) -> Result<bool, StoreError>;
    /// All of it, in no particular order.
    async fn load_support(&self, tenant: TenantId, task: TaskId) -> Result<Vec<Support>, StoreError>;
    /// Examples by label, in the order of the task's labels, labels without examples included. For regression, empty.
    async fn count_support(&self, tenant: TenantId, task: TaskId) -> Result<Vec<LabelCount>, StoreError>;
    /// How many examples a task has.
    async fn support_len(&self, tenant: TenantId, task: TaskId) -> Result<usize, StoreError>;
    /// Removes one example; false if there was none.
    async fn delete_support(
        &self,
        tenant: TenantId,
        task: TaskId,
        support: SupportId,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Version of the task's adapter that an adaptation from this origin would leave, if it is there.
    async fn find_adapter_from(
        &self,
        tenant: TenantId,
        task: TaskId,
        origin: &AdapterOrigin,
    ) -> Result<Option<u32>, StoreError>;
    /// Adds an adapter that was made elsewhere, as the task's next version, unless the task has these bytes already; the
    /// adapter as it is there, `None` if there is no such task.
    async fn import_adapter(
        &self,
        tenant: TenantId,
        adapter: &Adapter,
        blob: &AdapterBlob,
        promote: Promotion,
        now: Timestamp,
    ) -> Result<Option<Adapter>, StoreError>;
    /// Tells the other processes on this database of something. It can be lost.
    async fn hint(&self, hint: Hint) -> Result<(), StoreError>;
    /// Waits until another process hints, or until hints may have been lost. For ever, where there is one process.
    async fn hinted(&self) -> Result<Hint, StoreError>;

    /// A task and its adapter that is to answer, at one moment: the version, or the active one.
    async fn find_answering(
        &self,
        tenant: TenantId,
        task: TaskId,
        version: Option<u32>,
    ) -> Result<Option<Answering>, StoreError>;

    /// An adapter of a task: the version, or the active one.
    async fn find_adapter(
        &self,
        tenant: TenantId,
        task: TaskId,
        version: Option<u32>,
    ) -> Result<Option<Adapter>, StoreError>;
    /// Its bytes, verified. [`StoreError::Corrupt`] if they are not the ones that were stored.
    async fn load_adapter(&self, tenant: TenantId, adapter: AdapterId) -> Result<Option<AdapterBlob>, StoreError>;
    /// Newest version first, versions below `before`.
    async fn list_adapters(
        &self,
        tenant: TenantId,
        task: TaskId,
        before: Option<u32>,
        limit: usize,
    ) -> Result<Vec<Adapter>, StoreError>;
    /// Makes a version the active one; the task afterwards, `None` if there is no such task or version.
    async fn promote(
        &self,
        tenant: TenantId,
        task: TaskId,
        version: u32,
        now: Timestamp,
    ) -> Result<Option<Task>, StoreError>;
    /// Makes the version that was active before the active one; `None` if there is no task or no version before. Once
    /// for each `token`: repeated, it changes nothing.
    async fn rollback(
        &self,
        tenant: TenantId,
        task: TaskId,
        token: &str,
        now: Timestamp,
    ) -> Result<Option<Task>, StoreError>;

    /// Keeps predictions of a task, and of all that it has the newest `most`; false if there is no such task.
    async fn store_predictions(
        &self,
        tenant: TenantId,
        task: TaskId,
        predictions: &[StoredPrediction],
        most: usize,
    ) -> Result<bool, StoreError>;
    /// Predictions of a task that are kept, newest first.
    async fn list_predictions(
        &self,
        tenant: TenantId,
        task: TaskId,
        page: Page<PredictionId>,
    ) -> Result<Vec<StoredPrediction>, StoreError>;
    /// Which versions of a task answered when, oldest first.
    async fn list_promotions(&self, tenant: TenantId, task: TaskId) -> Result<Vec<Promoted>, StoreError>;
    /// A prediction that was kept.
    async fn find_prediction(
        &self,
        tenant: TenantId,
        task: TaskId,
        id: PredictionId,
    ) -> Result<Option<StoredPrediction>, StoreError>;
}
