//! Where training files find their data: flags that several commands share.

use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};

use super::CliError;
use crate::domain::{BaseModel, EncoderRef};
use crate::meta::encoder::Tuning;
use crate::meta::tagging::corpora::Corpora;
use crate::meta::task::{self, CorpusFiles, Sources, TaskConfig, TaskDistribution, TaskError};
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
    /// Opens a task distribution, with a bar while texts are encoded; by the encoder that `tuning` makes, or that it is
    /// tuned to.
    pub fn open(&self, config: &TaskConfig, tuning: Option<&Tuning>) -> Result<Box<dyn TaskDistribution>, CliError> {
        self.with_bar(tuning, |sources| task::open(config, sources))
    }

    /// Opens corpora of tagged sentences, with the same bar, as the encoder reads them that `tuning` makes.
    pub fn open_corpora(
        &self,
        encoder: &str,
        max_chars: usize,
        files: &[CorpusFiles],
        tuning: Option<&Tuning>,
    ) -> Result<Corpora, CliError> {
        self.with_bar(tuning, |sources| Corpora::open(encoder, max_chars, files, true, sources))
    }

    /// The same corpora, unread: the encoder is still to be tuned.
    pub fn open_unread(&self, encoder: &str, max_chars: usize, files: &[CorpusFiles]) -> Result<Corpora, CliError> {
        self.with_bar(None, |sources| Corpora::open(encoder, max_chars, files, false, sources))
    }

    fn with_bar<T>(
        &self,
        tuning: Option<&Tuning>,
        open: impl FnOnce(&Sources<'_>) -> Result<T, TaskError>,
    ) -> Result<T, CliError> {
        let bar = ProgressBar::hidden();
        if let Ok(style) = ProgressStyle::with_template("preparing texts {wide_bar} {pos}/{len}  ETA {eta}") {
            bar.set_style(style);
        }
        let progress = |done: usize, of: usize| {
            if bar.is_hidden() {
                bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
            }
            bar.set_length(of as u64);
            bar.set_position(done as u64);
        };
        let opened = open(&Sources { data: &self.data, encoders: &self.encoders, tuning, progress: &progress });
        bar.finish_and_clear();
        Ok(opened.map_err(TrainError::from)?)
    }
}

/// The task distribution of a training file, or of a file of what is under its `[task]`.
pub fn read_task(path: &Path) -> Result<TaskConfig, CliError> {
    let unreadable = |reason: String| CliError::Usage(format!("{}: {reason}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    let mut table: toml::Table = toml::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
    let task = table.remove("task").unwrap_or(toml::Value::Table(table));
    task.try_into().map_err(|error: toml::de::Error| unreadable(error.to_string()))
}

/// What a base model adds to its encoder, from its bundle in `folder`.
pub fn tuning_of(base: &BaseModel, folder: &Path) -> Result<Option<Tuning>, CliError> {
    match base.manifest.input.encoder() {
        Some((EncoderRef { tuning: Some(_), .. }, _)) => {
            Ok(Some(Tuning::read(folder).map_err(TaskError::from).map_err(TrainError::from)?))
        }
        _ => Ok(None),
    }
}
