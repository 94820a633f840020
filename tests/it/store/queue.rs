//! The queue of adaptations.

use std::collections::HashSet;
use std::time::Duration;

use imprint::domain::{AdaptationId, AdaptationPhase, AdaptationStatus, Failure, News, TaskId};
use imprint::store::{Completion, MAX_ATTEMPTS, StoreError};
use sqlx::Row;

use super::Fixture;
use super::fixture::{LEASE, MANY, first};

fn failure(code: &str) -> Failure {
    Failure { code: code.to_owned(), detail: "try again".to_owned() }
}

fn success(fixture: &Fixture, task: TaskId) -> Completion {
    let (adapter, blob) = fixture.adapted(task, "h1", b"weights");
    Completion::Adapted(Box::new(adapter), blob)
}

pub async fn a_job_runs_from_queue_to_adapter(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    let job = fixture.submit(tenant, task).await;
    assert_eq!(fixture.store.find_adaptation(tenant, job.id).await.unwrap(), Some(job.clone()));

    let claim = fixture.claim().await.unwrap();
    let renewed = fixture.store.renew_lease(tenant, job.id, 1, LEASE).await.unwrap();
    let done = fixture.complete(&claim, success(fixture, task)).await.unwrap();

    assert_eq!((claim.tenant, claim.task.id, claim.adaptation.recipe), (tenant, task, job.recipe));
    assert_eq!((claim.adaptation.status, claim.adaptation.attempt), (AdaptationStatus::Running, 1));
    assert!(renewed && claim.adaptation.started_at.is_some());
    assert_eq!((done.status, done.version, done.failure.clone()), (AdaptationStatus::Succeeded, Some(1), None));
    assert!(done.finished_at >= done.started_at);
    assert_eq!(fixture.store.find_adaptation(tenant, job.id).await.unwrap(), Some(done));
    let task = fixture.store.find_task(tenant, task).await.unwrap().unwrap();
    assert_eq!((task.active_version, task.latest_version), (Some(1), Some(1)));
    assert!(fixture.claim().await.is_none());
}

pub async fn a_job_for_no_task_is_not_queued(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let job = fixture.new_job(TaskId::fresh(fixture.ids()));

    assert!(!fixture.store.submit_adaptation(tenant, &job, MANY).await.unwrap());
    assert_eq!(fixture.store.find_adaptation(tenant, job.id).await.unwrap(), None);
}

pub async fn a_lost_job_is_claimed_again_and_its_old_attempt_fenced_out(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    fixture.submit(tenant, task).await;
    let lost = fixture.claim().await.unwrap();
    assert!(fixture.claim().await.is_none(), "its lease still runs");

    fixture.expire_leases().await;
    let taken_over = fixture.claim().await.unwrap();

    assert_eq!((taken_over.adaptation.id, taken_over.adaptation.attempt), (lost.adaptation.id, 2));
    assert!(!fixture.store.renew_lease(tenant, lost.adaptation.id, 1, LEASE).await.unwrap());
    assert_eq!(fixture.complete(&lost, success(fixture, task)).await, None);
    assert_eq!(fixture.complete(&lost, Completion::Failed(failure("late"))).await, None);
    assert_eq!(fixture.complete(&lost, Completion::Retry(failure("late"), Duration::ZERO)).await, None);
    assert_eq!(fixture.store.find_adapter(tenant, task, Some(1)).await.unwrap(), None);
    let done = fixture.complete(&taken_over, success(fixture, task)).await.unwrap();
    assert_eq!((done.status, done.version), (AdaptationStatus::Succeeded, Some(1)));
}

pub async fn a_jobs_events_are_numbered_and_fenced_like_everything_else(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    let job = fixture.submit(tenant, task).await.id;
    let begun = |attempt| News::Phase { phase: AdaptationPhase::InnerLoop, attempt };
    let note = async |attempt| fixture.store.note_news(tenant, job, attempt, &begun(attempt)).await;
    assert!(!note(1).await.unwrap(), "nobody holds it yet");
    fixture.claim().await.unwrap();
    assert!(note(1).await.unwrap());
    let further = News::Progress { done: 40, of: 200, attempt: 1 };
    assert!(fixture.store.note_news(tenant, job, 1, &further).await.unwrap());
    fixture.expire_leases().await;
    let second = fixture.claim().await.unwrap();
    assert!(!note(1).await.unwrap(), "its lease was taken over");
    fixture.complete(&second, Completion::Failed(failure("singular"))).await.unwrap();
    assert!(!note(2).await.unwrap(), "it has ended");

    let events = fixture.store.list_events(tenant, job).await.unwrap().unwrap();

    let status = |status, attempt| News::Status { status, attempt };
    let error = Some(failure("singular"));
    let expected = [
        status(AdaptationStatus::Queued, 0),
        status(AdaptationStatus::Running, 1),
        begun(1),
        further,
        status(AdaptationStatus::Running, 2),
        News::Done { status: AdaptationStatus::Failed, version: None, error },
    ];
    let (numbers, news): (Vec<_>, Vec<_>) = events.into_iter().map(|event| (event.number, event.news)).unzip();
    assert_eq!((numbers, news), (vec![1, 2, 3, 4, 5, 6], expected.to_vec()));
    let stranger = fixture.tenant("stranger").await;
    assert_eq!(fixture.store.list_events(stranger, job).await.unwrap(), None);
}

pub async fn a_job_that_loses_every_worker_fails(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    let job = fixture.submit(tenant, task).await.id;
    for attempt in 1..=MAX_ATTEMPTS {
        assert_eq!(fixture.claim().await.unwrap().adaptation.attempt, attempt);
        fixture.expire_leases().await;
    }

    assert!(fixture.claim().await.is_none());

    let ended = fixture.store.find_adaptation(tenant, job).await.unwrap().unwrap();
    assert_eq!((ended.status, ended.attempt), (AdaptationStatus::Failed, MAX_ATTEMPTS));
    assert_eq!(ended.failure.unwrap().code, "lease_expired");
    assert!(ended.finished_at.is_some());
}

pub async fn what_was_lost_with_its_worker_twice_is_tried_alone(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    for _ in 0..4 {
        fixture.submit(tenant, task).await;
    }
    for _ in 1..MAX_ATTEMPTS {
        for _ in 0..4 {
            fixture.claim().await.unwrap();
        }
        fixture.expire_leases().await;
    }
    let fresh = fixture.submit(tenant, task).await.id;

    let alone = fixture.claim().await.unwrap();
    assert_eq!(alone.adaptation.attempt, MAX_ATTEMPTS);
    assert_eq!(fixture.claim().await.unwrap().adaptation.id, fresh, "what has attempts to lose goes on beside it");
    assert!(fixture.claim().await.is_none(), "the others could be lost with it");
    let elsewhere = fixture.claim_as("another").await.expect("another process is not lost with this one");
    assert_eq!(elsewhere.adaptation.attempt, MAX_ATTEMPTS);
    assert!(fixture.claim_as("another").await.is_none());

    fixture.complete(&alone, success(fixture, task)).await.unwrap();
    let next = fixture.claim().await.unwrap();
    assert_eq!(next.adaptation.attempt, MAX_ATTEMPTS);
    assert!(fixture.claim().await.is_none());
    fixture.expire_leases().await;
    assert!(fixture.claim().await.is_some_and(|last| last.adaptation.id != next.adaptation.id), "one was the poison");
}

pub async fn a_retried_job_waits_again_until_its_attempts_are_spent(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    fixture.submit(tenant, task).await;
    for _ in 1..MAX_ATTEMPTS {
        let claim = fixture.claim().await.unwrap();
        let waiting = fixture.complete(&claim, Completion::Retry(failure("memory"), Duration::ZERO)).await.unwrap();
        assert_eq!((waiting.status, waiting.failure, waiting.finished_at), (AdaptationStatus::Queued, None, None));
    }

    let last = fixture.claim().await.unwrap();
    let ended = fixture.complete(&last, Completion::Retry(failure("memory"), Duration::ZERO)).await.unwrap();

    assert_eq!((ended.status, ended.failure), (AdaptationStatus::Failed, Some(failure("memory"))));
    assert!(fixture.claim().await.is_none());
}

pub async fn a_failed_job_says_why(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await;
    let job = fixture.submit(tenant, task.id).await.id;
    let claim = fixture.claim().await.unwrap();

    fixture.complete(&claim, Completion::Failed(failure("not_finite"))).await.unwrap();

    let ended = fixture.store.find_adaptation(tenant, job).await.unwrap().unwrap();
    assert_eq!((ended.status, ended.failure), (AdaptationStatus::Failed, Some(failure("not_finite"))));
    assert_eq!(fixture.store.find_task(tenant, task.id).await.unwrap(), Some(task));
    assert_eq!(fixture.complete(&claim, Completion::Failed(failure("again"))).await, None);
}

pub async fn a_cancelled_job_is_fenced_out(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    let running = fixture.submit(tenant, task).await.id;
    let claim = fixture.claim().await.unwrap();
    let queued = fixture.submit(tenant, task).await.id;

    for job in [running, queued] {
        let cancelled = fixture.store.cancel_adaptation(tenant, job).await.unwrap().unwrap();
        assert_eq!(cancelled.status, AdaptationStatus::Cancelled);
        assert!(cancelled.finished_at.is_some());
    }

    assert!(!fixture.store.renew_lease(tenant, running, 1, LEASE).await.unwrap());
    assert_eq!(fixture.complete(&claim, success(fixture, task)).await, None);
    assert_eq!(fixture.store.find_adapter(tenant, task, None).await.unwrap(), None);
    assert!(fixture.claim().await.is_none());
}

pub async fn a_job_that_has_ended_is_not_cancelled(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    let job = fixture.submit(tenant, task).await.id;
    let claim = fixture.claim().await.unwrap();
    let done = fixture.complete(&claim, success(fixture, task)).await;

    assert_eq!(fixture.store.cancel_adaptation(tenant, job).await.unwrap(), done);
    assert_eq!(fixture.store.cancel_adaptation(tenant, AdaptationId::fresh(fixture.ids())).await.unwrap(), None);
}

pub async fn a_deleted_task_fences_out_its_running_job(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    fixture.submit(tenant, task).await;
    let claim = fixture.claim().await.unwrap();

    fixture.store.delete_task(tenant, task).await.unwrap();

    assert!(!fixture.store.renew_lease(tenant, claim.adaptation.id, 1, LEASE).await.unwrap());
    assert_eq!(fixture.complete(&claim, success(fixture, task)).await, None);
}

pub async fn the_queue_has_a_limit(fixture: &Fixture) {
    let (tenant, other) = (fixture.tenant("zoo").await, fixture.tenant("museum").await);
    let (task, others) = (fixture.task(tenant).await.id, fixture.task(other).await.id);
    fixture.submit(tenant, task).await;
    fixture.submit(other, others).await;
    let third = fixture.new_job(task);

    let answer = fixture.store.submit_adaptation(tenant, &third, 2).await;
    fixture.claim().await.unwrap();
    let later = fixture.store.submit_adaptation(tenant, &third, 2).await;

    assert!(matches!(answer, Err(StoreError::Full { limit: 2, .. })), "{answer:?}");
    assert!(later.unwrap(), "a job that runs does not wait");
}

pub async fn tenants_take_turns(fixture: &Fixture) {
    let (flood, trickle) = (fixture.tenant("flood").await, fixture.tenant("trickle").await);
    let (many, few) = (fixture.task(flood).await.id, fixture.task(trickle).await.id);
    for _ in 0..6 {
        fixture.submit(flood, many).await;
    }
    for _ in 0..2 {
        fixture.submit(trickle, few).await;
    }

    let mut turns = Vec::new();
    let mut jobs = Vec::new();
    while let Some(claim) = fixture.claim().await {
        turns.push(claim.tenant == trickle);
        jobs.push((claim.tenant, claim.adaptation.created_at));
    }

    assert_eq!(turns, [false, true, false, true, false, false, false, false]);
    for tenant in [flood, trickle] {
        assert!(jobs.iter().filter(|job| job.0 == tenant).is_sorted(), "each tenant's oldest comes first");
    }
}

pub async fn a_flood_that_was_called_off_is_not_held_against_its_tenant(fixture: &Fixture) {
    let (flood, other) = (fixture.tenant("flood").await, fixture.tenant("other").await);
    let (many, few) = (fixture.task(flood).await.id, fixture.task(other).await.id);
    for _ in 0..20 {
        let job = fixture.submit(flood, many).await;
        fixture.store.cancel_adaptation(flood, job.id).await.unwrap();
    }
    for _ in 0..3 {
        fixture.submit(other, few).await;
    }
    fixture.submit(flood, many).await;

    let [first, second] = [fixture.claim().await.unwrap().tenant, fixture.claim().await.unwrap().tenant];

    assert!([first, second].contains(&flood));
}

pub async fn a_claim_takes_as_long_whatever_waits(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    let first = fixture.submit(tenant, task).await;
    let mut raw = fixture.raw().await;
    let statement = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) \
         INSERT INTO adaptations (tenant_id, id, task_id, recipe, promote, status, attempt, created_at, place) \
         SELECT '{tenant}', 'waits' || i, '{task}', '{{}}', 1, 'queued', 0, i, 1 + i FROM n"
    );
    sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut raw).await.unwrap();
    let is_sqlite = fixture.config.database_url.starts_with("sqlite");
    let next = "SELECT a.id FROM adaptations AS a WHERE a.status = 'queued' AND a.not_before <= 5 \
                ORDER BY a.place, a.created_at, a.id LIMIT 1";
    if !is_sqlite {
        sqlx::query("ANALYZE adaptations").execute(&mut raw).await.unwrap();
    }
    let explain = if is_sqlite { "EXPLAIN QUERY PLAN" } else { "EXPLAIN" };
    let plan = sqlx::query(sqlx::AssertSqlSafe(format!("{explain} {next}"))).fetch_all(&mut raw).await.unwrap();
    let column = if is_sqlite { 3 } else { 0 };
    let plan: Vec<String> = plan.iter().map(|row| row.try_get(column).unwrap()).collect();
    let plan = plan.join("\n");

    assert!(plan.contains("adaptations_next"), "{plan}");
    assert!(!plan.contains("Sort") && !plan.contains("TEMP B-TREE"), "{plan}");
    assert_eq!(fixture.claim().await.unwrap().adaptation.id, first.id);
}

pub async fn two_workers_never_claim_the_same_job(fixture: &Fixture) {
    const JOBS: usize = 40;
    let (one, other) = (fixture.tenant("zoo").await, fixture.tenant("museum").await);
    for tenant in [one, other] {
        let task = fixture.task(tenant).await.id;
        for _ in 0..JOBS / 2 {
            fixture.submit(tenant, task).await;
        }
    }

    let workers: Vec<_> = (0..8)
        .map(|worker| {
            let store = fixture.store.clone();
            tokio::spawn(async move {
                let mut claimed = Vec::new();
                while let Some(claim) = store.claim_adaptation(&format!("worker {worker}"), LEASE).await.unwrap() {
                    claimed.push(claim.adaptation.id);
                }
                claimed
            })
        })
        .collect();
    let mut claimed: Vec<AdaptationId> = Vec::new();
    for worker in workers {
        claimed.extend(worker.await.unwrap());
    }

    assert_eq!(claimed.len(), JOBS, "each job is claimed");
    assert_eq!(claimed.into_iter().collect::<HashSet<_>>().len(), JOBS, "each once");
}

pub async fn lists_can_be_of_one_task_and_one_status(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let (one, other) = (fixture.task(tenant).await.id, fixture.task(tenant).await.id);
    let running = fixture.submit(tenant, one).await.id;
    fixture.claim().await.unwrap();
    let (queued, others) = (fixture.submit(tenant, one).await.id, fixture.submit(tenant, other).await.id);
    let list = async |task, status, limit| -> Vec<AdaptationId> {
        let rows = fixture.store.list_adaptations(tenant, task, status, first(limit)).await.unwrap();
        rows.into_iter().map(|job| job.id).collect()
    };

    assert_eq!(list(None, None, MANY).await, [others, queued, running]);
    assert_eq!(list(None, None, 1).await, [others]);
    assert_eq!(list(Some(one), None, MANY).await, [queued, running]);
    assert_eq!(list(None, Some(AdaptationStatus::Queued), MANY).await, [others, queued]);
    assert_eq!(list(Some(one), Some(AdaptationStatus::Running), MANY).await, [running]);
}
