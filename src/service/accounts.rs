//! What tenants have of the server, and what was done to their things.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::warn;

use super::{Page, Result, Service};
use crate::domain::{AuditEntry, AuditId, Holdings, IdSource, Tenant, TenantId, Timestamp, Usage, hex};

/// Milliseconds of a day.
pub(super) const DAY_MS: i64 = 24 * 3_600 * 1_000;
/// How often what was counted is stored.
pub(super) const FLUSH: Duration = Duration::from_secs(5);

/// What tenants have had of this process, by day.
#[derive(Debug)]
pub(super) struct Meter {
    process: String,
    had: Mutex<HashMap<(TenantId, i64), Had>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Had {
    total: Usage,
    /// What of it the store has for sure.
    stored: Usage,
}

impl Meter {
    /// Of a process that nothing else is named after.
    pub(super) fn new(ids: &dyn IdSource) -> Self {
        Self { process: hex(&ids.bits()), had: Mutex::default() }
    }

    fn had(&self) -> MutexGuard<'_, HashMap<(TenantId, i64), Had>> {
        self.had.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, tenant: TenantId, day: i64, usage: Usage) {
        self.had().entry((tenant, day)).or_default().total.add(usage);
    }

    /// Totals that the store has not yet. Days that are long over, and stored, go.
    fn to_store(&self, today: i64) -> Vec<((TenantId, i64), Usage)> {
        let mut had = self.had();
        had.retain(|(_, day), had| *day >= today - 1 || had.total != had.stored);
        let news = had.iter().filter(|(_, had)| had.total != had.stored);
        news.map(|(of, had)| (*of, had.total)).collect()
    }

    fn note_stored(&self, of: (TenantId, i64), total: Usage) {
        if let Some(had) = self.had().get_mut(&of) {
            had.stored = total;
        }
    }

    fn forget(&self, of: (TenantId, i64)) {
        self.had().remove(&of);
    }

    /// What the store does not say yet of a tenant's days.
    fn besides(&self, tenant: TenantId) -> Vec<(i64, Usage)> {
        let had = self.had();
        let of_tenant = had.iter().filter(|((whose, _), had)| *whose == tenant && had.total != had.stored);
        of_tenant.map(|((_, day), had)| (*day, had.total.without(had.stored))).collect()
    }
}

impl Service {
    /// Counts what a tenant has had.
    pub fn meter(&self, tenant: TenantId, usage: Usage) {
        self.meter.add(tenant, self.clock.now().millis().div_euclid(DAY_MS), usage);
    }

    /// Stores what was counted. What could not be stored for sure is said again the next time.
    pub async fn flush_usage(&self) {
        for (of, total) in self.meter.to_store(self.today()) {
            match self.store.put_usage(of.0, of.1, &self.meter.process, total).await {
                Ok(()) => self.meter.note_stored(of, total),
                Err(error) if error.is_of_nobody() => self.meter.forget(of), // erased meanwhile
                Err(error) => warn!(%error, "usage could not be stored"),
            }
        }
    }

    /// Usage of the days between two moments, and what is stored now. What other processes counted in the last seconds is
    /// not in it.
    pub async fn usage(&self, tenant: TenantId, days: RangeInclusive<i64>) -> Result<(Vec<(i64, Usage)>, Holdings)> {
        let usage = self.days(tenant, days).await?;
        Ok((usage.into_iter().collect(), self.store.holdings(tenant).await?))
    }

    /// Usage by day.
    pub(super) async fn days(&self, tenant: TenantId, days: RangeInclusive<i64>) -> Result<BTreeMap<i64, Usage>> {
        let besides = self.meter.besides(tenant);
        let stored = self.store.list_usage(tenant, *days.start(), *days.end()).await?;
        let mut usage: BTreeMap<i64, Usage> = stored.into_iter().collect();
        for (day, had) in besides.into_iter().filter(|(day, _)| days.contains(day)) {
            usage.entry(day).or_default().add(had);
        }
        Ok(usage)
    }

    /// The present day, counted from 1970.
    pub fn today(&self) -> i64 {
        self.clock.now().millis().div_euclid(DAY_MS)
    }

    /// Notes what somebody did. An answer does not fail for that: the log has it, too.
    pub async fn note_audit(&self, tenant: TenantId, entry: impl FnOnce(AuditId, Timestamp) -> AuditEntry) {
        let entry = entry(AuditId::from_bits(self.ids.bits()), self.clock.now());
        let kept = i64::try_from(self.config.audit_days).unwrap_or(i64::MAX).saturating_mul(DAY_MS);
        let oldest = Timestamp::from_millis(entry.created_at.millis().saturating_sub(kept));
        match self.store.add_audit(tenant, &entry, oldest).await {
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
