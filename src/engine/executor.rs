//! What a worker computes with: its own copy of every base model.

use std::sync::{Arc, Mutex, PoisonError};

use tch::Device;

use super::command::{Answer, Command, Work};
use super::tagging::Words;
use super::{Adapted, EngineError, shared};
use crate::domain::{AdapterBlob, BaseModel, HeldOut, Kind, Outputs, Precision, Recipe, Rows, SupportSet};
use crate::faults::{self, Planned, Site};
use crate::meta::bundle::{BundleError, Network};
use crate::meta::encoder::{Encoder, Tokens};
use crate::meta::model::Architecture;
use crate::meta::split::{Split, Tiling};
use crate::meta::{Model, Phase, Tagger};
use crate::nn::{Params, TensorError, checkpoint, grad};

/// The computations of a worker.
pub(super) trait Executor {
    /// One answer a command, in order. More than one command only on one base model, and only if their shapes say that
    /// they are shared; each answer is what the command gets alone.
    fn run(&mut self, batch: &[Command]) -> Vec<Result<Answer, EngineError>>;
}

/// A base model as plain values, from which each worker makes its own.
pub(super) struct Blueprint {
    architecture: Architecture,
    sha256: String,
    theta: Arc<[u8]>,
    /// How many rows its trunk takes at a time without their numbers changing; `None` if no features are shared.
    tiling: Option<Tiling>,
    /// In which numbers its trunk computes.
    precision: Precision,
}

impl Blueprint {
    pub(super) fn new(base: &BaseModel, network: &Network, precision: Precision) -> Result<Self, BundleError> {
        let mismatch = |error: TensorError| BundleError::Mismatch {
            path: base.manifest.name.clone().into(),
            reason: error.to_string(),
        };
        let (theta, split) = match network {
            Network::Rows(model) => (&model.theta, Split::of(model, precision)),
            Network::Words(tagger) => (&tagger.theta, None),
        };
        let tiling = split.as_ref().map(|split| split.trunk.find_tiling()).transpose().map_err(mismatch)?;
        let precision = split.map_or(Precision::Float32, |split| split.trunk.precision());
        let theta = checkpoint::to_bytes(theta, &[]).map_err(mismatch)?;
        let architecture = Architecture::of(&base.manifest);
        Ok(Self { architecture, sha256: base.sha256.clone(), theta: theta.into(), tiling, precision })
    }

    /// Whether commands on it may go together.
    pub(super) fn is_shared(&self) -> bool {
        self.tiling.is_some()
    }

    /// In which numbers its shared features are computed.
    pub(super) fn precision(&self) -> Precision {
        self.precision
    }

    /// # Panics
    /// If libtorch refuses what it took when the bundle was loaded.
    fn build(&self, device: Device) -> Member {
        let theta = checkpoint::from_bytes(&self.theta, device).expect("these bytes were just written from a loaded θ");
        if self.architecture.kind == Kind::Tagging {
            let tagger =
                Tagger::with_theta(&self.architecture, theta, device).expect("this architecture was just loaded");
            return Member::Words(Words { tagger, sha256: self.sha256.clone() });
        }
        let model =
            Model::with_theta(self.architecture.clone(), theta, device).expect("this architecture was just loaded");
        let split = Split::of(&model, self.precision).zip(self.tiling).map(|(split, tiling)| split.with_tiling(tiling));
        Member::Rows(Box::new(Base { model, sha256: self.sha256.clone(), split }))
    }
}

/// A base model of either sort on a worker's device.
enum Member {
    Rows(Box<Base>),
    Words(Words),
}

/// A base model on a worker's device.
pub(super) struct Base {
    pub(super) model: Model,
    pub(super) sha256: String,
    /// The same in two parts, if no task changes its features.
    pub(super) split: Option<Split>,
}

/// All base models on a worker's device.
pub(super) struct Tensors {
    bases: Vec<Member>,
    encoders: Vec<Encoder>,
}

impl Tensors {
    pub(super) fn new(blueprints: &[Blueprint], encoders: &Mutex<Vec<Encoder>>, device: Device) -> Self {
        // One computation, one thread: workers are the parallelism, and one thread's sums have one order.
        tch::set_num_threads(1);
        let shared = encoders.lock().unwrap_or_else(PoisonError::into_inner);
        Self {
            bases: blueprints.iter().map(|print| print.build(device)).collect(),
            encoders: shared.iter().map(Encoder::shallow_clone).collect(),
        }
    }

    fn embed(&self, encoder: usize, tokens: &[Tokens]) -> Result<Answer, EngineError> {
        faults::at(Site::Embed)?;
        Ok(Answer { embeddings: Some(self.encoders[encoder].embed(tokens)?), ..Answer::default() })
    }
}

impl Executor for Tensors {
    fn run(&mut self, batch: &[Command]) -> Vec<Result<Answer, EngineError>> {
        let Some(first) = batch.first() else { return Vec::new() };
        if let Work::Embed { encoder, tokens, .. } = &first.work {
            return vec![self.embed(*encoder, tokens)]; // never shared
        }
        match &self.bases[first.shape.base] {
            Member::Words(words) => batch.iter().map(|command| words.compute(command, &self.encoders)).collect(),
            Member::Rows(base) => match &base.split {
                Some(split) => shared::run(base, split, batch),
                None => batch.iter().map(|command| base.compute(command)).collect(),
            },
        }
    }
}

impl Base {
    /// A command by itself, on a model whose features are each task's own.
    fn compute(&self, command: &Command) -> Result<Answer, EngineError> {
        let _entered = command.span.enter();
        match &command.work {
            Work::Adapt { support, recipe, query, folds } => {
                let _interrupt = grad::interrupted_by(&command.is_abandoned);
                let (adapted, tensors) = self.adapt(&self.model, support, support, (recipe, *folds))?;
                let outputs = query.as_ref().map(|query| predict(&self.model, &tensors, query)).transpose()?;
                Ok(Answer { adapted: Some(adapted), outputs, ..Answer::default() })
            }
            Work::Predict { adapter, query } => {
                let outputs = predict(&self.model, &self.open(adapter)?, query)?;
                Ok(Answer { outputs: Some(outputs), ..Answer::default() })
            }
            Work::Features { rows } => Ok(Answer { features: Some(self.model.features(rows)?), ..Answer::default() }),
            Work::Embed { .. } | Work::Tagging(_) => {
                Err(EngineError::Mismatch("this base model takes rows, not sentences".to_owned()))
            }
        }
    }

    /// Runs the inner loop of `model`, which is this base model or its head, on `rows`: the support set's own or their
    /// features; and inner loops for an estimate, if it takes any.
    pub(super) fn adapt(
        &self,
        model: &Model,
        support: &SupportSet,
        rows: &SupportSet,
        (recipe, folds): (&Recipe, usize),
    ) -> Result<(Adapted, Params), EngineError> {
        if !grad::is_recording()? {
            return Err(EngineError::Torch("autograd is off on this thread".to_owned()));
        }
        let given = support.targets().outputs();
        if model.architecture.learner.fixed_way().is_some_and(|way| way != given) {
            return Err(EngineError::Mismatch(format!("its head cannot have {given} outputs")));
        }
        let tensors = model.adapt(rows, recipe, Phase::Serve)?;
        if !tensors.all_finite()? {
            return Err(EngineError::NonFinite("the adaptation"));
        }
        let held_out = model.held_out(rows, recipe, folds)?;
        let held_out = held_out
            .map(|HeldOut { outputs, folds }| Ok::<_, EngineError>(HeldOut { outputs: finite(outputs)?, folds }));
        let held_out = held_out.transpose()?;
        faults::at(Site::Serialise)?;
        let bytes = checkpoint::to_bytes(&tensors, &[("base_sha256", self.sha256.clone())])?;
        Ok((Adapted { blob: AdapterBlob::new(bytes), held_out }, tensors))
    }

    /// The tensors of an adapter, once it is clear that they belong to this base model.
    pub(super) fn open(&self, adapter: &AdapterBlob) -> Result<Params, EngineError> {
        faults::at(Site::Open)?;
        let metadata = checkpoint::metadata(adapter.bytes())?;
        let made_by = metadata.get("base_sha256").and_then(serde_json::Value::as_str).unwrap_or("no base model");
        if made_by != self.sha256 {
            return Err(EngineError::Mismatch(format!("it was made by {made_by}, this is {}", self.sha256)));
        }
        let model = &self.model;
        let tensors = checkpoint::from_bytes(adapter.bytes(), model.device)?;
        // A head of its own comes whole; without one it is θ's.
        let outputs = tensors.get("head.weight").map(|weight| weight.size().first().copied());
        let fits = |name: &str, shape: &[i64]| match name {
            "head.weight" => {
                shape.len() == 2 && shape[1] == model.net.backbone.width() as i64 && tensors.contains("head.bias")
            }
            "head.bias" => shape.len() == 1 && outputs.as_ref().is_ok_and(|outputs| *outputs == Some(shape[0])),
            "expert" => shape.is_empty(),
            _ if name.starts_with("stats.") => shape.len() == 1,
            _ => model.shape_of(name).is_ok_and(|own| own == shape),
        };
        for (name, tensor) in tensors.iter() {
            if !fits(name, &tensor.size()) {
                return Err(EngineError::Mismatch(format!("tensor `{name}` has shape {:?}", tensor.size())));
            }
        }
        Ok(tensors)
    }
}

/// Finite outputs of `model` with these tensors.
pub(super) fn predict(model: &Model, tensors: &Params, query: &Rows) -> Result<Outputs, EngineError> {
    finite(model.predict(tensors, query, Phase::Serve)?)
}

fn finite(outputs: Outputs) -> Result<Outputs, EngineError> {
    if outputs.values.iter().all(|value| value.is_finite()) {
        Ok(outputs)
    } else {
        Err(EngineError::NonFinite("the prediction"))
    }
}

impl From<TensorError> for EngineError {
    fn from(error: TensorError) -> Self {
        match error {
            TensorError::Interrupted => Self::Late,
            TensorError::NonFinite(what) => Self::NonFinite(what),
            TensorError::Torch(reason) if is_about_memory(&reason) => Self::OutOfMemory,
            other => Self::Torch(other.to_string()),
        }
    }
}

impl From<Planned> for EngineError {
    fn from(planned: Planned) -> Self {
        TensorError::from(planned).into()
    }
}

/// By libtorch's words: it has no other sign for it, on the processor or on a GPU.
fn is_about_memory(reason: &str) -> bool {
    reason.contains("can't allocate memory") || reason.contains("out of memory")
}
