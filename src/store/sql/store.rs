//! [`Store`] for [`SqlStore`]: which pool and which transaction each call gets. The statements are in the nouns' files.
//!
//! Every call about a tenant's things runs in a transaction that sees that tenant's alone.

use async_trait::async_trait;

use super::{SqlStore, adapters, predictions, promotions, support, tasks};
use crate::domain::{
    Adapter, AdapterBlob, AdapterId, AdapterOrigin, Example, LabelCount, PredictionId, Promoted, Promotion,
    StoredPrediction, Support, SupportFilter, SupportId, Task, TaskId, TaskPatch, TenantId, Timestamp,
};
use crate::store::{ActiveBase, Added, Answering, Hint, Page, Store, StoreError};

type Answer<T> = Result<T, StoreError>;

#[async_trait]
impl Store for SqlStore {
    async fn ping(&self) -> Answer<()> {
        self.reached(async {
            sqlx::query("SELECT 1").execute(&self.reader).await?;
            Ok(())
        })
        .await
    }

    async fn now(&self) -> Answer<Timestamp> {
        self.dialect.now(&mut *self.reader.acquire().await?).await
    }

    async fn create_task(&self, tenant: TenantId, task: &Task, support: &[Support], max_tasks: usize) -> Answer<Added> {
        let (task, support) = (task.clone(), support.to_vec());
        self.change(tenant, move |mut tx| {
            Box::pin(async move { tasks::create(&mut tx, &task, &support, max_tasks).await })
        })
        .await
    }

    async fn find_task(&self, tenant: TenantId, task: TaskId) -> Answer<Option<Task>> {
        self.glance(tenant, move |mut tx| Box::pin(async move { tasks::find(&mut tx, task).await })).await
    }

    async fn list_tasks(&self, tenant: TenantId, page: Page<TaskId>) -> Answer<Vec<Task>> {
        self.look(tenant, move |mut tx| Box::pin(async move { tasks::list(&mut tx, page).await })).await
    }

    async fn update_task(
        &self,
        tenant: TenantId,
        task: TaskId,
        patch: &TaskPatch,
        revision: Option<u64>,
        now: Timestamp,
    ) -> Answer<Option<Task>> {
        let patch = patch.clone();
        self.change(tenant, move |mut tx| {
            Box::pin(async move { tasks::update(&mut tx, task, patch, revision, now).await })
        })
        .await
    }

    async fn delete_task(&self, tenant: TenantId, task: TaskId) -> Answer<bool> {
        self.change(tenant, move |mut tx| Box::pin(async move { tasks::delete(&mut tx, task).await })).await
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
        let (examples, labels) = (support.to_vec(), labels.to_vec());
        self.change(tenant, move |mut tx| {
            Box::pin(async move {
                let addition = support::Addition { examples: &examples, labels: &labels, max_support, now };
                support::add(&mut tx, task, addition).await
            })
        })
        .await
    }

    async fn list_support(
        &self,
        tenant: TenantId,
        task: TaskId,
        filter: &SupportFilter,
        page: Page<SupportId>,
    ) -> Answer<Vec<Support>> {
        let filter = filter.clone();
        self.look(tenant, move |mut tx| Box::pin(async move { support::list(&mut tx, task, filter, page).await })).await
    }

    async fn find_support(&self, tenant: TenantId, task: TaskId, id: SupportId) -> Answer<Option<Support>> {
        self.look(tenant, move |mut tx| Box::pin(async move { support::find(&mut tx, task, id).await })).await
    }

    async fn replace_support(
        &self,
        tenant: TenantId,
        task: TaskId,
        before: &Support,
        next: &Example,
        labels: &[String],
        now: Timestamp,
    ) -> Answer<bool> {
        let (before, next, labels) = (before.clone(), next.clone(), labels.to_vec());
        self.change(tenant, move |mut tx| {
            Box::pin(async move { support::replace(&mut tx, task, &before, &next, &labels, now).await })
        })
        .await
    }

    async fn load_support(&self, tenant: TenantId, task: TaskId) -> Answer<Vec<Support>> {
        self.look(tenant, move |mut tx| Box::pin(async move { support::load(&mut tx, task).await })).await
    }

    async fn count_support(&self, tenant: TenantId, task: TaskId) -> Answer<Vec<LabelCount>> {
        self.look(tenant, move |mut tx| Box::pin(async move { support::count(&mut tx, task).await })).await
    }

    async fn support_len(&self, tenant: TenantId, task: TaskId) -> Answer<usize> {
        self.look(tenant, move |mut tx| Box::pin(async move { support::len(&mut tx, task).await })).await
    }

    async fn delete_support(&self, tenant: TenantId, task: TaskId, support: SupportId, now: Timestamp) -> Answer<bool> {
        self.change(tenant, move |mut tx| Box::pin(async move { support::delete(&mut tx, task, support, now).await }))
            .await
    }

    async fn find_adapter_from(&self, tenant: TenantId, task: TaskId, origin: &AdapterOrigin) -> Answer<Option<u32>> {
        let origin = origin.clone();
        self.look(tenant, move |mut tx| Box::pin(async move { adapters::find_from(&mut tx, task, &origin).await }))
            .await
    }

    async fn import_adapter(
        &self,
        tenant: TenantId,
        adapter: &Adapter,
        blob: &AdapterBlob,
        promote: Promotion,
        now: Timestamp,
    ) -> Answer<Option<Adapter>> {
        let (adapter, blob) = (adapter.clone(), blob.clone());
        self.change(tenant, move |mut tx| {
            Box::pin(async move { promotions::import(&mut tx, adapter, &blob, promote, now).await })
        })
        .await
    }

    async fn hint(&self, hint: Hint) -> Answer<()> {
        match &self.bell {
            Some(bell) => self.reached(bell.ring(&self.writer, hint)).await,
            None => Ok(()),
        }
    }

    async fn hinted(&self) -> Answer<Hint> {
        match &self.bell {
            Some(bell) => bell.heard().await,
            None => std::future::pending().await,
        }
    }

    async fn find_adapter(&self, tenant: TenantId, task: TaskId, version: Option<u32>) -> Answer<Option<Adapter>> {
        self.look(tenant, move |mut tx| Box::pin(async move { adapters::find(&mut tx, task, version).await })).await
    }

    async fn list_active_bases(
        &self,
        tenant: TenantId,
        after: Option<TaskId>,
        limit: usize,
    ) -> Answer<Vec<ActiveBase>> {
        self.look(tenant, move |mut tx| Box::pin(async move { adapters::active_bases(&mut tx, after, limit).await }))
            .await
    }

    async fn find_answering(&self, tenant: TenantId, task: TaskId, version: Option<u32>) -> Answer<Option<Answering>> {
        self.glance(tenant, move |mut tx| {
            Box::pin(async move { adapters::find_answering(&mut tx, task, version).await })
        })
        .await
    }

    async fn load_adapter(&self, tenant: TenantId, adapter: AdapterId) -> Answer<Option<AdapterBlob>> {
        self.glance(tenant, move |mut tx| Box::pin(async move { adapters::load(&mut tx, adapter).await })).await
    }

    async fn list_adapters(
        &self,
        tenant: TenantId,
        task: TaskId,
        before: Option<u32>,
        limit: usize,
    ) -> Answer<Vec<Adapter>> {
        self.look(tenant, move |mut tx| Box::pin(async move { adapters::list(&mut tx, task, before, limit).await }))
            .await
    }

    async fn promote(&self, tenant: TenantId, task: TaskId, version: u32, now: Timestamp) -> Answer<Option<Task>> {
        self.change(tenant, move |mut tx| {
            Box::pin(async move { promotions::promote(&mut tx, task, version, now).await })
        })
        .await
    }

    async fn rollback(&self, tenant: TenantId, task: TaskId, token: &str, now: Timestamp) -> Answer<Option<Task>> {
        let token = token.to_owned();
        self.change(tenant, move |mut tx| {
            Box::pin(async move { promotions::rollback(&mut tx, task, &token, now).await })
        })
        .await
    }

    async fn store_predictions(
        &self,
        tenant: TenantId,
        task: TaskId,
        stored: &[StoredPrediction],
        most: usize,
    ) -> Answer<bool> {
        let stored = stored.to_vec();
        self.change(tenant, move |mut tx| {
            Box::pin(async move { predictions::store(&mut tx, task, &stored, most).await })
        })
        .await
    }

    async fn list_predictions(
        &self,
        tenant: TenantId,
        task: TaskId,
        page: Page<PredictionId>,
    ) -> Answer<Vec<StoredPrediction>> {
        self.look(tenant, move |mut tx| Box::pin(async move { predictions::list(&mut tx, task, page).await })).await
    }

    async fn list_promotions(&self, tenant: TenantId, task: TaskId) -> Answer<Vec<Promoted>> {
        self.look(tenant, move |mut tx| Box::pin(async move { promotions::list(&mut tx, task).await })).await
    }

    async fn find_prediction(
        &self,
        tenant: TenantId,
        task: TaskId,
        id: PredictionId,
    ) -> Answer<Option<StoredPrediction>> {
        self.look(tenant, move |mut tx| Box::pin(async move { predictions::find(&mut tx, task, id).await })).await
    }
}
