//! How a tagger learns: gradient steps on every parameter from where meta-training left it, by minibatches of sentences.
//!
//! A tenant may bring ten sentences or fifteen thousand. The steps are the same (Adam, Kingma & Ba 2015; the step size
//! rises for a tenth of the way and falls along half a cosine); their number grows with the set until the words that were
//! looked at are as many as the base model allows. They are taken in **slices** of about as many words each: between two
//! slices a worker may serve others, and all that goes on is a value, [`Learning`].

use std::ops::Range;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Tensor};

use super::lexicon::{self, FLAGS, TRAITS};
use super::network::{self, Words};
use super::{Reading, Tagger};
use crate::domain::{OUTSIDE, Recipe, Sentence, TaggedSet};
use crate::nn::grad::{Graph, grad};
use crate::nn::optim::{self, Adam};
use crate::nn::{Params, Result, TensorError, bridge, checkpoint};

/// Sentences of a step: few of a small set, whose steps are many more than its sentences.
const SMALL_BATCH: usize = 8;
const BATCH: usize = 24;

/// Sets of so many sentences are small.
const SMALL_SET: usize = 300;

/// Most words of a step, padding included: a bound of memory.
pub const STEP_WORDS: usize = 4096;

/// Batches among which sentences are sorted by length, so that little is padded.
const SORTED: usize = 20;

/// How often a set is gone through, as long as the words allow it.
const EPOCHS: usize = 10;

/// Bound of the gradient's norm, for the network.
const CLIP: f64 = 1.0;

/// How much larger the head's steps are than the network's: it begins at zero.
const HEAD_RATE: f64 = 3.0;

/// The generator's stream of the first step's dropout; those below are the epochs'.
const DROPOUT_STREAM: u64 = 1 << 32;

/// How it learns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Fewest steps.
    pub steps: u32,
    /// Largest step size.
    pub lr: f64,
    /// Words that are looked at, each as often as it is, before epochs become fewer.
    pub words: usize,
}

impl Settings {
    /// Words that are looked at, each as often as it is, of a set of so many.
    pub fn looked_at(&self, words: usize, steps: Option<u32>) -> u64 {
        let step = words.min(STEP_WORDS) as u64;
        match steps {
            Some(steps) if steps > 0 => u64::from(steps) * step,
            _ => ((words * self.epochs(words)) as u64).max(u64::from(self.steps) * step),
        }
    }

    /// How often a set of so many words is gone through.
    fn epochs(&self, words: usize) -> usize {
        (self.words / words.max(1)).clamp(2, EPOCHS)
    }
}

/// Where learning is, between two slices.
pub struct Learning {
    /// Steps taken.
    pub step: u64,
    /// Steps to take.
    pub steps: u64,
    params: Params,
    adam: Adam,
}

impl Learning {
    /// Words of a slice.
    pub const SLICE_WORDS: usize = 12_000;

    /// Whether all steps are taken.
    pub const fn is_done(&self) -> bool {
        self.step >= self.steps
    }

    /// As bytes, exactly.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut all = Params::new();
        for (prefix, params) in [("params", &self.params), ("m", &self.adam.m), ("v", &self.adam.v)] {
            all.extend(params.iter().map(|(name, tensor)| (format!("{prefix}/{name}"), tensor.shallow_clone())));
        }
        checkpoint::to_bytes(&all, &[("step", self.step.to_string()), ("steps", self.steps.to_string())])
    }

    /// From these bytes.
    pub fn from_bytes(bytes: &[u8], device: Device) -> Result<Self> {
        let (all, metadata) = (checkpoint::from_bytes(bytes, device)?, checkpoint::metadata(bytes)?);
        let number = |key: &str| {
            let text = metadata.get(key).and_then(serde_json::Value::as_str);
            text.and_then(|text| text.parse().ok()).ok_or_else(|| TensorError::Format(format!("no `{key}`")))
        };
        let (step, steps) = (number("step")?, number("steps")?);
        let mut adam = Adam::new(&Params::new())?;
        (adam.step, adam.m, adam.v) = (step, all.stripped("m/"), all.stripped("v/"));
        Ok(Self { step, steps, params: all.stripped("params/"), adam })
    }
}

impl Tagger {
    /// Before the first step. No inner steps in a recipe: the head learns alone.
    pub fn begin(&self, set: &TaggedSet, recipe: &Recipe) -> Result<Learning> {
        let mut params = network::fresh_head(self.shape.features(), set.way())?;
        if recipe.inner_steps != Some(0) {
            params.extend(self.theta.shallow_clone());
        }
        let params = params.to_device(self.device)?;
        let steps = match recipe.inner_steps {
            Some(steps) if steps > 0 => u64::from(steps),
            _ => self.steps_for(set),
        };
        Ok(Learning { step: 0, steps, adam: Adam::new(&params)?, params })
    }

    /// As many epochs as the words allow, and as many steps as a small set needs.
    fn steps_for(&self, set: &TaggedSet) -> u64 {
        let steps = self.settings.epochs(set.words()) * batches(set, 0, 0).len();
        (steps as u64).max(self.settings.steps.into())
    }

    /// Takes the steps of one slice.
    pub fn advance(
        &self,
        learning: Learning,
        set: &TaggedSet,
        readings: &[Reading],
        recipe: &Recipe,
    ) -> Result<Learning> {
        let Learning { mut step, steps, mut params, mut adam } = learning;
        let mut words = 0;
        for (number, batch) in schedule(set, recipe.seed, step..steps) {
            if words >= Learning::SLICE_WORDS {
                break;
            }
            words += batch.iter().map(|&index| set.tags()[index].len()).sum::<usize>();
            let lr = self.settings.lr * pace(number, steps);
            params = self.step(&params, &mut adam, set, readings, &batch, (recipe.seed, number, lr))?;
            step = number + 1;
        }
        Ok(Learning { step, steps, params, adam })
    }

    fn step(
        &self,
        params: &Params,
        adam: &mut Adam,
        set: &TaggedSet,
        readings: &[Reading],
        batch: &[usize],
        (seed, number, lr): (u64, u64, f64),
    ) -> Result<Params> {
        let leaves = params.leaves()?;
        let whole = self.theta.overlaid(&leaves);
        let sentences: Vec<(&Sentence, &Reading)> =
            batch.iter().map(|&index| (&set.sentences()[index], &readings[index])).collect();
        let words = self.words(&sentences)?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(DROPOUT_STREAM + number);
        let features = network::features(&whole, &words, Some(&mut rng))?;
        let (weight, bias) = network::joined_head(&whole)?;
        let tags: Vec<&[u32]> = batch.iter().map(|&index| set.tags()[index].as_slice()).collect();
        let tags = self.padded_tags(&tags, &words)?;
        let loss = network::loss(&network::scores(&features, &weight, &bias)?, &tags, &words.mask)?;
        let grads = grad(&loss, &leaves, Graph::Free)?;
        let (network, _) = optim::clip(&grads.filtered(|name| !name.starts_with("head.")), CLIP)?;
        let pace = |name: &str| if name.starts_with("head.") { HEAD_RATE * lr } else { lr };
        adam.step_at(&leaves.detached()?, &grads.overlaid(&network), pace)
    }

    /// From the first step to the last.
    pub fn learn(&self, set: &TaggedSet, readings: &[Reading], recipe: &Recipe) -> Result<Params> {
        let mut learning = self.begin(set, recipe)?;
        while !learning.is_done() {
            learning = self.advance(learning, set, readings, recipe)?;
        }
        self.finish(&learning)
    }

    /// What learning leaves: the head as one layer, and the parameters that moved.
    pub fn finish(&self, learning: &Learning) -> Result<Params> {
        let (weight, bias) = network::joined_head(&learning.params)?;
        let mut adapter = learning.params.filtered(|name| !name.starts_with("head."));
        adapter.insert("head.weight", weight);
        adapter.insert("head.bias", bias);
        Ok(adapter)
    }

    /// Sentences side by side, padded to the longest, as the encoder has read them.
    pub fn words(&self, sentences: &[(&Sentence, &Reading)]) -> Result<Words> {
        let (count, width) = (sentences.len(), self.shape.width);
        let longest = sentences.iter().map(|(sentence, _)| sentence.len()).max().unwrap_or_default();
        let mut encoded = vec![0u16; count * longest * width];
        for (place, (sentence, reading)) in sentences.iter().enumerate() {
            if reading.len() != sentence.len() * width {
                return Err(TensorError::Format("a reading of another sentence".to_owned()));
            }
            encoded[place * longest * width..][..reading.len()].copy_from_slice(reading);
        }
        let encoded = bridge::from_halves(&encoded, &[count as i64, longest as i64, width as i64], self.device)?;
        self.words_as(&sentences.iter().map(|(sentence, _)| *sentence).collect::<Vec<_>>(), encoded)
    }

    /// The same, with what the encoder says of their words, `[B, L, E]`.
    pub fn words_as(&self, sentences: &[&Sentence], encoded: Tensor) -> Result<Words> {
        let (count, longest) = (sentences.len(), usize::try_from(encoded.size()[1]).unwrap_or_default());
        let rows = u32::try_from(self.shape.table).unwrap_or(u32::MAX);
        let mut traits = vec![0i64; count * longest * TRAITS];
        let mut flags = vec![0f32; count * longest * FLAGS];
        let mut mask = vec![0f32; count * longest];
        for (place, sentence) in sentences.iter().enumerate() {
            let (start, length) = (place * longest, sentence.len());
            for (index, word) in sentence.words().enumerate() {
                traits[(start + index) * TRAITS..][..TRAITS].copy_from_slice(&lexicon::traits(word, rows));
            }
            flags[start * FLAGS..][..length * FLAGS].copy_from_slice(&lexicon::flags(sentence.words()));
            mask[start..][..length].fill(1.0);
        }
        let shape = |last: usize| [count as i64, longest as i64, last as i64];
        Ok(Words {
            encoded,
            traits: bridge::index_tensor(&traits, &shape(TRAITS), self.device)?,
            flags: bridge::tensor(&flags, &shape(FLAGS), self.device)?,
            mask: bridge::tensor(&mask, &[count as i64, longest as i64], self.device)?,
        })
    }

    /// Tags of sentences as `words` has them, `[B, L]`; padding is outside.
    pub fn padded_tags(&self, tags: &[&[u32]], words: &Words) -> Result<Tensor> {
        let size = words.mask.size();
        let longest = usize::try_from(size[1]).unwrap_or_default();
        let mut values = vec![i64::from(OUTSIDE); tags.len() * longest];
        for (place, tags) in tags.iter().enumerate() {
            values[place * longest..].iter_mut().zip(*tags).for_each(|(value, &tag)| *value = tag.into());
        }
        bridge::index_tensor(&values, &size, self.device)
    }
}

/// The rate at a step, as a share of the largest.
fn pace(step: u64, steps: u64) -> f64 {
    let done = (step as f64 + 0.5) / steps.max(1) as f64;
    if done < 0.1 { done / 0.1 } else { f64::midpoint(1.0, (std::f64::consts::PI * (done - 0.1) / 0.9).cos()) }
}

/// The steps in `range` and their batches: epoch after epoch.
fn schedule(set: &TaggedSet, seed: u64, range: Range<u64>) -> impl Iterator<Item = (u64, Vec<usize>)> {
    let all = (0..).flat_map(move |epoch| batches(set, seed, epoch));
    let from = usize::try_from(range.start).unwrap_or(usize::MAX);
    range.zip(all.skip(from))
}

/// One epoch: every sentence once, in batches of sentences that are about as long.
fn batches(set: &TaggedSet, seed: u64, epoch: u64) -> Vec<Vec<usize>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(epoch);
    let most = if set.len() < SMALL_SET { SMALL_BATCH } else { BATCH };
    let mut order: Vec<usize> = (0..set.len()).collect();
    order.shuffle(&mut rng);
    let mut all = Vec::new();
    for chunk in order.chunks_mut(most * SORTED) {
        chunk.sort_by_key(|&index| set.tags()[index].len());
        let mut batches: Vec<Vec<usize>> = Vec::new();
        for &index in &*chunk {
            let length = set.tags()[index].len();
            match batches.last_mut() {
                Some(last) if last.len() < most && (last.len() + 1) * length <= STEP_WORDS => last.push(index),
                _ => batches.push(vec![index]),
            }
        }
        batches.shuffle(&mut rng);
        all.extend(batches);
    }
    all
}
