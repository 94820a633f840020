//! From words to features: what the encoder says of a word, what it looks like, and its neighbours.
//!
//! ```text
//! x = [norm(encoder), gelu(lexical(table[traits], flags))]
//! a = gelu(norm(first([x₋₁, x₀, x₊₁])))      b = gelu(norm(second([a₋₁, a₀, a₊₁])))      features = [a, b]
//! ```
//!
//! Two convolutions of width 3, so that a word sees two to each side; the encoder has seen the rest.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tch::{Kind as Dtype, Tensor};

use super::lexicon::{FLAGS, TRAITS};
use crate::nn::{Params, Result, bridge, init, transformer};

/// Added to variances.
const EPS: f64 = 1e-5;

/// Share of numbers that dropout sets to zero (Srivastava et al. 2014) while learning.
const DROPPED: f32 = 0.3;

/// The network's sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Numbers that the encoder says of a word, E.
    pub width: usize,
    /// Channels of each convolution, C; there are 2 C features.
    pub channels: usize,
    /// Rows of the table of traits.
    pub table: usize,
    /// Numbers in such a row.
    pub row: usize,
    /// Numbers of what a word looks like, V.
    pub look: usize,
}

/// B sentences of at most L words, as the network takes them.
pub struct Words {
    /// What the encoder says, `[B, L, E]`.
    pub encoded: Tensor,
    /// Rows of the table, `[B, L, TRAITS]` (int64).
    pub traits: Tensor,
    /// `[B, L, FLAGS]`.
    pub flags: Tensor,
    /// 1 for a word, 0 for padding, `[B, L]`.
    pub mask: Tensor,
}

impl Shape {
    /// Features of a word.
    pub const fn features(&self) -> usize {
        2 * self.channels
    }

    /// Fresh parameters.
    pub fn init(&self, rng: &mut ChaCha8Rng) -> Result<Params> {
        let [width, channels, table, row, look] =
            [self.width, self.channels, self.table, self.row, self.look].map(|side| side as i64);
        let mut params = Params::new();
        params.insert("words.table", init::uniform(rng, &[table, row], 0.17)?);
        let layers = [
            ("words.lexical", look, TRAITS as i64 * row + FLAGS as i64),
            ("words.first", channels, 3 * (width + look)),
            ("words.second", channels, 3 * channels),
        ];
        for (name, outputs, inputs) in layers {
            let bound = (1.0 / inputs as f32).sqrt();
            params.insert(format!("{name}.weight"), init::uniform(rng, &[outputs, inputs], bound)?);
            params.insert(format!("{name}.bias"), init::uniform(rng, &[outputs], bound)?);
        }
        for (name, size) in [("words.norm", width), ("words.first_norm", channels), ("words.second_norm", channels)] {
            params.insert(format!("{name}.weight"), init::constant(&[size], 1.0)?);
            params.insert(format!("{name}.bias"), init::constant(&[size], 0.0)?);
        }
        Ok(params)
    }
}

/// Features `[B, L, 2 C]`; with `dropout`, as they are while learning.
pub fn features(params: &Params, words: &Words, dropout: Option<&mut ChaCha8Rng>) -> Result<Tensor> {
    let mut drop = Dropout(dropout);
    let scope = params.scope("words");
    let mask = words.mask.f_unsqueeze(-1)?;
    let encoded = transformer::layer_norm(&words.encoded, &scope.scope("norm"), EPS)?;
    let rows = transformer::embedding(&words.traits, scope.get("table")?)?.f_flatten(2, 3)?;
    let look = Tensor::f_cat(&[&rows, &words.flags], -1)?;
    let look = transformer::dense(&look, &scope.scope("lexical"))?.f_gelu("none")?;
    let x = drop.apply(&Tensor::f_cat(&[&encoded, &look], -1)?)?.f_mul(&mask)?;
    let layer = |x: &Tensor, name: &str| -> Result<Tensor> {
        let summed = transformer::dense(&beside(x)?, &scope.scope(name))?;
        Ok(transformer::layer_norm(&summed, &scope.scope(&format!("{name}_norm")), EPS)?.f_gelu("none")?)
    };
    let first = drop.apply(&layer(&x, "first")?)?.f_mul(&mask)?;
    let second = layer(&first, "second")?;
    Ok(Tensor::f_cat(&[&first, &second], -1)?)
}

/// Each word with the one before and the one after it, `[B, L, 3 D]`; nothing lies beyond the ends.
fn beside(x: &Tensor) -> Result<Tensor> {
    let length = x.size()[1];
    let padded = x.f_pad([0, 0, 1, 1], "constant", 0.0)?;
    Ok(Tensor::f_cat(&[padded.f_narrow(1, 0, length)?, x.shallow_clone(), padded.f_narrow(1, 2, length)?], -1)?)
}

struct Dropout<'r>(Option<&'r mut ChaCha8Rng>);

impl Dropout<'_> {
    fn apply(&mut self, x: &Tensor) -> Result<Tensor> {
        let Some(rng) = self.0.as_deref_mut() else { return Ok(x.shallow_clone()) };
        let mut bytes = vec![0u8; x.numel()];
        rng.fill_bytes(&mut bytes);
        let line = DROPPED * 256.0;
        let kept = 1.0 / (1.0 - DROPPED);
        let mask: Vec<f32> = bytes.into_iter().map(|byte| if f32::from(byte) < line { 0.0 } else { kept }).collect();
        Ok(x.f_mul(&bridge::tensor(&mask, &x.size(), x.device())?)?)
    }
}

/// The head's parameters for T labels: zero.
///
/// A tag's weights are the sum of its label's, of its place's (first or later word), and of its own, so that what is
/// learned of a label serves both of its tags, and what is learned of places serves all labels.
pub fn fresh_head(features: usize, labels: usize) -> Result<Params> {
    let (width, labels) = (features as i64, labels as i64);
    let parts = [
        ("head.labels", vec![labels, width]),
        ("head.places", vec![2, width]),
        ("head.tags", vec![2 * labels + 1, width]),
        ("head.bias", vec![2 * labels + 1]),
    ];
    parts.into_iter().map(|(name, shape)| Ok((name.to_owned(), init::constant(&shape, 0.0)?))).collect()
}

/// The head as one linear layer: `head.weight` `[2 T + 1, D]` and `head.bias`.
pub fn joined_head(params: &Params) -> Result<(Tensor, Tensor)> {
    let (labels, places) = (params.get("head.labels")?, params.get("head.places")?);
    let width = places.size()[1];
    let inside = labels.f_unsqueeze(1)?.f_add(&places.f_unsqueeze(0)?)?.f_reshape([-1, width])?; // [2 T, D]
    let weight = params.get("head.tags")?.f_add(&inside.f_pad([0, 0, 1, 0], "constant", 0.0)?)?;
    Ok((weight, params.get("head.bias")?.shallow_clone()))
}

/// Scores of each tag, `[B, L, 2 T + 1]`.
pub fn scores(features: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    Ok(features.f_linear(weight, Some(bias))?)
}

/// Mean cross-entropy over words.
pub fn loss(scores: &Tensor, tags: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let log_p =
        scores.f_log_softmax(-1, Dtype::Float)?.f_gather(-1, &tags.f_unsqueeze(-1)?, false)?.f_squeeze_dim(-1)?;
    Ok(log_p.f_mul(mask)?.f_sum(Dtype::Float)?.f_neg()?.f_div(&mask.f_sum(Dtype::Float)?)?)
}
