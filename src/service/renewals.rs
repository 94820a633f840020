//! When a base model changes, the tasks that were adapted from the one before are adapted again, from the examples that they have.
//!
//! The old version answers until the new adapter is at least as good by its own estimate, if the old base model is still there
//! (`omniglot@1` beside `omniglot`); a tenant who promotes by hand is left to do so. If it is not there, its adapters answer
//! nothing any more, and the new one takes their place as soon as it is there.
//!
//! Every process looks when it starts, and every now and then: while servers are replaced one by one, a job may come to one that
//! has the old base model yet, and is submitted again. The jobs' ids follow from what they are for, so that many processes, and
//! many looks, submit each of them once.

use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::sleep;
use tracing::{debug, info};

use super::{NewAdaptation, Page, Result, Service, ServiceError};
use crate::domain::{AdaptationId, Promotion, TaskId, TenantId};
use crate::store::ActiveBase;

/// Tenants that are read at a time.
const TENANTS: usize = 100;
/// Tasks that are read at a time.
const TASKS: usize = 500;
/// Jobs of one tenant that wait for this: its own should not be turned away for it.
const WAITING: usize = 4;
/// How often one task is tried: what fails each time will go on to.
const TRIES: u32 = 3;
/// Time between two looks.
const LOOK_AGAIN: Duration = Duration::from_mins(30);
/// Time until what found no place, or no database, is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Looks for what is to be adapted again, for ever.
pub(super) async fn renew(service: Service) {
    loop {
        look(&service).await;
        sleep(LOOK_AGAIN).await;
    }
}

/// Submits what is to be adapted again, of all tenants.
async fn look(service: &Service) {
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
        let Some(id) = self.next_try(tenant, task.id, &base.sha256, promote).await? else { return Ok(false) };
        self.check_recipe(base, &active.recipe, "")?;
        self.check_support(tenant, base, task.id, task.kind).await?;
        let new = NewAdaptation { recipe: active.recipe, promote: Some(promote), ..NewAdaptation::default() };
        let adaptation = self.queued(id, &task, new);
        if self.store.count_ahead(tenant, &adaptation).await? >= WAITING {
            return Err(ServiceError::Overloaded { retry_after: AGAIN });
        }
        self.submit(tenant, &adaptation).await?;
        metrics::counter!("imprint_renewals_total").increment(1);
        Ok(true)
    }

    /// Under which id to submit the job; none if one is under way, has done it, or it was tried often enough.
    async fn next_try(
        &self,
        tenant: TenantId,
        task: TaskId,
        base_sha256: &str,
        promote: Promotion,
    ) -> Result<Option<AdaptationId>> {
        for number in 0..TRIES {
            let id = id_of(task, base_sha256, promote, number);
            let Some(before) = self.store.find_adaptation(tenant, id).await? else { return Ok(Some(id)) };
            // A server that still has the base model before may have run it.
            let made = self.adapter_of(tenant, &before).await?;
            if !before.status.is_final() || made.is_some_and(|adapter| adapter.base_sha256 == base_sha256) {
                return Ok(None);
            }
        }
        Ok(None)
    }
}

/// The same for the same task, base model, policy and try, whoever submits it.
fn id_of(task: TaskId, base_sha256: &str, promote: Promotion, number: u32) -> AdaptationId {
    let said = format!("renewal {task} {base_sha256} {} {number}", promote.name());
    let digest: [u8; 32] = Sha256::digest(said).into();
    let (bits, _) = digest.split_first_chunk().expect("sixteen of thirty-two");
    AdaptationId::from_bits(*bits)
}
