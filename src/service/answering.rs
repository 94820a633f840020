//! Which adapter answers for a task.
//!
//! The store is asked each time, so that a promotion or a deletion anywhere holds for the next prediction here. What it
//! said last is remembered, and answers while it is away: for so long, and for adapters whose bytes are in memory.

use std::mem::size_of;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;

use super::{Result, Service, ServiceError};
use crate::domain::{Adapter, Task, TaskId, TenantId};
use crate::store::Answering;

/// Memory for what the store said, in bytes.
const MEMORY: u64 = 64 << 20;

/// Whose task, and which version was asked for.
type Asked = (TenantId, TaskId, Option<u32>);

/// What the store said last.
#[derive(Clone)]
pub(super) struct LastKnown(Cache<Asked, Arc<(Task, Adapter)>>);

/// A task and the adapter that answers for it.
#[derive(Clone, Debug)]
pub struct Answers {
    /// The task.
    pub task: Task,
    /// The adapter.
    pub adapter: Adapter,
    /// Whether the store is away, and this is what it said before.
    pub is_remembered: bool,
}

/// What there is to answer with.
pub(super) enum Found {
    /// An adapter.
    Answers(Box<Answers>),
    /// None: the task has not been adapted yet.
    NotAdapted(Box<Task>),
}

pub(super) fn not_adapted() -> ServiceError {
    ServiceError::Conflict {
        code: "not_adapted",
        detail: "this task has no adapter yet; POST its adaptations first".to_owned(),
    }
}

impl LastKnown {
    /// What is older than `longest` is not believed any more.
    pub(super) fn new(longest: Duration) -> Self {
        let weigher = |_: &Asked, known: &Arc<(Task, Adapter)>| weight(known);
        Self(Cache::builder().weigher(weigher).max_capacity(MEMORY).time_to_live(longest).build())
    }

    async fn note(&self, asked: Asked, task: &Task, adapter: &Adapter) {
        self.0.insert(asked, Arc::new((task.clone(), adapter.clone()))).await;
    }

    async fn forget(&self, asked: Asked) {
        self.0.invalidate(&asked).await;
    }

    async fn recall(&self, asked: Asked) -> Option<Answers> {
        let known = self.0.get(&asked).await?;
        let (task, adapter) = (*known).clone();
        Some(Answers { task, adapter, is_remembered: true })
    }

    /// Forgets what is known of a task's or a tenant's.
    async fn forget_if(&self, is_gone: impl Fn(&Asked) -> bool) {
        let gone: Vec<Asked> = self.0.iter().map(|(asked, _)| *asked).filter(is_gone).collect();
        for asked in gone {
            self.0.invalidate(&asked).await;
        }
    }
}

/// Bytes, more or less: labels and what is known of each are most of it.
fn weight(known: &(Task, Adapter)) -> u32 {
    let (task, adapter) = known;
    let names: usize = task.labels.iter().chain(&adapter.labels).map(|label| label.len() + size_of::<String>()).sum();
    let fixed = size_of::<Task>() + size_of::<Adapter>() + 1024;
    let bytes = fixed + names + 100 * adapter.labels.len() + task.metadata.len() * 256;
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

impl Service {
    /// A task and the adapter that is to answer: the version, or the active one.
    pub async fn answering(&self, tenant: TenantId, task: TaskId, version: Option<u32>) -> Result<Answers> {
        match self.found_answers(tenant, task, version).await? {
            Found::Answers(answers) => Ok(*answers),
            Found::NotAdapted(_) => Err(not_adapted()),
        }
    }

    /// The same, or the task by itself if no version was asked for and there is none.
    pub(super) async fn found_answers(&self, tenant: TenantId, task: TaskId, version: Option<u32>) -> Result<Found> {
        let asked = (tenant, task, version);
        match self.store.find_answering(tenant, task, version).await.map_err(ServiceError::from) {
            Ok(Some(Answering { task, adapter: Some(adapter) })) => {
                self.last_known.note(asked, &task, &adapter).await;
                Ok(Found::Answers(Box::new(Answers { task, adapter, is_remembered: false })))
            }
            Ok(found) => {
                self.last_known.forget(asked).await;
                match (found, version) {
                    (None, _) => Err(ServiceError::NotFound("task")),
                    (Some(_), Some(_)) => Err(ServiceError::NotFound("adapter")),
                    (Some(Answering { task, .. }), None) => Ok(Found::NotAdapted(Box::new(task))),
                }
            }
            Err(error @ (ServiceError::Away | ServiceError::OutOfRoom | ServiceError::Store(_))) => {
                let recalled = self.last_known.recall(asked).await;
                metrics::counter!("imprint_answers_remembered_total").increment(u64::from(recalled.is_some()));
                recalled.map(|answers| Found::Answers(Box::new(answers))).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Frees all that is in memory of a task that is gone.
    pub(super) async fn forget_task(&self, task: TaskId) {
        self.last_known.forget_if(|asked| asked.1 == task).await;
        self.adapters.forget_task(task).await;
    }

    /// Frees all that is in memory of a tenant that is gone. Bytes of adapters do not say whose they are, nor records of
    /// keys which of them count: all of these are read again.
    pub(super) async fn forget_tenant(&self, tenant: TenantId) {
        self.last_known.forget_if(|asked| asked.0 == tenant).await;
        self.adapters.forget_all();
        self.keys.invalidate_all();
    }
}
