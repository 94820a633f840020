//! Tenants and keys.

use imprint::domain::{ApiKey, AuditEntry, AuditId, Holdings, KeyId, KeyRecord, Scope, Tenant, TenantId, Usage};
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
    let (name, expires_at) = (Some("ci".to_owned()), Some(fixture.now()));
    let record = KeyRecord { id, tenant, digest, name, scope: Scope::Adapt, created_at, expires_at };

    fixture.store.create_key(&record).await.unwrap();

    let found = fixture.store.find_key(key.id()).await.unwrap().unwrap();
    assert!(found == record && key.matches(&found));
    assert_eq!(fixture.store.find_key(other.id()).await.unwrap(), None);
    assert!(matches!(fixture.store.create_key(&record).await, Err(StoreError::Exists(_))));
}

pub async fn usage_adds_up_by_day_and_tenants_have_their_own(fixture: &Fixture) {
    let (owner, stranger) = (fixture.tenant("zoo").await, fixture.tenant("museum").await);
    let some = Usage { requests: 1, predictions: 2, adaptations: 3, compute_ms: 4 };

    for (day, process) in [(7, "first"), (7, "second"), (7, "second"), (9, "first")] {
        fixture.store.put_usage(owner, day, process, some).await.unwrap();
    }

    let twice = Usage { requests: 2, predictions: 4, adaptations: 6, compute_ms: 8 };
    assert_eq!(fixture.store.list_usage(owner, 0, 100).await.unwrap(), [(7, twice), (9, some)]);
    assert_eq!(fixture.store.list_usage(owner, 8, 8).await.unwrap(), []);
    assert_eq!(fixture.store.list_usage(stranger, 0, 100).await.unwrap(), []);
    let task = fixture.task(owner).await.id;
    fixture.adapt(owner, task, "h1").await;
    let held = fixture.store.holdings(owner).await.unwrap();
    assert_eq!((held.tasks, held.adapters, held.adapter_bytes, held.support), (1, 1, 2, 0));
    let example = fixture.labelled("cat", "d1");
    fixture.store.add_support(owner, task, std::slice::from_ref(&example), &[], 10, fixture.now()).await.unwrap();
    let held = fixture.store.holdings(owner).await.unwrap();
    let input = serde_json::to_string(&example.example.input).unwrap();
    assert_eq!((held.support, held.support_bytes), (1, input.len() as u64));
    assert_eq!(held.bytes(), held.support_bytes + 2);
    assert_eq!(fixture.store.holdings(stranger).await.unwrap(), Holdings::default());
}

pub async fn usage_of_days_that_are_long_over_is_one_row_a_day(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let some = Usage { requests: 1, predictions: 2, adaptations: 3, compute_ms: 4 };
    let (days, store) = ([(1, "first"), (1, "second"), (2, "second"), (8, "first"), (8, "second")], &fixture.store);
    for (day, process) in days {
        store.put_usage(tenant, day, process, some).await.unwrap();
    }
    let before = store.list_usage(tenant, 0, 8).await.unwrap();

    for day in [9, 10] {
        store.put_usage(tenant, day, "first", some).await.unwrap();
        store.put_usage(tenant, 1, "second", some).await.unwrap(); // as it said before
    }

    assert_eq!(store.list_usage(tenant, 0, 8).await.unwrap(), before);
    let count = "SELECT COUNT(*) FROM usage WHERE day < 8";
    let rows: i64 = sqlx::query_scalar(count).fetch_one(&mut fixture.raw().await).await.unwrap();
    assert_eq!(rows, 2);
}

pub async fn what_was_done_is_listed_newest_first(fixture: &Fixture) {
    let (owner, stranger) = (fixture.tenant("zoo").await, fixture.tenant("museum").await);
    let entry = |path: &str| AuditEntry {
        id: AuditId::fresh(fixture.ids()),
        key: Some(KeyId::fresh(fixture.ids())),
        method: "DELETE".to_owned(),
        path: path.to_owned(),
        status: 204,
        request_id: "req_1".to_owned(),
        peer: None,
        forwarded_for: Some("1.2.3.4".to_owned()),
        created_at: fixture.now(),
    };
    let (first, second) = (entry("/a"), AuditEntry { key: None, ..entry("/b") });

    for done in [&first, &second] {
        fixture.store.add_audit(owner, done, imprint::domain::Timestamp::from_millis(0)).await.unwrap();
    }

    assert_eq!(fixture.store.list_audit(owner, super::fixture::first(9)).await.unwrap(), [second.clone(), first]);
    assert_eq!(fixture.store.list_audit(stranger, super::fixture::first(9)).await.unwrap(), []);
    let third = entry("/c");
    fixture.store.add_audit(owner, &third, second.created_at).await.unwrap();
    assert_eq!(fixture.store.list_audit(owner, super::fixture::first(9)).await.unwrap(), [third, second]);
}

pub async fn the_key_for_receipts_is_one(fixture: &Fixture) {
    let seed = |byte| fixture.store.signing_seed("receipts", [byte; 32], fixture.now());

    assert_eq!(seed(1).await.unwrap(), [1; 32]);
    assert_eq!(seed(2).await.unwrap(), [1; 32]);
}

pub async fn tenants_are_listed_for_operators(fixture: &Fixture) {
    let (zoo, museum) = (fixture.tenant("zoo").await, fixture.tenant("museum").await);

    let page = fixture.store.list_tenants(super::fixture::first(1)).await.unwrap();
    let after = page.last().map(|tenant| (tenant.created_at, tenant.id));
    let rest = fixture.store.list_tenants(imprint::store::Page { after, limit: 9 }).await.unwrap();

    assert_eq!((page[0].id, rest.len(), rest[0].id), (museum, 1, zoo));
    assert!(fixture.store.is_tenant(zoo).await.unwrap());
    assert!(!fixture.store.is_tenant(TenantId::fresh(fixture.ids())).await.unwrap());
}
