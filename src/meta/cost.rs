//! What an adaptation or a prediction is going to take, before it is begun: multiply-adds, and bytes at the peak.
//!
//! The figures follow from what the code does: which tensors are alive at once, which of them a graph keeps for the way
//! back, how large the systems are that closed forms solve. They are upper bounds rather than means; `tests/maths/memory.rs`
//! compares them with what the process takes.

use super::bundle::Network;
use super::learner::{MOST_FOLDS, Refits};
use super::model::Model;
use super::split::TILE;
use super::tagging::Shape;
use super::tagging::learn::{STEP_WORDS, Settings};
use crate::domain::{Cost, LearnerConfig, Size};

const FLOAT: u64 = 4;
const DOUBLE: u64 = 8;

/// Small things, and what an allocator rounds up to.
const SLACK: u64 = 3 << 20;

/// A base model's figures.
#[derive(Clone, Debug)]
pub enum Accounting {
    /// Of a model of rows.
    Rows(Rows),
    /// Of a tagger. Sizes count words.
    Words {
        /// The network's sizes.
        shape: Shape,
        /// How it learns.
        settings: Settings,
        /// Numbers in θ.
        theta: u64,
        /// Multiply-adds of one word, forward.
        word_work: u64,
    },
}

impl Accounting {
    /// Of a base model. `is_tiled`: whether its rows go through the backbone in tiles, as [`Split`](super::split::Split)
    /// does.
    pub fn of(network: &Network, is_tiled: bool) -> Self {
        match network {
            Network::Rows(model) => Self::of_model(model, is_tiled),
            Network::Words(tagger) => Self::Words {
                shape: tagger.shape,
                settings: tagger.settings,
                theta: tagger.theta.numel() as u64,
                word_work: tagger.multiply_adds(),
            },
        }
    }

    /// Of a model of rows.
    pub fn of_model(model: &Model, is_tiled: bool) -> Self {
        Self::Rows(Rows::of(model, is_tiled))
    }

    /// Of a computation of this size.
    pub fn cost(&self, size: Size) -> Cost {
        match self {
            Self::Rows(rows) => rows.cost(size),
            Self::Words { shape, settings, theta, word_work } => words(size, shape, settings, *theta, *word_work),
        }
    }
}

/// Of a tagger: words are looked at in steps of a bounded size, and what the encoder says of them is kept in 16 bits.
fn words(size: Size, shape: &Shape, settings: &Settings, theta: u64, word_work: u64) -> Cost {
    let (support, query, outputs) = (size.support as u64, size.query as u64, size.outputs as u64);
    let all = support + query;
    let head = outputs * shape.features() as u64;
    let passes = if support == 0 { 0 } else { settings.looked_at(size.support, size.inner_steps) };
    // Of each word what goes into a layer, three times as wide for its neighbours, and what comes out, once more for the
    // way back.
    let layers = 3 * (shape.width + shape.look + 2 * shape.channels) as u64 + outputs;
    let step = all.min(STEP_WORDS as u64) * layers * 3 * FLOAT;
    Cost {
        multiply_adds: (3 * passes + query).saturating_mul(word_work + head),
        // Parameters, their gradients and two moments, as tensors and on their way between two slices.
        bytes: SLACK + all * shape.width as u64 * FLOAT / 2 + step + 10 * (theta + head) * FLOAT,
    }
}

/// A figure for each part of a model of rows.
#[derive(Clone, Debug)]
pub struct Rows {
    learner: LearnerConfig,
    /// Whether rows go through the backbone in tiles, and no graph is kept of it.
    is_tiled: bool,
    /// Numbers in one input.
    row: u64,
    /// Multiply-adds of one row, forward.
    row_work: u64,
    row_memory: RowMemory,
    /// Feature width D.
    width: u64,
    /// Numbers in the backbone.
    backbone: u64,
}

/// Numbers that one row leaves in memory while a backbone computes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowMemory {
    /// Alive at once at the widest place, without a graph.
    pub forward: u64,
    /// Kept by a graph from the first layer to the last.
    pub kept: u64,
}

impl Rows {
    fn of(model: &Model, is_tiled: bool) -> Self {
        let backbone = &model.net.backbone;
        let numbers = model.theta.iter().filter(|(name, _)| !name.contains("head.")).map(|(_, t)| t.numel() as u64);
        let experts = model.architecture.learner.experts() as u64;
        Self {
            learner: model.architecture.learner.clone(),
            is_tiled,
            row: model.architecture.input.row_width() as u64,
            row_work: backbone.multiply_adds(),
            row_memory: backbone.row_memory(),
            width: backbone.width() as u64,
            backbone: numbers.sum::<u64>() / experts,
        }
    }

    fn cost(&self, size: Size) -> Cost {
        let experts = self.learner.experts() as u64;
        let (support, query) = ((size.support + size.unlabelled) as u64, size.query as u64);
        let learning = if size.support == 0 { Cost::default() } else { self.learning(size) };
        // One for the adapter and one for each fold, one after the other.
        let loops = if self.learner.inner_steps().is_some() { 1 + size.folds as u64 } else { 1 };
        let kept = self.kept(size.outputs as u64);
        let asked = self.forward(query) + query * (size.outputs as u64 + self.width) * FLOAT * 3;
        // Inputs are there as values and as a tensor, and once more while one is made into the other.
        let inputs = (support + query) * self.row * FLOAT * 3;
        Cost {
            multiply_adds: learning.multiply_adds.saturating_mul(experts * loops)
                + query * (self.row_work + self.width * size.outputs as u64),
            // The adapter: of each expert, as tensors, as a file, and on its way.
            bytes: SLACK + inputs + (experts + 3) * kept + learning.bytes.max(asked),
        }
    }

    fn learning(&self, size: Size) -> Cost {
        let (rows, outputs) = ((size.support + size.unlabelled) as u64, size.outputs as u64);
        let labelled = size.support as u64;
        let features = rows * self.width;
        let head = (self.width + 1) * outputs;
        let steps = u64::from(size.inner_steps.or(self.learner.inner_steps()).unwrap_or(1));
        // A gradient step goes forward once and back twice.
        let through_all = Cost {
            multiply_adds: rows * self.row_work * (3 * steps + 2) + 3 * steps * rows * head,
            bytes: self.recorded(rows) + 4 * (self.backbone + head) * FLOAT,
        };
        let forward = Cost { multiply_adds: rows * self.row_work, bytes: self.forward(rows) + 3 * features * FLOAT };
        match self.learner.single() {
            LearnerConfig::LearnedOptimizer { hidden, .. } => {
                let (coordinates, hidden) = (self.backbone + head, *hidden as u64);
                Cost {
                    multiply_adds: through_all.multiply_adds + steps * coordinates * 16 * hidden * (hidden + 1),
                    // Two layers' states before and after, and the four gates of one.
                    bytes: through_all.bytes + coordinates * hidden * FLOAT * 20,
                }
            }
            LearnerConfig::Maml { .. }
            | LearnerConfig::MetaSgd { .. }
            | LearnerConfig::MamlPlusPlus { .. }
            | LearnerConfig::Reptile { .. }
            | LearnerConfig::Cavia { .. }
            | LearnerConfig::FineTune { .. }
            | LearnerConfig::Experts { .. } => through_all,
            LearnerConfig::Anil { .. } => Cost {
                multiply_adds: forward.multiply_adds + 3 * steps * rows * head,
                bytes: forward.bytes + (rows * outputs * 6 + head * 5) * FLOAT,
            },
            LearnerConfig::Protonet {} => {
                // The estimate of itself has class means of each fold.
                let folds = (labelled.div_ceil(outputs.max(1)) * 2).min(MOST_FOLDS as u64);
                Cost {
                    multiply_adds: forward.multiply_adds * 2 + (4 + folds) * rows * head,
                    bytes: forward.bytes
                        + (folds * (2 * head + labelled * outputs * 2) + rows * outputs * 6 + 4 * features) * FLOAT,
                }
            }
            LearnerConfig::R2d2 {} | LearnerConfig::KnownRidge { .. } | LearnerConfig::PriorRidge {} => {
                let (least, width) = (rows.min(self.width + 1), self.width + 1);
                let system = rows * width * least + least * least * least;
                Cost {
                    multiply_adds: forward.multiply_adds * 2 + 6 * (system + least * least * outputs + rows * head),
                    bytes: forward.bytes
                        + (5 * rows * width + 5 * least * least + 6 * rows * outputs + 3 * head) * DOUBLE,
                }
            }
            // A tagger is no model of rows.
            LearnerConfig::Tagger { .. } => Cost::default(),
            LearnerConfig::Logistic { steps } => {
                let least = rows.min(self.width);
                let (refits, refits_bytes) = Refits::of(*steps, labelled, self.width, outputs).cost();
                let fit = (2 * features + 2 * least * least + 6 * rows * outputs + 10 * head) * FLOAT;
                Cost {
                    multiply_adds: forward.multiply_adds * 2
                        + rows * self.width * least
                        + u64::from(*steps) * 2 * rows * head
                        + refits,
                    bytes: forward.bytes + outputs * outputs * 6 * FLOAT + fit.max(refits_bytes),
                }
            }
        }
    }

    /// Bytes of rows on their way through the backbone.
    fn forward(&self, rows: u64) -> u64 {
        let at_once = if self.is_tiled { rows.min(TILE as u64) } else { rows };
        at_once * self.row_memory.forward * FLOAT + rows * self.width * FLOAT
    }

    /// The same, with all that a graph keeps of it.
    fn recorded(&self, rows: u64) -> u64 {
        let RowMemory { forward, kept } = self.row_memory;
        rows * (kept + forward) * FLOAT
    }

    /// Bytes of an adapter.
    fn kept(&self, outputs: u64) -> u64 {
        let head = (self.width + 1) * outputs;
        let all = if self.learner.adapts_features() { self.backbone + head } else { head };
        all * FLOAT
    }
}
