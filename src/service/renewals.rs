//! When a base model changes, the tasks that were adapted from the one before are adapted again, from the examples that they have.
//!
//! The old version answers until the new adapter is at least as good by its own estimate, if the old base model is still there
//! (`omniglot@1` beside `omniglot`); a tenant who promotes by hand is left to do so. If it is not there, its adapters answer
//! nothing any more, and the new one takes their place as soon as it is there.
//!
//! Every process looks once, when it starts. The jobs' ids follow from what they are for, so that many processes, and many starts,
//! submit each of them once.

use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::{Page, Result, Service, ServiceError};
use crate::domain::{Adaptation, AdaptationId, AdaptationStatus, Promotion, TaskId, TenantId};
use crate::store::{ActiveBase, StoreError};

/// Tenants that are read at a time.
const TENANTS: usize = 100;
/// Tasks that are read at a time.
const TASKS: usize = 500;
/// Jobs of one tenant that wait for this: its own should not be turned away for it.
const WAITING: usize = 4;
/// Time until what found no place, or no database, is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Submits what is to be adapted again, of all tenants.
pub(super) async fn renew(service: &Service) {
    let (mut after, mut submitted) = (None, 0usize);
    loop {
        let page = Page { after, limit: TENANTS };
        let tenants = insistently(|| service.store.list_tenants(page)).await.unwrap_or_default();
        let Some(last) = tenants.last() else { break };
        after = Some((last.created_at, last.id));
        for tenant in &tenants {
            submitted += service.renew_tasks(tenant.id).await;
        }
    }
    if submitted > 0 {
        info!(tasks = submitted, "tasks of base models that have changed are adapted again");
    }
}

/// Does something until the store is there and has room.
async fn insistently<T, E, F>(mut what: impl FnMut() -> F) -> Result<T>
where
    E: Into<ServiceError>,
    F: Future<Output = Result<T, E>>,
{
    loop {
        match what().await.map_err(E::into) {
            Err(
                ServiceError::Away
                | ServiceError::OutOfRoom
                | ServiceError::Store(_)
                | ServiceError::Overloaded { .. }
                | ServiceError::Limited { .. },
            ) => sleep(AGAIN).await,
            done => return done,
        }
    }
}

impl Service {
    /// How many tasks of a tenant are to be adapted again.
    async fn renew_tasks(&self, tenant: TenantId) -> usize {
        let (mut after, mut submitted) = (None, 0);
        loop {
            let list = || self.store.list_active_bases(tenant, after, TASKS);
            let active = insistently(list).await.unwrap_or_default();
            let Some(end) = active.last() else { return submitted };
            after = Some(end.task);
            for one in &active {
                match insistently(|| self.renew_task(tenant, one)).await {
                    Ok(is_submitted) => submitted += usize::from(is_submitted),
                    Err(error) => debug!(%error, task.id = %one.task, "a task cannot be adapted again"),
                }
            }
        }
    }

    /// Adapts a task again if another base model made the adapter that answers.
    async fn renew_task(&self, tenant: TenantId, active: &ActiveBase) -> Result<bool> {
        let Some(base) = self.engine.base_model(&active.base_model) else { return Ok(false) };
        if base.sha256 == active.base_sha256 {
            return Ok(false);
        }
        let Some(task) = self.store.find_task(tenant, active.task).await? else { return Ok(false) };
        let is_kept = self.base_models().iter().any(|loaded| loaded.sha256 == active.base_sha256);
        let promote = match (is_kept, task.settings.auto_promote) {
            (false, _) => Promotion::Always,
            (true, Promotion::Never) => Promotion::Never,
            (true, _) => Promotion::IfBetter,
        };
        let id = id_of(task.id, &base.sha256, promote);
        if self.store.find_adaptation(tenant, id).await?.is_some() {
            return Ok(false);
        }
        self.check_recipe(base, &active.recipe, "")?;
        self.check_support(tenant, base, task.id, task.kind).await?;
        let adaptation = Adaptation {
            id,
            task: task.id,
            recipe: active.recipe,
            latency_budget_ms: None,
            promote,
            status: AdaptationStatus::Queued,
            attempt: 0,
            version: None,
            failure: None,
            created_at: self.clock.now(),
            started_at: None,
            finished_at: None,
            trace: None,
        };
        if self.store.count_ahead(tenant, &adaptation).await? >= WAITING {
            return Err(ServiceError::Overloaded { retry_after: AGAIN });
        }
        let is_submitted =
            match self.store.submit_adaptation(tenant, &adaptation, self.config.max_queued_adaptations).await {
                Err(StoreError::Full { .. }) => return Err(ServiceError::Overloaded { retry_after: AGAIN }),
                submitted => submitted?,
            };
        if is_submitted {
            metrics::counter!("imprint_renewals_total").increment(1);
            self.hints.submitted.notify_one();
            self.hints.outgoing.notify_one();
        } else {
            warn!(task.id = %task.id, "a task that was to be adapted again is gone");
        }
        Ok(is_submitted)
    }
}

/// The same for the same task, base model and policy, whoever submits it.
fn id_of(task: TaskId, base_sha256: &str, promote: Promotion) -> AdaptationId {
    let digest: [u8; 32] = Sha256::digest(format!("renewal {task} {base_sha256} {}", promote.name())).into();
    let (bits, _) = digest.split_first_chunk().expect("sixteen of thirty-two");
    AdaptationId::from_bits(*bits)
}
