//! What one tenant may have of a process: so many requests at a time, and so many in a while.
//!
//! By process: behind a load balancer, N servers allow N times as much.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Result, ServiceError};
use crate::domain::TenantId;

/// Tenants after which those that are idle are forgotten.
const REMEMBERED: usize = 10_000;

/// What is left of a tenant's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Most requests at once after a pause.
    pub burst: u32,
    /// How many are left at once.
    pub remaining: u32,
    /// How long it takes from none to `burst`, in seconds.
    pub window_s: u64,
}

/// All tenants' requests.
#[derive(Debug, Default)]
pub(super) struct Allowances(Mutex<HashMap<TenantId, Account>>);

#[derive(Debug)]
struct Account {
    /// Requests that are left; refilled with time.
    tokens: f64,
    refilled: Instant,
    under_way: u32,
}

/// One request of a tenant; it ends when this is dropped.
#[derive(Debug)]
pub struct Place {
    all: Arc<Allowances>,
    tenant: TenantId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut accounts = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = accounts.get_mut(&self.tenant) {
            account.under_way = account.under_way.saturating_sub(1);
        }
    }
}

/// Limits of one tenant; 0 is none.
#[derive(Clone, Copy, Debug)]
pub(super) struct TenantLimits {
    /// Requests a second, in the long run.
    pub(super) rate: u32,
    /// Requests at a time.
    pub(super) concurrency: u32,
}

impl Allowances {
    /// Takes a place for one request.
    pub(super) fn admit(
        self: &Arc<Self>,
        tenant: TenantId,
        limits: TenantLimits,
        now: Instant,
    ) -> Result<(Place, Option<Allowance>)> {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if accounts.len() >= REMEMBERED {
            accounts.retain(|_, account| account.under_way > 0);
        }
        let burst = f64::from(limits.rate.saturating_mul(BURST_SECONDS));
        let fresh = || Account { tokens: burst, refilled: now, under_way: 0 };
        let account = accounts.entry(tenant).or_insert_with(fresh);
        if limits.concurrency > 0 && account.under_way >= limits.concurrency {
            return Err(ServiceError::Limited { code: "tenant_concurrency", retry_after: Duration::from_secs(1) });
        }
        let allowance = if limits.rate == 0 { None } else { Some(account.take(limits.rate, burst, now)?) };
        account.under_way += 1;
        Ok((Place { all: Arc::clone(self), tenant }, allowance))
    }
}

/// How many seconds' worth of requests may come at once.
const BURST_SECONDS: u32 = 10;

impl Account {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a burst")]
    fn take(&mut self, rate: u32, burst: f64, now: Instant) -> Result<Allowance> {
        let passed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.tokens = (self.tokens + passed * f64::from(rate)).min(burst);
        self.refilled = now;
        if self.tokens < 1.0 {
            let retry_after = Duration::from_secs_f64((1.0 - self.tokens) / f64::from(rate));
            return Err(ServiceError::Limited { code: "tenant_rate", retry_after });
        }
        self.tokens -= 1.0;
        let window_s = u64::from(BURST_SECONDS);
        Ok(Allowance { burst: burst as u32, remaining: self.tokens as u32, window_s })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SeededIds;

    fn tenants() -> (TenantId, TenantId) {
        let ids = SeededIds::new(1);
        (TenantId::fresh(&ids), TenantId::fresh(&ids))
    }

    #[test]
    fn requests_come_back_with_time_and_to_each_tenant_its_own() {
        let (all, now, (one, other)) = (Arc::new(Allowances::default()), Instant::now(), tenants());
        let limits = TenantLimits { rate: 2, concurrency: 0 };
        let admit =
            |tenant, at| all.admit(tenant, limits, at).map(|(_, allowance)| allowance.expect("limited").remaining);

        let first: Vec<_> = (0..20).map(|_| admit(one, now).expect("the burst")).collect();
        assert_eq!((first[0], first[19]), (19, 0));
        let refused = admit(one, now);
        assert!(
            matches!(refused, Err(ServiceError::Limited { code: "tenant_rate", retry_after }) if retry_after == Duration::from_millis(500)),
            "{refused:?}"
        );
        assert_eq!(admit(other, now).expect("its own"), 19);
        assert_eq!(admit(one, now + Duration::from_millis(500)).expect("refilled"), 0);
        assert_eq!(admit(one, now + Duration::from_hours(1)).expect("refilled"), 19);
    }

    #[test]
    fn a_place_is_free_again_when_its_request_ends() {
        let (all, now, (tenant, _)) = (Arc::new(Allowances::default()), Instant::now(), tenants());
        let limits = TenantLimits { rate: 0, concurrency: 1 };

        let (place, allowance) = all.admit(tenant, limits, now).expect("the first");
        assert_eq!(allowance, None);
        assert!(matches!(
            all.admit(tenant, limits, now),
            Err(ServiceError::Limited { code: "tenant_concurrency", .. })
        ));
        drop(place);
        assert!(all.admit(tenant, limits, now).is_ok());
    }
}
