//! Task distributions: where episodes come from.
//!
//! # Adding a task distribution
//! 1. A file here with `impl TaskDistribution`.
//! 2. A variant in [`TaskConfig`]; the `match` in [`open`] does not compile until it has an arm.
//!
//! Every draw takes a generator; the same generator gives the same episode on every machine.

mod affine;
mod classes;
mod coloured;
mod company;
mod curves;
#[cfg(test)]
mod fuzz;
mod glyphs;
mod idx;
mod ink;
pub mod inventory;
mod mat;
mod mixture;
mod mnist;
mod omniglot;
mod paint;
mod painted;
mod photographs;
mod preferences;
mod tables;
mod tastes;
mod texts;
mod zipped;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Episode;
use super::encoder::tune::TuningConfig;
use super::encoder::{EncoderError, Tuning, UpperConfig};
use crate::domain::{InputSchema, Kind, hex};

pub use super::tagging::corpora::CorpusFiles;
pub use affine::Augment;
pub use curves::Waves;
pub use omniglot::Characters;
pub use preferences::{ItemTable, SignalTable};
pub use tables::TableFiles;
pub use texts::TextTable;

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
    /// Rows of a class that are given without their target.
    pub unlabelled: usize,
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

    /// How many episodes of this size there are, where each is one of the data's own tasks and nothing is drawn; none where
    /// there is no end of them.
    fn count(&self, _split: Split, _spec: &EpisodeSpec) -> Option<u64> {
        None
    }

    /// The one of those with that number.
    fn nth(&self, _split: Split, _spec: &EpisodeSpec, _index: u64) -> Option<Episode> {
        None
    }

    /// What one input is.
    fn input(&self) -> InputSchema;

    /// What is asked.
    fn kind(&self) -> Kind;

    /// What `split` is made of, for people: `277 characters of 10 alphabets`.
    fn describe(&self, split: Split) -> String;

    /// What a base model of it adds to its encoder.
    fn tuning(&self) -> Option<&Tuning> {
        None
    }

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
    /// The text encoder does not load.
    #[error("text encoder: {0}")]
    Encoder(#[from] EncoderError),
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
        #[serde(default)]
        validation_alphabets: Vec<String>,
        /// Splits by character in place of those by alphabet.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        characters: Option<Characters>,
        /// Whether each character rotated by 90°, 180° and 270° is three more classes: in training only or, where splits are
        /// by character, in all of them.
        #[serde(default)]
        rotations: bool,
        /// Random distortions of training images.
        #[serde(default)]
        augment: Augment,
    },
    /// `y = A sin(x + φ)` (Finn et al. 2017, §5.1).
    Sinusoid {
        /// Least and greatest A.
        #[serde(default = "Waves::amplitude")]
        amplitude: [f64; 2],
        /// Least and greatest φ, in units of π.
        #[serde(default = "Waves::phase")]
        phase: [f64; 2],
    },
    /// `y = a x + b`.
    Line {},
    /// `y = a x² + b x + c`.
    Quadratic {},
    /// Digits, or other grey images in MNIST's format.
    Mnist {
        /// IDX file of images to train on; the last sixth of them is the validation split.
        images: PathBuf,
        /// IDX file of their labels.
        labels: PathBuf,
        /// IDX file of images to test on.
        #[serde(default)]
        test_images: Option<PathBuf>,
        /// IDX file of their labels.
        #[serde(default)]
        test_labels: Option<PathBuf>,
        /// Whether label n is always the nth class, for learners that remember classes; episodes shuffle them else.
        #[serde(default)]
        ordered: bool,
        /// Labels of the classes that only the test split has, and has no others.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        held_out: Vec<u8>,
        /// Random distortions of training images.
        #[serde(default)]
        augment: Augment,
    },
    /// Grey images as coloured ones: each episode in a style of its own.
    Painted {
        /// A distribution of grey images.
        of: Box<TaskConfig>,
        /// Pixels that are added on each side.
        #[serde(default)]
        margin: usize,
        /// A zip of photographs: test images are blended over patches of them, as in MNIST-M (Ganin et al. 2016).
        #[serde(default)]
        photographs: Option<PathBuf>,
        /// Whether images to train on and to validate on stay grey: what a model knows that has seen one style only.
        #[serde(default)]
        plain: bool,
    },
    /// House numbers from the street (Netzer et al. 2011): digits in colour, 32×32.
    Svhn {
        /// `train_32x32.mat`, whose last sixth is the validation split.
        #[serde(default)]
        train: Option<PathBuf>,
        /// `test_32x32.mat`.
        test: PathBuf,
    },
    /// Coloured images in a zip, in a folder for each class: Caltech-101 for example.
    Folders {
        /// The zip.
        zip: PathBuf,
        /// Pixels of a side that images are resized to.
        side: usize,
        /// Classes of the validation split.
        validation: Vec<String>,
        /// Classes of the test split.
        test: Vec<String>,
    },
    /// Classes of texts, by what an encoder says of them.
    Texts {
        /// Name of the encoder's folder.
        encoder: String,
        /// Longest text that the base model takes, in characters.
        max_chars: usize,
        /// Whether episodes tell what their classes are called, as tenants' labels do.
        #[serde(default = "yes")]
        names: bool,
        /// How the encoder's last blocks are tuned, if they are.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tuning: Option<TuningConfig>,
        /// Where the texts are.
        tables: Vec<TextTable>,
    },
    /// Tables of numbers, of which one column is the class.
    Tables {
        /// The column.
        target: String,
        /// Numbers of an input: columns beyond as many are left out at random, fewer are filled up with zeros.
        width: usize,
        /// The tables of each split.
        files: TableFiles,
    },
    /// People and what they chose.
    Preferences {
        /// Name of the encoder's folder.
        encoder: String,
        /// Longest text that the base model takes, in characters.
        max_chars: usize,
        /// Numbers of callers' own that an item may have.
        #[serde(default)]
        features: usize,
        /// How many tenths of the people are to train on, and for validation.
        tenths: [u8; 2],
        /// Share of training episodes whose embeddings are turned, so that no item is learned by heart.
        #[serde(default)]
        turned: f64,
        /// From how few people what is said of items may come in training; from all without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fewest: Option<usize>,
        /// What can be chosen.
        items: ItemTable,
        /// What was chosen.
        signals: SignalTable,
    },
    /// People who like some classes of texts.
    Tastes {
        /// The classes.
        of: Box<TaskConfig>,
        /// Numbers of callers' own that an item may have.
        #[serde(default)]
        features: usize,
    },
    /// Sentences whose words are tagged: no episodes of rows, see [`crate::meta::tagging`].
    Sentences {
        /// Name of the encoder's folder.
        encoder: String,
        /// Longest text that the base model takes, in characters.
        max_chars: usize,
        /// What changes of the encoder while taggers are meta-trained; nothing without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tuning: Option<UpperConfig>,
        /// Where the sentences are.
        corpora: Vec<CorpusFiles>,
        /// Names of the corpora that are not trained on, but adapted to and measured on.
        hold_out: Vec<String>,
    },
    /// Each episode from one of several, all equally likely.
    Mixture {
        /// Distributions of the same inputs and targets.
        of: Vec<TaskConfig>,
        /// More of them, that only the train split draws from.
        #[serde(default)]
        train_only: Vec<TaskConfig>,
    },
}

impl TaskConfig {
    /// The field's sinusoids.
    pub const fn sinusoids() -> Self {
        Self::Sinusoid { amplitude: Waves::amplitude(), phase: Waves::phase() }
    }

    /// What changes of the encoder while taggers are meta-trained.
    pub const fn upper(&self) -> Option<&UpperConfig> {
        match self {
            Self::Sentences { tuning, .. } => tuning.as_ref(),
            _ => None,
        }
    }

    /// Names of the corpora that are held out; none where there are no corpora.
    pub fn held_out(&self) -> &[String] {
        match self {
            Self::Sentences { hold_out, .. } => hold_out,
            _ => &[],
        }
    }
}

const fn yes() -> bool {
    true
}

/// Where task distributions read from.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// Folder that relative paths of a configuration start from.
    pub data: &'a Path,
    /// Folder of text encoders.
    pub encoders: &'a Path,
    /// What a base model has added to the encoder, in place of tuning it anew.
    pub tuning: Option<&'a Tuning>,
    /// Is told how many texts of a table are encoded, or steps of tuning taken, of how many: the first time that takes
    /// minutes.
    pub progress: &'a (dyn Fn(usize, usize) + Sync),
}

/// The one place where a configuration becomes a task distribution.
pub fn open(config: &TaskConfig, sources: &Sources<'_>) -> Result<Box<dyn TaskDistribution>, TaskError> {
    let data = sources.data;
    match config {
        TaskConfig::Omniglot { background, evaluation, validation_alphabets, characters, rotations, augment } => {
            let paths = (data.join(background), evaluation.as_ref().map(|path| data.join(path)));
            let parts = match characters {
                None => omniglot::Parts::Alphabets(validation_alphabets),
                Some(characters) if validation_alphabets.is_empty() => omniglot::Parts::Characters(*characters),
                Some(_) => {
                    return Err(TaskError::Config(
                        "splits are by character or by alphabet: `characters` and `validation_alphabets` exclude each other"
                            .to_owned(),
                    ));
                }
            };
            Ok(Box::new(omniglot::Omniglot::open(&paths.0, paths.1.as_deref(), parts, *rotations, *augment)?))
        }
        TaskConfig::Sinusoid { amplitude, phase } => Ok(Box::new(curves::Curves::sinusoids(*amplitude, *phase)?)),
        TaskConfig::Line {} => Ok(Box::new(curves::Curves::Lines)),
        TaskConfig::Quadratic {} => Ok(Box::new(curves::Curves::Quadratics)),
        TaskConfig::Mnist { images, labels, test_images, test_labels, ordered, held_out, augment } => {
            let (images, labels) = (data.join(images), data.join(labels));
            let test = match (test_images, test_labels) {
                (Some(images), Some(labels)) => Some((data.join(images), data.join(labels))),
                (None, None) => None,
                _ => return Err(TaskError::Config("test_images and test_labels go together".to_owned())),
            };
            let test = test.as_ref().map(|(images, labels)| mnist::Files { images, labels });
            let train = mnist::Files { images: &images, labels: &labels };
            Ok(Box::new(mnist::Mnist::open(&train, test.as_ref(), held_out, *ordered, *augment)?))
        }
        TaskConfig::Painted { of, margin, photographs, plain } => {
            let photographs = photographs.as_ref().map(|path| data.join(path));
            Ok(Box::new(painted::Painted::open(open(of, sources)?, *margin, photographs.as_deref(), *plain)?))
        }
        TaskConfig::Texts { encoder, max_chars, names, tuning, tables } => {
            Ok(Box::new(texts::Texts::open(encoder, *max_chars, *names, tuning.as_ref(), tables, sources)?))
        }
        TaskConfig::Tables { target, width, files } => Ok(Box::new(tables::Tables::open(files, target, *width, data)?)),
        TaskConfig::Preferences { encoder, max_chars, features, tenths, turned, fewest, items, signals } => {
            let (max_chars, features, fewest) = (*max_chars, *features, *fewest);
            let items = preferences::ItemTexts { encoder, max_chars, features, table: items, fewest };
            Ok(Box::new(preferences::Preferences::open(&items, signals, *tenths, *turned, sources)?))
        }
        TaskConfig::Tastes { of, features } => Ok(Box::new(tastes::Tastes::new(open(of, sources)?, *features)?)),
        TaskConfig::Sentences { .. } => Err(TaskError::Config("tagged sentences are no episodes of rows".to_owned())),
        TaskConfig::Svhn { train, test } => {
            let train = train.as_ref().map(|path| data.join(path));
            Ok(Box::new(coloured::Coloured::svhn(train.as_deref(), &data.join(test))?))
        }
        TaskConfig::Folders { zip, side, validation, test } => {
            Ok(Box::new(coloured::Coloured::folders(&data.join(zip), *side, validation, test)?))
        }
        TaskConfig::Mixture { of, train_only } => {
            let all =
                |parts: &[TaskConfig]| parts.iter().map(|part| open(part, sources)).collect::<Result<Vec<_>, _>>();
            Ok(Box::new(mixture::Mixture::new(all(of)?, all(train_only)?)?))
        }
    }
}

/// Notes the checksum of a file, under its name and its folder's: several data sets have files of the same name.
pub(super) fn note_checksum(checksums: &mut BTreeMap<String, String>, path: &Path, bytes: &[u8]) {
    let parts = path.components().rev().take(2).map(|part| part.as_os_str().to_string_lossy());
    let name = parts.collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("/");
    checksums.insert(name, hex(&Sha256::digest(bytes)));
}
