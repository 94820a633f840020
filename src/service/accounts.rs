//! What tenants have of the server, and what was done to their things.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tracing::warn;

use super::{Page, Result, Service};
use crate::domain::{AuditEntry, AuditId, Holdings, Tenant, TenantId, Timestamp, Usage};

/// Milliseconds of a day.
const DAY_MS: i64 = 24 * 3_600 * 1_000;
/// How often what was counted is stored.
pub(super) const FLUSH: Duration = Duration::from_secs(5);

/// What was had since it was stored last.
#[derive(Debug, Default)]
pub(super) struct Meter(Mutex<HashMap<(TenantId, i64), Usage>>);

impl Meter {
    fn add(&self, tenant: TenantId, day: i64, usage: Usage) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.entry((tenant, day)).or_default().add(usage);
    }

    fn take(&self) -> HashMap<(TenantId, i64), Usage> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Service {
    /// Counts what a tenant has had.
    pub fn meter(&self, tenant: TenantId, usage: Usage) {
        self.meter.add(tenant, self.clock.now().millis().div_euclid(DAY_MS), usage);
    }

    /// Stores what was counted. What cannot be stored is counted again.
    pub async fn flush_usage(&self) {
        for ((tenant, day), usage) in self.meter.take() {
            match self.store.add_usage(tenant, day, usage).await {
                Ok(()) => {}
                Err(error) if error.is_of_nobody() => {} // erased meanwhile
                Err(error) => {
                    warn!(%error, "usage could not be stored");
                    self.meter.add(tenant, day, usage);
                }
            }
        }
    }

    /// Usage of the days between two moments, and what is stored now.
    pub async fn usage(
        &self,
        tenant: TenantId,
        days: std::ops::RangeInclusive<i64>,
    ) -> Result<(Vec<(i64, Usage)>, Holdings)> {
        self.flush_usage().await;
        let usage = self.store.list_usage(tenant, *days.start(), *days.end()).await?;
        Ok((usage, self.store.holdings(tenant).await?))
    }

    /// The present day, counted from 1970.
    pub fn today(&self) -> i64 {
        self.clock.now().millis().div_euclid(DAY_MS)
    }

    /// Notes what somebody did. An answer does not fail for that: the log has it, too.
    pub async fn note_audit(&self, tenant: TenantId, entry: impl FnOnce(AuditId, Timestamp) -> AuditEntry) {
        let entry = entry(AuditId::from_bits(self.ids.bits()), self.clock.now());
        match self.store.add_audit(tenant, &entry).await {
            Ok(()) => {}
            Err(error) if error.is_of_nobody() => {} // the tenant was erased by this very request
            Err(error) => warn!(%error, ?entry, "what was done could not be noted"),
        }
    }

    /// What was done to a tenant's things, newest first.
    pub async fn list_audit(&self, tenant: TenantId, page: Page<AuditId>) -> Result<Vec<AuditEntry>> {
        Ok(self.store.list_audit(tenant, page).await?)
    }

    /// All tenants, newest first: for operators.
    pub async fn list_tenants(&self, page: Page<TenantId>) -> Result<Vec<Tenant>> {
        Ok(self.store.list_tenants(page).await?)
    }
}
