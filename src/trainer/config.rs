//! Training files.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::TrainError;
use crate::domain::{BackboneConfig, LearnerConfig, Limits};
use crate::meta::task::{EpisodeSpec, TaskConfig};

/// A training file: everything that a base model is a function of, besides the program and the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Name of the base model.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One sentence for people.
    pub description: String,
    /// Seed of θ and of every draw.
    pub seed: u64,
    /// Where episodes come from.
    pub task: TaskConfig,
    /// From input to features.
    pub backbone: BackboneConfig,
    /// From support set to adapter.
    pub learner: LearnerConfig,
    /// Episodes of the outer loop; none where there are corpora of sentences.
    #[serde(default)]
    pub episode: EpisodeRange,
    /// The outer loop.
    pub outer: OuterConfig,
    /// Meta-validation.
    pub validation: ValidationConfig,
    /// What one request may ask of the base model.
    pub limits: Limits,
    /// SHA-256 of the θ that training starts from; a fresh one without it. `--continue` sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<String>,
}

/// How large episodes are; lower and upper bounds are included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpisodeRange {
    /// Classes N.
    pub way: [usize; 2],
    /// Support rows of a class, K.
    pub shot: [usize; 2],
    /// Query rows of a class.
    pub query: usize,
}

impl EpisodeRange {
    /// As the field writes it: `5-way 1-shot`.
    pub fn name(&self) -> String {
        let range = |[least, most]: [usize; 2]| {
            if least == most { least.to_string() } else { format!("{least}–{most}") }
        };
        if self.way == [1, 1] {
            return format!("{}-shot", range(self.shot));
        }
        format!("{}-way {}-shot", range(self.way), range(self.shot))
    }

    /// Whether there is anything in it; a reason if not.
    pub fn check(&self) -> Result<(), String> {
        let ordered = self.way[0] <= self.way[1] && self.shot[0] <= self.shot[1];
        if ordered && self.way[0] > 0 && self.shot[0] > 0 && self.query > 0 {
            Ok(())
        } else {
            Err("way and shot are [least, most], and way, shot and query are at least 1".to_owned())
        }
    }

    /// As a task distribution takes it.
    pub fn spec(&self) -> EpisodeSpec {
        let (way, shot) = (self.way[0]..=self.way[1], self.shot[0]..=self.shot[1]);
        EpisodeSpec { way, shot, query: self.query, unlabelled: 0 }
    }
}

/// The outer loop's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OuterConfig {
    /// Outer steps.
    pub steps: u64,
    /// Episodes in a step.
    pub meta_batch: usize,
    /// Step size β at the start.
    pub lr: f64,
    /// Step size at the end; it follows half a cosine from one to the other.
    pub final_lr: f64,
    /// Bound of the gradient's norm; none without it.
    #[serde(default)]
    pub clip: Option<f64>,
    /// Share of the old value that each step leaves in the average of θ; that average is what is validated and what the
    /// bundle holds (Polyak & Juditsky 1992; as an exponential average, Izmailov et al. 2018, arXiv:1803.05407, §3).
    /// Without it, θ itself.
    #[serde(default)]
    pub average: Option<f64>,
}

impl OuterConfig {
    /// Step size at `step`.
    pub fn lr_at(&self, step: u64) -> f64 {
        let progress = step as f64 / self.steps.max(1) as f64;
        let cosine = f64::midpoint(1.0, (std::f64::consts::PI * progress).cos());
        self.final_lr + (self.lr - self.final_lr) * cosine
    }
}

/// Meta-validation: by what θ is chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationConfig {
    /// Outer steps between two validations; a checkpoint is written at each.
    pub every: u64,
    /// Episodes for each of `settings`.
    pub episodes: u64,
    /// The mean over these is the score.
    pub settings: Vec<EpisodeRange>,
    /// Validations without a better score after which training stops; never without it.
    #[serde(default)]
    pub patience: Option<u64>,
}

impl TrainConfig {
    /// Reads a training file (TOML).
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| TrainError::File { path: path.to_owned(), source })?;
        let config: Self = toml::from_str(&text)
            .map_err(|error| TrainError::Config { path: path.to_owned(), reason: error.to_string() })?;
        config.check().map_err(|reason| TrainError::Config { path: path.to_owned(), reason })?;
        Ok(config)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let has_episodes = !matches!(self.task, TaskConfig::Sentences { .. });
        let ranges = has_episodes.then_some(&self.episode).into_iter().chain(&self.validation.settings);
        for range in ranges {
            range.check()?;
        }
        let counts = [self.outer.steps, self.outer.meta_batch as u64, self.validation.every, self.validation.episodes];
        if counts.contains(&0) || self.validation.settings.is_empty() {
            return Err(
                "outer.steps, outer.meta_batch, validation.every, validation.episodes and validation.settings \
                        must not be zero or empty"
                    .to_owned(),
            );
        }
        if self.outer.average.is_some_and(|share| !(0.0..1.0).contains(&share)) {
            return Err("outer.average is a share: at least 0 and less than 1".to_owned());
        }
        let safe = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        if self.name.is_empty() || !self.name.chars().all(safe) || self.name.starts_with('.') {
            return Err(format!("`{}` cannot name a folder: use letters, digits, `.`, `_` and `-`", self.name));
        }
        Ok(())
    }

    /// Where a run keeps its checkpoint by default.
    pub fn default_run_dir(&self) -> PathBuf {
        Path::new(".imprint/runs").join(&self.name)
    }
}
