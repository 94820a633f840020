//! What is remembered of monitors.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::{Monitor, MonitorEvent, MonitorId, MonitorPatch, TaskId, TenantId, Timestamp};

/// Monitors and what they saw.
#[async_trait]
pub trait MonitorStore {
    /// Adds a monitor, once; false if there is no such task. [`StoreError::Full`] above `most` of the task.
    async fn create_monitor(&self, tenant: TenantId, monitor: &Monitor, most: usize) -> Result<bool, StoreError>;
    /// All of a task's, newest first.
    async fn list_monitors(&self, tenant: TenantId, task: TaskId) -> Result<Vec<Monitor>, StoreError>;
    /// One of them.
    async fn find_monitor(&self, tenant: TenantId, id: MonitorId) -> Result<Option<Monitor>, StoreError>;
    /// Changes what one is now. With another rule it begins anew.
    async fn update_monitor(
        &self,
        tenant: TenantId,
        id: MonitorId,
        patch: &MonitorPatch,
    ) -> Result<Option<Monitor>, StoreError>;
    /// Removes one with what it saw; false if there was none.
    async fn delete_monitor(&self, tenant: TenantId, id: MonitorId) -> Result<bool, StoreError>;
    /// Shows all monitors of a task the labels that were predicted, in order, and keeps the latest alerts that come of
    /// it; how many there were.
    async fn observe(
        &self,
        tenant: TenantId,
        task: TaskId,
        labels: &[String],
        now: Timestamp,
    ) -> Result<usize, StoreError>;
    /// What a monitor saw, newest first, events below number `before`.
    async fn list_monitor_events(
        &self,
        tenant: TenantId,
        id: MonitorId,
        before: Option<u32>,
        limit: usize,
    ) -> Result<Vec<MonitorEvent>, StoreError>;
}
