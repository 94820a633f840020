//! Items for ranking. A text's embedding is kept as it is, so that what is alike stays alike wherever the items come from;
//! beside it stands what a small network makes of it, which knows of the tastes that it was trained on. Whether there is a
//! prior, the prior, and the caller's own numbers follow. Each of these has a learned scale: how much of a preference may
//! rest on it.

use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use super::{Backbone, Halved, RowMemory};
use crate::domain::PRIOR_PLACES;
use crate::nn::norm::Normalizer;
use crate::nn::{Params, Result, Scope, init, ops};

/// What the scales start from, as logarithms: of the embedding, of knowing a prior, of the prior, of a number.
const SCALES: [(&str, f32); 4] = [("kept", 0.0), ("known", -1.0), ("prior", -1.0), ("number", -1.0)];

pub(super) struct Items {
    /// Numbers in an embedding, then the widths of the layers.
    widths: Vec<usize>,
    /// Numbers of the caller's own.
    numbers: usize,
}

impl Items {
    pub(super) fn new(embedding: usize, numbers: usize, hidden: &[usize], width: usize) -> Self {
        Self { widths: [&[embedding], hidden, &[width]].concat(), numbers }
    }

    fn layers(&self) -> usize {
        self.widths.len() - 1
    }
}

impl Backbone for Items {
    fn init(&self, rng: &mut ChaCha8Rng) -> Result<Params> {
        let mut params = Params::new();
        for (name, log_scale) in SCALES {
            params.insert(format!("log_{name}"), init::constant(&[1], log_scale)?);
        }
        for (layer, pair) in self.widths.windows(2).enumerate() {
            init::relu_layer(rng, &mut params, &format!("fc{layer}"), &[pair[1] as i64, pair[0] as i64])?;
        }
        Ok(params)
    }

    fn features(&self, params: &Scope<'_>, x: &Tensor, _norm: &mut Normalizer<'_>) -> Result<Tensor> {
        let scaled = |name: &str, place: usize, length: usize| -> Result<Tensor> {
            let scale = params.get(&format!("log_{name}"))?.f_exp()?;
            Ok(x.f_narrow(-1, place as i64, length as i64)?.f_mul(&scale)?)
        };
        let embedding = self.widths[0];
        let mut h = x.f_narrow(-1, 0, embedding as i64)?; // [T, B, D_in]
        for layer in 0..self.layers() {
            h = ops::linear(&h, &params.scope(&format!("fc{layer}")))?;
            if layer + 1 < self.layers() {
                h = h.f_relu()?;
            }
        }
        let parts = [
            scaled("kept", 0, embedding)?,
            h,
            scaled("known", embedding, 1)?,
            scaled("prior", embedding + 1, 1)?,
            scaled("number", embedding + PRIOR_PLACES, self.numbers)?,
        ];
        Ok(Tensor::f_cat(&parts, -1)?)
    }

    /// Its features are inputs of a closed form, which wants every digit.
    fn halved(&self, _params: &Scope<'_>, _statistics: &Params) -> Result<Option<Box<dyn Halved>>> {
        Ok(None)
    }

    fn width(&self) -> usize {
        self.widths[0] + self.widths[self.layers()] + PRIOR_PLACES + self.numbers
    }

    fn own_width(&self) -> usize {
        self.numbers
    }

    fn norm_layers(&self) -> Vec<String> {
        Vec::new()
    }

    fn modulated(&self) -> Vec<String> {
        Vec::new()
    }

    fn multiply_adds(&self) -> u64 {
        self.widths.windows(2).map(|pair| (pair[0] * pair[1]) as u64).sum::<u64>() + self.width() as u64
    }

    fn row_memory(&self) -> RowMemory {
        // Each layer's product, sum and rectified sum; the parts, and all of them side by side.
        let (widest, all) = (self.widths.iter().max().copied().unwrap_or(0), self.widths.iter().sum::<usize>());
        let own = 2 * self.width();
        RowMemory { forward: (4 * widest + own) as u64, kept: (3 * all + own) as u64 }
    }
}
