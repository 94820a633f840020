//! The bridge, with an executor that can be told to panic or to wait.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tch::Device;
use tokio::spawn;
use tokio::task::JoinHandle;

use super::command::{Answer, Command, Work};
use super::executor::Executor;
use super::plan::Shape;
use super::queue::Bounds;
use super::{Adapted, Engine, EngineError, Origin, Traits};
use crate::domain::{
    AdapterBlob, BackboneConfig, BaseModel, InputSchema, Kind, LearnerConfig, Limits, Manifest, Outputs, Precision,
    Provenance, Recipe, Rows, SeededIds, SupportSet, Targets, TenantId,
};
use crate::meta::Model;
use crate::meta::cost::Accounting;
use crate::meta::model::Architecture;

/// Holds workers back until it is opened.
#[derive(Default)]
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }

    fn pass(&self) {
        drop(self.1.wait_while(self.0.lock().unwrap(), |open| !*open).unwrap());
    }
}

/// This number hangs until a test lets it go.
const HANGS: f32 = 1e6;

/// Answers with the query itself; a first number of −1 panics.
struct Echo {
    gate: Arc<Gate>,
    /// What holds [`HANGS`].
    trap: Arc<Gate>,
    /// What went together.
    log: Arc<Mutex<Vec<Vec<f32>>>>,
}

impl Executor for Echo {
    fn run(&mut self, batch: &[Command]) -> Vec<Result<Answer, EngineError>> {
        self.gate.pass();
        let number = |command: &Command| match &command.work {
            Work::Adapt { support, .. } => support.inputs().values()[0],
            Work::Predict { query, .. } => query.values()[0],
            Work::Features { rows } => rows.values()[0],
            Work::Embed { tokens, .. } => tokens.len() as f32,
            Work::Tagging(_) => 0.0,
        };
        assert!(batch.iter().all(|command| number(command) >= 0.0), "told to panic");
        if batch.iter().any(|command| number(command) == HANGS) {
            self.trap.pass();
        }
        self.log.lock().unwrap().push(batch.iter().map(number).collect());
        let answer = |command: &Command| match &command.work {
            Work::Adapt { .. } => Answer {
                adapted: Some(Adapted { blob: AdapterBlob::new(vec![1]), held_out: None }),
                ..Answer::default()
            },
            Work::Predict { query, .. } => {
                Answer { outputs: Some(Outputs { width: 1, values: query.values().to_vec() }), ..Answer::default() }
            }
            Work::Features { rows } => Answer { features: Some(rows.values().to_vec()), ..Answer::default() },
            Work::Embed { .. } | Work::Tagging(_) => Answer::default(),
        };
        batch.iter().map(|command| Ok(answer(command))).collect()
    }
}

fn base_model() -> BaseModel {
    let manifest = Manifest {
        format: 1,
        name: "echo".to_owned(),
        version: "1".to_owned(),
        description: String::new(),
        input: InputSchema::Vector { width: 1 },
        kinds: vec![Kind::Regression],
        backbone: BackboneConfig::Mlp { hidden: vec![1] },
        learner: LearnerConfig::R2d2 {},
        limits: Limits { max_support: 10, max_labels: 1, max_query: 10 },
        theta_sha256: String::new(),
        provenance: Provenance {
            config: serde_json::Value::Null,
            seed: 0,
            outer_steps: 0,
            best_step: 0,
            data: std::collections::BTreeMap::new(),
            program: String::new(),
            commit: None,
        },
        figures: Vec::new(),
    };
    BaseModel { manifest, sha256: String::new() }
}

struct Bench {
    engine: Engine,
    gate: Arc<Gate>,
    trap: Arc<Gate>,
    /// What went together.
    log: Arc<Mutex<Vec<Vec<f32>>>>,
}

/// For a while that no test waits through.
const PATIENCE: Duration = Duration::from_hours(1);

fn start(capacity: usize, workers: usize) -> Bench {
    start_with(Bounds { capacity, per_tenant: capacity, workers, batch_rows: 4, patience: PATIENCE }, false)
}

fn start_with(bounds: Bounds, is_shared: bool) -> Bench {
    let (gate, trap, log) = <(Arc<Gate>, Arc<Gate>, Arc<Mutex<Vec<Vec<f32>>>>)>::default();
    let (for_workers, its_trap, its_log) = (Arc::clone(&gate), Arc::clone(&trap), Arc::clone(&log));
    let factory = move || {
        let (gate, trap, log) = (Arc::clone(&for_workers), Arc::clone(&its_trap), Arc::clone(&its_log));
        Box::new(Echo { gate, trap, log }) as Box<dyn Executor>
    };
    let factory: super::worker::Factory = Arc::new(factory);
    let architecture = Architecture {
        input: InputSchema::Vector { width: 1 },
        kind: Kind::Regression,
        backbone: BackboneConfig::Mlp { hidden: Vec::new() },
        learner: LearnerConfig::R2d2 {},
    };
    let model = Model::fresh(architecture, 0, Device::Cpu).unwrap();
    let accounting = Accounting::of_model(&model, is_shared);
    let traits = vec![Traits { is_shared, accounting, precision: Precision::Float32 }];
    let engine = Engine::with_executor(vec![base_model()], traits, bounds, &factory).unwrap();
    Bench { engine, gate, trap, log }
}

/// The tenant of that number.
fn tenant(number: u64) -> Origin {
    Origin::interactive(TenantId::fresh(&SeededIds::new(number)))
}

fn rows(value: f32) -> Rows {
    Rows::new(1, vec![value]).unwrap()
}

fn support(value: f32) -> SupportSet {
    SupportSet::new(&rows(value), &Targets::Values(vec![0.0])).unwrap()
}

/// Sends a prediction on its way and lets it reach the queue.
async fn predicting(engine: &Engine, value: f32) -> JoinHandle<Result<Outputs, EngineError>> {
    predicting_for(tenant(1), engine, value).await
}

async fn predicting_for(origin: Origin, engine: &Engine, value: f32) -> JoinHandle<Result<Outputs, EngineError>> {
    let handle = engine.clone();
    let task = spawn(async move { handle.predict(origin, "echo", AdapterBlob::new(vec![1]), rows(value)).await });
    tokio::task::yield_now().await;
    task
}

async fn until_waiting(engine: &Engine, count: usize) {
    while engine.waiting() != count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_panic_costs_its_own_command_and_the_next_one_is_answered() {
    let bench = start(8, 1);
    bench.gate.open();

    let lost = predicting(&bench.engine, -1.0).await.await.unwrap();
    let next = predicting(&bench.engine, 2.0).await.await.unwrap();

    assert_eq!(lost, Err(EngineError::Panicked));
    assert_eq!(next.unwrap().values, [2.0]);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_all_that_was_taken_is_answered() {
    let bench = start(2, 1);
    let mut taken = vec![predicting(&bench.engine, 0.0).await];
    until_waiting(&bench.engine, 0).await; // the worker holds it
    taken.push(predicting(&bench.engine, 1.0).await);
    taken.push(predicting(&bench.engine, 2.0).await);
    until_waiting(&bench.engine, 2).await;

    let refused = bench.engine.predict(tenant(1), "echo", AdapterBlob::new(vec![1]), rows(3.0)).await;

    assert!(matches!(refused, Err(EngineError::Full { retry_after }) if !retry_after.is_zero()));
    bench.gate.open();
    for (value, task) in taken.into_iter().enumerate() {
        assert_eq!(task.await.unwrap().unwrap().values, [value as f32]);
    }
}

#[tokio::test]
async fn predictions_go_before_adaptations() {
    let bench = start(8, 1);
    let first = predicting(&bench.engine, 0.0).await;
    until_waiting(&bench.engine, 0).await;
    let engine = bench.engine.clone();
    let adapting = spawn(async move { engine.adapt(tenant(1), "echo", support(1.0), Recipe::default()).await });
    until_waiting(&bench.engine, 1).await;
    let second = predicting(&bench.engine, 2.0).await;
    until_waiting(&bench.engine, 2).await;

    bench.gate.open();
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    adapting.await.unwrap().unwrap();

    assert_eq!(*bench.log.lock().unwrap(), [[0.0], [2.0], [1.0]]);
}

#[tokio::test]
async fn work_of_a_client_that_left_is_skipped() {
    let bench = start(8, 1);
    let first = predicting(&bench.engine, 0.0).await;
    until_waiting(&bench.engine, 0).await;
    let leaving = predicting(&bench.engine, 1.0).await;
    until_waiting(&bench.engine, 1).await;

    leaving.abort();
    assert!(leaving.await.unwrap_err().is_cancelled());
    bench.gate.open();
    first.await.unwrap().unwrap();
    predicting(&bench.engine, 2.0).await.await.unwrap().unwrap();

    assert_eq!(*bench.log.lock().unwrap(), [[0.0], [2.0]]);
}

#[tokio::test]
async fn draining_answers_what_waits_and_refuses_what_comes() {
    let bench = start(8, 2);
    let waiting = predicting(&bench.engine, 5.0).await;
    bench.gate.open();

    bench.engine.drain().await;

    assert_eq!(waiting.await.unwrap().unwrap().values, [5.0]);
    let refused = bench.engine.predict(tenant(1), "echo", AdapterBlob::new(vec![1]), rows(3.0)).await;
    assert_eq!(refused, Err(EngineError::Stopping));
}

/// Holds the only worker back with a prediction of 0, and says how many commands wait behind it.
async fn held_back(bench: &Bench) -> JoinHandle<Result<Outputs, EngineError>> {
    let first = predicting(&bench.engine, 0.0).await;
    until_waiting(&bench.engine, 0).await;
    first
}

#[tokio::test]
async fn commands_of_many_tenants_go_together_as_far_as_the_rows_allow() {
    let bench =
        start_with(Bounds { capacity: 16, per_tenant: 16, workers: 1, batch_rows: 4, patience: PATIENCE }, true);
    let mut sent = vec![held_back(&bench).await];
    for value in 1..=6 {
        sent.push(predicting_for(tenant(value), &bench.engine, value as f32).await);
    }
    until_waiting(&bench.engine, 6).await;

    bench.gate.open();
    for (value, task) in sent.into_iter().enumerate() {
        assert_eq!(task.await.unwrap().unwrap().values, [value as f32]);
    }

    assert_eq!(*bench.log.lock().unwrap(), [vec![0.0], vec![1.0, 2.0, 3.0, 4.0], vec![5.0, 6.0]]);
}

#[tokio::test]
async fn a_panic_in_a_batch_costs_only_the_command_that_caused_it() {
    let bench =
        start_with(Bounds { capacity: 16, per_tenant: 16, workers: 1, batch_rows: 4, patience: PATIENCE }, true);
    let first = held_back(&bench).await;
    let mut sent = Vec::new();
    for value in [1.0, -1.0, 2.0] {
        sent.push(predicting(&bench.engine, value).await);
    }
    until_waiting(&bench.engine, 3).await;

    bench.gate.open();
    first.await.unwrap().unwrap();
    let mut answers = Vec::new();
    for task in sent {
        answers.push(task.await.unwrap().map(|outputs| outputs.values));
    }

    assert_eq!(answers, [Ok(vec![1.0]), Err(EngineError::Panicked), Ok(vec![2.0])]);
}

/// One worker, which is replaced soon, in the middle of what nobody waits for any more.
async fn hanging() -> Bench {
    let patience = Duration::from_millis(50);
    let bench = start_with(Bounds { capacity: 8, per_tenant: 8, workers: 1, batch_rows: 4, patience }, false);
    bench.gate.open();
    let lost = predicting(&bench.engine, HANGS).await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    lost.abort();
    bench
}

#[tokio::test]
async fn a_thread_that_hangs_is_replaced_and_ends_when_it_comes_back() {
    let bench = hanging().await;

    let next = predicting(&bench.engine, 2.0).await.await.unwrap();
    assert_eq!(next.unwrap().values, [2.0]);

    bench.trap.open();
    let after = predicting(&bench.engine, 3.0).await.await.unwrap();
    assert_eq!(after.unwrap().values, [3.0]);
    tokio::time::timeout(Duration::from_secs(10), bench.engine.drain()).await.unwrap();
}

#[tokio::test]
async fn a_thread_that_computes_what_is_waited_for_is_left_alone() {
    let patience = Duration::from_millis(50);
    let bench = start_with(Bounds { capacity: 8, per_tenant: 8, workers: 1, batch_rows: 4, patience }, false);
    bench.gate.open();
    let slow = predicting(&bench.engine, HANGS).await;
    let next = predicting(&bench.engine, 2.0).await;

    tokio::time::sleep(4 * patience).await;
    assert!(bench.log.lock().unwrap().is_empty());
    bench.trap.open();

    assert_eq!(slow.await.unwrap().unwrap().values, [HANGS]);
    assert_eq!(next.await.unwrap().unwrap().values, [2.0]);
}

#[tokio::test]
async fn when_all_hang_the_engine_says_so() {
    let bench = hanging().await;

    tokio::time::timeout(Duration::from_secs(10), bench.engine.hangs()).await.unwrap();
}

#[tokio::test]
async fn one_tenants_flood_does_not_hold_another_up() {
    let bench = start(64, 1);
    let mut sent = vec![held_back(&bench).await];
    for value in 1..=30 {
        sent.push(predicting_for(tenant(1), &bench.engine, value as f32).await);
    }
    sent.push(predicting_for(tenant(2), &bench.engine, 100.0).await);
    until_waiting(&bench.engine, 31).await;

    bench.gate.open();
    for task in sent {
        task.await.unwrap().unwrap();
    }

    let log = bench.log.lock().unwrap();
    let place = log.iter().position(|batch| batch.contains(&100.0)).unwrap();
    assert!(place <= 3, "{log:?}");
}

#[tokio::test]
async fn a_tenant_at_its_cap_is_refused_and_others_are_not() {
    let bench =
        start_with(Bounds { capacity: 16, per_tenant: 2, workers: 1, batch_rows: 1, patience: PATIENCE }, false);
    let mut sent = vec![held_back(&bench).await];
    for value in [1.0, 2.0] {
        sent.push(predicting(&bench.engine, value).await);
    }
    until_waiting(&bench.engine, 2).await;

    let refused = bench.engine.predict(tenant(1), "echo", AdapterBlob::new(vec![1]), rows(3.0)).await;
    sent.push(predicting_for(tenant(2), &bench.engine, 4.0).await);
    until_waiting(&bench.engine, 3).await;

    assert!(matches!(refused, Err(EngineError::TenantFull { limit: 2, retry_after }) if !retry_after.is_zero()));
    bench.gate.open();
    for task in sent {
        task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn what_comes_after_its_deadline_is_not_computed() {
    let bench = start(8, 1);
    let first = held_back(&bench).await;
    let soon = Origin { deadline: Some(Instant::now() + Duration::from_millis(20)), ..tenant(1) };
    let late = predicting_for(soon, &bench.engine, 1.0).await;

    assert_eq!(late.await.unwrap(), Err(EngineError::Late));
    bench.gate.open();
    first.await.unwrap().unwrap();
    predicting(&bench.engine, 2.0).await.await.unwrap().unwrap();

    assert_eq!(*bench.log.lock().unwrap(), [[0.0], [2.0]]);
}

#[tokio::test]
async fn bulk_work_waits_for_everything_else_but_not_for_ever() {
    let bench = start(64, 1);
    let mut sent = vec![held_back(&bench).await];
    let bulk = Origin { urgency: super::Urgency::Bulk, ..tenant(1) };
    sent.push(predicting_for(bulk, &bench.engine, 100.0).await);
    for value in 1..=30 {
        sent.push(predicting(&bench.engine, value as f32).await);
    }
    until_waiting(&bench.engine, 31).await;

    bench.gate.open();
    for task in sent {
        task.await.unwrap().unwrap();
    }

    let log = bench.log.lock().unwrap();
    let place = log.iter().position(|batch| batch.contains(&100.0)).unwrap();
    assert!((10..30).contains(&place), "{log:?}");
}

fn computed(work: Work, cost: u64) -> Command {
    let shape = Shape { base: 0, rows: 1, is_shared: false };
    let (reply, _) = tokio::sync::oneshot::channel();
    let (is_abandoned, span, queued_at) = (Arc::default(), tracing::Span::none(), Instant::now());
    Command { origin: tenant(1), work, shape, cost, reply, is_abandoned, span, queued_at }
}

#[test]
fn what_fits_into_a_time_is_known_from_the_adaptations_of_the_same_base_model() {
    let bench = start(8, 1);
    let queue = &bench.engine.0.queue;
    let adapt = || Work::Adapt { support: support(1.0), recipe: Recipe::default(), query: None, folds: 0 };
    // An empty queue is thought to take a millisecond.
    let fits = |base| queue.adapts_within(base, Duration::from_millis(1_001));

    let unknown = fits(0);
    queue.served(&[computed(adapt(), 1_000)], Duration::from_secs(1));
    queue.served(&[computed(Work::Features { rows: rows(1.0) }, 1)], Duration::from_secs(1));
    let known = fits(0);
    queue.served(&[computed(adapt(), 2_000)], Duration::from_secs(1));

    assert!(unknown > 1_000_000, "{unknown}");
    assert_eq!((known, fits(0)), (1_000, 1_200));
    assert!(fits(1) > 1_000_000, "of another base model nothing is known");
    assert_eq!(queue.adapts_within(0, Duration::ZERO), 0);
    bench.gate.open();
}
