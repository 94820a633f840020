//! Adapters: their versions, their bytes, and which one answers.

use std::sync::Arc;

use super::{Result, Service, ServiceError};
use crate::domain::{Adapter, AdapterBlob, TaskId, TenantId};

use super::TaskView;

impl Service {
    /// Versions of a task's adapter, newest first.
    pub async fn list_adapters(
        &self,
        tenant: TenantId,
        task: TaskId,
        before: Option<u32>,
        limit: usize,
    ) -> Result<Vec<Adapter>> {
        self.found_task(tenant, task).await?;
        Ok(self.store.list_adapters(tenant, task, before, limit).await?)
    }

    /// One version.
    pub async fn find_adapter(&self, tenant: TenantId, task: TaskId, version: u32) -> Result<Adapter> {
        self.store.find_adapter(tenant, task, Some(version)).await?.ok_or(ServiceError::NotFound("adapter"))
    }

    /// The bytes of one version.
    pub async fn adapter_weights(&self, tenant: TenantId, task: TaskId, version: u32) -> Result<AdapterBlob> {
        let adapter = self.find_adapter(tenant, task, version).await?;
        self.load_adapter(tenant, &adapter).await
    }

    /// Makes a version the one that answers.
    pub async fn promote(&self, tenant: TenantId, task: TaskId, version: u32) -> Result<TaskView> {
        let promoted = self.store.promote(tenant, task, version, self.clock.now()).await?;
        self.view(tenant, promoted.ok_or(ServiceError::NotFound("adapter"))?).await
    }

    /// Makes the version that answered before the one that answers.
    pub async fn rollback(&self, tenant: TenantId, task: TaskId) -> Result<TaskView> {
        self.found_task(tenant, task).await?;
        let rolled = self.store.rollback(tenant, task, self.clock.now()).await?;
        let task = rolled.ok_or_else(|| ServiceError::Conflict {
            code: "nothing_before",
            detail: "no other version was active before this one".to_owned(),
        })?;
        self.view(tenant, task).await
    }

    /// An adapter's bytes: from memory, or verified from the store. `adapter` was found for this tenant.
    pub(super) async fn load_adapter(&self, tenant: TenantId, adapter: &Adapter) -> Result<AdapterBlob> {
        let load = async {
            let blob = self.store.load_adapter(tenant, adapter.id).await?;
            blob.ok_or(ServiceError::NotFound("adapter"))
        };
        // All who waited for one load share its error.
        self.adapters.try_get_with(adapter.id, load).await.map_err(|shared: Arc<ServiceError>| (*shared).clone())
    }
}
