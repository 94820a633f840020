//! Tenants and their keys.

use super::{Result, Service, ServiceError};
use crate::config::Auth;
use crate::domain::{ApiKey, KeyRecord, Tenant, TenantId};
use crate::store::StoreError;

/// The tenant that everyone is when `auth` is `open`.
const OPEN_TENANT: &str = "default";

/// A key as it is shown, once.
pub struct KeyMade {
    /// Whose.
    pub tenant: Tenant,
    /// The key.
    pub key: ApiKey,
}

impl Service {
    /// The tenant that sends `credential`, the text after `Bearer`.
    ///
    /// # Errors
    /// [`ServiceError::Unauthenticated`] for no key, a malformed one, an unknown one and a wrong one alike.
    pub async fn authenticate(&self, credential: Option<&str>) -> Result<TenantId> {
        match self.config.auth {
            Auth::Open => Ok(self.tenant(OPEN_TENANT).await?.id),
            Auth::Keys => {
                let key = credential.and_then(ApiKey::parse).ok_or(ServiceError::Unauthenticated)?;
                let record = self.store.find_key(key.id()).await?.ok_or(ServiceError::Unauthenticated)?;
                if key.matches(&record) { Ok(record.tenant) } else { Err(ServiceError::Unauthenticated) }
            }
        }
    }

    /// A new key for the tenant of that name, which is made if it is not there.
    pub async fn create_key(&self, tenant: &str) -> Result<KeyMade> {
        let tenant = self.tenant(tenant).await?;
        let key = ApiKey::fresh(&*self.ids);
        let record =
            KeyRecord { id: key.id(), tenant: tenant.id, digest: key.digest(), created_at: self.clock.now() };
        self.store.create_key(&record).await?;
        Ok(KeyMade { tenant, key })
    }

    async fn tenant(&self, name: &str) -> Result<Tenant> {
        if let Some(tenant) = self.store.find_tenant(name).await? {
            return Ok(tenant);
        }
        super::inputs::check_name("tenant", name, "tenant")?;
        let tenant = Tenant { id: TenantId::fresh(&*self.ids), name: name.to_owned(), created_at: self.clock.now() };
        match self.store.create_tenant(&tenant).await {
            Ok(()) => Ok(tenant),
            // Another replica was faster.
            Err(StoreError::Exists(_)) => {
                self.store.find_tenant(name).await?.ok_or(ServiceError::NotFound("tenant"))
            }
            Err(error) => Err(error.into()),
        }
    }
}
