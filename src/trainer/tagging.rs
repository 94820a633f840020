//! The outer loop of taggers: plain training on many corpora at once, each with a head of its own.
//!
//! A step draws a corpus, the larger the more often, and sentences of it; the network's parameters are shared and the
//! heads are thrown away at the end. What remains has seen many kinds of names, and moves quickly to new ones. Corpora
//! that are held out are adapted to at each validation as a tenant's would be, and θ is chosen by that.

use std::path::{Path, PathBuf};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::Device;

use super::checkpoint::State;
use super::run::{Begin, Ended, Observer, StepReport, Stop, ValidationReport};
use super::{TrainConfig, TrainError};
use crate::domain::{Kind, Recipe, Sentence, TagCounts, TagReport};
use crate::meta::Tagger;
use crate::meta::encoder::Reading;
use crate::meta::eval::Estimate;
use crate::meta::model::Architecture;
use crate::meta::tagging::corpora::{Corpora, Corpus};
use crate::meta::tagging::network;
use crate::nn::grad::{Graph, grad};
use crate::nn::optim::{self, Adam};
use crate::nn::{Params, TensorError, init};

/// Most sentences that a validation measures on: one every so many, through the whole.
const VALIDATED: usize = 200;

/// A run over corpora.
pub struct TaggerRun {
    config: TrainConfig,
    corpora: Corpora,
    /// Which corpora are trained on, with the row at which each one's part of the heads begins.
    trained: Vec<(usize, i64)>,
    tagger: Tagger,
    architecture: Architecture,
    state: State,
    checkpoint: PathBuf,
}

impl TaggerRun {
    /// Starts at fresh parameters, or at the checkpoint in `run_dir`.
    ///
    /// # Errors
    /// Before anything is computed: [`TrainError::ExistingRun`], [`TrainError::OtherRun`], or what is wrong with the
    /// training file.
    pub fn open(config: TrainConfig, corpora: Corpora, run_dir: &Path, begin: Begin) -> Result<Self, TrainError> {
        let held_out = config.task.held_out();
        let known = |name: &String| corpora.all.iter().any(|corpus| corpus.name == *name);
        if let Some(name) = held_out.iter().find(|name| !known(name)) {
            return Err(TrainError::Architecture(format!("there is no corpus `{name}` to hold out")));
        }
        let architecture = Architecture {
            input: corpora.input.clone(),
            kind: Kind::Tagging,
            backbone: config.backbone.clone(),
            learner: config.learner.clone(),
        };
        let mut tagger = Tagger::fresh(&architecture, config.seed, Device::Cpu).map_err(TrainError::Architecture)?;
        let (mut trained, mut rows) = (Vec::new(), 0);
        for (index, corpus) in corpora.all.iter().enumerate().filter(|(_, corpus)| !held_out.contains(&corpus.name)) {
            trained.push((index, rows));
            rows += tags(corpus);
        }
        if trained.is_empty() {
            return Err(TrainError::Architecture("every corpus is held out".to_owned()));
        }
        tagger.theta.insert("heads.weight", init::constant(&[rows, tagger.shape.features() as i64], 0.0)?);
        tagger.theta.insert("heads.bias", init::constant(&[rows], 0.0)?);
        std::fs::create_dir_all(run_dir).map_err(|source| TrainError::File { path: run_dir.to_owned(), source })?;
        let checkpoint = run_dir.join("checkpoint.safetensors");
        if begin == Begin::New && checkpoint.exists() {
            return Err(TrainError::ExistingRun(run_dir.to_owned()));
        }
        let saved = if begin == Begin::Resume { State::load(&checkpoint, &config, Device::Cpu)? } else { None };
        let state = match saved {
            Some(state) => state,
            None => State::new(&tagger.theta, Adam::new(&tagger.theta)?),
        };
        tagger.theta = state.theta.shallow_clone();
        Ok(Self { config, corpora, trained, tagger, architecture, state, checkpoint })
    }

    /// Outer steps taken so far.
    pub fn steps(&self) -> u64 {
        self.state.step
    }

    /// Takes the steps that are left.
    pub fn train(&mut self, observer: &mut dyn Observer) -> Result<Stop, TrainError> {
        while self.state.step < self.config.outer.steps {
            let lr = self.config.outer.lr_at(self.state.step);
            let loss = self.step(lr)?;
            if !loss.is_finite() {
                return Err(TrainError::NonFinite { step: self.state.step });
            }
            self.state.step += 1;
            self.state.theta = self.tagger.theta.shallow_clone();
            let report =
                StepReport { step: self.state.step, loss, accuracy: None, lr, episodes: self.config.outer.meta_batch };
            let asked = observer.stepped(&report).is_break();
            let is_last = self.state.step == self.config.outer.steps;
            if is_last || self.state.step.is_multiple_of(self.config.validation.every) {
                let report = self.validate()?;
                self.state.save(&self.checkpoint, &self.config)?;
                observer.validated(&report);
            }
            if asked && !is_last {
                self.state.save(&self.checkpoint, &self.config)?;
                return Ok(Stop::Asked);
            }
        }
        Ok(Stop::Done)
    }

    /// One step on one corpus; the mean loss of a word.
    fn step(&mut self, lr: f64) -> Result<f64, TrainError> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.config.seed);
        rng.set_stream(self.state.step + 1);
        let (index, row) = self.draw(&mut rng);
        let corpus = &self.corpora.all[index];
        let parts = [&corpus.train, &corpus.test];
        let all = parts.iter().map(|part| part.len()).sum::<usize>();
        let mut drawn = Vec::with_capacity(self.config.outer.meta_batch);
        for _ in 0..self.config.outer.meta_batch {
            let place = rng.random_range(0..all);
            let first = corpus.train.len();
            drawn.push(if place < first { (&corpus.train, place) } else { (&corpus.test, place - first) });
        }
        let sentences: Vec<(&Sentence, &Reading)> =
            drawn.iter().map(|&(part, place)| (&part.set[place].sentence, &part.readings[place])).collect();
        let truth: Vec<&[u32]> = drawn.iter().map(|&(part, place)| part.tags[place].as_slice()).collect();

        let leaves = self.tagger.theta.leaves()?;
        let words = self.tagger.words(&sentences)?;
        let features = network::features(&leaves, &words, Some(&mut rng))?;
        let own = |name: &str| -> Result<_, TensorError> { Ok(leaves.get(name)?.f_narrow(0, row, tags(corpus))?) };
        let scores = network::scores(&features, &own("heads.weight")?, &own("heads.bias")?)?;
        let loss = network::loss(&scores, &self.tagger.padded_tags(&truth, &words)?, &words.mask)?;
        let mut grads = grad(&loss, &leaves, Graph::Free)?;
        if let Some(bound) = self.config.outer.clip {
            grads = optim::clip(&grads, bound)?.0;
        }
        self.tagger.theta = self.state.adam.step(&leaves, &grads, lr)?;
        Ok(loss.f_double_value(&[]).map_err(TensorError::from)?)
    }

    /// A corpus, as often as the root of its size says: the small ones have something to say, too.
    fn draw(&self, rng: &mut ChaCha8Rng) -> (usize, i64) {
        let weight = |&(index, _): &(usize, i64)| {
            let corpus = &self.corpora.all[index];
            ((corpus.train.len() + corpus.test.len()) as f64).sqrt()
        };
        let mut left = rng.random_range(0.0..1.0) * self.trained.iter().map(weight).sum::<f64>();
        for corpus in &self.trained {
            left -= weight(corpus);
            if left <= 0.0 {
                return *corpus;
            }
        }
        self.trained[0]
    }

    fn validate(&mut self) -> Result<ValidationReport, TrainError> {
        let held_out = self.config.task.held_out();
        let corpora = self.corpora.all.iter().filter(|corpus| held_out.contains(&corpus.name));
        let tagger = self.adapting()?;
        let mut estimates = Vec::new();
        for corpus in corpora {
            for setting in &self.config.validation.settings {
                let trial = |seed| Trial { corpus, least: Some(setting.shot[0]), seed, most: VALIDATED };
                let reports =
                    (0..self.config.validation.episodes).map(|index| trial(index).run(&tagger, &Recipe::default()));
                let f1 =
                    reports.map(|report| Ok(report?.entities.micro.f1)).collect::<Result<Vec<f64>, TrainError>>()?;
                estimates.push((format!("{} {}", corpus.name, setting.name()), Estimate::of(&f1)));
            }
        }
        let mean = estimates.iter().map(|(_, estimate)| estimate.mean).sum::<f64>() / estimates.len().max(1) as f64;
        // With nothing held out there is nothing to choose by: the last θ is the best.
        let is_best = estimates.is_empty() || self.state.best_score.is_none_or(|best| mean > best);
        if is_best {
            self.state.best_score = Some(mean);
            self.state.best_theta = self.tagger.theta.shallow_clone();
            self.state.best_step = self.state.step;
        }
        Ok(ValidationReport { step: self.state.step, estimates, is_best, learned: Vec::new() })
    }

    /// The tagger as tenants get it: without the heads.
    fn adapting(&self) -> Result<Tagger, TrainError> {
        let theta = shared(&self.tagger.theta);
        Tagger::with_theta(&self.architecture, theta, Device::Cpu).map_err(TrainError::Architecture)
    }

    /// Ends the run: θ of the best validation.
    pub fn finish(self) -> (Ended, Corpora, TrainConfig) {
        let ended = Ended {
            architecture: self.architecture,
            theta: shared(&self.state.best_theta),
            steps: self.state.step,
            best_step: self.state.best_step,
        };
        (ended, self.corpora, self.config)
    }
}

fn shared(theta: &Params) -> Params {
    theta.filtered(|name| !name.starts_with("heads."))
}

/// Tags of a corpus.
fn tags(corpus: &Corpus) -> i64 {
    2 * corpus.labels.len() as i64 + 1
}

/// A base model adapted to a part of a corpus and measured on its test part.
pub struct Trial<'c> {
    /// The corpus.
    pub corpus: &'c Corpus,
    /// Sentences for each label; all of them without it.
    pub least: Option<usize>,
    /// Which sentences.
    pub seed: u64,
    /// Most sentences that are measured on.
    pub most: usize,
}

impl Trial<'_> {
    /// Adapts and measures.
    pub fn run(&self, tagger: &Tagger, recipe: &Recipe) -> Result<TagReport, TrainError> {
        let Self { corpus, least, seed, most } = *self;
        let places = corpus.train.sample(least, seed);
        let (set, readings) = corpus.train.support(&places, corpus.labels.len())?;
        let adapter = tagger.learn(&set, &readings, recipe)?;
        let mut counts = TagCounts::default();
        let stride = corpus.test.len().div_ceil(most.max(1)).max(1);
        for place in (0..corpus.test.len()).step_by(stride) {
            let (sentence, reading) = (&corpus.test.set[place].sentence, &corpus.test.readings[place]);
            counts.add(&corpus.test.tags[place], &tagger.lattice(&adapter, sentence, reading)?.best());
        }
        Ok(counts.report(&corpus.labels))
    }
}
