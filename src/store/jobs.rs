//! What is remembered of adaptations: jobs on their way from whoever asks to the worker that holds them, and the notice of
//! their end.

use std::time::Duration;

use async_trait::async_trait;

use super::{Page, StoreError};
use crate::domain::{
    Adaptation, AdaptationEvent, AdaptationId, AdaptationStatus, Adapter, AdapterBlob, Failure, News, Task, TaskId,
    TenantId, Timestamp, TraceContext,
};

/// A job that this worker holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// Whose it is.
    pub tenant: TenantId,
    /// The job, running, its attempt counted.
    pub adaptation: Adaptation,
    /// The task as it is now.
    pub task: Task,
}

/// That an adaptation ended, on its way to whoever asked to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct EndNotice {
    /// Its place among all notices: the same each time that it is taken, and never another's.
    pub number: i64,
    /// Whose.
    pub tenant: TenantId,
    /// What ended.
    pub adaptation: AdaptationId,
    /// What it adapted to; it may be gone.
    pub task: TaskId,
    /// How it ended.
    pub status: AdaptationStatus,
    /// Version of the adapter that it left.
    pub version: Option<u32>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// When, on the database's clock.
    pub ended_at: Timestamp,
    /// The trace in which it was asked for.
    pub trace: Option<TraceContext>,
}

/// How a claimed job ended.
#[derive(Clone, Debug)]
pub enum Completion {
    /// The adapter and its bytes are stored, the job succeeded, the task promoted, all in one transaction.
    /// The version in [`Adapter`] is ignored: the store gives the next one. If the task already has an adapter with
    /// this base, support hash, recipe and labels, that one is reused and nothing is added.
    Adapted(Box<Adapter>, AdapterBlob),
    /// The same, but the adapter that would come out is there already: this version.
    Known(u32),
    /// The job failed for good.
    Failed(Failure),
    /// The job goes back into the queue, to be taken after this pause at the earliest (or fails with this, if its
    /// attempts are spent).
    Retry(Failure, Duration),
}

/// Most times a job is claimed before it fails for good, unless an operator puts it back.
pub const MAX_ATTEMPTS: u32 = 3;

/// The queue.
#[async_trait]
pub trait JobStore {
    /// Puts a job into the queue, once; false if there is no such task. [`StoreError::Full`] if `max_queued` jobs of all tenants wait already.
    async fn submit_adaptation(
        &self,
        tenant: TenantId,
        adaptation: &Adaptation,
        max_queued: usize,
    ) -> Result<bool, StoreError>;
    /// The job.
    async fn find_adaptation(&self, tenant: TenantId, id: AdaptationId) -> Result<Option<Adaptation>, StoreError>;
    /// Newest first, of one task and one status if given.
    async fn list_adaptations(
        &self,
        tenant: TenantId,
        task: Option<TaskId>,
        status: Option<AdaptationStatus>,
        page: Page<AdaptationId>,
    ) -> Result<Vec<Adaptation>, StoreError>;
    /// All that happened to a job, in order; `None` if there is no such job.
    async fn list_events(&self, tenant: TenantId, id: AdaptationId)
    -> Result<Option<Vec<AdaptationEvent>>, StoreError>;
    /// How many jobs of the tenant wait before this one: 0 for the next, or for one that does not wait.
    async fn count_ahead(&self, tenant: TenantId, adaptation: &Adaptation) -> Result<usize, StoreError>;
    /// Calls a job off; the job as it is afterwards. One that has ended stays as it is.
    async fn cancel_adaptation(&self, tenant: TenantId, id: AdaptationId) -> Result<Option<Adaptation>, StoreError>;

    /// Takes the next job of any tenant for `worker`, a process, and counts the attempt: one that is queued, or one whose
    /// lease ran out with attempts left. Tenants take turns. Jobs whose lease ran out with none left fail (`lease_expired`).
    async fn claim_adaptation(&self, worker: &str, lease: Duration) -> Result<Option<Claim>, StoreError>;
    /// Prolongs the lease; false if the job is no longer this attempt's: stop, and discard.
    async fn renew_lease(
        &self,
        tenant: TenantId,
        id: AdaptationId,
        attempt: u32,
        lease: Duration,
    ) -> Result<bool, StoreError>;
    /// Notes how far this attempt came; false if the job is no longer this attempt's.
    async fn note_news(
        &self,
        tenant: TenantId,
        id: AdaptationId,
        attempt: u32,
        news: &News,
    ) -> Result<bool, StoreError>;
    /// Ends this attempt of a job; the job as it is afterwards, or `None` if it is no longer this attempt's, and then
    /// nothing was written.
    async fn complete_adaptation(
        &self,
        tenant: TenantId,
        id: AdaptationId,
        attempt: u32,
        completion: Completion,
    ) -> Result<Option<Adaptation>, StoreError>;

    /// The jobs that failed last, of all tenants: for operators.
    async fn list_failed(&self, limit: usize) -> Result<Vec<(TenantId, Adaptation)>, StoreError>;
    /// Puts a failed job of any tenant back into the queue with fresh attempts, for operators; `None` if there is no
    /// such job or it has not failed.
    async fn requeue_adaptation(&self, id: AdaptationId) -> Result<Option<(TenantId, Adaptation)>, StoreError>;

    /// Takes the oldest notices that nobody holds, of all tenants, and holds them for `lease`. A notice is there from
    /// the moment that its adaptation has ended until it is settled, or for three days; it can be taken more than once.
    async fn take_notices(&self, limit: usize, lease: Duration) -> Result<Vec<EndNotice>, StoreError>;
    /// Removes notices that were handed on, by their numbers.
    async fn settle_notices(&self, numbers: &[i64]) -> Result<(), StoreError>;
}
