//! What is remembered of tenants themselves: keys, usage, what was done, what was erased.

use async_trait::async_trait;

use super::{Page, StoreError};
use crate::domain::{
    AdapterId, AuditEntry, AuditId, Erasure, Holdings, KeyId, KeyRecord, Receipt, ReceiptId, Tenant, TenantId,
    Timestamp, Usage,
};

/// What an erasure did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erased {
    /// That it did.
    pub receipt: Receipt,
    /// Adapters that are gone: caches have to forget them.
    pub adapters: Vec<AdapterId>,
    /// Texts that are gone, for the same reason.
    pub texts: Vec<String>,
}

/// Accounts of tenants.
#[async_trait]
pub trait AccountStore {
    /// Adds a tenant. [`StoreError::Exists`] if the name is taken.
    async fn create_tenant(&self, tenant: &Tenant) -> Result<(), StoreError>;
    /// The tenant of that name.
    async fn find_tenant(&self, name: &str) -> Result<Option<Tenant>, StoreError>;
    /// Adds a key.
    async fn create_key(&self, key: &KeyRecord) -> Result<(), StoreError>;
    /// Keys of a tenant, newest first.
    async fn list_keys(&self, tenant: TenantId) -> Result<Vec<KeyRecord>, StoreError>;
    /// Ends a key at a moment, or earlier if it ends earlier; false if the tenant has no such key.
    async fn end_key(&self, tenant: TenantId, id: KeyId, at: Timestamp) -> Result<bool, StoreError>;
    /// Removes a key; false if the tenant has no such key.
    async fn delete_key(&self, tenant: TenantId, id: KeyId) -> Result<bool, StoreError>;
    /// The key of that public half.
    async fn find_key(&self, id: KeyId) -> Result<Option<KeyRecord>, StoreError>;

    /// Says what a tenant had of one process on a day, all in all: said twice, it counts once. `day` counts from 1970. Days
    /// that were over a week before the tenant's last are closed: nothing is added to them.
    async fn put_usage(&self, tenant: TenantId, day: i64, process: &str, total: Usage) -> Result<(), StoreError>;
    /// Usage of all processes from one day to another, both included, oldest first; days without any are left out.
    async fn list_usage(&self, tenant: TenantId, from: i64, to: i64) -> Result<Vec<(i64, Usage)>, StoreError>;
    /// What a tenant has in the store.
    async fn holdings(&self, tenant: TenantId) -> Result<Holdings, StoreError>;

    /// Notes what somebody did; what is older than `oldest` goes.
    async fn add_audit(&self, tenant: TenantId, entry: &AuditEntry, oldest: Timestamp) -> Result<(), StoreError>;
    /// What was done to a tenant's things, newest first.
    async fn list_audit(&self, tenant: TenantId, page: Page<AuditId>) -> Result<Vec<AuditEntry>, StoreError>;

    /// Removes something for good, looks for it afterwards and keeps the receipt, all or nothing; `None` if it is not
    /// there. A receipt of this id that is there is given again. [`StoreError::Conflict`] if things of it come faster than
    /// they go.
    async fn erase(
        &self,
        tenant: TenantId,
        what: Erasure,
        receipt: ReceiptId,
        now: Timestamp,
    ) -> Result<Option<Erased>, StoreError>;
    /// Receipts of a tenant, which need not be there any more, newest first.
    async fn list_receipts(&self, tenant: TenantId, page: Page<ReceiptId>) -> Result<Vec<Receipt>, StoreError>;
    /// The seed of that name; `fresh` from now on, if there is none.
    async fn signing_seed(&self, name: &str, fresh: [u8; 32], now: Timestamp) -> Result<[u8; 32], StoreError>;

    /// Whether there is a tenant of that id.
    async fn is_tenant(&self, tenant: TenantId) -> Result<bool, StoreError>;
    /// All tenants, newest first: for operators.
    async fn list_tenants(&self, page: Page<TenantId>) -> Result<Vec<Tenant>, StoreError>;
}
