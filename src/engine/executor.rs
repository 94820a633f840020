//! What a worker computes with: its own copy of every base model.

use std::sync::Arc;

use tch::Device;

use super::{Adapted, EngineError};
use crate::domain::{AdapterBlob, BaseModel, Outputs, Recipe, Rows, SupportSet};
use crate::meta::bundle::BundleError;
use crate::meta::model::Architecture;
use crate::meta::{Model, Phase};
use crate::nn::{Params, TensorError, checkpoint, grad};

/// The computations of a worker.
pub(super) trait Executor {
    fn adapt(&mut self, base: usize, support: &SupportSet, recipe: &Recipe) -> Result<Adapted, EngineError>;
    fn predict(&mut self, base: usize, adapter: &AdapterBlob, query: &Rows) -> Result<Outputs, EngineError>;
}

/// A base model as plain values, from which each worker makes its own.
pub(super) struct Blueprint {
    architecture: Architecture,
    sha256: String,
    theta: Arc<[u8]>,
}

impl Blueprint {
    pub(super) fn new(base: &BaseModel, model: &Model) -> Result<Self, BundleError> {
        let theta = model.theta_bytes().map_err(|error| BundleError::Mismatch {
            path: base.manifest.name.clone().into(),
            reason: error.to_string(),
        })?;
        Ok(Self { architecture: model.architecture.clone(), sha256: base.sha256.clone(), theta: theta.into() })
    }

    /// # Panics
    /// If libtorch refuses what it took when the bundle was loaded.
    fn build(&self, device: Device) -> Model {
        let theta = checkpoint::from_bytes(&self.theta, device).expect("these bytes were just written from a loaded θ");
        Model::with_theta(self.architecture.clone(), theta, device).expect("this architecture was just loaded")
    }
}

/// Base models on a worker's device, with their identities.
pub(super) struct Tensors {
    models: Vec<(Model, String)>,
}

impl Tensors {
    pub(super) fn new(blueprints: &[Blueprint], device: Device) -> Self {
        // One computation, one thread: workers are the parallelism, and one thread's sums have one order.
        tch::set_num_threads(1);
        Self { models: blueprints.iter().map(|print| (print.build(device), print.sha256.clone())).collect() }
    }
}

impl Executor for Tensors {
    fn adapt(&mut self, base: usize, support: &SupportSet, recipe: &Recipe) -> Result<Adapted, EngineError> {
        let (model, sha256) = &self.models[base];
        if !grad::is_recording()? {
            return Err(EngineError::Torch("autograd is off on this thread".to_owned()));
        }
        let given = support.targets().outputs();
        if model.architecture.learner.fixed_way().is_some_and(|way| way != given) {
            return Err(EngineError::Mismatch(format!("its head cannot have {given} outputs")));
        }
        let tensors = model.adapt(support, recipe, Phase::Serve)?;
        if !tensors.all_finite()? {
            return Err(EngineError::NonFinite("the adaptation"));
        }
        let leave_one_out = model.leave_one_out(support)?.map(finite).transpose()?;
        let bytes = checkpoint::to_bytes(&tensors, &[("base_sha256", sha256.clone())])?;
        Ok(Adapted { blob: AdapterBlob::new(bytes), leave_one_out })
    }

    fn predict(&mut self, base: usize, adapter: &AdapterBlob, query: &Rows) -> Result<Outputs, EngineError> {
        let (model, sha256) = &self.models[base];
        let tensors = open_adapter(model, sha256, adapter)?;
        finite(model.predict(&tensors, query, Phase::Serve)?)
    }
}

/// The tensors of an adapter, once it is clear that they belong to this base model.
fn open_adapter(model: &Model, sha256: &str, adapter: &AdapterBlob) -> Result<Params, EngineError> {
    let metadata = checkpoint::metadata(adapter.bytes())?;
    let made_by = metadata.get("base_sha256").and_then(serde_json::Value::as_str).unwrap_or("no base model");
    if made_by != sha256 {
        return Err(EngineError::Mismatch(format!("it was made by {made_by}, this is {sha256}")));
    }
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

fn finite(outputs: Outputs) -> Result<Outputs, EngineError> {
    if outputs.values.iter().all(|value| value.is_finite()) {
        Ok(outputs)
    } else {
        Err(EngineError::NonFinite("the prediction"))
    }
}

impl From<TensorError> for EngineError {
    fn from(error: TensorError) -> Self {
        Self::Torch(error.to_string())
    }
}
