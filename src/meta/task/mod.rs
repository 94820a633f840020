//! Task distributions: where episodes come from.
//!
//! # Adding a task distribution
//! 1. A file here with `impl TaskDistribution`.
//! 2. A variant in [`TaskConfig`]; the `match` in [`open`] does not compile until it has an arm.
//!
//! Every draw takes a generator; the same generator gives the same episode on every machine.

mod affine;
mod curves;
mod glyphs;
mod idx;
mod mixture;
mod omniglot;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::Episode;
use crate::domain::{InputSchema, Kind};

pub use affine::Augment;

/// A part of the classes or tasks. Parts share none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// To meta-train on.
    Train,
    /// To choose steps and settings by.
    Validation,
    /// To report.
    Test,
}

impl Split {
    /// The word in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// How large an episode is. Ranges are drawn from uniformly, once an episode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpisodeSpec {
    /// Classes N.
    pub way: RangeInclusive<usize>,
    /// Support rows of a class, K.
    pub shot: RangeInclusive<usize>,
    /// Query rows of a class.
    pub query: usize,
}

/// A distribution over tasks.
pub trait TaskDistribution: Send + Sync {
    /// Whether `split` has enough of everything for such episodes.
    ///
    /// # Errors
    /// [`TaskError::Config`], with what it has.
    fn check(&self, split: Split, spec: &EpisodeSpec) -> Result<(), TaskError>;

    /// One episode of `split`, of a size that [`TaskDistribution::check`] lets pass.
    fn sample(&self, split: Split, spec: &EpisodeSpec, rng: &mut ChaCha8Rng) -> Episode;

    /// What one input is.
    fn input(&self) -> InputSchema;

    /// What is asked.
    fn kind(&self) -> Kind;

    /// What `split` is made of, for people: `277 characters of 10 alphabets`.
    fn describe(&self, split: Split) -> String;

    /// SHA-256 of each file that it was read from, by name.
    fn checksums(&self) -> BTreeMap<String, String>;
}

/// Why a task distribution cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// A file is missing or unreadable.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The configuration asks for something that the data does not have.
    #[error("{0}")]
    Config(String),
}

/// A task distribution and its settings, as training files name them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum TaskConfig {
    /// Handwritten characters of 50 alphabets (Lake et al. 2015).
    Omniglot {
        /// The official `images_background.zip`, or IDX images with a label file beside them.
        background: PathBuf,
        /// The official `images_evaluation.zip` or a part of it: the test split.
        #[serde(default)]
        evaluation: Option<PathBuf>,
        /// Alphabets of the background set that are kept for validation.
        validation_alphabets: Vec<String>,
        /// Whether each character rotated by 90°, 180° and 270° is three more classes, in training only.
        #[serde(default)]
        rotations: bool,
        /// Random distortions of training images.
        #[serde(default)]
        augment: Augment,
    },
    /// `y = A sin(x + φ)` (Finn et al. 2017, §5.1).
    Sinusoid {},
    /// `y = a x + b`.
    Line {},
    /// `y = a x² + b x + c`.
    Quadratic {},
    /// Each episode from one of several, all equally likely.
    Mixture {
        /// Distributions of the same inputs and targets.
        of: Vec<TaskConfig>,
    },
}

/// The one place where a configuration becomes a task distribution. Relative paths start from `data`.
pub fn open(config: &TaskConfig, data: &Path) -> Result<Box<dyn TaskDistribution>, TaskError> {
    match config {
        TaskConfig::Omniglot { background, evaluation, validation_alphabets, rotations, augment } => {
            let paths = (data.join(background), evaluation.as_ref().map(|path| data.join(path)));
            let omniglot =
                omniglot::Omniglot::open(&paths.0, paths.1.as_deref(), validation_alphabets, *rotations, *augment)?;
            Ok(Box::new(omniglot))
        }
        TaskConfig::Sinusoid {} => Ok(Box::new(curves::Curves::Sinusoids)),
        TaskConfig::Line {} => Ok(Box::new(curves::Curves::Lines)),
        TaskConfig::Quadratic {} => Ok(Box::new(curves::Curves::Quadratics)),
        TaskConfig::Mixture { of } => {
            let parts = of.iter().map(|part| open(part, data)).collect::<Result<_, _>>()?;
            Ok(Box::new(mixture::Mixture::new(parts)?))
        }
    }
}
