//! [`Store`] for [`SqlStore`]: which pool and which transaction each call gets. The statements are in the nouns' files.
//!
//! A call that is one statement needs no transaction of its own; one that reads before it writes runs in one.

use std::time::Duration;

use async_trait::async_trait;

use super::{SqlStore, adaptations, adapters, events, promotions, queue, support, tasks, tenants};
use crate::domain::{
    Adaptation, AdaptationEvent, AdaptationId, AdaptationPhase, AdaptationStatus, Adapter, AdapterBlob, AdapterId,
    KeyId, KeyRecord, LabelCount, Support, SupportId, Task, TaskId, TaskPatch, Tenant, TenantId, Timestamp,
};
use crate::store::{Added, Claim, Completion, Page, Store, StoreError};

type Answer<T> = Result<T, StoreError>;

#[async_trait]
impl Store for SqlStore {
    async fn ping(&self) -> Answer<()> {
        sqlx::query("SELECT 1").execute(&self.reader).await?;
        Ok(())
    }

    async fn create_tenant(&self, tenant: &Tenant) -> Answer<()> {
        tenants::create(&mut *self.writer.acquire().await?, tenant).await
    }

    async fn find_tenant(&self, name: &str) -> Answer<Option<Tenant>> {
        tenants::find(&mut *self.reader.acquire().await?, name).await
    }

    async fn create_key(&self, key: &KeyRecord) -> Answer<()> {
        tenants::create_key(&mut *self.writer.acquire().await?, key).await
    }

    async fn find_key(&self, id: KeyId) -> Answer<Option<KeyRecord>> {
        tenants::find_key(&mut *self.reader.acquire().await?, id).await
    }

    async fn create_task(&self, tenant: TenantId, task: &Task, support: &[Support], max_tasks: usize) -> Answer<Added> {
        let (task, support, lock) = (task.clone(), support.to_vec(), self.dialect.lock);
        self.transaction(move |db| {
            Box::pin(async move { tasks::create(db, tenant, &task, &support, max_tasks, lock).await })
        })
        .await
    }

    async fn find_task(&self, tenant: TenantId, task: TaskId) -> Answer<Option<Task>> {
        tasks::find(&mut *self.reader.acquire().await?, tenant, task, "").await
    }

    async fn list_tasks(&self, tenant: TenantId, page: Page<TaskId>) -> Answer<Vec<Task>> {
        tasks::list(&mut *self.reader.acquire().await?, tenant, page).await
    }

    async fn update_task(
        &self,
        tenant: TenantId,
        task: TaskId,
        patch: &TaskPatch,
        revision: Option<u64>,
        now: Timestamp,
    ) -> Answer<Option<Task>> {
        let (patch, lock) = (patch.clone(), self.dialect.lock);
        self.transaction(move |db| Box::pin(tasks::update(db, tenant, task, patch, revision, now, lock))).await
    }

    async fn delete_task(&self, tenant: TenantId, task: TaskId) -> Answer<bool> {
        tasks::delete(&mut *self.writer.acquire().await?, tenant, task).await
    }

    async fn add_support(
        &self,
        tenant: TenantId,
        task: TaskId,
        support: &[Support],
        labels: &[String],
        max_support: usize,
        now: Timestamp,
    ) -> Answer<Option<Added>> {
        let (examples, labels, lock) = (support.to_vec(), labels.to_vec(), self.dialect.lock);
        self.transaction(move |db| {
            Box::pin(async move {
                let addition = support::Addition { examples: &examples, labels: &labels, max_support, now };
                support::add(db, tenant, task, addition, lock).await
            })
        })
        .await
    }

    async fn list_support(&self, tenant: TenantId, task: TaskId, page: Page<SupportId>) -> Answer<Vec<Support>> {
        support::list(&mut *self.reader.acquire().await?, tenant, task, page).await
    }

    async fn load_support(&self, tenant: TenantId, task: TaskId) -> Answer<Vec<Support>> {
        support::load(&mut *self.reader.acquire().await?, tenant, task).await
    }

    async fn count_support(&self, tenant: TenantId, task: TaskId) -> Answer<Vec<LabelCount>> {
        support::count(&mut *self.reader.acquire().await?, tenant, task).await
    }

    async fn support_len(&self, tenant: TenantId, task: TaskId) -> Answer<usize> {
        support::len(&mut *self.reader.acquire().await?, tenant, task).await
    }

    async fn delete_support(&self, tenant: TenantId, task: TaskId, support: SupportId, now: Timestamp) -> Answer<bool> {
        let lock = self.dialect.lock;
        self.transaction(move |db| Box::pin(support::delete(db, tenant, task, support, now, lock))).await
    }

    async fn submit_adaptation(&self, tenant: TenantId, adaptation: &Adaptation, max_queued: usize) -> Answer<bool> {
        let (adaptation, lock) = (adaptation.clone(), self.dialect.lock);
        self.transaction(move |db| {
            Box::pin(async move { adaptations::submit(db, tenant, &adaptation, max_queued, lock).await })
        })
        .await
    }

    async fn find_adaptation(&self, tenant: TenantId, id: AdaptationId) -> Answer<Option<Adaptation>> {
        adaptations::find(&mut *self.reader.acquire().await?, tenant, id).await
    }

    async fn list_adaptations(
        &self,
        tenant: TenantId,
        task: Option<TaskId>,
        status: Option<AdaptationStatus>,
        page: Page<AdaptationId>,
    ) -> Answer<Vec<Adaptation>> {
        adaptations::list(&mut *self.reader.acquire().await?, tenant, task, status, page).await
    }

    async fn list_events(&self, tenant: TenantId, id: AdaptationId) -> Answer<Option<Vec<AdaptationEvent>>> {
        // The row first: what was noted before it ended is there when its end is seen.
        let mut db = self.reader.acquire().await?;
        let Some(adaptation) = adaptations::find(&mut db, tenant, id).await? else { return Ok(None) };
        let between = events::list(&mut db, tenant, id).await?;
        Ok(Some(AdaptationEvent::history(&adaptation, between)))
    }

    async fn count_ahead(&self, tenant: TenantId, adaptation: &Adaptation) -> Answer<usize> {
        adaptations::count_ahead(&mut *self.reader.acquire().await?, tenant, adaptation).await
    }

    async fn cancel_adaptation(&self, tenant: TenantId, id: AdaptationId) -> Answer<Option<Adaptation>> {
        let dialect = self.dialect;
        self.transaction(move |db| Box::pin(adaptations::cancel(db, tenant, id, dialect))).await
    }

    async fn claim_adaptation(&self, worker: &str, lease: Duration) -> Answer<Option<Claim>> {
        let (worker, dialect) = (worker.to_owned(), self.dialect);
        self.transaction(move |db| Box::pin(async move { queue::claim(db, &worker, lease, dialect).await })).await
    }

    async fn renew_lease(&self, id: AdaptationId, attempt: u32, lease: Duration) -> Answer<bool> {
        queue::renew(&mut *self.writer.acquire().await?, id, attempt, lease, self.dialect).await
    }

    async fn note_phase(
        &self,
        tenant: TenantId,
        id: AdaptationId,
        attempt: u32,
        phase: AdaptationPhase,
    ) -> Answer<bool> {
        let dialect = self.dialect;
        self.transaction(move |db| {
            Box::pin(async move {
                let now = dialect.now(db).await?;
                events::note_phase(db, tenant, id, attempt, phase, now).await
            })
        })
        .await
    }

    async fn complete_adaptation(
        &self,
        id: AdaptationId,
        attempt: u32,
        completion: Completion,
    ) -> Answer<Option<Adaptation>> {
        let dialect = self.dialect;
        self.transaction(move |db| Box::pin(queue::complete(db, id, attempt, completion, dialect))).await
    }

    async fn find_adapter(&self, tenant: TenantId, task: TaskId, version: Option<u32>) -> Answer<Option<Adapter>> {
        adapters::find(&mut *self.reader.acquire().await?, tenant, task, version).await
    }

    async fn load_adapter(&self, tenant: TenantId, adapter: AdapterId) -> Answer<Option<AdapterBlob>> {
        adapters::load(&mut *self.reader.acquire().await?, tenant, adapter).await
    }

    async fn list_adapters(
        &self,
        tenant: TenantId,
        task: TaskId,
        before: Option<u32>,
        limit: usize,
    ) -> Answer<Vec<Adapter>> {
        adapters::list(&mut *self.reader.acquire().await?, tenant, task, before, limit).await
    }

    async fn promote(&self, tenant: TenantId, task: TaskId, version: u32, now: Timestamp) -> Answer<Option<Task>> {
        let lock = self.dialect.lock;
        self.transaction(move |db| Box::pin(promotions::promote(db, tenant, task, version, now, lock))).await
    }

    async fn rollback(&self, tenant: TenantId, task: TaskId, now: Timestamp) -> Answer<Option<Task>> {
        let lock = self.dialect.lock;
        self.transaction(move |db| Box::pin(promotions::rollback(db, tenant, task, now, lock))).await
    }
}
