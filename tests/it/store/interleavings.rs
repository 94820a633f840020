//! Random interleavings of what workers, tenants, operators and the clock do to the queue, against a model in memory:
//! who gets which job, whose word counts, and how often each end is told.
//!
//! `IMPRINT_CASES` sets how many lives are drawn.

use std::time::Duration;

use imprint::domain::{AdaptationId, AdaptationStatus, Failure, TaskId, TenantId};
use imprint::store::{Claim, Completion, MAX_ATTEMPTS};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::Fixture;
use super::fixture::{LEASE, MANY, cases};

/// One step. Claims and jobs are addressed by place, reduced to what is there; claims that have long been lost stay
/// among them.
#[derive(Clone, Debug)]
enum Step {
    Submit { tenant: usize },
    Claim,
    Renew { claim: usize },
    Succeed { claim: usize },
    Fail { claim: usize },
    Retry { claim: usize },
    ExpireLeases,
    Cancel { job: usize },
    Requeue { job: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = 0..8_usize;
    let step = prop_oneof![
        4 => (0..3_usize).prop_map(|tenant| Step::Submit { tenant }),
        6 => Just(Step::Claim),
        2 => place.clone().prop_map(|claim| Step::Renew { claim }),
        3 => place.clone().prop_map(|claim| Step::Succeed { claim }),
        1 => place.clone().prop_map(|claim| Step::Fail { claim }),
        2 => place.clone().prop_map(|claim| Step::Retry { claim }),
        3 => Just(Step::ExpireLeases),
        1 => place.clone().prop_map(|job| Step::Cancel { job }),
        1 => place.prop_map(|job| Step::Requeue { job }),
    ];
    proptest::collection::vec(step, 1..40)
}

#[derive(Debug)]
struct Job {
    tenant: usize,
    id: AdaptationId,
    status: AdaptationStatus,
    attempt: u32,
    last_attempt: u32,
    has_lease: bool,
    place: u64,
}

#[derive(Debug, Default)]
struct Model {
    jobs: Vec<Job>,
    /// The highest place that was claimed.
    now: u64,
    ends: usize,
}

impl Model {
    fn end(&mut self, job: usize, status: AdaptationStatus) {
        self.jobs[job].status = status;
        self.ends += 1;
    }

    /// The job that the next worker gets.
    fn claim(&mut self) -> Option<usize> {
        let spent =
            |job: &Job| job.status == AdaptationStatus::Running && !job.has_lease && job.attempt >= job.last_attempt;
        for job in 0..self.jobs.len() {
            if spent(&self.jobs[job]) {
                self.end(job, AdaptationStatus::Failed);
            }
        }
        let left = |job: &Job| job.last_attempt - job.attempt;
        let is_tried_alone = |job: &Job| job.status == AdaptationStatus::Running && job.has_lease && left(job) == 0;
        let is_one_alone = self.jobs.iter().any(is_tried_alone);
        let rank = |job: &Job| match job.status {
            AdaptationStatus::Running if !job.has_lease && left(job) == 1 => (!is_one_alone).then_some(1),
            AdaptationStatus::Running if !job.has_lease => Some(0), // lost before waiting
            AdaptationStatus::Queued => Some(2),
            _ => None,
        };
        let free = (0..self.jobs.len()).filter_map(|job| Some((rank(&self.jobs[job])?, self.jobs[job].place, job)));
        let (_, place, next) = free.min()?;
        self.now = self.now.max(place);
        let job = &mut self.jobs[next];
        (job.status, job.has_lease) = (AdaptationStatus::Running, true);
        job.attempt += 1;
        Some(next)
    }

    /// The place of a tenant's next job.
    fn next_place(&self, tenant: usize) -> u64 {
        let own = self.jobs.iter().filter(|job| job.tenant == tenant && job.status == AdaptationStatus::Queued);
        own.map(|job| job.place).max().unwrap_or(0).max(self.now) + 1
    }

    /// Whether a worker that claimed `attempt` still has a say.
    fn holds(&self, job: usize, attempt: u32) -> bool {
        self.jobs[job].status == AdaptationStatus::Running && self.jobs[job].attempt == attempt
    }
}

struct Life<'a> {
    fixture: &'a Fixture,
    tenants: Vec<(TenantId, TaskId)>,
    model: Model,
    claims: Vec<(usize, Claim)>,
    versions: u32,
}

pub async fn random_interleavings_agree_with_a_model(fixture: &Fixture) {
    let cases = cases();
    let mut runner = TestRunner::deterministic();
    for case in 0..cases {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        let mut tenants = Vec::new();
        for number in 0..3 {
            let tenant = fixture.tenant(&format!("{case}-{number}")).await;
            tenants.push((tenant, fixture.task(tenant).await.id));
        }
        let mut life = Life { fixture, tenants, model: Model::default(), claims: Vec::new(), versions: 0 };
        for (number, step) in steps.iter().enumerate() {
            life.take(step).await;
            if let Err(reason) = life.agrees().await {
                panic!("{reason}\nafter step {number} of case {case}: {:#?}", &steps[..=number]);
            }
        }
        life.end().await;
    }
}

impl Life<'_> {
    async fn take(&mut self, step: &Step) {
        let store = &self.fixture.store;
        let failure = Failure { code: "test".to_owned(), detail: "told to".to_owned() };
        match *step {
            Step::Submit { tenant } => {
                let (owner, task) = self.tenants[tenant];
                let id = self.fixture.submit(owner, task).await.id;
                let status = AdaptationStatus::Queued;
                let (last_attempt, place) = (MAX_ATTEMPTS, self.model.next_place(tenant));
                let job = Job { tenant, id, status, attempt: 0, last_attempt, has_lease: false, place };
                self.model.jobs.push(job);
            }
            Step::Claim => {
                let claim = self.fixture.claim().await;
                let next = self.model.claim();
                let expected = next.map(|job| (self.model.jobs[job].id, self.model.jobs[job].attempt));
                assert_eq!(claim.as_ref().map(|claim| (claim.adaptation.id, claim.adaptation.attempt)), expected);
                self.claims.extend(next.zip(claim));
            }
            Step::Renew { claim } => {
                let Some((job, attempt, tenant)) = self.claim_at(claim) else { return };
                let renewed = store.renew_lease(tenant, self.model.jobs[job].id, attempt, LEASE).await.unwrap();
                assert_eq!(renewed, self.model.holds(job, attempt));
                self.model.jobs[job].has_lease |= renewed;
            }
            Step::Succeed { claim } => {
                let Some((job, attempt, tenant)) = self.claim_at(claim) else { return };
                let task = self.tenants[self.model.jobs[job].tenant].1;
                let hash = format!("h{}", self.versions);
                let (adapter, blob) = self.fixture.adapted(task, &hash, hash.as_bytes());
                let done = Completion::Adapted(Box::new(adapter), blob);
                let done = store.complete_adaptation(tenant, self.model.jobs[job].id, attempt, done).await.unwrap();
                assert_eq!(done.is_some(), self.model.holds(job, attempt), "only who holds it may complete it");
                if done.is_some() {
                    self.versions += 1;
                    self.model.end(job, AdaptationStatus::Succeeded);
                }
            }
            Step::Fail { claim } => {
                let Some((job, attempt, tenant)) = self.claim_at(claim) else { return };
                let done = Completion::Failed(failure);
                let done = store.complete_adaptation(tenant, self.model.jobs[job].id, attempt, done).await.unwrap();
                assert_eq!(done.is_some(), self.model.holds(job, attempt));
                if done.is_some() {
                    self.model.end(job, AdaptationStatus::Failed);
                }
            }
            Step::Retry { claim } => {
                let Some((job, attempt, tenant)) = self.claim_at(claim) else { return };
                let done = Completion::Retry(failure, Duration::ZERO);
                let done = store.complete_adaptation(tenant, self.model.jobs[job].id, attempt, done).await.unwrap();
                assert_eq!(done.is_some(), self.model.holds(job, attempt));
                if done.is_some() && attempt < self.model.jobs[job].last_attempt {
                    self.model.jobs[job].status = AdaptationStatus::Queued;
                } else if done.is_some() {
                    self.model.end(job, AdaptationStatus::Failed);
                }
            }
            Step::ExpireLeases => {
                self.fixture.expire_leases().await;
                self.model.jobs.iter_mut().for_each(|job| job.has_lease = false);
            }
            Step::Cancel { job } => {
                let Some(job) = self.job_at(job) else { return };
                let tenant = self.tenants[self.model.jobs[job].tenant].0;
                store.cancel_adaptation(tenant, self.model.jobs[job].id).await.unwrap().unwrap();
                if !self.model.jobs[job].status.is_final() {
                    self.model.end(job, AdaptationStatus::Cancelled);
                }
            }
            Step::Requeue { job } => {
                let Some(job) = self.job_at(job) else { return };
                let job = &mut self.model.jobs[job];
                let back = store.requeue_adaptation(job.id).await.unwrap();
                assert_eq!(back.is_some(), job.status == AdaptationStatus::Failed);
                if back.is_some() {
                    (job.status, job.last_attempt) = (AdaptationStatus::Queued, job.attempt + MAX_ATTEMPTS);
                }
            }
        }
    }

    /// Its job, its attempt, and whose it is.
    fn claim_at(&self, place: usize) -> Option<(usize, u32, TenantId)> {
        let (job, claim) = self.claims.get(place % self.claims.len().max(1))?;
        Some((*job, claim.adaptation.attempt, claim.tenant))
    }

    fn job_at(&self, place: usize) -> Option<usize> {
        (!self.model.jobs.is_empty()).then(|| place % self.model.jobs.len())
    }

    async fn agrees(&self) -> Result<(), String> {
        for job in &self.model.jobs {
            let tenant = self.tenants[job.tenant].0;
            let found = self.fixture.store.find_adaptation(tenant, job.id).await.unwrap().unwrap();
            if (found.status, found.attempt) != (job.status, job.attempt) {
                return Err(format!("{found:?} is not {job:?}"));
            }
        }
        Ok(())
    }

    /// Every end was told once, every success left one version; then the queue is emptied for the next life.
    async fn end(mut self) {
        let store = &self.fixture.store;
        let mut versions = 0;
        for (tenant, task) in &self.tenants {
            versions += store.list_adapters(*tenant, *task, None, MANY).await.unwrap().len();
        }
        assert_eq!(versions, self.versions as usize);
        for job in 0..self.model.jobs.len() {
            if !self.model.jobs[job].status.is_final() {
                let tenant = self.tenants[self.model.jobs[job].tenant].0;
                store.cancel_adaptation(tenant, self.model.jobs[job].id).await.unwrap();
                self.model.end(job, AdaptationStatus::Cancelled);
            }
        }
        let told: Vec<i64> =
            store.take_notices(MANY, LEASE).await.unwrap().into_iter().map(|notice| notice.number).collect();
        assert_eq!(told.len(), self.model.ends);
        store.settle_notices(&told).await.unwrap();
    }
}
