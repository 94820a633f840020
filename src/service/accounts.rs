//! What tenants have of the server, what was done to their things, and what is erased for good.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ring::signature::{Ed25519KeyPair, KeyPair};
use tracing::{info, warn};

use super::{NewAdaptation, Page, Result, Service, ServiceError};
use crate::domain::{
    AdaptationId, AuditEntry, AuditId, Erasure, Holdings, Receipt, Tenant, TenantId, Timestamp, Usage, hex,
};
use crate::store::accounts::Erased;

/// Milliseconds of a day.
const DAY_MS: i64 = 24 * 3_600 * 1_000;
/// How often what was counted is stored.
pub(super) const FLUSH: Duration = Duration::from_secs(5);
/// Name of the key that receipts are signed with.
const RECEIPTS: &str = "receipts";

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

/// That something was erased, signed.
#[derive(Clone, Debug)]
pub struct SignedReceipt {
    /// What was erased.
    pub receipt: Receipt,
    /// The very text that is signed: the receipt in JSON.
    pub signed: String,
    /// Ed25519 signature of that text, in hexadecimal.
    pub signature: String,
    /// The key to check it with, in hexadecimal.
    pub public_key: String,
    /// The adaptation that makes an adapter of the examples that are left.
    pub adaptation: Option<AdaptationId>,
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

    /// Removes something for good: from the store and from this process's memory; others' hold it no longer than it takes
    /// them to notice. What is left of a task is adapted again.
    pub async fn erase(&self, tenant: TenantId, what: Erasure) -> Result<SignedReceipt> {
        let missing = match what {
            Erasure::Example(..) => "example",
            Erasure::Task(_) | Erasure::Tenant => "task",
        };
        let erased = self.store.erase(tenant, what).await?.ok_or(ServiceError::NotFound(missing))?;
        self.adapters.forget(&erased.adapters).await;
        self.engine.forget_texts(&erased.texts).await;
        match what {
            Erasure::Example(task, _) | Erasure::Task(task) => self.forget_task(task).await,
            Erasure::Tenant => {
                self.keep_open_tenant(tenant).await?;
                self.last_known.forget_all();
                self.keys.invalidate_all();
            }
        }
        let adaptation = match what {
            Erasure::Example(task, _) if erased.removed.adapters > 0 => {
                match self.create_adaptation(tenant, task, NewAdaptation::default()).await {
                    Ok(adaptation) => Some(adaptation.id),
                    Err(ServiceError::Invalid(_)) => None, // too few are left
                    Err(error) => return Err(error),
                }
            }
            _ => None,
        };
        self.receipt(tenant, what, &erased, adaptation).await
    }

    async fn receipt(
        &self,
        tenant: TenantId,
        what: Erasure,
        erased: &Erased,
        adaptation: Option<AdaptationId>,
    ) -> Result<SignedReceipt> {
        let (scope, task, support) = match what {
            Erasure::Example(task, support) => ("example", Some(task), Some(support)),
            Erasure::Task(task) => ("task", Some(task), None),
            Erasure::Tenant => ("tenant", None, None),
        };
        let (removed, remaining, erased_at) = (erased.removed, erased.remaining, self.clock.now());
        if !remaining.is_nothing() {
            return Err(ServiceError::Internal(format!("{remaining:?} remain of what was erased")));
        }
        let receipt = Receipt { scope, tenant, task, support, removed, remaining, erased_at };
        let signed = serde_json::to_string(&receipt).map_err(|error| ServiceError::Internal(error.to_string()))?;
        let mut fresh = [0; 32];
        fresh[..16].copy_from_slice(&self.ids.bits());
        fresh[16..].copy_from_slice(&self.ids.bits());
        let seed = self.store.signing_seed(RECEIPTS, fresh, erased_at).await?;
        let key = Ed25519KeyPair::from_seed_unchecked(&seed);
        let key = key.map_err(|_| ServiceError::Internal("the key for receipts is damaged".to_owned()))?;
        let signature = hex(key.sign(signed.as_bytes()).as_ref());
        info!(receipt = signed, signature, "erased");
        Ok(SignedReceipt { receipt, signed, signature, public_key: hex(key.public_key().as_ref()), adaptation })
    }

    /// All tenants, newest first: for operators.
    pub async fn list_tenants(&self, page: Page<TenantId>) -> Result<Vec<Tenant>> {
        Ok(self.store.list_tenants(page).await?)
    }
}
