//! The bridge between async and tensors: owner threads hold θ, a bounded queue feeds them.
//!
//! ```text
//!  tokio threads                                     │  worker threads
//!  Engine::adapt(..) ── Command {work, span, reply} ─┼▶ Queue ─▶ Worker: batch → meta → answers
//!      ▲                                             │
//!      └──────────────── oneshot: plain values ◀─────┘
//! ```
//!
//! A tensor is born and dies on one worker thread; only the weights of text encoders, which nobody writes to, are shared
//! by all. Commands go down and results come up as plain values: no tensor is
//! in a public signature.
//!
//! * [`queue`] holds what waits in three lanes, each of them fair between tenants ([`FairQueue`](crate::domain::FairQueue)).
//! * [`plan`] says which commands a worker takes together: many tenants' rows in one forward pass, where no task changes
//!   the features ([`shared`]); everything else alone.
//! * [`texts`] turns texts into rows, each text once.
//! * An answer never depends on what else is being asked: on the processor its bits are those of the command alone.
//! * What nobody waits for any more is not computed, and neither is what comes after its deadline; an inner loop that is
//!   under way stops between two steps.
//! * A panic costs the command that caused it: its thread is retired and replaced, since libtorch keeps flags by thread,
//!   and the others of its batch are computed one by one. So is a thread that hangs in what nobody waits for any more.
//!
//! Deliberately absent: HTTP, SQL, and any idea of tenants' rights.

mod checkup;
mod command;
mod device;
mod executor;
mod plan;
mod precision;
mod presence;
mod queue;
mod shared;
mod tagging;
mod texts;
mod worker;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout_at;
use tracing::info_span;

use crate::config::EngineConfig;
use crate::domain::{
    AdapterBlob, BaseModel, Cost, ESTIMATE_FOLDS, HeldOut, Outputs, Precision, Recipe, Rows, Size, SupportSet,
};
use crate::faults::{self, Site};
use crate::meta::bundle::{self, BundleError, Network};
use crate::meta::cost::Accounting;
use crate::meta::encoder::{EncoderError, Window};
use crate::nn::grad;
use command::{Answer, Command, Work};
use executor::{Blueprint, Executor, Tensors};
use plan::Shape;
use queue::{Bounds, Queue};
use tagging::Tagging;
use texts::Texts;
use worker::Workers;

pub use command::{Lane, Origin, Urgency};
pub use device::{DeviceError, open as open_device};
pub use precision::{PrecisionError, choose as choose_precision};
pub use tagging::{Found, Progress, TaggedSentence};
pub use texts::Embedding;

/// Why the engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The device that was asked for is not there.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The precision that was asked for cannot be had.
    #[error(transparent)]
    Precision(#[from] PrecisionError),
    /// A base model does not load.
    #[error("base model: {0}")]
    Bundle(#[from] BundleError),
    /// A text encoder does not load.
    #[error("text encoder: {0}")]
    Encoder(#[from] EncoderError),
    /// A text encoder is there, and it is another one.
    #[error(
        "base model `{base}` stands on another encoder than {encoder} holds, or on another tuning.safetensors than is in its \
         bundle; `imprint models pull` brings the encoder that ships"
    )]
    OtherEncoder {
        /// The base model.
        base: String,
        /// The encoder's folder.
        encoder: PathBuf,
    },
    /// A base model loads, and does not work.
    #[error("base model `{base}` does not work: {reason}")]
    Unfit {
        /// The base model.
        base: String,
        /// What it does.
        reason: String,
    },
    /// There is nothing to serve.
    #[error("there is no base model in `{0}`; train one with `imprint train`, or name another folder with --models")]
    NoBaseModel(PathBuf),
    /// Gradients are not what they should be: nothing could be learned here.
    #[error("libtorch does not differentiate as it should: {0}")]
    Autograd(String),
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
    /// It would take more than one command may.
    #[error("it would take {} bytes and {} multiply-adds", cost.bytes, cost.multiply_adds)]
    TooDear {
        /// What it would take.
        cost: Cost,
        /// What it may.
        most: Cost,
    },
    /// The queue is full; come back after a while.
    #[error("the engine's queue is full")]
    Full {
        /// When a place will be free, by the present rate.
        retry_after: Duration,
    },
    /// As much waits of this tenant as may; come back after a while.
    #[error("{limit} requests of yours are waiting already")]
    TenantFull {
        /// How many may.
        limit: usize,
        /// When a place will be free, by the present rate.
        retry_after: Duration,
    },
    /// Its deadline passed before it was computed, or nobody waits for it any more.
    #[error("its deadline passed before it was computed")]
    Late,
    /// The adapter was not made by this base model, or its tensors are not the ones it should have.
    #[error("the adapter does not fit the base model: {0}")]
    Mismatch(String),
    /// There was not enough memory; less may be under way after a while.
    #[error("out of memory")]
    OutOfMemory,
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
    /// What its own rows are given without themselves: always where that is a closed form, else if it was asked for and is
    /// not too dear.
    pub held_out: Option<HeldOut>,
}

/// The handle by which the async side speaks to the workers. Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    base_models: Vec<BaseModel>,
    traits: Vec<Traits>,
    queue: Arc<Queue>,
    workers: Workers,
    texts: Texts,
    /// Chunks of one list of texts that may be under way.
    encoding_at_once: usize,
    /// What one command may take.
    most: Cost,
}

/// What the queue has to know of a base model.
struct Traits {
    /// Whether commands on it may go together.
    is_shared: bool,
    /// What commands on it take.
    accounting: Accounting,
    /// In which numbers its shared features are computed.
    precision: Precision,
}

impl Engine {
    /// Opens the device, loads every base model and starts the workers.
    pub fn start(config: &EngineConfig) -> Result<Self, StartError> {
        let (device, threads) = device::open(config.device)?;
        let precision = precision::choose(config.precision, device)?;
        let bundles = bundle::load_all(&config.models, device)?;
        if bundles.is_empty() {
            return Err(StartError::NoBaseModel(config.models.clone()));
        }
        // On a thread of its own, which computes as workers do.
        let drawn =
            std::thread::scope(|scope| scope.spawn(move || (grad::is_sound(), draw(bundles, precision))).join());
        let (sound, drawn) = drawn.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match sound {
            Ok(true) => {}
            Ok(false) => return Err(StartError::Autograd("a known gradient comes out wrong".to_owned())),
            Err(error) => return Err(StartError::Autograd(error.to_string())),
        }
        let drawn = drawn?;
        let (mut base_models, mut traits, mut blueprints) = (Vec::new(), Vec::new(), Vec::new());
        for Drawn { base, its_traits, blueprint } in drawn {
            base_models.push(base);
            traits.push(its_traits);
            blueprints.push(blueprint);
        }
        let bounds = Bounds {
            capacity: config.engine_queue,
            per_tenant: config.engine_queue_per_tenant,
            workers: if config.workers == 0 { threads } else { config.workers },
            batch_rows: if config.batch_rows == 0 { device::batch_rows(device) } else { config.batch_rows },
            patience: worker::PATIENCE,
        };
        let blueprints: Arc<[Blueprint]> = blueprints.into();
        let (folders, cache) = ([&*config.encoders, &*config.models], config.embedding_cache_mib);
        let load = || {
            tch::set_num_threads(1);
            Texts::load(&base_models, folders, cache, (device, precision))
        };
        let loaded = std::thread::scope(|scope| scope.spawn(load).join());
        let (texts, encoders) = loaded.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        for (base, its_traits) in traits.iter_mut().enumerate() {
            if let Some((encoder, _)) = texts.of(base) {
                its_traits.precision = encoders[encoder].precision();
            }
        }
        // Handles to tensors are not `Sync`, the numbers behind them are only read.
        let encoders = Mutex::new(encoders);
        let factory = move || Box::new(Tensors::new(&blueprints, &encoders, device)) as Box<dyn Executor>;
        let factory: worker::Factory = Arc::new(factory);
        let mut engine = Self::with_executor(base_models, traits, bounds, &factory)?;
        if let Some(inner) = Arc::get_mut(&mut engine.0) {
            inner.texts = texts;
            inner.most = Cost {
                bytes: config.max_command_mib.saturating_mul(1 << 20),
                multiply_adds: config.max_command_giga_multiply_adds.saturating_mul(1_000_000_000),
            };
        }
        Ok(engine)
    }

    fn with_executor(
        base_models: Vec<BaseModel>,
        traits: Vec<Traits>,
        bounds: Bounds,
        factory: &worker::Factory,
    ) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::new(bounds));
        let workers = Workers::start(bounds, &queue, factory)?;
        let (texts, encoding_at_once) = (Texts::none(), bounds.workers.max(1));
        let most = Cost { bytes: u64::MAX, multiply_adds: u64::MAX };
        Ok(Self(Arc::new(Inner { base_models, traits, queue, workers, texts, encoding_at_once, most })))
    }

    /// What one command may take, and how many commands of one tenant may wait.
    pub fn limits(&self) -> (Cost, usize) {
        (self.0.most, self.0.queue.per_tenant())
    }

    /// The base models that are loaded, in order of name.
    pub fn base_models(&self) -> &[BaseModel] {
        &self.0.base_models
    }

    /// The base model of that name.
    pub fn base_model(&self, name: &str) -> Option<&BaseModel> {
        self.0.base_models.iter().find(|base| base.manifest.name == name)
    }

    /// In which numbers the shared features of the base model of that name are computed.
    pub fn precision(&self, base: &str) -> Precision {
        let found = self.0.base_models.iter().position(|loaded| loaded.manifest.name == base);
        found.map_or(Precision::Float32, |index| self.0.traits[index].precision)
    }

    /// Whether tasks of this base model go through its backbone together.
    pub fn is_shared(&self, base: &BaseModel) -> bool {
        let found = self.0.base_models.iter().position(|loaded| loaded.sha256 == base.sha256);
        found.is_some_and(|index| self.0.traits[index].is_shared)
    }

    /// Runs the inner loop, and what an estimate of it takes.
    pub async fn adapt(
        &self,
        origin: Origin,
        base: &str,
        support: SupportSet,
        recipe: Recipe,
    ) -> Result<Adapted, EngineError> {
        let mut work = Work::Adapt { support, recipe, query: None, folds: ESTIMATE_FOLDS };
        let is_too_dear = self.afford(base, work.size()).is_err();
        if let (true, Work::Adapt { folds, .. }) = (is_too_dear, &mut work) {
            *folds = 0;
        }
        let answer = self.run(origin, base, work).await?;
        answer.adapted.ok_or(EngineError::Panicked)
    }

    /// Predicts with an adapter.
    pub async fn predict(
        &self,
        origin: Origin,
        base: &str,
        adapter: AdapterBlob,
        query: Rows,
    ) -> Result<Outputs, EngineError> {
        let answer = self.run(origin, base, Work::Predict { adapter, query }).await?;
        answer.outputs.ok_or(EngineError::Panicked)
    }

    /// Features of each of the rows; only of a base model that has the same for all tasks.
    pub async fn features(&self, origin: Origin, base: &str, rows: Rows) -> Result<Vec<Vec<f32>>, EngineError> {
        let count = rows.len().max(1);
        let features = self.run(origin, base, Work::Features { rows }).await?.features.ok_or(EngineError::Panicked)?;
        Ok(features.chunks_exact((features.len() / count).max(1)).map(<[f32]>::to_vec).collect())
    }

    /// Both, and nothing is kept: no inner loop is run for an estimate.
    pub async fn adapt_predict(
        &self,
        origin: Origin,
        base: &str,
        support: SupportSet,
        recipe: Recipe,
        query: Rows,
    ) -> Result<(Adapted, Outputs), EngineError> {
        let answer = self.run(origin, base, Work::Adapt { support, recipe, query: Some(query), folds: 0 }).await?;
        answer.adapted.zip(answer.outputs).ok_or(EngineError::Panicked)
    }

    /// What a computation on `base` takes, if it is not more than one may.
    pub fn afford(&self, base: &str, size: Size) -> Result<Cost, EngineError> {
        let found = self.0.base_models.iter().position(|loaded| loaded.manifest.name == base);
        let index = found.ok_or_else(|| EngineError::UnknownBase(base.to_owned()))?;
        self.affordable(self.0.traits[index].accounting.cost(size))
    }

    /// How many of `all` inner steps fit into `time` from now, at least one if there are any: by what adaptations of the
    /// base model took of late, an estimate of the adapter included, behind what waits already.
    pub fn steps_within(&self, base: &str, support: &SupportSet, all: u32, time: Duration) -> u32 {
        let found = self.0.base_models.iter().position(|loaded| loaded.manifest.name == base);
        let Some(index) = found else { return all };
        let size = |steps| Size {
            support: support.len(),
            unlabelled: support.unlabelled().map_or(0, Rows::len),
            outputs: support.targets().outputs(),
            inner_steps: Some(steps),
            folds: ESTIMATE_FOLDS,
            ..Size::default()
        };
        let room = self.0.queue.adapts_within(index, time);
        let fits = |steps: &u32| self.0.traits[index].accounting.cost(size(*steps)).multiply_adds <= room;
        (1..=all).rev().find(fits).unwrap_or(all.min(1))
    }

    fn affordable(&self, cost: Cost) -> Result<Cost, EngineError> {
        let most = self.0.most;
        if cost.is_within(most) { Ok(cost) } else { Err(EngineError::TooDear { cost, most }) }
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

    /// Ends when as many worker threads hang as there should be: nothing in this process brings them back.
    pub async fn hangs(&self) {
        self.0.workers.all_hang().await;
    }

    async fn run(&self, origin: Origin, base: &str, work: Work) -> Result<Answer, EngineError> {
        let found = self.0.base_models.iter().position(|loaded| loaded.manifest.name == base);
        let index = found.ok_or_else(|| EngineError::UnknownBase(base.to_owned()))?;
        let Traits { is_shared, accounting, .. } = &self.0.traits[index];
        let (is_shared, cost) = match &work {
            Work::Embed { encoder, tokens, .. } => {
                let pieces: usize = tokens.iter().map(|tokens| tokens.ids.len()).sum();
                (false, self.0.texts.cost(*encoder, pieces))
            }
            Work::Tagging(Tagging::Read { encoder, windows, .. }) => {
                let pieces: usize = windows.iter().flatten().map(Window::pieces).sum();
                (false, self.0.texts.cost(*encoder, pieces))
            }
            Work::Tagging(tagging) => (false, accounting.cost(tagging.slice()).multiply_adds),
            Work::Adapt { .. } | Work::Predict { .. } | Work::Features { .. } => {
                let cost = self.affordable(accounting.cost(work.size()))?;
                (*is_shared, cost.multiply_adds)
            }
        };
        let shape = Shape { base: index, rows: work.rows(), is_shared };
        let (reply, answer) = oneshot::channel();
        let leaving = Leaving::default();
        let command = Command {
            origin,
            shape,
            cost,
            work,
            reply,
            is_abandoned: Arc::clone(&leaving.0),
            span: info_span!("compute", base_model = base, rows = shape.rows),
            queued_at: Instant::now(),
        };
        faults::pass(Site::Push).await?;
        self.0.queue.push(command)?;
        let answered = match origin.deadline {
            Some(deadline) => timeout_at(deadline.into(), answer).await.map_err(|_| EngineError::Late)?,
            None => answer.await,
        };
        // A worker that dies without a reply has panicked outside of the computation.
        answered.unwrap_or(Err(EngineError::Panicked))
    }
}

/// Tells the worker when the one who waits is gone.
#[derive(Default)]
struct Leaving(Arc<AtomicBool>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What the async side and the workers have to know of a base model.
struct Drawn {
    base: BaseModel,
    its_traits: Traits,
    blueprint: Blueprint,
}

fn draw(bundles: Vec<(BaseModel, Network)>, precision: Precision) -> Result<Vec<Drawn>, BundleError> {
    tch::set_num_threads(1);
    let draw = |(base, network): (BaseModel, Network)| {
        let blueprint = Blueprint::new(&base, &network, precision)?;
        let is_shared = blueprint.is_shared();
        let accounting = Accounting::of(&network, is_shared);
        let its_traits = Traits { is_shared, accounting, precision: blueprint.precision() };
        Ok(Drawn { base, its_traits, blueprint })
    };
    bundles.into_iter().map(draw).collect()
}

#[cfg(test)]
mod tests;
