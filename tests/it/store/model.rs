//! Random lives of two tenants, against a model in memory: the store says what the model says, after every step and to
//! each tenant of its own things only. `IMPRINT_CASES` sets how many are drawn.

use std::collections::BTreeMap;

use imprint::domain::{Support, TaskId, TenantId, hex};
use imprint::store::StoreError;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::Fixture;
use super::fixture::{MANY, cases, first};

const MAX_SUPPORT: usize = 3;

/// One step. Places are reduced to what is there; tasks are addressed across tenants on purpose.
#[derive(Clone, Debug)]
enum Step {
    Create,
    Delete { task: usize },
    Add { task: usize, digest: u8 },
    Adapt { task: usize, support: u8 },
    Promote { task: usize, version: u32 },
    Rollback { task: usize },
}

#[derive(Debug, Default)]
struct ModelTask {
    examples: BTreeMap<u8, Support>,
    /// The support hash of each version.
    versions: Vec<u8>,
    promotions: Vec<u32>,
}

/// What can be seen of it.
#[derive(Debug, PartialEq)]
struct Seen {
    examples: BTreeMap<u8, Support>,
    versions: Vec<u8>,
    active: Option<u32>,
}

impl ModelTask {
    fn seen(&self) -> Seen {
        let (examples, versions) = (self.examples.clone(), self.versions.clone());
        Seen { examples, versions, active: self.promotions.last().copied() }
    }

    fn promote(&mut self, version: u32) {
        if self.promotions.last() != Some(&version) {
            self.promotions.push(version);
        }
    }
}

type Model = BTreeMap<(TenantId, TaskId), ModelTask>;

fn steps() -> impl Strategy<Value = Vec<(bool, Step)>> {
    let task = 0..4_usize;
    let step = prop_oneof![
        2 => Just(Step::Create),
        1 => task.clone().prop_map(|task| Step::Delete { task }),
        4 => (task.clone(), 0..5_u8).prop_map(|(task, digest)| Step::Add { task, digest }),
        4 => (task.clone(), 0..3_u8).prop_map(|(task, support)| Step::Adapt { task, support }),
        2 => (task.clone(), 1..4_u32).prop_map(|(task, version)| Step::Promote { task, version }),
        2 => task.prop_map(|task| Step::Rollback { task }),
    ];
    proptest::collection::vec((any::<bool>(), step), 1..25)
}

pub async fn random_lives_of_two_tenants_agree_with_a_model(fixture: &Fixture) {
    let mut runner = TestRunner::deterministic();
    for case in 0..cases() {
        let lives = steps().new_tree(&mut runner).unwrap().current();
        let tenants = [fixture.tenant(&format!("a{case}")).await, fixture.tenant(&format!("b{case}")).await];
        let (mut model, mut tasks) = (Model::new(), Vec::new());
        for (number, (is_second, step)) in lives.iter().enumerate() {
            take(fixture, &mut model, &mut tasks, tenants[usize::from(*is_second)], step).await;
            agree(fixture, &model, &tasks, tenants).await.unwrap_or_else(|reason| {
                panic!("{reason}\nafter step {number} of case {case}: {:#?}", &lives[..=number]);
            });
        }
    }
}

/// Takes the step in the store and in the model, and compares what the store answered.
async fn take(fixture: &Fixture, model: &mut Model, tasks: &mut Vec<TaskId>, tenant: TenantId, step: &Step) {
    let store = &fixture.store;
    let place = |place: usize| (!tasks.is_empty()).then(|| tasks[place % tasks.len()]);
    match *step {
        Step::Create => {
            let task = fixture.task(tenant).await.id;
            tasks.push(task);
            model.insert((tenant, task), ModelTask::default());
        }
        Step::Delete { task } => {
            let Some(task) = place(task) else { return };
            let is_gone = store.delete_task(tenant, task).await.unwrap();
            assert_eq!(is_gone, model.remove(&(tenant, task)).is_some());
        }
        Step::Add { task, digest } => {
            let Some(task) = place(task) else { return };
            let support = fixture.labelled("a", &digest.to_string());
            let one = std::slice::from_ref(&support);
            let answer = store.add_support(tenant, task, one, &[], MAX_SUPPORT, fixture.now()).await;
            let Some(known) = model.get_mut(&(tenant, task)) else { return assert_eq!(answer.unwrap(), None) };
            if let Some(equal) = known.examples.get(&digest) {
                assert_eq!(answer.unwrap().unwrap().duplicates, [(0, equal.id)]);
            } else if known.examples.len() < MAX_SUPPORT {
                assert_eq!(answer.unwrap().unwrap().added, [support.id]);
                known.examples.insert(digest, support);
            } else {
                assert!(matches!(answer, Err(StoreError::Full { .. })), "{answer:?}");
            }
        }
        Step::Adapt { task, support } => {
            let Some(task) = place(task) else { return };
            let Some(known) = model.get_mut(&(tenant, task)) else {
                return assert!(!store.submit_adaptation(tenant, &fixture.new_job(task), MANY).await.unwrap());
            };
            if !known.versions.contains(&support) {
                known.versions.push(support);
            }
            let version = known.versions.iter().position(|&hash| hash == support).unwrap() + 1;
            let version = u32::try_from(version).unwrap();
            assert_eq!(fixture.adapt(tenant, task, &support.to_string()).await, version);
            known.promote(version);
        }
        Step::Promote { task, version } => {
            let Some(task) = place(task) else { return };
            let answer = store.promote(tenant, task, version, fixture.now()).await.unwrap();
            let known = model.get_mut(&(tenant, task)).filter(|known| known.versions.len() >= version as usize);
            assert_eq!(answer.is_some(), known.is_some());
            if let Some(known) = known {
                known.promote(version);
            }
        }
        Step::Rollback { task } => {
            let Some(task) = place(task) else { return };
            let answer = store.rollback(tenant, task, &hex(&fixture.ids().bits()), fixture.now()).await.unwrap();
            let known = model.get_mut(&(tenant, task)).filter(|known| known.promotions.len() > 1);
            assert_eq!(answer.is_some(), known.is_some());
            if let Some(known) = known {
                known.promotions.pop();
            }
        }
    }
}

/// What each tenant sees of every task, its own and the other's.
async fn agree(fixture: &Fixture, model: &Model, tasks: &[TaskId], tenants: [TenantId; 2]) -> Result<(), String> {
    for tenant in tenants {
        let listed = fixture.store.list_tasks(tenant, first(MANY)).await.unwrap().len();
        let owned = model.keys().filter(|key| key.0 == tenant).count();
        if listed != owned {
            return Err(format!("{tenant} sees {listed} tasks and has {owned}"));
        }
        for &task in tasks {
            let seen = see(fixture, tenant, task).await;
            let expected = model.get(&(tenant, task)).map(ModelTask::seen);
            if seen != expected {
                return Err(format!("{tenant} sees {seen:?} of {task}, expected {expected:?}"));
            }
        }
    }
    Ok(())
}

/// The task as the store tells it, and its active version.
async fn see(fixture: &Fixture, tenant: TenantId, task: TaskId) -> Option<Seen> {
    let store = &fixture.store;
    let loaded = store.load_support(tenant, task).await.unwrap();
    let adapters = store.list_adapters(tenant, task, None, MANY).await.unwrap();
    let found = store.find_task(tenant, task).await.unwrap();
    assert!(found.is_some() || (loaded.is_empty() && adapters.is_empty()), "leftovers of a task that is not there");
    let active = found?.active_version;
    let examples = loaded.into_iter().map(|support| (support.example.digest.parse().unwrap(), support)).collect();
    let versions = adapters.iter().rev().map(|adapter| adapter.support_hash.parse().unwrap()).collect();
    Some(Seen { examples, versions, active })
}
