//! Where training files find their data: flags that several commands share.

use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};

use super::CliError;
use crate::meta::task::{self, Sources, TaskConfig, TaskDistribution};
use crate::trainer::TrainError;

/// Folders of data and text encoders.
#[derive(clap::Args, Debug)]
pub struct SourceFlags {
    /// Folder that relative paths of the training file start from.
    #[arg(long, env = "IMPRINT_DATA", default_value = "data")]
    data: PathBuf,

    /// Folder of text encoders, for training files that name one; `imprint models pull` fills it.
    #[arg(long, env = "IMPRINT_ENCODERS", default_value = ".imprint/encoders")]
    encoders: PathBuf,
}

impl SourceFlags {
    /// Opens a task distribution, with a bar while texts are encoded.
    pub fn open(&self, config: &TaskConfig) -> Result<Box<dyn TaskDistribution>, CliError> {
        let bar = ProgressBar::hidden();
        if let Ok(style) = ProgressStyle::with_template("encoding texts {wide_bar} {pos}/{len}  ETA {eta}") {
            bar.set_style(style);
        }
        let progress = |done: usize, of: usize| {
            if bar.is_hidden() {
                bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
            }
            bar.set_length(of as u64);
            bar.set_position(done as u64);
        };
        let opened = task::open(config, &Sources { data: &self.data, encoders: &self.encoders, progress: &progress });
        bar.finish_and_clear();
        Ok(opened.map_err(TrainError::from)?)
    }
}
