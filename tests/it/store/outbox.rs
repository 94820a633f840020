//! What is to be told of ended jobs, and what operators do about failed ones.

use std::time::Duration;

use imprint::domain::{AdaptationId, AdaptationStatus, Failure, KeyId, TaskId};
use imprint::store::{self, Completion, EndNotice, Hint, MAX_ATTEMPTS};

use super::Fixture;
use super::fixture::{LEASE, MANY};

fn failure() -> Failure {
    Failure { code: "lost".to_owned(), detail: "try again".to_owned() }
}

async fn take(fixture: &Fixture) -> Vec<EndNotice> {
    fixture.store.take_notices(MANY, LEASE).await.unwrap()
}

pub async fn every_end_leaves_one_notice(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    let [succeeds, fails, lost, cancelled] = [(); 4].map(|()| fixture.new_job(task));
    for job in [&succeeds, &fails, &lost, &cancelled] {
        fixture.store.submit_adaptation(tenant, job, MANY).await.unwrap();
    }

    let (adapter, blob) = fixture.adapted(task, "h1", b"weights");
    let claim = fixture.claim().await.unwrap();
    fixture.complete(&claim, Completion::Adapted(Box::new(adapter), blob)).await.unwrap();
    let claim = fixture.claim().await.unwrap();
    fixture.complete(&claim, Completion::Failed(failure())).await.unwrap();
    assert_eq!(fixture.complete(&claim, Completion::Failed(failure())).await, None, "told once");
    for _ in 0..MAX_ATTEMPTS {
        assert_eq!(fixture.claim().await.unwrap().adaptation.id, lost.id);
        fixture.expire_leases().await;
    }
    fixture.store.cancel_adaptation(tenant, cancelled.id).await.unwrap();
    fixture.store.cancel_adaptation(tenant, cancelled.id).await.unwrap();
    assert!(fixture.claim().await.is_none());
    fixture.store.delete_task(tenant, task).await.unwrap();

    let told: Vec<_> =
        take(fixture).await.into_iter().map(|told| (told.adaptation, told.status, told.version)).collect();

    let expected = [
        (succeeds.id, AdaptationStatus::Succeeded, Some(1)),
        (fails.id, AdaptationStatus::Failed, None),
        (cancelled.id, AdaptationStatus::Cancelled, None),
        (lost.id, AdaptationStatus::Failed, None),
    ];
    assert_eq!(told, expected);
}

pub async fn a_notice_that_cannot_be_read_holds_up_no_other(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    let (first, second) = (fixture.submit(tenant, task).await, fixture.submit(tenant, task).await);
    fixture.store.cancel_adaptation(tenant, first.id).await.unwrap();
    let nonsense = "UPDATE outbox SET status = 'nonsense'";
    sqlx::query(nonsense).execute(&mut fixture.raw().await).await.unwrap();
    fixture.store.cancel_adaptation(tenant, second.id).await.unwrap();

    let told: Vec<AdaptationId> = take(fixture).await.into_iter().map(|told| told.adaptation).collect();

    assert_eq!(told, [second.id]);
}

pub async fn a_retried_job_leaves_no_notice_and_waits_out_its_pause(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    fixture.submit(tenant, task).await;
    let claim = fixture.claim().await.unwrap();

    fixture.complete(&claim, Completion::Retry(failure(), Duration::from_hours(1))).await.unwrap();

    assert_eq!(take(fixture).await, []);
    assert!(fixture.claim().await.is_none(), "it pauses");
    fixture.end_pauses().await;
    assert_eq!(fixture.claim().await.unwrap().adaptation.attempt, 2);
}

pub async fn a_notice_comes_again_until_it_is_settled(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    fixture.adapt(tenant, task, "h1").await;
    fixture.adapt(tenant, task, "h2").await;

    let first = fixture.store.take_notices(1, LEASE).await.unwrap();
    let second = take(fixture).await;
    assert_eq!((first.len(), second.len()), (1, 1), "what one holds, another does not get");
    assert!(first[0].number < second[0].number, "oldest first");
    assert_eq!((first[0].tenant, first[0].task), (tenant, task));
    assert_eq!(take(fixture).await, []);

    fixture.store.settle_notices(&[first[0].number]).await.unwrap();
    fixture.end_pauses().await;

    assert_eq!(take(fixture).await, second);
}

pub async fn an_operator_puts_a_failed_job_back(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    let job = fixture.submit(tenant, task).await.id;
    for _ in 0..MAX_ATTEMPTS {
        let claim = fixture.claim().await.unwrap();
        fixture.complete(&claim, Completion::Retry(failure(), Duration::ZERO)).await.unwrap();
    }
    let stale = fixture.store.list_failed(MANY).await.unwrap();
    assert_eq!(stale.iter().map(|(owner, failed)| (*owner, failed.id)).collect::<Vec<_>>(), [(tenant, job)]);

    let (owner, back) = fixture.store.requeue_adaptation(job).await.unwrap().unwrap();

    assert_eq!((owner, back.status, back.failure, back.finished_at), (tenant, AdaptationStatus::Queued, None, None));
    assert_eq!(fixture.store.list_failed(MANY).await.unwrap(), []);
    assert_eq!(fixture.store.requeue_adaptation(job).await.unwrap(), None, "it waits already");
    assert_eq!(fixture.store.requeue_adaptation(AdaptationId::fresh(fixture.ids())).await.unwrap(), None);
    // Attempts count on, since they are the fence, and there are as many as at first.
    for attempt in MAX_ATTEMPTS + 1..=2 * MAX_ATTEMPTS {
        let claim = fixture.claim().await.unwrap();
        assert_eq!(claim.adaptation.attempt, attempt);
        fixture.complete(&claim, Completion::Retry(failure(), Duration::ZERO)).await.unwrap();
    }
    assert!(fixture.claim().await.is_none());
    assert_eq!(fixture.store.list_failed(MANY).await.unwrap().len(), 1);
}

pub async fn a_hint_reaches_the_other_processes_on_the_database(fixture: &Fixture) {
    if fixture.config.database_url.starts_with("sqlite") {
        return; // there is one process
    }
    let other = store::open(&fixture.config).await.unwrap();
    assert_eq!(other.hinted().await.unwrap(), Hint::Missed, "whatever was told before it listened");

    let (task, key) = (TaskId::fresh(fixture.ids()), KeyId::fresh(fixture.ids()));
    for hint in [Hint::Look, Hint::Task(task), Hint::Key(key)] {
        fixture.store.hint(hint).await.unwrap();
        assert_eq!(other.hinted().await.unwrap(), hint);
    }
}
