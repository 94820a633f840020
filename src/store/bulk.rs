//! What is remembered of bulk predictions: their inputs, who is at them, what was answered.
//!
//! Jobs as in the queue of adaptations (a lease on the database's clock, writes fenced by the attempt), with two
//! differences: each piece that is answered is kept at once, and a job goes back into the queue after its turn, so that a
//! long one delays another tenant's by one turn.

use std::time::Duration;

use async_trait::async_trait;

use super::{Page, StoreError};
use crate::domain::{Bulk, BulkId, BulkPiece, Failure, TaskId, TenantId};

/// One that a worker holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkClaim {
    /// Whose it is.
    pub tenant: TenantId,
    /// It, running.
    pub bulk: Bulk,
    /// The attempt that holds it: the fence.
    pub attempt: u32,
}

/// Answers to a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkAnswers {
    /// Which piece.
    pub number: u64,
    /// The answers, written down.
    pub text: String,
    /// How many inputs were answered.
    pub answered: u64,
    /// How many were refused.
    pub refused: u64,
}

/// How a worker's turn ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BulkEnd {
    /// All pieces are answered.
    Done,
    /// There is more to answer, at another turn.
    Turn,
    /// Something was lost: not before this pause, and for good after the third time without an answer in between.
    Retry(Failure, Duration),
    /// It will not be answered.
    Failed(Failure),
}

/// Most of a tenant's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkLimits {
    /// That have not ended.
    pub open: usize,
    /// Bytes of all that are kept.
    pub bytes: u64,
}

/// Bulk predictions.
#[async_trait]
pub trait BulkStore {
    /// Adds one whose inputs are about to arrive; nothing of it is known after `longest` unless it is submitted. False if
    /// one of this id was submitted before; one that was not begins anew. [`StoreError::Full`] above the limits.
    async fn begin_bulk(
        &self,
        tenant: TenantId,
        bulk: &Bulk,
        limits: BulkLimits,
        longest: Duration,
    ) -> Result<bool, StoreError>;
    /// Adds inputs; false if it is not there, or not being received. [`StoreError::Full`] above the limits.
    async fn add_bulk_piece(
        &self,
        tenant: TenantId,
        id: BulkId,
        piece: &BulkPiece,
        limits: BulkLimits,
    ) -> Result<bool, StoreError>;
    /// All inputs are there: it may be worked off. As it is then.
    async fn submit_bulk(&self, tenant: TenantId, id: BulkId) -> Result<Option<Bulk>, StoreError>;
    /// One.
    async fn find_bulk(&self, tenant: TenantId, id: BulkId) -> Result<Option<Bulk>, StoreError>;
    /// A task's, newest first.
    async fn list_bulks(&self, tenant: TenantId, task: TaskId, page: Page<BulkId>) -> Result<Vec<Bulk>, StoreError>;
    /// Calls one off, and keeps what was answered for `keep`. One that has ended stays as it is.
    async fn cancel_bulk(&self, tenant: TenantId, id: BulkId, keep: Duration) -> Result<Option<Bulk>, StoreError>;
    /// Removes one with all that it has; false if there was none.
    async fn delete_bulk(&self, tenant: TenantId, id: BulkId) -> Result<bool, StoreError>;
    /// The first answered piece with a line at `from` or after it, if all before it are answered, too.
    async fn next_bulk_answers(&self, tenant: TenantId, id: BulkId, from: u64)
    -> Result<Option<BulkPiece>, StoreError>;

    /// Takes the next of any tenant for `worker`. Tenants take turns. One that was lost three times without an answer in
    /// between fails (`lease_expired`), and is kept for `keep`.
    async fn claim_bulk(&self, worker: &str, lease: Duration, keep: Duration) -> Result<Option<BulkClaim>, StoreError>;
    /// The first piece without answers.
    async fn next_bulk_piece(&self, tenant: TenantId, id: BulkId) -> Result<Option<BulkPiece>, StoreError>;
    /// Prolongs the lease; false if it is no longer this attempt's: stop, and discard.
    async fn renew_bulk(&self, claim: &BulkClaim, lease: Duration) -> Result<bool, StoreError>;
    /// Keeps answers in the place of their inputs, and prolongs the lease; false, and nothing is kept, if it is no longer
    /// this attempt's. [`StoreError::Full`] above the limits.
    async fn keep_bulk_answers(
        &self,
        claim: &BulkClaim,
        answers: &BulkAnswers,
        lease: Duration,
        limits: BulkLimits,
    ) -> Result<bool, StoreError>;
    /// Ends the attempt's turn; false, and nothing is written, if it is no longer this attempt's. What ends for good is
    /// kept for `keep`.
    async fn end_bulk_turn(&self, claim: &BulkClaim, end: &BulkEnd, keep: Duration) -> Result<bool, StoreError>;
    /// Removes what has expired, of all tenants; how many.
    async fn forget_bulks(&self) -> Result<u64, StoreError>;
}
