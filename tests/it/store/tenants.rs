//! Tenants and keys.

use imprint::domain::{ApiKey, KeyRecord, Scope, Tenant, TenantId};
use imprint::store::StoreError;

use super::Fixture;

pub async fn a_tenant_is_found_by_its_name(fixture: &Fixture) {
    let tenant = Tenant { id: TenantId::fresh(fixture.ids()), name: "Zoë & co".to_owned(), created_at: fixture.now() };

    fixture.store.create_tenant(&tenant).await.unwrap();

    assert_eq!(fixture.store.find_tenant("Zoë & co").await.unwrap(), Some(tenant));
    assert_eq!(fixture.store.find_tenant("zoë & co").await.unwrap(), None);
    fixture.store.ping().await.unwrap();
}

pub async fn a_name_is_given_once(fixture: &Fixture) {
    fixture.tenant("zoo").await;
    let second = Tenant { id: TenantId::fresh(fixture.ids()), name: "zoo".to_owned(), created_at: fixture.now() };

    let answer = fixture.store.create_tenant(&second).await;

    assert!(matches!(answer, Err(StoreError::Exists(_))), "{answer:?}");
}

pub async fn a_key_is_found_by_its_public_half(fixture: &Fixture) {
    let (key, other) = (ApiKey::fresh(fixture.ids()), ApiKey::fresh(fixture.ids()));
    let tenant = fixture.tenant("zoo").await;
    let (id, digest, created_at) = (key.id(), key.digest(), fixture.now());
    let record = KeyRecord { id, tenant, digest, scope: Scope::Adapt, created_at, expires_at: Some(fixture.now()) };

    fixture.store.create_key(&record).await.unwrap();

    let found = fixture.store.find_key(key.id()).await.unwrap().unwrap();
    assert!(found == record && key.matches(&found));
    assert_eq!(fixture.store.find_key(other.id()).await.unwrap(), None);
    assert!(matches!(fixture.store.create_key(&record).await, Err(StoreError::Exists(_))));
}
