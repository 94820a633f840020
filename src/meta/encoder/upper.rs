//! An encoder's last blocks while meta-training changes them. The blocks below never change, so what they say of a text is
//! computed once; the rest is a function of the changes. Texts of one length go through together, and nothing is padded.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::tuning::{matrices, pair};
use super::{Encoder, Tokens, bert};
use crate::nn::{Params, Result, init};

/// How much of an encoder changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpperConfig {
    /// Last blocks that change.
    pub blocks: usize,
    /// Rank of the changes.
    pub rank: usize,
}

/// The last blocks of an encoder.
pub struct Upper {
    pub(super) encoder: Encoder,
    config: UpperConfig,
}

impl Upper {
    /// # Errors
    /// A reason, if the encoder has no such blocks and one below them, or nothing would change.
    pub fn new(encoder: &Encoder, config: UpperConfig) -> std::result::Result<Self, String> {
        let all = encoder.config.num_hidden_layers;
        if config.rank == 0 || config.blocks == 0 || config.blocks >= all {
            let most = all.saturating_sub(1);
            return Err(format!("of {all} blocks, 1 to {most} can change, by a rank above 0; these are {config:?}"));
        }
        Ok(Self { encoder: encoder.shallow_clone(), config })
    }

    /// Number of the first block that changes.
    pub(super) fn first(&self) -> usize {
        self.encoder.config.num_hidden_layers - self.config.blocks
    }

    /// The changes before the first step, which change nothing: pairs of matrices, by the names that they have in a
    /// [`Tuning`](super::Tuning).
    pub fn fresh(&self, rng: &mut ChaCha8Rng) -> Result<Params> {
        let (rank, mut changes) = (self.config.rank as i64, Params::new());
        for (matrix, shape) in matrices(&self.encoder.config, self.config.blocks) {
            let [down, up] = pair(&matrix);
            // As large as normal numbers of variance 1 / I.
            changes.insert(down, init::uniform(rng, &[rank, shape[1]], (3.0 / shape[1] as f32).sqrt())?);
            changes.insert(up, init::constant(&[shape[0], rank], 0.0)?);
        }
        Ok(changes)
    }

    /// What the blocks below say of a text, `[1, L, D]`; shows each one's output to `visit`, by its number.
    pub(super) fn lower(&self, text: &Tokens, visit: impl FnMut(usize, &Tensor) -> Result<()>) -> Result<Tensor> {
        let _frozen = tch::no_grad_guard();
        let (config, params) = (&self.encoder.config, &self.encoder.params);
        let embedded = bert::embedded(config, params, &self.encoder.ids(text)?)?;
        bert::blocks(config, params, embedded, 0..self.first(), visit)
    }

    /// From what [`Upper::lower`] says of texts, with `changes`: `pass` is given the places of G texts of one length, what
    /// the last block says of them, `[G, L, D]`, and the sum of what all upper blocks say, until all texts had their turn.
    pub(super) fn pass(
        &self,
        lower: &[Tensor],
        changes: &Params,
        mut pass: impl FnMut(&[usize], &Tensor, &Tensor) -> Result<()>,
    ) -> Result<()> {
        let (config, params) = (&self.encoder.config, &self.encoder.params);
        let params = params.overlaid(changes);
        let mut by_length: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for (place, states) in lower.iter().enumerate() {
            by_length.entry(states.size()[1]).or_default().push(place);
        }
        for places in by_length.into_values() {
            let states: Vec<&Tensor> = places.iter().map(|&place| &lower[place]).collect();
            let range = self.first()..config.num_hidden_layers;
            let states = Tensor::f_cat(&states, 0)?;
            let mut sum = states.f_zeros_like()?;
            let last = bert::blocks(config, &params, states, range, |_, output| {
                sum = sum.f_add(output)?;
                Ok(())
            })?;
            pass(&places, &last, &sum)?;
        }
        Ok(())
    }
}
