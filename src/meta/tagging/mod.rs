//! Tagging: spans of a text, each with a label.
//!
//! A tagger is a small network over words ([`network`]) with one linear layer for a task's tags, and [`lattice`] turns
//! the scores into spans. Meta-training leaves a network that has seen many kinds of names; a tenant's sentences move all
//! of it from there, or the head alone ([`learn`]). An adapter holds what moved.
//!
//! It is no [`Model`](super::Model): its rows are sentences of any length, and its tasks are too large to be stacked.

pub mod conll;
pub mod corpora;
pub mod lattice;
pub mod learn;
mod lexicon;
pub mod network;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Tensor};

use super::encoder::Reading;
use super::model::Architecture;
use crate::domain::{BackboneConfig, InputSchema, Kind, LearnerConfig, Sentence};
use crate::nn::{Params, Result, TensorError, bridge};
pub use lattice::{Found, Lattice};
pub use learn::{Learning, Settings};
pub use network::Shape;

/// A base model for tagging.
pub struct Tagger {
    /// The network's sizes.
    pub shape: Shape,
    /// How it learns.
    pub settings: Settings,
    /// The network's parameters, `words.…`.
    pub theta: Params,
    /// Where they are.
    pub device: Device,
}

impl Tagger {
    /// With given θ.
    ///
    /// # Errors
    /// A reason, if this is no tagger.
    pub fn with_theta(architecture: &Architecture, theta: Params, device: Device) -> Result<Self, String> {
        let Architecture { input, kind, backbone, learner } = architecture;
        match (kind, input, backbone, learner) {
            (
                Kind::Tagging,
                InputSchema::Text { width, .. },
                &BackboneConfig::Words { channels, table, row, look },
                &LearnerConfig::Tagger { steps, lr, words },
            ) if channels > 0 && table > 0 && row > 0 && look > 0 && steps > 0 => {
                let shape = Shape { width: *width, channels, table, row, look };
                Ok(Self { shape, settings: Settings { steps, lr, words }, theta, device })
            }
            _ => Err("tagging takes texts, a backbone of kind `words` and a learner of kind `tagger`, sizes above 0"
                .to_owned()),
        }
    }

    /// With fresh θ.
    ///
    /// # Errors
    /// A reason, if this is no tagger.
    pub fn fresh(architecture: &Architecture, seed: u64, device: Device) -> Result<Self, String> {
        let tagger = Self::with_theta(architecture, Params::new(), device)?;
        let theta = tagger.shape.init(&mut ChaCha8Rng::seed_from_u64(seed));
        let theta = theta.and_then(|theta| theta.to_device(device)).map_err(|error| error.to_string())?;
        Ok(Self { theta, ..tagger })
    }

    /// Checks that θ has the names and shapes that its sizes ask for.
    ///
    /// # Errors
    /// [`TensorError::MissingParam`], [`TensorError::UnpairedParam`] or [`TensorError::Shape`].
    pub fn check_theta(&self) -> Result<()> {
        let expected = self.shape.init(&mut ChaCha8Rng::seed_from_u64(0))?;
        self.theta.zip_with(&expected, |given, expected| {
            if given.size() == expected.size() {
                Ok(given.shallow_clone())
            } else {
                Err(TensorError::Shape { what: "theta", expected: "the architecture's", given: given.size() })
            }
        })?;
        Ok(())
    }

    /// Multiply-adds of one word, forward.
    pub fn multiply_adds(&self) -> u64 {
        let weights = |name: &str| self.theta.get(name).map_or(0, Tensor::numel);
        let layers = ["words.lexical.weight", "words.first.weight", "words.second.weight"];
        layers.into_iter().map(weights).sum::<usize>() as u64
    }

    /// Why `adapter` is none of this tagger, if it is none.
    pub fn misfit(&self, adapter: &Params) -> Option<String> {
        let width = self.shape.features() as i64;
        let tags = adapter.get("head.bias").ok().map(Tensor::size);
        let Some([tags]) = tags.as_deref() else { return Some("there is no `head.bias` of one row".to_owned()) };
        let fits = |name: &str, size: &[i64]| match name {
            "head.weight" => size == [*tags, width],
            "head.bias" => *tags >= 3 && tags % 2 == 1,
            _ => self.theta.get(name).is_ok_and(|own| own.size() == size),
        };
        let moved = adapter.iter().filter(|(name, _)| !name.starts_with("head.")).count();
        if !adapter.contains("head.weight") || moved != 0 && moved != self.theta.len() {
            return Some("parameters are missing".to_owned());
        }
        let wrong = adapter.iter().find(|(name, tensor)| !fits(name, &tensor.size()));
        wrong.map(|(name, tensor)| format!("tensor `{name}` has shape {:?}", tensor.size()))
    }

    /// Scores of one sentence's tags by an adapter.
    ///
    /// A sentence is looked at by itself: what is found in it depends on nothing beside it.
    pub fn lattice(&self, adapter: &Params, sentence: &Sentence, reading: &Reading) -> Result<Lattice> {
        let _frozen = tch::no_grad_guard();
        let words = self.words(&[(sentence, reading)])?;
        let features = network::features(&self.theta.overlaid(adapter), &words, None)?;
        let scores = network::scores(&features, adapter.get("head.weight")?, adapter.get("head.bias")?)?;
        let tags = scores.size().last().copied().unwrap_or_default();
        let values = bridge::values(&scores)?;
        if values.iter().all(|value| value.is_finite()) {
            Ok(Lattice::new(&values, usize::try_from(tags).unwrap_or_default()))
        } else {
            Err(TensorError::NonFinite("the tags"))
        }
    }
}

#[cfg(test)]
mod tests;
