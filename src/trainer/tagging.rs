//! The outer loop of taggers: plain training on many corpora at once, each with a head of its own.
//!
//! A step draws a corpus, the larger the more often, and sentences of it; the network's parameters are shared and the
//! heads are thrown away at the end. What remains has seen many kinds of names, and moves quickly to new ones. Where the
//! encoder is tuned, its last blocks move with the network. Corpora that are held out are adapted to at each validation as
//! a tenant's would be, and θ is chosen by that.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Tensor};

use super::checkpoint::State;
use super::run::{Begin, Ended, Observer, StepReport, Stop, ValidationReport};
use super::{TrainConfig, TrainError};
use crate::domain::{InputSchema, Kind, Recipe, Sentence, TagCounts, TagReport};
use crate::meta::Tagger;
use crate::meta::encoder::{Encoder, Loaded, Reading, Seen, Tokenizer, Tuning, Upper};
use crate::meta::eval::Estimate;
use crate::meta::model::Architecture;
use crate::meta::tagging::corpora::{Corpora, Corpus, Part};
use crate::meta::tagging::network;
use crate::nn::grad::{Graph, grad};
use crate::nn::optim::{self, Adam};
use crate::nn::{Params, TensorError, init};

/// Most sentences that a validation measures on: one every so many, through the whole.
const VALIDATED: usize = 200;

/// How much smaller the encoder's steps are than the network's: it knows something already.
const ENCODER_RATE: f64 = 0.5;

/// How the names of what changes in the encoder begin.
const ENCODER: &str = "encoder.";

/// A run over corpora.
pub struct TaggerRun {
    config: TrainConfig,
    corpora: Corpora,
    /// Which corpora are trained on, with the row at which each one's part of the heads begins.
    trained: Vec<(usize, i64)>,
    tagger: Tagger,
    /// The encoder, if it is tuned.
    tuned: Option<Tuned>,
    architecture: Architecture,
    state: State,
    checkpoint: PathBuf,
}

/// An encoder that is tuned, and what does not change of the sentences that were drawn so far, by corpus and place.
struct Tuned {
    upper: Upper,
    seen: BTreeMap<(usize, usize), Seen>,
}

impl Tuned {
    /// What the encoder with `changes` says of the words of these places' sentences, `[B, L, E]`.
    fn encoded(
        &mut self,
        loaded: &Loaded,
        drawn: &[((usize, usize), &Sentence)],
        changes: &Params,
    ) -> Result<Tensor, TrainError> {
        for (place, sentence) in drawn {
            if let Entry::Vacant(entry) = self.seen.entry(*place) {
                let windows = loaded.tokenizer.windows(sentence).map_err(TrainError::Architecture)?;
                let seen = self.upper.see(&[windows])?.pop();
                entry.insert(seen.ok_or_else(|| TensorError::Format("nothing was seen of a sentence".to_owned()))?);
            }
        }
        let seen: Vec<&Seen> = drawn.iter().filter_map(|(place, _)| self.seen.get(place)).collect();
        Ok(self.upper.read(&seen, changes)?)
    }
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
        let tuned = match config.task.upper() {
            Some(&changes) => {
                let upper = Upper::new(&corpora.loaded.encoder, changes).map_err(TrainError::Architecture)?;
                tagger.theta.extend(upper.fresh(&mut ChaCha8Rng::seed_from_u64(config.seed))?);
                Some(Tuned { upper, seen: BTreeMap::new() })
            }
            None => None,
        };
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
        Ok(Self { config, corpora, trained, tagger, tuned, architecture, state, checkpoint })
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
        let first = corpus.train.len();
        let all = first + corpus.test.len();
        let places: Vec<usize> = (0..self.config.outer.meta_batch).map(|_| rng.random_range(0..all)).collect();
        let drawn: Vec<(&Part, usize)> = places
            .iter()
            .map(|&place| if place < first { (&corpus.train, place) } else { (&corpus.test, place - first) })
            .collect();
        let sentences: Vec<&Sentence> = drawn.iter().map(|&(part, place)| &part.set[place].sentence).collect();
        let truth: Vec<&[u32]> = drawn.iter().map(|&(part, place)| part.tags[place].as_slice()).collect();

        let leaves = self.tagger.theta.leaves()?;
        let words = if let Some(tuned) = &mut self.tuned {
            let known: Vec<_> = places.iter().map(|&place| (index, place)).zip(sentences.iter().copied()).collect();
            let encoded = tuned.encoded(&self.corpora.loaded, &known, &leaves)?;
            self.tagger.words_as(&sentences, encoded)?
        } else {
            let readings = drawn.iter().map(|&(part, place)| &part.readings[place]);
            self.tagger.words(&sentences.into_iter().zip(readings).collect::<Vec<_>>())?
        };
        let features = network::features(&leaves, &words, Some(&mut rng))?;
        let own = |name: &str| -> Result<_, TensorError> { Ok(leaves.get(name)?.f_narrow(0, row, tags(corpus))?) };
        let scores = network::scores(&features, &own("heads.weight")?, &own("heads.bias")?)?;
        let loss = network::loss(&scores, &self.tagger.padded_tags(&truth, &words)?, &words.mask)?;
        let mut grads = grad(&loss, &leaves, Graph::Free)?;
        if let Some(bound) = self.config.outer.clip {
            grads = optim::clip(&grads, bound)?.0;
        }
        let pace = |name: &str| if name.starts_with(ENCODER) { ENCODER_RATE * lr } else { lr };
        self.tagger.theta = self.state.adam.step_at(&leaves, &grads, pace)?;
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
        let tuning = tuning_in(&self.tagger.theta)?;
        let encoder = tuning.as_ref().map(|tuning| tuning.apply(&self.corpora.loaded.encoder)).transpose()?;
        let encoder = encoder.as_ref().map(|encoder| (encoder, &self.corpora.loaded.tokenizer));
        let mut estimates = Vec::new();
        for corpus in corpora {
            for setting in &self.config.validation.settings {
                let least = Some(setting.shot[0]);
                let trial = |seed| Trial { corpus, encoder, least, seed, most: VALIDATED };
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

    /// Ends the run: θ of the best validation, and what it adds to the encoder if it is tuned.
    pub fn finish(self) -> Result<(Ended, Option<Tuning>, TrainConfig), TrainError> {
        let tuning = tuning_in(&self.state.best_theta)?;
        let mut architecture = self.architecture;
        if let (Some(tuning), InputSchema::Text { encoder, .. }) = (&tuning, &mut architecture.input) {
            encoder.tuning = Some(tuning.sha256().to_owned());
        }
        let theta = shared(&self.state.best_theta);
        let (steps, best_step) = (self.state.step, self.state.best_step);
        Ok((Ended { architecture, theta, steps, best_step }, tuning, self.config))
    }
}

/// The network's parameters, without heads and encoder.
fn shared(theta: &Params) -> Params {
    theta.filtered(|name| name.starts_with("words."))
}

/// What θ adds to the encoder.
fn tuning_in(theta: &Params) -> Result<Option<Tuning>, TrainError> {
    let changes = theta.filtered(|name| name.starts_with(ENCODER));
    Ok(if changes.is_empty() { None } else { Some(Tuning::of_changes(&changes.detached()?)?) })
}

/// Tags of a corpus.
fn tags(corpus: &Corpus) -> i64 {
    2 * corpus.labels.len() as i64 + 1
}

/// A base model adapted to a part of a corpus and measured on its test part.
pub struct Trial<'c> {
    /// The corpus.
    pub corpus: &'c Corpus,
    /// What reads its sentences; without it, they have been read.
    pub encoder: Option<(&'c Encoder, &'c Tokenizer)>,
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
        let Self { corpus, least, seed, most, .. } = *self;
        let places = corpus.train.sample(least, seed);
        let set = corpus.train.support(&places, corpus.labels.len())?;
        let readings = set.order().iter().map(|&given| self.reading(&corpus.train, places[given]));
        let adapter = tagger.learn(&set, &readings.collect::<Result<Vec<_>, _>>()?, recipe)?;
        let mut counts = TagCounts::default();
        let stride = corpus.test.len().div_ceil(most.max(1)).max(1);
        for place in (0..corpus.test.len()).step_by(stride) {
            let (sentence, reading) = (&corpus.test.set[place].sentence, self.reading(&corpus.test, place)?);
            counts.add(&corpus.test.tags[place], &tagger.lattice(&adapter, sentence, &reading)?.best());
        }
        Ok(counts.report(&corpus.labels))
    }

    fn reading(&self, part: &Part, place: usize) -> Result<Reading, TrainError> {
        let Some((encoder, tokenizer)) = self.encoder else { return Ok(Reading::clone(&part.readings[place])) };
        let windows = tokenizer.windows(&part.set[place].sentence).map_err(TrainError::Architecture)?;
        let missing = || TensorError::Format("no reading of a sentence".to_owned());
        Ok(encoder.read(&[windows])?.pop().ok_or_else(missing)?)
    }
}
