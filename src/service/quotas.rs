//! What one tenant may have altogether: bytes in the store, and time of the workers in a day.
//!
//! Bytes are counted by the database when a tenant is first heard of, then again after a while or before anything is
//! refused; in between, what this process adds is added here. Servers do not hear of each other's additions until they
//! count again, so that a tenant may come to have a little more than it should.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::future::Cache;
use tokio::time::Instant;

use super::accounts::DAY_MS;
use super::{Result, Service, ServiceError};
use crate::domain::{Fault, Input, TenantId, Usage};

/// How long a count holds while there is room.
const TRUSTED: Duration = Duration::from_mins(10);
/// Shortest time between two counts of one tenant's.
const COUNT_AGAIN: Duration = Duration::from_secs(1);
/// Tenants whose counts are remembered.
const REMEMBERED: u64 = 10_000;

/// Bytes that tenants hold.
#[derive(Clone)]
pub(super) struct Held(Cache<TenantId, Arc<Counted>>);

struct Counted {
    bytes: AtomicU64,
    at: Instant,
}

impl Held {
    pub(super) fn new() -> Self {
        Self(Cache::builder().max_capacity(REMEMBERED).time_to_live(TRUSTED).build())
    }

    /// Adds what was stored, where a count is there to add it to.
    pub(super) async fn add(&self, tenant: TenantId, bytes: usize) {
        if let Some(counted) = self.0.get(&tenant).await {
            counted.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }
}

impl Service {
    /// Whether a tenant may store about so many bytes more; they count from here on.
    pub(super) async fn take_room(&self, tenant: TenantId, bytes: usize) -> Result<()> {
        let limit = self.config.tenant_stored_mib << 20;
        if limit == 0 {
            return Ok(());
        }
        let after = |counted: &Counted| counted.bytes.load(Ordering::Relaxed).saturating_add(bytes as u64);
        let mut counted = self.counted(tenant).await?;
        if after(&counted) > limit && counted.at.elapsed() >= COUNT_AGAIN {
            // Something may have been deleted.
            self.held.0.invalidate(&tenant).await;
            counted = self.counted(tenant).await?;
        }
        if after(&counted) > limit {
            let held_mib = counted.bytes.load(Ordering::Relaxed) >> 20;
            return Err(Fault::NoRoom { held_mib, limit_mib: self.config.tenant_stored_mib }.at("").into());
        }
        counted.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(())
    }

    /// The same for inputs that are kept.
    pub(super) async fn take_room_for<'a>(
        &self,
        tenant: TenantId,
        inputs: impl Iterator<Item = &'a Input>,
    ) -> Result<()> {
        self.take_room(tenant, inputs.map(Input::bytes).sum()).await
    }

    async fn counted(&self, tenant: TenantId) -> Result<Arc<Counted>> {
        let count = async {
            let bytes = AtomicU64::new(self.store.holdings(tenant).await?.bytes());
            Ok(Arc::new(Counted { bytes, at: Instant::now() }))
        };
        self.held.0.try_get_with(tenant, count).await.map_err(|shared: Arc<ServiceError>| (*shared).clone())
    }

    /// Whether a tenant may adapt: its adaptations of today have not taken their time yet.
    pub(super) async fn check_compute(&self, tenant: TenantId) -> Result<()> {
        let most_ms = self.config.tenant_compute_s_per_day.saturating_mul(1_000);
        if most_ms == 0 {
            return Ok(());
        }
        let now_ms = self.clock.now().millis();
        let today = now_ms.div_euclid(DAY_MS);
        let mut had = Usage::default();
        self.days(tenant, today..=today).await?.into_values().for_each(|day| had.add(day));
        if had.compute_ms < most_ms {
            return Ok(());
        }
        let left_ms = (today + 1) * DAY_MS - now_ms;
        Err(ServiceError::Limited {
            code: "tenant_compute",
            retry_after: Duration::from_millis(left_ms.unsigned_abs()),
        })
    }
}
