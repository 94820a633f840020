//! What is remembered of requests that may be repeated.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::domain::{RequestKey, Reservation, SavedResponse, TenantId};

/// How long a request with an `Idempotency-Key` is locked by one who is at it, and how long it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestTimes {
    /// Without a sign of life.
    pub lease: Duration,
    /// From when it is first taken up.
    pub keep: Duration,
}

/// Requests with an `Idempotency-Key`.
#[async_trait]
pub trait RequestStore {
    /// Takes up a request that may be repeated, unless it was answered, or somebody is at it. One that is new has its
    /// ids drawn from `seed`.
    async fn reserve_request(
        &self,
        tenant: TenantId,
        request: &RequestKey,
        seed: [u8; 32],
        times: RequestTimes,
    ) -> Result<Reservation, StoreError>;
    /// Prolongs its lock by `lease`, and ends it with none; false if the request is no longer this attempt's.
    async fn renew_request(
        &self,
        tenant: TenantId,
        request: &RequestKey,
        attempt: u32,
        lease: Duration,
    ) -> Result<bool, StoreError>;
    /// Keeps its answer; false if the request is no longer this attempt's.
    async fn save_response(
        &self,
        tenant: TenantId,
        request: &RequestKey,
        attempt: u32,
        response: &SavedResponse,
    ) -> Result<bool, StoreError>;
    /// Forgets it, if it is still this attempt's.
    async fn release_request(&self, tenant: TenantId, request: &RequestKey, attempt: u32) -> Result<(), StoreError>;
}
