//! Adapters: versions, reuse, promotion, and the bytes.

use imprint::domain::{LabelQuality, Promotion, Quality};
use imprint::store::{Completion, StoreError};

use super::Fixture;

pub async fn versions_count_up_within_a_task(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let (task, other) = (fixture.task(tenant).await.id, fixture.task(tenant).await.id);

    assert_eq!(fixture.adapt(tenant, task, "h1").await, 1);
    assert_eq!(fixture.adapt(tenant, task, "h2").await, 2);
    assert_eq!(fixture.adapt(tenant, other, "h1").await, 1);

    let active = fixture.store.find_adapter(tenant, task, None).await.unwrap().unwrap();
    assert_eq!((active.version, active.support_hash.as_str()), (2, "h2"));
    let blob = fixture.store.load_adapter(tenant, active.id).await.unwrap().unwrap();
    assert_eq!((blob.bytes(), blob.sha256()), (&b"h2"[..], active.sha256.as_str()));
}

pub async fn an_equal_adaptation_reuses_the_adapter(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    fixture.adapt(tenant, task, "h1").await;
    let first = fixture.store.find_adapter(tenant, task, Some(1)).await.unwrap().unwrap();
    fixture.adapt(tenant, task, "h2").await;

    let version = fixture.adapt(tenant, task, "h1").await;

    assert_eq!(version, 1);
    assert_eq!(fixture.store.list_adapters(tenant, task, None, 10).await.unwrap().len(), 2);
    assert_eq!(fixture.store.find_adapter(tenant, task, None).await.unwrap(), Some(first));
    let task = fixture.store.find_task(tenant, task).await.unwrap().unwrap();
    assert_eq!((task.active_version, task.latest_version), (Some(1), Some(2)));
}

pub async fn other_labels_are_another_adapter(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    fixture.adapt(tenant, task, "h1").await;
    fixture.submit(tenant, task).await;
    let claim = fixture.claim().await.unwrap();
    let (mut adapter, blob) = fixture.adapted(task, "h1", b"h1");
    adapter.labels = vec!["b".to_owned(), "c".to_owned()];

    let done = fixture.complete(&claim, Completion::Adapted(Box::new(adapter), blob)).await.unwrap();

    assert_eq!(done.version, Some(2));
}

pub async fn without_promotion_the_active_version_stays(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    fixture.adapt(tenant, task, "h1").await;
    let mut job = fixture.new_job(task);
    job.promote = Promotion::Never;
    fixture.store.submit_adaptation(tenant, &job, 9).await.unwrap();
    let claim = fixture.claim().await.unwrap();
    let (mut adapter, blob) = fixture.adapted(task, "h2", b"h2");
    let per_label = vec![LabelQuality { label: "a".to_owned(), support: 1, recall: None, expected_gain: Some(0.01) }];
    adapter.quality = Some(Quality {
        method: "leave_one_out".to_owned(),
        n: 2,
        accuracy: Some(1.0 / 3.0),
        accuracy_ci95: Some([0.1, 0.7]),
        mean_squared_error: None,
        pairs_in_order: None,
        per_label,
        calibration: None,
        confusions: Vec::new(),
        suspects: Vec::new(),
        outliers: Vec::new(),
        duplicates: Vec::new(),
        too_few: vec!["a".to_owned()],
    });

    let completion = Completion::Adapted(Box::new(adapter.clone()), blob);
    let done = fixture.complete(&claim, completion).await.unwrap();

    assert_eq!((done.version, done.promote), (Some(2), Promotion::Never));
    adapter.version = 2;
    assert_eq!(fixture.store.find_adapter(tenant, task, Some(2)).await.unwrap(), Some(adapter));
    let task = fixture.store.find_task(tenant, task).await.unwrap().unwrap();
    assert_eq!((task.active_version, task.latest_version), (Some(1), Some(2)));
}

pub async fn promotion_and_rollback_walk_forth_and_back(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    for hash in ["h1", "h2", "h3"] {
        fixture.adapt(tenant, task, hash).await;
    }
    let active = |task: Option<imprint::domain::Task>| task.map(|task| task.active_version.unwrap());
    let roll = async |token| active(fixture.store.rollback(tenant, task, token, fixture.now()).await.unwrap());
    let promote = async |version| active(fixture.store.promote(tenant, task, version, fixture.now()).await.unwrap());

    assert_eq!(promote(1).await, Some(1));
    assert_eq!(promote(1).await, Some(1)); // no step of its own
    assert_eq!(promote(9).await, None);
    assert_eq!(roll("t1").await, Some(3));
    assert_eq!(roll("t2").await, Some(2));
    assert_eq!(promote(3).await, Some(3));
    assert_eq!(roll("t3").await, Some(2));
    assert_eq!(roll("t3").await, Some(2)); // the same request again
    assert_eq!(roll("t4").await, Some(1));
    assert_eq!(roll("t5").await, None);
    let stored = fixture.store.find_task(tenant, task).await.unwrap();
    assert_eq!(active(stored), Some(1));
}

pub async fn one_changed_byte_is_detected(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    fixture.adapt(tenant, task, "h1").await;
    let id = fixture.store.find_adapter(tenant, task, None).await.unwrap().unwrap().id;

    sqlx::query("UPDATE adapters SET bytes = $1").bind(&b"h0"[..]).execute(&mut fixture.raw().await).await.unwrap();

    let answer = fixture.store.load_adapter(tenant, id).await;
    assert!(matches!(&answer, Err(StoreError::Corrupt(corrupt)) if *corrupt == id), "{answer:?}");
}

pub async fn a_changed_length_is_detected(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    fixture.adapt(tenant, task, "h1").await;
    let id = fixture.store.find_adapter(tenant, task, None).await.unwrap().unwrap().id;

    sqlx::query("UPDATE adapters SET size_bytes = 3").execute(&mut fixture.raw().await).await.unwrap();

    let answer = fixture.store.load_adapter(tenant, id).await;
    assert!(matches!(answer, Err(StoreError::Corrupt(_))), "{answer:?}");
}

pub async fn adapters_are_listed_newest_first(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    for hash in ["h1", "h2", "h3"] {
        fixture.adapt(tenant, task, hash).await;
    }
    let versions = async |before, limit| -> Vec<u32> {
        let rows = fixture.store.list_adapters(tenant, task, before, limit).await.unwrap();
        rows.into_iter().map(|adapter| adapter.version).collect()
    };

    assert_eq!(versions(None, 2).await, [3, 2]);
    assert_eq!(versions(Some(2), 2).await, [1]);
}
