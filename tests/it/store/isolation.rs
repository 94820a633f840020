//! What belongs to another tenant is absent, in every call that names a tenant.

use imprint::domain::{SupportFilter, TaskPatch};

use super::Fixture;
use super::fixture::{MANY, first};

pub async fn another_tenant_sees_and_changes_nothing(fixture: &Fixture) {
    let (owner, stranger) = (fixture.tenant("zoo").await, fixture.tenant("museum").await);
    let task = fixture.task(owner).await.id;
    let support = fixture.labelled("a", "1");
    let one = std::slice::from_ref(&support);
    fixture.store.add_support(owner, task, one, &[], MANY, fixture.now()).await.unwrap();
    fixture.adapt(owner, task, "h1").await;
    fixture.adapt(owner, task, "h2").await;
    let adapter = fixture.store.find_adapter(owner, task, None).await.unwrap().unwrap().id;
    let job = fixture.submit(owner, task).await.id;
    let (store, now, patch) = (&fixture.store, fixture.now(), TaskPatch::default());
    let before = store.find_task(owner, task).await.unwrap();

    assert_eq!(store.find_task(stranger, task).await.unwrap(), None);
    assert_eq!(store.list_tasks(stranger, first(MANY)).await.unwrap(), []);
    assert_eq!(store.update_task(stranger, task, &patch, None, now).await.unwrap(), None);
    assert_eq!(store.update_task(stranger, task, &patch, Some(99), now).await.unwrap(), None);
    assert!(!store.delete_task(stranger, task).await.unwrap());
    assert_eq!(store.add_support(stranger, task, one, &["x".into()], MANY, now).await.unwrap(), None);
    assert_eq!(store.add_support(stranger, task, one, &[], 0, now).await.unwrap(), None);
    assert_eq!(store.list_support(stranger, task, &SupportFilter::default(), first(MANY)).await.unwrap(), []);
    assert_eq!(store.find_support(stranger, task, support.id).await.unwrap(), None);
    assert!(!store.replace_support(stranger, task, &support, &support.example, &[], now).await.unwrap());
    assert_eq!(store.load_support(stranger, task).await.unwrap(), []);
    assert_eq!(store.count_support(stranger, task).await.unwrap(), []);
    assert_eq!(store.support_len(stranger, task).await.unwrap(), 0);
    assert!(!store.delete_support(stranger, task, support.id, now).await.unwrap());
    assert!(!store.submit_adaptation(stranger, &fixture.new_job(task), MANY).await.unwrap());
    assert!(!store.submit_adaptation(stranger, &fixture.new_job(task), 0).await.unwrap());
    assert_eq!(store.find_adaptation(stranger, job).await.unwrap(), None);
    assert_eq!(store.list_adaptations(stranger, None, None, first(MANY)).await.unwrap(), []);
    assert_eq!(store.list_adaptations(stranger, Some(task), None, first(MANY)).await.unwrap(), []);
    assert_eq!(store.cancel_adaptation(stranger, job).await.unwrap(), None);
    assert_eq!(store.find_adapter(stranger, task, None).await.unwrap(), None);
    assert_eq!(store.find_adapter(stranger, task, Some(1)).await.unwrap(), None);
    assert_eq!(store.load_adapter(stranger, adapter).await.unwrap(), None);
    assert_eq!(store.list_adapters(stranger, task, None, MANY).await.unwrap(), []);
    assert_eq!(store.promote(stranger, task, 1, now).await.unwrap(), None);
    assert_eq!(store.rollback(stranger, task, "token", now).await.unwrap(), None);

    assert_eq!(store.find_task(owner, task).await.unwrap(), before);
    assert_eq!(store.load_support(owner, task).await.unwrap(), [support]);
    assert_eq!(fixture.claim().await.map(|claim| (claim.tenant, claim.adaptation.id)), Some((owner, job)));
}
