//! [`JobStore`] for [`SqlStore`]: which transaction each call gets. The statements are in `adaptations`, `queue`, `events`
//! and `outbox`.

use std::time::Duration;

use async_trait::async_trait;

use super::dialect::Access;
use super::line::ADAPTATIONS;
use super::tx::Scope;
use super::{SqlStore, adaptations, events, outbox, queue};
use crate::domain::{Adaptation, AdaptationEvent, AdaptationId, AdaptationStatus, News, TaskId, TenantId};
use crate::store::{Claim, Completion, EndNotice, JobStore, Page, StoreError};

type Answer<T> = Result<T, StoreError>;

#[async_trait]
impl JobStore for SqlStore {
    async fn submit_adaptation(&self, tenant: TenantId, adaptation: &Adaptation, max_queued: usize) -> Answer<bool> {
        let adaptation = adaptation.clone();
        self.across(Access::Write, Scope::Queue, move |tx| {
            Box::pin(async move { adaptations::submit(tx, tenant, &adaptation, max_queued).await })
        })
        .await
    }

    async fn find_adaptation(&self, tenant: TenantId, id: AdaptationId) -> Answer<Option<Adaptation>> {
        self.look(tenant, move |mut tx| Box::pin(async move { adaptations::find(&mut tx, id).await })).await
    }

    async fn list_adaptations(
        &self,
        tenant: TenantId,
        task: Option<TaskId>,
        status: Option<AdaptationStatus>,
        page: Page<AdaptationId>,
    ) -> Answer<Vec<Adaptation>> {
        self.look(tenant, move |mut tx| Box::pin(async move { adaptations::list(&mut tx, task, status, page).await }))
            .await
    }

    async fn list_events(&self, tenant: TenantId, id: AdaptationId) -> Answer<Option<Vec<AdaptationEvent>>> {
        self.look(tenant, move |mut tx| {
            Box::pin(async move {
                // The row first: what was noted before it ended is there when its end is seen.
                let Some(adaptation) = adaptations::find(&mut tx, id).await? else { return Ok(None) };
                let between = events::list(&mut tx, id).await?;
                Ok(Some(AdaptationEvent::history(&adaptation, between)))
            })
        })
        .await
    }

    async fn count_ahead(&self, tenant: TenantId, adaptation: &Adaptation) -> Answer<usize> {
        let adaptation = adaptation.clone();
        self.look(tenant, move |mut tx| Box::pin(async move { adaptations::count_ahead(&mut tx, &adaptation).await }))
            .await
    }

    async fn cancel_adaptation(&self, tenant: TenantId, id: AdaptationId) -> Answer<Option<Adaptation>> {
        self.change(tenant, move |mut tx| Box::pin(async move { adaptations::cancel(&mut tx, id).await })).await
    }

    async fn claim_adaptation(&self, worker: &str, lease: Duration) -> Answer<Option<Claim>> {
        let worker = worker.to_owned();
        // A claim that nobody knows of holds its job for a whole lease.
        self.across_to_the_end(Access::Write, Scope::Queue, move |tx| {
            Box::pin(async move { queue::claim(tx, &worker, lease).await })
        })
        .await
    }

    async fn renew_lease(&self, tenant: TenantId, id: AdaptationId, attempt: u32, lease: Duration) -> Answer<bool> {
        self.change(tenant, move |mut tx| {
            Box::pin(async move { ADAPTATIONS.renew(&mut tx, &id, attempt, lease).await })
        })
        .await
    }

    async fn note_news(&self, tenant: TenantId, id: AdaptationId, attempt: u32, news: &News) -> Answer<bool> {
        let news = news.clone();
        self.change(tenant, move |mut tx| Box::pin(async move { events::note_held(&mut tx, id, attempt, &news).await }))
            .await
    }

    async fn complete_adaptation(
        &self,
        tenant: TenantId,
        id: AdaptationId,
        attempt: u32,
        completion: Completion,
    ) -> Answer<Option<Adaptation>> {
        self.change(tenant, move |mut tx| {
            Box::pin(async move { queue::complete(&mut tx, id, attempt, completion).await })
        })
        .await
    }

    async fn list_failed(&self, limit: usize) -> Answer<Vec<(TenantId, Adaptation)>> {
        self.across(Access::Read, Scope::Queue, move |mut tx| {
            Box::pin(async move { queue::failed(&mut tx, limit).await })
        })
        .await
    }

    async fn requeue_adaptation(&self, id: AdaptationId) -> Answer<Option<(TenantId, Adaptation)>> {
        self.across(Access::Write, Scope::Queue, move |tx| Box::pin(queue::requeue(tx, id))).await
    }

    async fn take_notices(&self, limit: usize, lease: Duration) -> Answer<Vec<EndNotice>> {
        self.across(Access::Write, Scope::Queue, move |mut tx| {
            Box::pin(async move { outbox::take(&mut tx, limit, lease).await })
        })
        .await
    }

    async fn settle_notices(&self, numbers: &[i64]) -> Answer<()> {
        let numbers = numbers.to_vec();
        self.across(Access::Write, Scope::Queue, move |mut tx| {
            Box::pin(async move { outbox::settle(&mut tx, &numbers).await })
        })
        .await
    }
}
