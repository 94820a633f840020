//! What happens to adaptations, as it happens.

use std::time::Duration;

use tokio::time::sleep;

use super::{Result, Service, ServiceError};
use crate::domain::{Adaptation, AdaptationEvent, AdaptationId, AdaptationPhase, AdaptationStatus, News, TenantId};

/// How often one who follows an adaptation looks for what no hint told of.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Where a waiting adaptation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuePlace {
    /// The tenant's own adaptations that come first. Tenants take turns, so others' do not count.
    pub ahead: usize,
    /// When it is likely to end, from now; unknown before this process has run one.
    pub eta: Option<Duration>,
}

/// Where a running adaptation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headway {
    /// What it is at.
    pub phase: AdaptationPhase,
    /// Inner steps that are done, and how many there are; of one that takes long.
    pub progress: Option<(u64, u64)>,
}

impl Service {
    /// Where an adaptation is, if it runs.
    pub async fn headway(&self, tenant: TenantId, adaptation: &Adaptation) -> Result<Option<Headway>> {
        if adaptation.status != AdaptationStatus::Running {
            return Ok(None);
        }
        let mut found = Headway { phase: AdaptationPhase::Load, progress: None };
        for event in self.events(tenant, adaptation.id, 0).await? {
            match event.news {
                News::Status { .. } | News::Done { .. } => {
                    found = Headway { phase: AdaptationPhase::Load, progress: None }
                }
                News::Phase { phase, .. } => found.phase = phase,
                News::Progress { done, of, .. } => found.progress = Some((done, of)),
            }
        }
        Ok(Some(found))
    }

    /// All that happened to an adaptation after event number `after`.
    pub async fn events(&self, tenant: TenantId, id: AdaptationId, after: u32) -> Result<Vec<AdaptationEvent>> {
        let events = self.store.list_events(tenant, id).await?.ok_or(ServiceError::NotFound("adaptation"))?;
        Ok(events.into_iter().filter(|event| event.number > after).collect())
    }

    /// As [`Self::events`], but waits for one. Nothing if the server stops.
    pub async fn next_events(&self, tenant: TenantId, id: AdaptationId, after: u32) -> Result<Vec<AdaptationEvent>> {
        let mut stopping = self.stopping.subscribe();
        loop {
            let changed = self.hints.changed.notified();
            let events = self.events(tenant, id, after).await?;
            if !events.is_empty() || *stopping.borrow_and_update() {
                return Ok(events);
            }
            tokio::select! {
                () = changed => {}
                () = sleep(LOOK_AGAIN) => {}
                _ = stopping.changed() => {}
            }
        }
    }

    /// Where an adaptation is, if it waits.
    pub async fn queue_place(&self, tenant: TenantId, adaptation: &Adaptation) -> Result<Option<QueuePlace>> {
        if adaptation.status != AdaptationStatus::Queued {
            return Ok(None);
        }
        let ahead = self.store.count_ahead(tenant, adaptation).await?;
        let waited = self.clock.now().millis() - adaptation.created_at.millis();
        let waited = Duration::from_millis(u64::try_from(waited).unwrap_or(0));
        let eta = self.pace.estimate(ahead, self.config.runners, waited);
        Ok(Some(QueuePlace { ahead, eta }))
    }
}
