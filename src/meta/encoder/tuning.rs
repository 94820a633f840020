//! What a base model adds to a text encoder: a file of its bundle, `tuning.safetensors`.
//!
//! * Changes of low rank to the matrices of the last blocks, `W + 2 B A` (Hu et al. 2021, arXiv:2106.09685, §4.1):
//!   `<matrix>.down` A, `[r, I]`, and `<matrix>.up` B, `[O, r]`. They are added once, when the encoder is loaded.
//! * Where texts have embeddings, what an early block says, beside the last one: words as they stand there, before the
//!   encoder makes up its mind about what they mean together. `tap.<block>.mean`, `[D]`, is what it says of every text.
//! * `project.weight`, `[D, 2 D]`: the principal axes of both over the texts of meta-training, so that an embedding is no
//!   wider than without.
//!
//! ```text
//! e = P [u(h̄_last), u(h̄_tap − m)] / ‖…‖      u(x) = x / ‖x‖, h̄ the mean over pieces
//! ```

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tch::{Kind, Tensor};

use super::{BertConfig, Encoder, EncoderError};
use crate::domain::hex;
use crate::nn::{Params, Result, TensorError, checkpoint, ops, transformer};

/// Name of the file in a bundle.
const FILE: &str = "tuning.safetensors";

const DOWN: &str = ".down";
const UP: &str = ".up";
const PROJECTION: &str = "project.weight";

/// The bytes of the file: a plain value, that threads may share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuning {
    bytes: Arc<[u8]>,
    sha256: String,
}

impl Tuning {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        let sha256 = hex(&Sha256::digest(&bytes));
        Self { bytes: bytes.into(), sha256 }
    }

    /// From the bundle in `folder`.
    pub fn read(folder: &Path) -> Result<Self, EncoderError> {
        let path = folder.join(FILE);
        let bytes = std::fs::read(&path).map_err(|source| EncoderError::File { path, source })?;
        Ok(Self::new(bytes))
    }

    /// Into the bundle in `folder`.
    pub fn write(&self, folder: &Path) -> Result<(), EncoderError> {
        let path = folder.join(FILE);
        let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, &self.bytes));
        written.map_err(|source| EncoderError::File { path, source })
    }

    /// What base models call it by.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Of the changes alone: for a base model that hears words, and has no embedding of texts.
    pub fn of_changes(changes: &Params) -> Result<Self> {
        Ok(Self::new(checkpoint::to_bytes(changes, &[])?))
    }

    /// The encoder with it.
    pub fn apply(&self, encoder: &Encoder) -> Result<Encoder> {
        let _frozen = tch::no_grad_guard();
        let params = checkpoint::from_bytes(&self.bytes, encoder.device)?;
        let pooling = Pooling::among(&params, encoder.width() as i64)?;
        let params = encoder.params.overlaid(&merged(&encoder.params, &params)?);
        Ok(Encoder { config: encoder.config.clone(), params, device: encoder.device, pooling, packed: None })
    }
}

/// The block that `tap.<block>.mean` names.
fn block_of(name: &str) -> Option<usize> {
    name.strip_prefix("tap.")?.strip_suffix(".mean")?.parse().ok()
}

/// Matrices that change, by their names in the encoder, and their shapes: those of the last `blocks`.
pub(super) fn matrices(config: &BertConfig, blocks: usize) -> Vec<(String, Vec<i64>)> {
    let first = config.num_hidden_layers.saturating_sub(blocks);
    let changes = |name: &str, shape: &[i64]| {
        let block = name.strip_prefix("encoder.layer.").and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
        shape.len() == 2 && block.is_some_and(|block| block >= first)
    };
    config.parameters().into_iter().filter(|(name, shape)| changes(name, shape)).collect()
}

/// Names of the two small matrices for a large one.
pub(super) fn pair(matrix: &str) -> [String; 2] {
    [format!("{matrix}{DOWN}"), format!("{matrix}{UP}")]
}

/// The large matrices with what the small ones add; gradients go through to those.
pub(super) fn merged(encoder: &Params, changes: &Params) -> Result<Params> {
    let names = changes.iter().filter_map(|(name, down)| Some((name.strip_suffix(DOWN)?, down)));
    names
        .map(|(matrix, down)| {
            let [_, up] = pair(matrix);
            let change = changes.get(&up)?.f_matmul(down)?.f_mul_scalar(transformer::CHANGE)?;
            let before = encoder.get(matrix)?;
            if before.size() != change.size() {
                let given = change.size();
                return Err(TensorError::Shape { what: "a tuning", expected: "that of the encoder's matrix", given });
            }
            Ok((matrix.to_owned(), before.f_add(&change)?))
        })
        .collect()
}

/// The mean over pieces of features `[1, L, D]`, of length 1: `[1, D]`.
pub(super) fn pooled(features: &Tensor) -> Result<Tensor> {
    ops::unit(&features.f_mean_dim([1i64].as_slice(), false, Kind::Float)?)
}

/// From what two blocks say of a text to its embedding.
pub(super) struct Pooling {
    block: usize,
    mean: Tensor,
    project: Tensor,
}

impl Pooling {
    pub(super) fn new(block: usize, mean: Tensor, project: Tensor) -> Self {
        Self { block, mean, project }
    }

    /// The one in a file, if it has one.
    fn among(params: &Params, width: i64) -> Result<Option<Self>> {
        let Some((block, mean)) = params.iter().find_map(|(name, mean)| Some((block_of(name)?, mean))) else {
            return Ok(None);
        };
        let project = params.get(PROJECTION)?;
        if mean.size() != [width] || project.size() != [width, 2 * width] {
            let given = project.size();
            return Err(TensorError::Shape { what: "a tuning's projection", expected: "[D, 2 D]", given });
        }
        Ok(Some(Self::new(block, mean.shallow_clone(), project.shallow_clone())))
    }

    /// The block that is tapped.
    pub(super) fn block(&self) -> usize {
        self.block
    }

    /// Its tensors, as the file names them.
    pub(super) fn params(&self) -> Params {
        let mean = (format!("tap.{}.mean", self.block), self.mean.shallow_clone());
        Params::from_iter([mean, (PROJECTION.to_owned(), self.project.shallow_clone())])
    }

    pub(super) fn shallow_clone(&self) -> Self {
        Self { block: self.block, mean: self.mean.shallow_clone(), project: self.project.shallow_clone() }
    }

    /// `last` and `early`, `[B, D]`, as [`pooled`] gives them; returns `[B, D]`.
    pub(super) fn embed(&self, last: &Tensor, early: &Tensor) -> Result<Tensor> {
        let both = Tensor::f_cat(&[last, &ops::unit(&early.f_sub(&self.mean)?)?], -1)?; // [B, 2 D]
        ops::unit(&both.f_matmul(&self.project.f_transpose(0, 1)?)?)
    }
}
