//! The bridge between async and tensors: owner threads hold θ, a bounded queue feeds them.
//!
//! ```text
//!  tokio threads                                     │  worker threads
//!  Engine::adapt(..) ── Command {work, span, reply} ─┼▶ Queue ─▶ Worker: bridge → meta::Model → bridge
//!      ▲                                             │
//!      └──────────────── oneshot: plain values ◀─────┘
//! ```
//!
//! A tensor is born and dies on one worker thread. Commands go down and results come up as plain values: no tensor is
//! in a public signature. One command is one computation on one thread, so that an answer never depends on what else
//! is being asked.
//!
//! A panic costs the command that caused it: its thread is retired and replaced, since libtorch keeps flags by thread.
//!
//! Deliberately absent: HTTP, SQL, and any idea of tenants' rights.

mod command;
mod device;
mod executor;
mod queue;
mod worker;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::Span;

use crate::config::EngineConfig;
use crate::domain::{AdapterBlob, BaseModel, Outputs, Recipe, Rows, SupportSet};
use crate::meta::bundle::{self, BundleError};
use command::{Command, Work};
use executor::{Blueprint, Executor, Tensors};
use queue::Queue;
use worker::Workers;

pub use device::{DeviceError, open as open_device};

/// Why the engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The device that was asked for is not there.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A base model does not load.
    #[error("base model: {0}")]
    Bundle(#[from] BundleError),
    /// There is nothing to serve.
    #[error("there is no base model in `{0}`; train one with `imprint train`, or name another folder with --models")]
    NoBaseModel(std::path::PathBuf),
    /// The system gives no thread.
    #[error("worker thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// Why the engine gave no answer. One variant for each thing that the caller can do about it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EngineError {
    /// No base model of that name is loaded.
    #[error("no base model `{0}` is loaded")]
    UnknownBase(String),
    /// The queue is full; come back after a while.
    #[error("the engine's queue is full")]
    Full {
        /// When a place will be free, by the present rate.
        retry_after: Duration,
    },
    /// The adapter was not made by this base model, or its tensors are not the ones it should have.
    #[error("the adapter does not fit the base model: {0}")]
    Mismatch(String),
    /// The inner loop or the prediction left the finite numbers.
    #[error("{0} left the finite numbers")]
    NonFinite(&'static str),
    /// A worker thread panicked; the command is lost, the thread was replaced.
    #[error("the worker panicked")]
    Panicked,
    /// libtorch refused.
    #[error("libtorch: {0}")]
    Torch(String),
    /// The engine is shutting down.
    #[error("the engine is stopping")]
    Stopping,
}

/// What one inner loop left.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapted {
    /// The adapter's tensors.
    pub blob: AdapterBlob,
    /// Leave-one-out scores, row by row of the support set in canonical order, where the learner has them in closed form.
    pub leave_one_out: Option<Outputs>,
}

/// The handle by which the async side speaks to the workers. Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    base_models: Vec<BaseModel>,
    queue: Arc<Queue>,
    workers: Workers,
}

impl Engine {
    /// Opens the device, loads every base model and starts the workers.
    pub fn start(config: &EngineConfig) -> Result<Self, StartError> {
        let (device, threads) = device::open(config.device)?;
        let bundles = bundle::load_all(&config.models, device)?;
        if bundles.is_empty() {
            return Err(StartError::NoBaseModel(config.models.clone()));
        }
        let mut base_models = Vec::new();
        let mut blueprints = Vec::new();
        for (base, model) in bundles {
            blueprints.push(Blueprint::new(&base, &model)?);
            base_models.push(base);
        }
        let workers = if config.workers == 0 { threads } else { config.workers };
        let blueprints: Arc<[Blueprint]> = blueprints.into();
        let factory = move || Box::new(Tensors::new(&blueprints, device)) as Box<dyn Executor>;
        Ok(Self::with_executor(base_models, config.engine_queue, workers, &(Arc::new(factory) as worker::Factory))?)
    }

    fn with_executor(
        base_models: Vec<BaseModel>,
        capacity: usize,
        workers: usize,
        factory: &worker::Factory,
    ) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::new(capacity, workers));
        let workers = Workers::start(workers, &queue, factory)?;
        Ok(Self(Arc::new(Inner { base_models, queue, workers })))
    }

    /// The base models that are loaded, in order of name.
    pub fn base_models(&self) -> &[BaseModel] {
        &self.0.base_models
    }

    /// The base model of that name.
    pub fn base_model(&self, name: &str) -> Option<&BaseModel> {
        self.0.base_models.iter().find(|base| base.manifest.name == name)
    }

    /// Runs the inner loop.
    pub async fn adapt(&self, base: &str, support: SupportSet, recipe: Recipe) -> Result<Adapted, EngineError> {
        let base = self.index(base)?;
        self.run(|reply| Work::Adapt { base, support, recipe, reply }).await
    }

    /// Predicts with an adapter.
    pub async fn predict(&self, base: &str, adapter: AdapterBlob, query: Rows) -> Result<Outputs, EngineError> {
        let base = self.index(base)?;
        self.run(|reply| Work::Predict { base, adapter, query, reply }).await
    }

    /// Both, and nothing is kept.
    pub async fn adapt_predict(
        &self,
        base: &str,
        support: SupportSet,
        recipe: Recipe,
        query: Rows,
    ) -> Result<(Adapted, Outputs), EngineError> {
        let base = self.index(base)?;
        self.run(|reply| Work::AdaptPredict { base, support, recipe, query, reply }).await
    }

    /// Commands that wait.
    pub fn waiting(&self) -> usize {
        self.0.queue.len()
    }

    /// Takes no more commands, answers those that wait, and ends the workers.
    pub async fn drain(&self) {
        self.0.queue.close();
        self.0.workers.ended().await;
    }

    fn index(&self, name: &str) -> Result<usize, EngineError> {
        let found = self.0.base_models.iter().position(|base| base.manifest.name == name);
        found.ok_or_else(|| EngineError::UnknownBase(name.to_owned()))
    }

    async fn run<T>(
        &self,
        work: impl FnOnce(oneshot::Sender<Result<T, EngineError>>) -> Work,
    ) -> Result<T, EngineError> {
        let (reply, answer) = oneshot::channel();
        let command = Command { work: work(reply), span: Span::current(), queued_at: Instant::now() };
        self.0.queue.push(command)?;
        // A worker that dies without a reply has panicked outside of the computation.
        answer.await.unwrap_or(Err(EngineError::Panicked))
    }
}

#[cfg(test)]
mod tests;
