//! A run from its first outer step, or from its checkpoint, to its end.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use tch::{Device, Tensor};

use super::checkpoint::State;
use super::{Measurement, TrainConfig, TrainError, outer};
use crate::domain::{Figure, Kind, Manifest, Provenance, Recipe};
use crate::meta::eval::Estimate;
use crate::meta::model::Architecture;
use crate::meta::task::{Split, TaskDistribution};
use crate::meta::{Model, Phase, bundle};
use crate::nn::optim::Adam;
use crate::nn::{Params, TensorError, bridge};

/// Added to the seed for validation episodes, so that they are not those of a report with the same seed.
const VALIDATION_SEED: u64 = 0x7661_6c69;

/// One outer step, for an observer.
#[derive(Clone, Copy, Debug)]
pub struct StepReport {
    /// Steps taken.
    pub step: u64,
    /// Mean query loss.
    pub loss: f64,
    /// Mean query accuracy; classification only.
    pub accuracy: Option<f64>,
    /// Step size that was used.
    pub lr: f64,
    /// Episodes of the step.
    pub episodes: usize,
}

/// One meta-validation, for an observer.
#[derive(Clone, Debug)]
pub struct ValidationReport {
    /// Steps taken.
    pub step: u64,
    /// Each setting and its estimate.
    pub estimates: Vec<(String, Estimate)>,
    /// Whether it is the best so far.
    pub is_best: bool,
    /// Means of what is learned about the inner loop: step sizes, the ridge's λ, by θ's names.
    pub learned: Vec<(String, f64)>,
}

/// Watches a run and may stop it.
pub trait Observer {
    /// After each outer step.
    fn stepped(&mut self, report: &StepReport) -> ControlFlow<()>;
    /// After each meta-validation, its checkpoint written.
    fn validated(&mut self, report: &ValidationReport);
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// All steps were taken.
    Done,
    /// Validation did not improve for as long as the training file allows.
    Patience,
    /// The observer asked; the checkpoint is written.
    Asked,
}

/// What to do about the checkpoint of an earlier run in the same folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// There must be none.
    New,
    /// Go on from it, if there is one.
    Resume,
    /// Leave it to be replaced.
    Restart,
}

/// A run that has ended.
pub struct Ended {
    /// What the base model is made of.
    pub architecture: Architecture,
    /// The best θ.
    pub theta: Params,
    /// Outer steps taken.
    pub steps: u64,
    /// Outer steps that the best θ had taken.
    pub best_step: u64,
}

/// θ of `fresh` with what `earlier` knows in its place: all of it where nothing but the data is new, and the backbone where
/// the learner is another one.
fn going_on(fresh: &Model, earlier: &Model) -> Result<Params, TrainError> {
    let known = |name: &str, tensor: &Tensor| {
        earlier.theta.get(name).ok().filter(|known| known.size() == tensor.size()).map(Tensor::shallow_clone)
    };
    let is_known = |(name, tensor): (&str, &Tensor)| !name.contains("backbone.") || known(name, tensor).is_some();
    if earlier.architecture.input != fresh.architecture.input || !fresh.theta.iter().all(is_known) {
        let reason = "a base model goes on with the input and the backbone that it has: the training file's differ";
        return Err(TrainError::Architecture(reason.to_owned()));
    }
    let theta = fresh.theta.map(|name, tensor| Ok(known(name, tensor).unwrap_or_else(|| tensor.shallow_clone())))?;
    Ok(theta.to_device(fresh.device)?)
}

/// A run.
pub struct Run {
    config: TrainConfig,
    tasks: Box<dyn TaskDistribution>,
    model: Model,
    state: State,
    checkpoint: PathBuf,
    threads: usize,
}

impl Run {
    /// Starts at θ's initial value, which is that of `earlier` if there is one, or at the checkpoint in `run_dir`.
    ///
    /// # Errors
    /// Before anything is computed: [`TrainError::ExistingRun`], [`TrainError::OtherRun`], or what is wrong with the
    /// training file.
    pub fn open(
        config: TrainConfig,
        tasks: Box<dyn TaskDistribution>,
        run_dir: &Path,
        begin: Begin,
        earlier: Option<&Model>,
        device: Device,
    ) -> Result<Self, TrainError> {
        tasks.check(Split::Train, &config.episode.spec())?;
        for setting in &config.validation.settings {
            tasks.check(Split::Validation, &setting.spec())?;
        }
        let architecture = Architecture {
            input: tasks.input(),
            kind: tasks.kind(),
            backbone: config.backbone.clone(),
            learner: config.learner.clone(),
        };
        let mut model = Model::fresh(architecture, config.seed, device).map_err(TrainError::Architecture)?;
        if let Some(earlier) = earlier {
            model.theta = going_on(&model, earlier)?;
        }
        std::fs::create_dir_all(run_dir).map_err(|source| TrainError::File { path: run_dir.to_owned(), source })?;
        let checkpoint = run_dir.join("checkpoint.safetensors");
        if begin == Begin::New && checkpoint.exists() {
            return Err(TrainError::ExistingRun(run_dir.to_owned()));
        }
        let saved = if begin == Begin::Resume { State::load(&checkpoint, &config, device)? } else { None };
        let state = match saved {
            Some(state) => state,
            None => State::new(&model.theta, Adam::new(&model.trainable())?),
        };
        model.theta = state.theta.shallow_clone();
        model.check_theta()?;
        Ok(Self { config, tasks, model, state, checkpoint, threads: 1 })
    }

    /// The same on several threads.
    #[must_use]
    pub fn on_threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// Outer steps taken so far.
    pub fn steps(&self) -> u64 {
        self.state.step
    }

    /// Score of the best validation so far, the higher the better.
    pub fn best_score(&self) -> Option<f64> {
        self.state.best_score
    }

    /// Where episodes come from.
    pub fn tasks(&self) -> &dyn TaskDistribution {
        &*self.tasks
    }

    /// Takes the steps that are left.
    pub fn train(&mut self, observer: &mut dyn Observer) -> Result<Stop, TrainError> {
        let patience = self.config.validation.patience.unwrap_or(u64::MAX);
        self.take_all_threads();
        while self.state.step < self.config.outer.steps {
            if self.state.since_best >= patience {
                return Ok(Stop::Patience);
            }
            let lr = self.config.outer.lr_at(self.state.step);
            let (state, threads) = (&mut self.state, self.threads);
            let measured =
                outer::step(&mut self.model, &mut state.adam, &*self.tasks, &self.config, state.step, threads)?;
            self.state.step += 1;
            self.state.theta = self.model.theta.shallow_clone();
            self.state.average =
                outer::average(&self.config.outer, &self.state.average, &self.state.theta, self.state.step)?;
            let report = StepReport {
                step: self.state.step,
                loss: measured.loss,
                accuracy: measured.accuracy,
                lr,
                episodes: self.config.outer.meta_batch,
            };
            let asked = observer.stepped(&report).is_break();
            let due = self.state.step.is_multiple_of(self.config.validation.every);
            if due || self.state.step == self.config.outer.steps {
                let report = self.validate()?;
                self.state.save(&self.checkpoint, &self.config)?;
                observer.validated(&report);
            }
            if asked && self.state.step < self.config.outer.steps {
                self.state.save(&self.checkpoint, &self.config)?;
                return Ok(Stop::Asked);
            }
        }
        Ok(Stop::Done)
    }

    fn validate(&mut self) -> Result<ValidationReport, TrainError> {
        self.model.theta = self.state.average.shallow_clone();
        let report = self.judge();
        self.model.theta = self.state.theta.shallow_clone();
        self.take_all_threads();
        report
    }

    /// One tensor operation may use all threads, until others that compute beside this one have said that they have one each.
    fn take_all_threads(&self) {
        tch::set_num_threads(i32::try_from(self.threads).unwrap_or(i32::MAX));
    }

    fn judge(&mut self) -> Result<ValidationReport, TrainError> {
        let mut estimates = Vec::new();
        for setting in &self.config.validation.settings {
            let measurement = Measurement {
                tasks: &*self.tasks,
                split: Split::Validation,
                spec: setting.spec(),
                seed: self.config.seed ^ VALIDATION_SEED,
                episodes: self.config.validation.episodes,
                recipe: Recipe::default(),
                phase: Phase::Serve,
                self_training: false,
            };
            estimates.push((setting.name(), measurement.run(&self.model, self.threads, &|_| ())?));
        }
        let mean = estimates.iter().map(|(_, estimate)| estimate.mean).sum::<f64>() / estimates.len() as f64;
        let score = match self.model.architecture.kind {
            Kind::Classification | Kind::Tagging | Kind::Ranking => mean,
            Kind::Regression => -mean,
        };
        let is_best = self.state.best_score.is_none_or(|best| score > best);
        if is_best {
            self.state.best_score = Some(score);
            self.state.best_theta = self.model.theta.shallow_clone();
            self.state.best_step = self.state.step;
            self.state.since_best = 0;
        } else {
            self.state.since_best += 1;
        }
        let learned = self.learned()?;
        Ok(ValidationReport { step: self.state.step, estimates, is_best, learned })
    }

    /// θ's parameters that are no weights of the network, each as its mean.
    fn learned(&self) -> Result<Vec<(String, f64)>, TrainError> {
        let weights = ["backbone.", "stats.", "head.weight", "head.bias", "optimizer.", "context."];
        let others = self.model.theta.filtered(|name| {
            let own = name.strip_prefix("experts.").unwrap_or(name);
            !weights.iter().any(|weight| own.starts_with(weight))
        });
        let means = others.iter().map(|(name, tensor)| {
            let values = bridge::values(tensor)?;
            Ok((name.to_owned(), values.iter().copied().map(f64::from).sum::<f64>() / values.len() as f64))
        });
        Ok(means.collect::<Result<_, TensorError>>()?)
    }

    /// Ends the run: the model with the best θ.
    pub fn finish(self) -> (Ended, Box<dyn TaskDistribution>, TrainConfig) {
        let ended = Ended {
            architecture: self.model.architecture,
            theta: self.state.best_theta,
            steps: self.state.step,
            best_step: self.state.best_step,
        };
        (ended, self.tasks, self.config)
    }
}

impl Ended {
    /// Writes the bundle `folder/<name>`.
    pub fn write_bundle(
        &self,
        folder: &Path,
        config: &TrainConfig,
        data: BTreeMap<String, String>,
        commit: Option<String>,
        figures: Vec<Figure>,
    ) -> Result<PathBuf, TrainError> {
        let architecture = &self.architecture;
        let manifest = Manifest {
            format: bundle::FORMAT,
            name: config.name.clone(),
            version: config.version.clone(),
            description: config.description.clone(),
            input: architecture.input.clone(),
            kinds: vec![architecture.kind],
            backbone: architecture.backbone.clone(),
            learner: architecture.learner.clone(),
            limits: config.limits.clone(),
            theta_sha256: String::new(), // set from the bytes that are written
            provenance: Provenance {
                config: serde_json::to_value(config).unwrap_or_default(),
                seed: config.seed,
                outer_steps: self.steps,
                best_step: self.best_step,
                data,
                program: concat!("imprint ", env!("CARGO_PKG_VERSION")).to_owned(),
                commit,
            },
            figures,
        };
        let path = folder.join(&config.name);
        bundle::write(&path, manifest, &self.theta)?;
        Ok(path)
    }
}
