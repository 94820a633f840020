//! The bridge, with an executor that can be told to panic or to wait.

use std::sync::{Arc, Condvar, Mutex};

use super::executor::Executor;
use super::{Adapted, Engine, EngineError};
use crate::domain::{
    AdapterBlob, BackboneConfig, BaseModel, InputSchema, Kind, LearnerConfig, Limits, Manifest, Outputs, Provenance,
    Recipe, Rows, SupportSet, Targets,
};

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

/// Answers with the query itself; a first number of −1 panics.
struct Echo {
    gate: Arc<Gate>,
    log: Arc<Mutex<Vec<f32>>>,
}

impl Executor for Echo {
    fn adapt(&mut self, _: usize, support: &SupportSet, _: &Recipe) -> Result<Adapted, EngineError> {
        self.gate.pass();
        self.log.lock().unwrap().push(support.inputs().values()[0]);
        Ok(Adapted { blob: AdapterBlob::new(vec![1]), leave_one_out: None })
    }

    fn predict(&mut self, _: usize, _: &AdapterBlob, query: &Rows) -> Result<Outputs, EngineError> {
        self.gate.pass();
        assert!(query.values()[0] >= 0.0, "told to panic");
        self.log.lock().unwrap().push(query.values()[0]);
        Ok(Outputs { width: 1, values: query.values().to_vec() })
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
    log: Arc<Mutex<Vec<f32>>>,
}

fn start(capacity: usize, workers: usize) -> Bench {
    let (gate, log) = (Arc::new(Gate::default()), Arc::new(Mutex::new(Vec::new())));
    let (for_workers, its_log) = (Arc::clone(&gate), Arc::clone(&log));
    let factory =
        move || Box::new(Echo { gate: Arc::clone(&for_workers), log: Arc::clone(&its_log) }) as Box<dyn Executor>;
    let factory: super::worker::Factory = Arc::new(factory);
    let engine = Engine::with_executor(vec![base_model()], capacity, workers, &factory).unwrap();
    Bench { engine, gate, log }
}

fn rows(value: f32) -> Rows {
    Rows::new(1, vec![value]).unwrap()
}

fn support(value: f32) -> SupportSet {
    SupportSet::new(&rows(value), &Targets::Values(vec![0.0])).unwrap()
}

/// Sends a prediction on its way and lets it reach the queue.
async fn predicting(engine: &Engine, value: f32) -> tokio::task::JoinHandle<Result<Outputs, EngineError>> {
    let handle = engine.clone();
    let task = tokio::spawn(async move { handle.predict("echo", AdapterBlob::new(vec![1]), rows(value)).await });
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

    let refused = bench.engine.predict("echo", AdapterBlob::new(vec![1]), rows(3.0)).await;

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
    let adapting = tokio::spawn(async move { engine.adapt("echo", support(1.0), Recipe::default()).await });
    until_waiting(&bench.engine, 1).await;
    let second = predicting(&bench.engine, 2.0).await;
    until_waiting(&bench.engine, 2).await;

    bench.gate.open();
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    adapting.await.unwrap().unwrap();

    assert_eq!(*bench.log.lock().unwrap(), [0.0, 2.0, 1.0]);
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

    assert_eq!(*bench.log.lock().unwrap(), [0.0, 2.0]);
}

#[tokio::test]
async fn draining_answers_what_waits_and_refuses_what_comes() {
    let bench = start(8, 2);
    let waiting = predicting(&bench.engine, 5.0).await;
    bench.gate.open();

    bench.engine.drain().await;

    assert_eq!(waiting.await.unwrap().unwrap().values, [5.0]);
    let refused = bench.engine.predict("echo", AdapterBlob::new(vec![1]), rows(3.0)).await;
    assert_eq!(refused, Err(EngineError::Stopping));
}
