//! Adaptations: submitted, waited for, called off.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::{Page, Result, Service, ServiceError};
use crate::domain::{
    Adaptation, AdaptationId, AdaptationStatus, Adapter, BaseModel, Fault, Invalid, Kind, LearnerConfig, Promotion,
    Recipe, Size, Task, TaskId, TenantId, TraceContext,
};
use crate::store::StoreError;

/// How often a waiting request looks for itself.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Said of how many inner steps to take, and of how long they may take.
const NO_STEPS: Fault = Fault::Inapplicable { because: "this base model takes no inner steps: it adapts all at once" };

/// Words of a sentence, as they are on the average: nobody has counted them yet.
const WORDS_A_SENTENCE: usize = 25;

/// When to come back to a server whose queue of adaptations is full.
const QUEUE_RETRY: Duration = Duration::from_secs(5);

/// An adaptation as a caller asks for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewAdaptation {
    /// How to adapt.
    pub recipe: Recipe,
    /// How long it may take until its adapter is there, in milliseconds.
    pub latency_budget_ms: Option<u32>,
    /// Whether its adapter is to answer; as the task's settings say by default.
    pub promote: Option<Promotion>,
    /// The trace in which it is asked for.
    pub trace: Option<TraceContext>,
}

impl Service {
    /// Puts an adaptation into the queue.
    #[tracing::instrument(skip_all, fields(task.id = %task))]
    pub async fn create_adaptation(&self, tenant: TenantId, task: TaskId, new: NewAdaptation) -> Result<Adaptation> {
        let task = self.found_task(tenant, task).await?;
        let base = self.named_base(&task.base_model, "/base_model")?;
        self.check_recipe(base, &new.recipe, "")?;
        check_budget(base, new.latency_budget_ms)?;
        let size = self.check_support(tenant, base, task.id, task.kind).await?;
        self.take_room(tenant, 0).await?;
        self.check_compute(tenant).await?;
        self.engine.afford(&base.manifest.name, Size { inner_steps: new.recipe.inner_steps, ..size })?;
        let adaptation = self.queued(AdaptationId::fresh(&*self.ids), &task, new);
        if self.store.count_ahead(tenant, &adaptation).await? >= self.config.tenant_queued_adaptations {
            return Err(ServiceError::Limited { code: "tenant_queue", retry_after: QUEUE_RETRY });
        }
        self.submit(tenant, &adaptation).await?;
        Ok(adaptation)
    }

    /// An adaptation that waits.
    pub(super) fn queued(&self, id: AdaptationId, task: &Task, new: NewAdaptation) -> Adaptation {
        Adaptation {
            id,
            task: task.id,
            recipe: new.recipe,
            latency_budget_ms: new.latency_budget_ms,
            promote: new.promote.unwrap_or(task.settings.auto_promote),
            status: AdaptationStatus::Queued,
            attempt: 0,
            version: None,
            failure: None,
            created_at: self.clock.now(),
            started_at: None,
            finished_at: None,
            trace: new.trace,
        }
    }

    /// Puts it into the queue, and wakes a runner.
    ///
    /// # Errors
    /// [`ServiceError::Overloaded`] if the queue is full, [`ServiceError::NotFound`] if the task is gone since it was found.
    pub(super) async fn submit(&self, tenant: TenantId, adaptation: &Adaptation) -> Result<()> {
        match self.store.submit_adaptation(tenant, adaptation, self.config.max_queued_adaptations).await {
            Err(StoreError::Full { .. }) => return Err(ServiceError::Overloaded { retry_after: QUEUE_RETRY }),
            submitted => {
                if !submitted? {
                    return Err(ServiceError::NotFound("task"));
                }
            }
        }
        self.hints.submitted.notify_one();
        self.hints.outgoing.notify_one();
        Ok(())
    }

    /// Adapts a task whose examples have changed, if its settings say so and there is enough to adapt to. One that waits
    /// already will see the change.
    pub(super) async fn adapt_by_itself(&self, tenant: TenantId, task: &Task) -> Result<Option<Adaptation>> {
        if !task.settings.auto_adapt {
            return Ok(None);
        }
        let page = Page { after: None, limit: 1 };
        let waiting = self.list_adaptations(tenant, Some(task.id), Some(AdaptationStatus::Queued), page).await?;
        if let Some(waiting) = waiting.into_iter().next() {
            return Ok(Some(waiting));
        }
        match self.create_adaptation(tenant, task.id, NewAdaptation::default()).await {
            Ok(adaptation) => Ok(Some(adaptation)),
            // Too few examples yet, or a full queue: the next change, or the caller, will see to it.
            Err(ServiceError::Invalid(_) | ServiceError::Overloaded { .. } | ServiceError::Limited { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The adaptation once it has ended, or as it is after `wait`.
    pub async fn await_adaptation(&self, tenant: TenantId, id: AdaptationId, wait: Duration) -> Result<Adaptation> {
        let deadline = Instant::now() + wait;
        loop {
            let changed = self.hints.changed.notified();
            let adaptation = self.find_adaptation(tenant, id).await?;
            if adaptation.status.is_final() || Instant::now() >= deadline {
                return Ok(adaptation);
            }
            let hint = async {
                tokio::select! {
                    () = changed => {}
                    () = sleep(LOOK_AGAIN) => {}
                }
            };
            // Either way the store is asked once more.
            let _ = timeout_at(deadline, hint).await;
        }
    }

    /// An adaptation.
    pub async fn find_adaptation(&self, tenant: TenantId, id: AdaptationId) -> Result<Adaptation> {
        self.store.find_adaptation(tenant, id).await?.ok_or(ServiceError::NotFound("adaptation"))
    }

    /// The adapter that an adaptation left, if it left one that is still there.
    pub async fn adapter_of(&self, tenant: TenantId, adaptation: &Adaptation) -> Result<Option<Adapter>> {
        match adaptation.version {
            Some(version) => Ok(self.store.find_adapter(tenant, adaptation.task, Some(version)).await?),
            None => Ok(None),
        }
    }

    /// Adaptations, newest first.
    pub async fn list_adaptations(
        &self,
        tenant: TenantId,
        task: Option<TaskId>,
        status: Option<AdaptationStatus>,
        page: Page<AdaptationId>,
    ) -> Result<Vec<Adaptation>> {
        Ok(self.store.list_adaptations(tenant, task, status, page).await?)
    }

    /// Calls an adaptation off.
    pub async fn cancel_adaptation(&self, tenant: TenantId, id: AdaptationId) -> Result<Adaptation> {
        let cancelled = self.store.cancel_adaptation(tenant, id).await?;
        self.announce();
        cancelled.ok_or(ServiceError::NotFound("adaptation"))
    }

    /// Whether a recipe suits a base model. `pointer` is where its fields stand.
    pub(super) fn check_recipe(&self, base: &BaseModel, recipe: &Recipe, pointer: &str) -> Result<(), Invalid> {
        let Some(steps) = recipe.inner_steps else { return Ok(()) };
        let pointer = format!("{pointer}/inner_steps");
        if base.manifest.learner.inner_steps().is_none() {
            return Err(NO_STEPS.at(pointer));
        }
        let most = self.config.max_inner_steps;
        if steps > most {
            return Err(Fault::OutOfRange { given: steps.into(), least: 0, most: most.into() }.at(pointer));
        }
        Ok(())
    }

    /// How much there is to adapt to, if it is enough, before a job is made of it.
    pub(super) async fn check_support(
        &self,
        tenant: TenantId,
        base: &BaseModel,
        task: TaskId,
        kind: Kind,
    ) -> Result<Size> {
        let support = self.store.support_len(tenant, task).await?;
        if support == 0 {
            return Err(Fault::EmptySupport.at("").into());
        }
        if !kind.has_labels() {
            return Ok(Size { support, outputs: 1, ..Size::default() });
        }
        let counts = self.store.count_support(tenant, task).await?;
        let given = counts.iter().filter(|label| label.support_count > 0).count();
        if kind == Kind::Tagging {
            if given == 0 {
                return Err(Fault::NoSpans.at("").into());
            }
            return Ok(Size { support: support * WORDS_A_SENTENCE, outputs: 2 * given + 1, ..Size::default() });
        }
        if given < 2 {
            return Err(Fault::TooFewLabels { given }.at("").into());
        }
        match base.manifest.learner.fixed_way() {
            Some(way) if way != given => {
                Err(Fault::FixedWay { base: base.manifest.name.clone(), way, given }.at("").into())
            }
            _ => Ok(Size { support, outputs: given, ..Size::default() }),
        }
    }
}

/// Whether a budget is one, and there is something to save.
fn check_budget(base: &BaseModel, budget_ms: Option<u32>) -> Result<(), Invalid> {
    const POINTER: &str = "/latency_budget_ms";
    let learner = &base.manifest.learner;
    if budget_ms.is_some() && matches!(learner, LearnerConfig::Tagger { .. }) {
        let because = "a tagger has to know beforehand how long it learns; say how many `inner_steps` it takes";
        return Err(Fault::Inapplicable { because }.at(POINTER));
    }
    match (budget_ms, learner.inner_steps()) {
        (Some(_), None) => Err(NO_STEPS.at(POINTER)),
        (Some(0), _) => Err(Fault::OutOfRange { given: 0, least: 1, most: u32::MAX.into() }.at(POINTER)),
        _ => Ok(()),
    }
}
