//! Tenants and their keys.

use std::time::{Duration, Instant};

use super::inputs::check_name;
use super::{Page, Result, Service, ServiceError};
use crate::domain::{ApiKey, Clock, Fault, IdSource, KeyId, KeyRecord, Principal, Scope, Tenant, TenantId, Timestamp};
use crate::store::{Hint, Store, StoreError};

/// The tenant that everyone is where no key is asked for, and whose the first key is.
const OPEN_TENANT: &str = "default";

/// How long a key's record is taken without another look into the store: no longer than this is a withdrawn key valid
/// in a process that missed its end, unless the store is away.
pub(super) const TRUSTED_FOR: Duration = Duration::from_secs(30);
/// Longest time that a key may be valid for: what a signed 32-bit number of seconds holds.
const LONGEST_VALIDITY: Duration = Duration::from_secs(i32::MAX as u64);
/// Most keys that are remembered.
pub(super) const REMEMBERED: u64 = 10_000;

/// A key's record, and when the store said so.
#[derive(Clone)]
pub(super) struct HeldKey {
    record: KeyRecord,
    learned_at: Instant,
}

/// A key as it is shown, once.
pub struct KeyMade {
    /// The key.
    pub key: ApiKey,
    /// What is kept of it.
    pub record: KeyRecord,
}

/// A key as somebody asks for it.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// What to call it.
    pub name: Option<String>,
    /// What it may do.
    pub scope: Scope,
    /// How long it is valid; for ever by default.
    pub valid_for: Option<Duration>,
}

impl NewKey {
    /// One without a name or an end.
    pub fn of(scope: Scope) -> Self {
        Self { name: None, scope, valid_for: None }
    }
}

/// A new key for the tenant of that name, which is made if it is not there. Needs no engine: operators do this beside
/// the server.
pub async fn create(
    store: &dyn Store,
    clock: &dyn Clock,
    ids: &dyn IdSource,
    tenant: &str,
    new: NewKey,
) -> Result<KeyMade> {
    let tenant = find_or_create(store, clock, ids, tenant).await?;
    add(store, clock, ids, tenant.id, new).await
}

/// Keys of the tenant of that name, newest first. For operators, beside the server.
///
/// # Errors
/// [`ServiceError::NotFound`] if there is no such tenant.
pub async fn list(store: &dyn Store, tenant: &str) -> Result<Vec<KeyRecord>> {
    let tenant = store.find_tenant(tenant).await?.ok_or(ServiceError::NotFound("tenant"))?;
    Ok(store.list_keys(tenant.id).await?)
}

/// Ends a key, whoever's it is, and tells running servers.
///
/// # Errors
/// [`ServiceError::NotFound`] if there is no such key.
pub async fn revoke(store: &dyn Store, key: KeyId) -> Result<()> {
    let record = store.find_key(key).await?.ok_or(ServiceError::NotFound("key"))?;
    store.delete_key(record.tenant, key).await?;
    // A server that does not hear of it finds out when it next reads the key's record.
    let _ = store.hint(Hint::Key(key)).await;
    Ok(())
}

/// The first key of a store that knows nobody yet: of the tenant `default`, for everything. None if somebody is there.
pub async fn create_first(store: &dyn Store, clock: &dyn Clock, ids: &dyn IdSource) -> Result<Option<KeyMade>> {
    if !store.list_tenants(Page { after: None, limit: 1 }).await?.is_empty() {
        return Ok(None);
    }
    let new = NewKey { name: Some("first".to_owned()), ..NewKey::of(Scope::Admin) };
    create(store, clock, ids, OPEN_TENANT, new).await.map(Some)
}

async fn add(
    store: &dyn Store,
    clock: &dyn Clock,
    ids: &dyn IdSource,
    tenant: TenantId,
    new: NewKey,
) -> Result<KeyMade> {
    let NewKey { name, scope, valid_for } = new;
    if let Some(name) = &name {
        check_name("name", name, "/name")?;
    }
    let (key, created_at) = (ApiKey::fresh(ids), clock.now());
    let expires_at = valid_for.map(|time| after(created_at, time));
    let record = KeyRecord { id: key.id(), tenant, digest: key.digest(), name, scope, created_at, expires_at };
    store.create_key(&record).await?;
    Ok(KeyMade { key, record })
}

fn after(moment: Timestamp, time: Duration) -> Timestamp {
    let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(moment.millis().saturating_add(millis))
}

impl Service {
    /// A new key of a tenant.
    pub async fn create_key(&self, tenant: TenantId, new: NewKey) -> Result<KeyMade> {
        if let Some(time) = new.valid_for.filter(|time| time.is_zero() || *time > LONGEST_VALIDITY) {
            let given = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
            let most = i64::from(i32::MAX);
            return Err(Fault::OutOfRange { given, least: 1, most }.at("/expires_in_s").into());
        }
        add(&*self.store, &*self.clock, &*self.ids, tenant, new).await
    }

    /// The tenant of that name, made if it is not there: for operators.
    pub async fn create_tenant(&self, name: &str) -> Result<Tenant> {
        find_or_create(&*self.store, &*self.clock, &*self.ids, name).await
    }

    /// Where everyone is one tenant, that one is there again when all of its is erased.
    pub(super) async fn keep_open_tenant(&self, id: TenantId) -> Result<()> {
        let created_at = self.clock.now();
        match self.store.create_tenant(&Tenant { id, name: OPEN_TENANT.to_owned(), created_at }).await {
            Ok(()) | Err(StoreError::Exists(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether there is a tenant of that id: for operators, who name them.
    pub async fn check_tenant(&self, tenant: TenantId) -> Result<()> {
        if self.store.is_tenant(tenant).await? { Ok(()) } else { Err(ServiceError::NotFound("tenant")) }
    }

    /// Keys of a tenant, newest first.
    pub async fn list_keys(&self, tenant: TenantId) -> Result<Vec<KeyRecord>> {
        Ok(self.store.list_keys(tenant).await?)
    }

    /// Ends a key at once.
    pub async fn revoke_key(&self, tenant: TenantId, key: KeyId) -> Result<()> {
        if !self.store.delete_key(tenant, key).await? {
            return Err(ServiceError::NotFound("key"));
        }
        self.keys.invalidate(&key).await;
        self.tell(Hint::Key(key));
        Ok(())
    }

    /// A new key of the same name and scope; the old one ends after `overlap`.
    pub async fn rotate_key(&self, tenant: TenantId, key: KeyId, overlap: Duration) -> Result<KeyMade> {
        let found = self.store.find_key(key).await?.filter(|record| record.tenant == tenant);
        let KeyRecord { name, scope, .. } = found.ok_or(ServiceError::NotFound("key"))?;
        let new = NewKey { name, scope, valid_for: None };
        let made = add(&*self.store, &*self.clock, &*self.ids, tenant, new).await?;
        self.store.end_key(tenant, key, after(self.clock.now(), overlap)).await?;
        self.keys.invalidate(&key).await;
        self.tell(Hint::Key(key));
        Ok(made)
    }

    /// Who sends `credential`, the text after `Bearer`.
    ///
    /// # Errors
    /// [`ServiceError::Unauthenticated`] for no key, a malformed one, an unknown one, a wrong one and one that has ended
    /// alike.
    pub async fn authenticate(&self, credential: Option<&str>) -> Result<Principal> {
        if self.config.no_auth {
            let find = async || {
                let found = find_or_create(&*self.store, &*self.clock, &*self.ids, OPEN_TENANT).await;
                found.map(|tenant| tenant.id)
            };
            let tenant = *self.open_tenant.get_or_try_init(find).await?;
            return Ok(Principal { tenant, scope: Scope::Admin, key: None });
        }
        let key = credential.and_then(ApiKey::parse).ok_or(ServiceError::Unauthenticated)?;
        let record = self.key_record(key.id()).await?.ok_or(ServiceError::Unauthenticated)?;
        let has_ended = record.expires_at.is_some_and(|end| end <= self.clock.now());
        if has_ended || !key.matches(&record) {
            return Err(ServiceError::Unauthenticated);
        }
        Ok(Principal { tenant: record.tenant, scope: record.scope, key: Some(record.id) })
    }

    /// Whether everyone who reaches this server is that tenant.
    pub(super) async fn is_everyone(&self, tenant: TenantId) -> Result<bool> {
        if !self.config.no_auth {
            return Ok(false);
        }
        Ok(self.store.find_tenant(OPEN_TENANT).await?.is_some_and(|open| open.id == tenant))
    }

    async fn key_record(&self, id: KeyId) -> Result<Option<KeyRecord>> {
        let held = self.keys.get(&id).await;
        if let Some(held) = &held
            && held.learned_at.elapsed() < TRUSTED_FOR
        {
            return Ok(Some(held.record.clone()));
        }
        match self.store.find_key(id).await.map_err(ServiceError::from) {
            Ok(Some(record)) => {
                self.keys.insert(id, HeldKey { record: record.clone(), learned_at: Instant::now() }).await;
                Ok(Some(record))
            }
            Ok(None) => {
                self.keys.invalidate(&id).await;
                Ok(None)
            }
            // While the store is away, what it said last holds.
            Err(error @ (ServiceError::Away | ServiceError::OutOfRoom | ServiceError::Store(_))) => {
                held.map(|held| Some(held.record)).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }
}

async fn find_or_create(store: &dyn Store, clock: &dyn Clock, ids: &dyn IdSource, name: &str) -> Result<Tenant> {
    if let Some(tenant) = store.find_tenant(name).await? {
        return Ok(tenant);
    }
    check_name("tenant", name, "/name")?;
    let tenant = Tenant { id: TenantId::fresh(ids), name: name.to_owned(), created_at: clock.now() };
    match store.create_tenant(&tenant).await {
        Ok(()) => Ok(tenant),
        // Another process was faster.
        Err(StoreError::Exists(_)) => store.find_tenant(name).await?.ok_or(ServiceError::NotFound("tenant")),
        Err(error) => Err(error.into()),
    }
}
