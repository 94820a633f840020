//! Requests that may be sent twice and must act once.
//!
//! A request with an `Idempotency-Key` is taken up by one caller at a time, under a lock that it prolongs while it
//! works. Its ids are drawn from a seed that is kept with it: if its caller is lost before the answer is saved, the
//! next one makes the same rows again, finds that they are there, and acts once all the same.

use std::sync::Arc;
use std::time::Duration;

use super::{Result, Service};
use crate::domain::{RequestKey, Reservation, SavedResponse, SeededIds, TenantId};
use crate::store::requests::RequestTimes;

/// How long a request is locked without a sign of life.
pub const REQUEST_LEASE: Duration = Duration::from_secs(10);

impl Service {
    /// These use cases with ids that are drawn from `seed`.
    #[must_use]
    pub fn with_ids_from(&self, seed: [u8; 32]) -> Self {
        Self { ids: Arc::new(SeededIds::from_seed(seed)), ..self.clone() }
    }

    /// Takes a request up, unless it was answered, or somebody is at it.
    pub async fn reserve(&self, tenant: TenantId, request: &RequestKey) -> Result<Reservation> {
        let mut seed = [0; 32];
        seed[..16].copy_from_slice(&self.ids.bits());
        seed[16..].copy_from_slice(&self.ids.bits());
        let keep = Duration::from_hours(self.config.idempotency_hours);
        Ok(self.store.reserve_request(tenant, request, seed, RequestTimes { lease: REQUEST_LEASE, keep }).await?)
    }

    /// Says that somebody is still at a request.
    pub async fn keep_reserved(&self, tenant: TenantId, request: &RequestKey, attempt: u32) -> Result<bool> {
        Ok(self.store.renew_request(tenant, request, attempt, REQUEST_LEASE).await?)
    }

    /// Keeps the answer to a request.
    pub async fn save_response(
        &self,
        tenant: TenantId,
        request: &RequestKey,
        attempt: u32,
        response: &SavedResponse,
    ) -> Result<bool> {
        Ok(self.store.save_response(tenant, request, attempt, response).await?)
    }

    /// Gives a request up that had no effect: its key is free.
    pub async fn release(&self, tenant: TenantId, request: &RequestKey, attempt: u32) -> Result<()> {
        Ok(self.store.release_request(tenant, request, attempt).await?)
    }

    /// Gives a request up that may have had one: whoever takes it up next makes the same rows.
    pub async fn unlock(&self, tenant: TenantId, request: &RequestKey, attempt: u32) -> Result<bool> {
        Ok(self.store.renew_request(tenant, request, attempt, Duration::ZERO).await?)
    }
}
