//! Where a run is, on disk: one safetensors file, replaced whole, so that a kill at any moment leaves the old or the new.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use sha2::{Digest, Sha256};
use tch::Device;

use super::{TrainConfig, TrainError};
use crate::domain::hex;
use crate::nn::optim::Adam;
use crate::nn::{Params, TensorError, checkpoint};

/// All that an outer loop carries from step to step.
pub(super) struct State {
    /// Outer steps taken.
    pub(super) step: u64,
    /// θ with running statistics.
    pub(super) theta: Params,
    /// The average of θ, if the training file asks for one; θ itself else.
    pub(super) average: Params,
    /// The optimizer.
    pub(super) adam: Adam,
    /// θ of the best validation.
    pub(super) best_theta: Params,
    /// Outer steps that it had taken.
    pub(super) best_step: u64,
    /// Its score, the higher the better; none before the first validation.
    pub(super) best_score: Option<f64>,
    /// Validations since then.
    pub(super) since_best: u64,
}

/// Identity of a training file: what must not change between a checkpoint and its continuation.
fn identity(config: &TrainConfig) -> String {
    let text = serde_json::to_string(config).unwrap_or_default();
    hex(&Sha256::digest(text.as_bytes()))
}

impl State {
    /// Before the first step.
    pub(super) fn new(theta: &Params, adam: Adam) -> Self {
        let copy = || theta.shallow_clone();
        let (best_step, best_score, since_best) = (0, None, 0);
        Self { step: 0, theta: copy(), average: copy(), adam, best_theta: copy(), best_step, best_score, since_best }
    }

    /// Writes the file beside its place and moves it there.
    pub(super) fn save(&self, path: &Path, config: &TrainConfig) -> Result<(), TrainError> {
        let mut all = Params::new();
        let parts = [
            ("theta", &self.theta),
            ("average", &self.average),
            ("adam.m", &self.adam.m),
            ("adam.v", &self.adam.v),
            ("best", &self.best_theta),
        ];
        for (prefix, params) in parts {
            all.extend(params.iter().map(|(name, tensor)| (format!("{prefix}/{name}"), tensor.shallow_clone())));
        }
        let metadata = [
            ("config", identity(config)),
            ("step", self.step.to_string()),
            ("adam_step", self.adam.step.to_string()),
            ("best_step", self.best_step.to_string()),
            // Bits, since a decimal would have to be exact.
            ("best_score", self.best_score.map_or_else(String::new, |score| score.to_bits().to_string())),
            ("since_best", self.since_best.to_string()),
        ];
        let bytes = checkpoint::to_bytes(&all, &metadata)?;
        let new = path.with_extension("new");
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&new, path)
        };
        write().map_err(|source| TrainError::File { path: path.to_owned(), source })
    }

    /// Reads the file; `None` if there is none.
    ///
    /// # Errors
    /// [`TrainError::OtherRun`] if it was made with another training file.
    pub(super) fn load(path: &Path, config: &TrainConfig, device: Device) -> Result<Option<Self>, TrainError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(TrainError::File { path: path.to_owned(), source }),
        };
        let all = checkpoint::from_bytes(&bytes, device)?;
        let metadata = checkpoint::metadata(&bytes)?;
        let text = |key: &str| metadata.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
        let number = |key: &str| {
            text(key).parse::<u64>().map_err(|_| TensorError::Format(format!("checkpoint without `{key}`")))
        };
        if text("config") != identity(config) {
            return Err(TrainError::OtherRun {
                path: path.to_owned(),
                reason: "sha256 of the training file".to_owned(),
            });
        }
        let part = |prefix: &str| -> Params {
            all.iter()
                .filter_map(|(name, tensor)| {
                    Some((name.strip_prefix(prefix)?.strip_prefix('/')?.to_owned(), tensor.shallow_clone()))
                })
                .collect()
        };
        let mut adam = Adam::new(&Params::new())?;
        adam.step = number("adam_step")?;
        adam.m = part("adam.m");
        adam.v = part("adam.v");
        let best_score = if text("best_score").is_empty() { None } else { Some(f64::from_bits(number("best_score")?)) };
        Ok(Some(Self {
            step: number("step")?,
            theta: part("theta"),
            average: part("average"),
            adam,
            best_theta: part("best"),
            best_step: number("best_step")?,
            best_score,
            since_best: number("since_best")?,
        }))
    }
}
