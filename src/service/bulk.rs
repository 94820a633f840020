//! Bulk predictions: many inputs of one task, taken in pieces, answered when there is nothing else to do, read while
//! they are answered or afterwards. [`bulk_runner`](super::bulk_runner) answers them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::answering::Answers;
use super::predictions::check_style;
use super::{Answer, AnswerStyle, Page, Result, Service, ServiceError};
use crate::domain::{Bulk, BulkId, BulkItem, BulkPiece, BulkStatus, Fault, Refusal, TaskId, TenantId};
use crate::store::bulk::BulkLimits;

/// Most inputs of a piece: what is lost with a worker, and how long others wait for the engine at most.
const LINES_OF_A_PIECE: usize = 64;
/// Bytes of a piece, after which it takes no more.
const BYTES_OF_A_PIECE: usize = 1 << 20;

/// A bulk prediction as a caller asks for it.
#[derive(Clone, Copy, Debug)]
pub struct NewBulk {
    /// The adapter's version; the one that is active now by default.
    pub version: Option<u32>,
    /// Most scores of each answer.
    pub top_k: usize,
    /// Whether to abstain from answers that are not sure enough.
    pub abstain: bool,
}

/// What became of one input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BulkLine {
    /// Its place among the inputs, from 0.
    #[serde(skip)]
    pub index: u64,
    /// The caller's own name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// What was answered, or why nothing was.
    pub outcome: Result<BulkAnswer, Vec<Refusal>>,
}

/// An answer to one input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BulkAnswer {
    /// The answer.
    pub answer: Answer,
    /// What the task answers for the label, unless the adapter abstained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
}

/// Inputs on their way into the store, a piece at a time.
pub struct BulkIntake {
    service: Service,
    tenant: TenantId,
    id: BulkId,
    /// Most inputs of a piece.
    most: usize,
    items: Vec<BulkItem>,
    /// Bytes of them, as they came.
    bytes: usize,
    number: u64,
    first: u64,
}

/// Where inputs go.
pub enum BulkBegun {
    /// Here.
    Taking(Box<BulkIntake>),
    /// They came before, by the same request.
    Taken(Bulk),
}

impl Service {
    /// Begins to take inputs, for as long as that may take.
    pub async fn begin_bulk(
        &self,
        tenant: TenantId,
        task: TaskId,
        new: NewBulk,
        longest: Duration,
    ) -> Result<BulkBegun> {
        check_style(AnswerStyle { top_k: Some(new.top_k), ..AnswerStyle::default() })?;
        let Answers { task, adapter, .. } = self.answering(tenant, task, new.version).await?;
        let base = self.base_of(&task, &adapter)?;
        self.take_room(tenant, 0).await?;
        let id = BulkId::fresh(&*self.ids);
        let bulk = Bulk {
            id,
            task: task.id,
            version: adapter.version,
            top_k: new.top_k,
            abstain: new.abstain,
            status: BulkStatus::Receiving,
            lines: 0,
            answered: 0,
            refused: 0,
            bytes: 0,
            failure: None,
            created_at: self.clock.now(),
            started_at: None,
            finished_at: None,
            expires_at: None,
        };
        if self.store.begin_bulk(tenant, &bulk, self.bulk_limits(), longest).await? {
            let most = base.manifest.limits.max_query.clamp(1, LINES_OF_A_PIECE);
            let (service, items) = (self.clone(), Vec::new());
            let intake = BulkIntake { service, tenant, id, most, items, bytes: 0, number: 0, first: 0 };
            return Ok(BulkBegun::Taking(Box::new(intake)));
        }
        let before = self.store.find_bulk(tenant, id).await?;
        before.map(BulkBegun::Taken).ok_or(ServiceError::NotFound("task")) // deleted since it was found
    }

    pub(super) fn bulk_limits(&self) -> BulkLimits {
        BulkLimits { open: self.config.tenant_bulks, bytes: self.config.tenant_bulk_mib << 20 }
    }

    pub(super) fn bulk_kept(&self) -> Duration {
        Duration::from_secs(self.config.bulk_hours.saturating_mul(3600))
    }

    /// A bulk prediction.
    pub async fn find_bulk(&self, tenant: TenantId, id: BulkId) -> Result<Bulk> {
        self.store.find_bulk(tenant, id).await?.ok_or(NO_BULK)
    }

    /// A task's, newest first.
    pub async fn list_bulks(&self, tenant: TenantId, task: TaskId, page: Page<BulkId>) -> Result<Vec<Bulk>> {
        self.found_task(tenant, task).await?;
        Ok(self.store.list_bulks(tenant, task, page).await?)
    }

    /// Calls one off; what was answered stays.
    pub async fn cancel_bulk(&self, tenant: TenantId, id: BulkId) -> Result<Bulk> {
        self.store.cancel_bulk(tenant, id, self.bulk_kept()).await?.ok_or(NO_BULK)
    }

    /// Removes one and all that was answered.
    pub async fn delete_bulk(&self, tenant: TenantId, id: BulkId) -> Result<()> {
        if self.store.delete_bulk(tenant, id).await? { Ok(()) } else { Err(NO_BULK) }
    }

    /// The next lines of the output at `from` or after it; none where no more are answered.
    pub async fn bulk_output(&self, tenant: TenantId, id: BulkId, from: u64) -> Result<Vec<BulkLine>> {
        let Some(piece) = self.store.next_bulk_answers(tenant, id, from).await? else { return Ok(Vec::new()) };
        let lines: Vec<BulkLine> = serde_json::from_str(&piece.text).map_err(unreadable)?;
        let numbered = (piece.first..).zip(lines).map(|(index, line)| BulkLine { index, ..line });
        Ok(numbered.filter(|line| line.index >= from).collect())
    }
}

/// What is said of one that is not there.
const NO_BULK: ServiceError = ServiceError::NotFound("bulk prediction");

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(super) fn unreadable(error: serde_json::Error) -> ServiceError {
    ServiceError::Internal(format!("a piece of a bulk prediction cannot be read: {error}"))
}

impl BulkIntake {
    /// Takes one input; `bytes` is how long it was.
    pub async fn take(&mut self, item: BulkItem, bytes: usize) -> Result<()> {
        self.items.push(item);
        self.bytes += bytes;
        if self.items.len() >= self.most || self.bytes >= BYTES_OF_A_PIECE {
            return self.store().await;
        }
        Ok(())
    }

    async fn store(&mut self) -> Result<()> {
        let items = std::mem::take(&mut self.items);
        let lines = items.len() as u64;
        let text = serde_json::to_string(&items).map_err(unreadable)?;
        let piece = BulkPiece { number: self.number, first: self.first, lines, text };
        let Service { store, .. } = &self.service;
        if !store.add_bulk_piece(self.tenant, self.id, &piece, self.service.bulk_limits()).await? {
            return Err(NO_BULK); // its task was deleted meanwhile
        }
        (self.number, self.first, self.bytes) = (self.number + 1, self.first + lines, 0);
        Ok(())
    }

    /// All inputs are there: they wait to be answered.
    pub async fn submit(&mut self) -> Result<Bulk> {
        if !self.items.is_empty() {
            self.store().await?;
        }
        if self.first == 0 {
            return Err(Fault::TooFew { what: "inputs", given: 0, least: 1 }.at("").into());
        }
        let submitted = self.service.store.submit_bulk(self.tenant, self.id).await?;
        self.service.hints.bulk.notify_one();
        self.service.hints.outgoing.notify_one();
        submitted.ok_or(NO_BULK)
    }

    /// Nothing of it is to be known.
    pub async fn give_up(self) -> Result<()> {
        self.service.store.delete_bulk(self.tenant, self.id).await?;
        Ok(())
    }
}
