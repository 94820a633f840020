//! Tenants and their keys.

use std::time::Duration;

use super::inputs::check_name;
use super::{Result, Service, ServiceError};
use crate::config::Auth;
use crate::domain::{ApiKey, Clock, IdSource, KeyId, KeyRecord, Tenant, TenantId};
use crate::store::{Store, StoreError};

/// The tenant that everyone is when `auth` is `open`.
const OPEN_TENANT: &str = "default";

/// How long a key's record is taken without another look into the store: no longer than this is a withdrawn key valid.
pub(super) const TRUSTED_FOR: Duration = Duration::from_secs(30);
/// Most keys that are remembered.
pub(super) const REMEMBERED: u64 = 10_000;

/// A key as it is shown, once.
pub struct KeyMade {
    /// Whose.
    pub tenant: Tenant,
    /// The key.
    pub key: ApiKey,
}

/// A new key for the tenant of that name, which is made if it is not there. Needs no engine: operators do this beside
/// the server.
pub async fn create(store: &dyn Store, clock: &dyn Clock, ids: &dyn IdSource, tenant: &str) -> Result<KeyMade> {
    let tenant = find_or_create(store, clock, ids, tenant).await?;
    let key = ApiKey::fresh(ids);
    let record = KeyRecord { id: key.id(), tenant: tenant.id, digest: key.digest(), created_at: clock.now() };
    store.create_key(&record).await?;
    Ok(KeyMade { tenant, key })
}

impl Service {
    /// The tenant that sends `credential`, the text after `Bearer`.
    ///
    /// # Errors
    /// [`ServiceError::Unauthenticated`] for no key, a malformed one, an unknown one and a wrong one alike.
    pub async fn authenticate(&self, credential: Option<&str>) -> Result<TenantId> {
        match self.config.auth {
            Auth::Open => {
                let find = async || {
                    let found = find_or_create(&*self.store, &*self.clock, &*self.ids, OPEN_TENANT).await;
                    found.map(|tenant| tenant.id)
                };
                self.open_tenant.get_or_try_init(find).await.copied()
            }
            Auth::Keys => {
                let key = credential.and_then(ApiKey::parse).ok_or(ServiceError::Unauthenticated)?;
                let record = self.key_record(key.id()).await?.ok_or(ServiceError::Unauthenticated)?;
                if key.matches(&record) { Ok(record.tenant) } else { Err(ServiceError::Unauthenticated) }
            }
        }
    }

    async fn key_record(&self, id: KeyId) -> Result<Option<KeyRecord>> {
        if let Some(record) = self.keys.get(&id).await {
            return Ok(Some(record));
        }
        let found = self.store.find_key(id).await?;
        if let Some(record) = &found {
            self.keys.insert(id, record.clone()).await;
        }
        Ok(found)
    }
}

async fn find_or_create(store: &dyn Store, clock: &dyn Clock, ids: &dyn IdSource, name: &str) -> Result<Tenant> {
    if let Some(tenant) = store.find_tenant(name).await? {
        return Ok(tenant);
    }
    check_name("tenant", name, "tenant")?;
    let tenant = Tenant { id: TenantId::fresh(ids), name: name.to_owned(), created_at: clock.now() };
    match store.create_tenant(&tenant).await {
        Ok(()) => Ok(tenant),
        // Another process was faster.
        Err(StoreError::Exists(_)) => store.find_tenant(name).await?.ok_or(ServiceError::NotFound("tenant")),
        Err(error) => Err(error.into()),
    }
}
