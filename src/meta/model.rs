//! A base model in memory: configuration, network and θ.

use std::collections::BTreeSet;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Tensor};

use super::batch::{Names, Support, stack_rows};
use super::folds::Folds;
use super::learner::{self, Learner, Net, Phase};
use super::{Adapted, backbone};
use crate::domain::{
    BackboneConfig, HeadInit, HeldOut, InputSchema, Kind, LearnerConfig, Manifest, Norm, Outputs, Recipe, Rows,
    SupportSet, Targets,
};
use crate::nn::norm::Statistics;
use crate::nn::{Params, Result, TensorError, bridge, checkpoint, init};

/// What a base model is made of, without its numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Architecture {
    /// What one input is.
    pub input: InputSchema,
    /// The kind that its head is for.
    pub kind: Kind,
    /// From input to features.
    pub backbone: BackboneConfig,
    /// From support set to adapter.
    pub learner: LearnerConfig,
}

impl Architecture {
    /// Of the base model with this manifest.
    ///
    /// # Panics
    /// If it serves no kind, which no bundle that loads does.
    pub fn of(manifest: &Manifest) -> Self {
        Self {
            input: manifest.input.clone(),
            kind: manifest.kinds[0],
            backbone: manifest.backbone.clone(),
            learner: manifest.learner.clone(),
        }
    }

    /// What its learner learns from names of classes, a row for each: which of the classes that it knows they are, or what
    /// an encoder says of them.
    pub fn names(&self, names: &Names) -> Option<Rows> {
        match self.learner.known(&names.labels) {
            Some(known) => Some(known),
            None => names.rows.clone().filter(|_| self.learner.takes_names()),
        }
    }
}

/// A base model that can adapt and predict.
pub struct Model {
    /// What it is made of.
    pub architecture: Architecture,
    /// The network.
    pub net: Net,
    /// The algorithm.
    pub learner: Box<dyn Learner>,
    /// What the outer loop learns, and running statistics as `stats.…`.
    pub theta: Params,
    /// Where θ is.
    pub device: Device,
}

impl Model {
    /// A model with fresh θ.
    ///
    /// # Errors
    /// A reason, if the parts do not go together.
    pub fn fresh(architecture: Architecture, seed: u64, device: Device) -> Result<Self, String> {
        let mut model = Self::with_theta(architecture, Params::new(), device)?;
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        model.theta = model.initial_theta(rng).map_err(|error| error.to_string())?;
        Ok(model)
    }

    /// A model with given θ.
    ///
    /// # Errors
    /// A reason, if the parts do not go together.
    pub fn with_theta(architecture: Architecture, theta: Params, device: Device) -> Result<Self, String> {
        let backbone = backbone::build(&architecture.backbone, &architecture.input)?;
        let norm = match architecture.backbone {
            BackboneConfig::Conv4 { norm, .. } => norm,
            BackboneConfig::Mlp { .. } | BackboneConfig::Words { .. } | BackboneConfig::Items { .. } => Norm::Support, // no layer asks
        };
        let learner = &architecture.learner;
        let prototypes = matches!(learner.single(), LearnerConfig::Protonet {} | LearnerConfig::Logistic { .. })
            || matches!(learner.head_init(), Some(HeadInit::Prototype {}));
        if prototypes && architecture.kind == Kind::Regression {
            return Err(format!("{} has no regression: there are no class means", learner.name()));
        }
        if matches!(learner.single(), LearnerConfig::PriorRidge {}) != (architecture.kind == Kind::Ranking) {
            return Err("prior_ridge is for ranking, and ranking for prior_ridge".to_owned());
        }
        if let LearnerConfig::KnownRidge { classes } = learner.single() {
            let different = classes.iter().collect::<BTreeSet<_>>().len();
            if architecture.kind != Kind::Classification || different < 2 || different != classes.len() {
                return Err("known_ridge is for classes, of which it knows two or more, each once".to_owned());
            }
        }
        if learner.adapts_features() && norm == Norm::Running {
            let name = learner.name();
            return Err(format!(
                "{name} adapts the features, and running statistics are those of θ: set norm = \"support\""
            ));
        }
        if let LearnerConfig::Experts { experts, of } = learner {
            let brings_a_gradient = matches!(**of, LearnerConfig::Reptile { .. } | LearnerConfig::FineTune { .. });
            if *experts < 2 || of.experts() > 1 || brings_a_gradient {
                return Err("experts are at least two, of one learner that follows the query loss".to_owned());
            }
        }
        if learner.inner_steps() == Some(0) {
            return Err("inner_steps must be at least 1".to_owned());
        }
        let learner = learner::build(&architecture.learner)?;
        Ok(Self { net: Net { backbone, norm }, learner, theta, device, architecture })
    }

    fn initial_theta(&self, rng: &mut ChaCha8Rng) -> Result<Params> {
        let experts = self.architecture.learner.experts();
        if experts == 1 {
            return self.one_theta(rng)?.to_device(self.device);
        }
        let each = (0..experts).map(|_| self.one_theta(rng)).collect::<Result<Vec<_>>>()?;
        learner::side_by_side(&each)?.to_device(self.device)
    }

    fn one_theta(&self, rng: &mut ChaCha8Rng) -> Result<Params> {
        let backbone =
            self.net.backbone.init(rng)?.into_iter().map(|(name, tensor)| (format!("backbone.{name}"), tensor));
        let mut theta: Params = backbone.collect();
        theta.extend(self.learner.init(&self.net, &theta, self.architecture.kind, rng)?);
        if self.net.norm == Norm::Running {
            for layer in self.net.backbone.norm_layers() {
                let channels = theta.get(&format!("backbone.{layer}.weight"))?.size();
                theta.insert(format!("stats.{layer}.mean"), init::constant(&channels, 0.0)?);
                theta.insert(format!("stats.{layer}.var"), init::constant(&channels, 1.0)?);
            }
        }
        Ok(theta)
    }

    /// The running statistics in θ.
    pub fn statistics(&self) -> Params {
        self.theta.filtered(is_statistic)
    }

    /// θ without the running statistics: what gradients are taken of.
    pub fn trainable(&self) -> Params {
        self.theta.filtered(|name| !is_statistic(name))
    }

    /// Shape of a parameter of θ; where θ is several, of one of them.
    pub fn shape_of(&self, name: &str) -> Result<Vec<i64>> {
        if self.architecture.learner.experts() > 1 {
            return Ok(self.theta.get(&format!("experts.{name}"))?.size()[1..].to_vec());
        }
        Ok(self.theta.get(name)?.size())
    }

    /// Checks that `theta` has the names and shapes that this architecture asks for.
    ///
    /// # Errors
    /// [`TensorError::MissingParam`], [`TensorError::UnpairedParam`] or [`TensorError::Shape`].
    pub fn check_theta(&self) -> Result<()> {
        let expected = self.initial_theta(&mut ChaCha8Rng::seed_from_u64(0))?;
        self.theta.zip_with(&expected, |given, expected| {
            if given.size() == expected.size() {
                Ok(given.shallow_clone())
            } else {
                Err(TensorError::Shape { what: "theta", expected: "the architecture's", given: given.size() })
            }
        })?;
        Ok(())
    }

    /// Runs the inner loop on one support set.
    pub fn adapt(&self, set: &SupportSet, recipe: &Recipe, phase: Phase) -> Result<Params> {
        let support = Support::single(set, &self.architecture.input.row_shape(), self.device)?;
        let Adapted { tensors, .. } =
            self.learner.adapt(&self.net, &self.theta, &support, recipe.inner_steps, phase)?;
        tensors.map(|_, tensor| Ok(tensor.f_squeeze_dim(0)?))
    }

    /// What the rows of one support set are given without themselves. Where that is no closed form, it takes an inner loop
    /// for each fold, and is left out if there are to be no `folds`.
    pub fn held_out(&self, set: &SupportSet, recipe: &Recipe, folds: usize) -> Result<Option<HeldOut>> {
        let support = Support::single(set, &self.architecture.input.row_shape(), self.device)?;
        if let Some(held_out) = self.learner.held_out(&self.net, &self.theta, &support)? {
            return Ok(Some(HeldOut { outputs: to_outputs(&held_out.outputs)?, folds: held_out.folds }));
        }
        let found = match set.targets() {
            Targets::Classes { .. } => support.folds(folds)?.pop().flatten(),
            // Of numbers any row is like any other.
            Targets::Values(values) if folds > 0 => Folds::of(&vec![0; values.len()], folds),
            Targets::Values(_) | Targets::Signals { .. } => None,
        };
        let Some(found) = found else { return Ok(None) };
        let width = set.targets().outputs();
        let mut values = vec![0.0; set.len() * width];
        for fold in 0..found.len() {
            let support = support.only(&found.kept(fold..fold + 1, self.device)?)?;
            let Adapted { tensors, .. } =
                self.learner.adapt(&self.net, &self.theta, &support, recipe.inner_steps, Phase::Serve)?;
            let (outputs, _) = learner::predict(&self.net, &self.theta, &tensors, &support.x, None, Phase::Serve)?;
            let outputs = bridge::values(&outputs)?;
            for row in found.judged_by(fold) {
                values[row * width..(row + 1) * width].copy_from_slice(&outputs[row * width..(row + 1) * width]);
            }
        }
        Ok(Some(HeldOut { outputs: Outputs { width, values }, folds }))
    }

    /// Outputs of one adapter for query rows.
    pub fn predict(&self, adapter: &Params, query: &Rows, phase: Phase) -> Result<Outputs> {
        let x = stack_rows(std::iter::once(query), query.len(), &self.architecture.input.row_shape(), self.device)?;
        let stacked = adapter.map(|_, tensor| Ok(tensor.f_unsqueeze(0)?))?;
        let (outputs, _) = learner::predict(&self.net, &self.theta, &stacked, &x, None, phase)?;
        to_outputs(&outputs)
    }

    /// Features of each row, as they serve, row-major; only where no task changes them.
    pub fn features(&self, rows: &Rows) -> Result<Vec<f32>> {
        let _frozen = tch::no_grad_guard();
        let x = stack_rows(std::iter::once(rows), rows.len(), &self.architecture.input.row_shape(), self.device)?;
        let fixed = Statistics::Fixed(&self.theta.stripped("stats."));
        bridge::values(&self.net.features(&self.theta, &x, fixed)?.0)
    }

    /// θ as a safetensors file.
    pub fn theta_bytes(&self) -> Result<Vec<u8>> {
        checkpoint::to_bytes(&self.theta, &[])
    }
}

fn is_statistic(name: &str) -> bool {
    name.starts_with("stats.") || name.starts_with("experts.stats.")
}

/// `[1, Q, N]` to plain values.
fn to_outputs(outputs: &Tensor) -> Result<Outputs> {
    let width = outputs.size().last().copied().unwrap_or_default();
    Ok(Outputs { width: usize::try_from(width).unwrap_or_default(), values: bridge::values(outputs)? })
}
