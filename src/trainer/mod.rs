//! The outer loop: from a training file to a base model bundle.
//!
//! ```text
//! for each outer step:  draw a meta-batch of episodes → adapt to each support set → loss on each query set
//!                       → gradient with respect to θ → Adam
//! now and then:         meta-validation, checkpoint
//! at the end:           θ of the best validation becomes the bundle
//! ```
//!
//! Every draw is a function of the seed and the step, so that a run that was killed and resumed ends with the same bits
//! as one that was not.
//!
//! Deliberately absent: argv, terminals and clocks; what is to be shown goes to an [`Observer`].

mod checkpoint;
mod config;
mod descent;
mod gains;
mod honesty;
mod measure;
mod outer;
mod run;
pub mod search;
mod tagging;

use std::path::PathBuf;

pub use config::{EpisodeRange, TrainConfig, ValidationConfig};
pub use descent::Descent;
pub use gains::Gains;
pub use honesty::Honesty;
pub use measure::{Measurement, in_order};
pub use run::{Begin, Ended, Observer, Run, StepReport, Stop, ValidationReport};
pub use tagging::{TaggerRun, Trial};

use crate::meta::bundle::BundleError;
use crate::meta::eval::EvalError;
use crate::meta::task::TaskError;
use crate::nn::TensorError;

/// Why training stopped without a base model.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A file is missing, unreadable or not to be written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The training file is not one.
    #[error("{path}: {reason}")]
    Config {
        /// The file.
        path: PathBuf,
        /// Where it goes wrong.
        reason: String,
    },
    /// The checkpoint belongs to another training file.
    #[error(
        "{path}: the checkpoint was made with other settings ({reason}); --restart begins anew, --run-dir names another folder"
    )]
    OtherRun {
        /// The checkpoint.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
    /// There is a run already, and nobody said what to do with it.
    #[error("{0}: there is a run already; --resume goes on with it, --restart begins anew")]
    ExistingRun(PathBuf),
    /// Parts of the configuration do not go together.
    #[error("{0}")]
    Architecture(String),
    /// The loss left the finite numbers.
    #[error("the loss is not finite at outer step {step}; lower outer_lr or inner_lr")]
    NonFinite {
        /// The step.
        step: u64,
    },
    /// The task distribution cannot be opened.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// The bundle cannot be written.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// Meta-validation failed.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// A tensor computation failed.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}
