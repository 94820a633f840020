//! Fully connected layers with `ReLU` between them, as in Finn et al. 2017 (arXiv:1703.03400, §5.1). Without any, the
//! input is the feature and the model is linear.

use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use super::{Backbone, Halved, RowMemory};
use crate::nn::norm::Normalizer;
use crate::nn::{Params, Result, Scope, init, ops};

pub(super) struct Mlp {
    /// Input width, then the width of each hidden layer.
    widths: Vec<usize>,
}

impl Mlp {
    pub(super) fn new(input: usize, hidden: &[usize]) -> Self {
        Self { widths: std::iter::once(input).chain(hidden.iter().copied()).collect() }
    }
}

impl Backbone for Mlp {
    fn init(&self, rng: &mut ChaCha8Rng) -> Result<Params> {
        let mut params = Params::new();
        for (layer, pair) in self.widths.windows(2).enumerate() {
            init::relu_layer(rng, &mut params, &format!("fc{layer}"), &[pair[1] as i64, pair[0] as i64])?;
        }
        Ok(params)
    }

    fn features(&self, params: &Scope<'_>, x: &Tensor, _norm: &mut Normalizer<'_>) -> Result<Tensor> {
        let mut h = x.shallow_clone(); // [T, B, D_in]
        for layer in 0..self.widths.len() - 1 {
            h = ops::linear(&h, &params.scope(&format!("fc{layer}")))?.f_relu()?; // [T, B, D]
        }
        Ok(h)
    }

    /// Its features are inputs of closed forms, which want every digit, and it is no great part of their cost.
    fn halved(&self, _params: &Scope<'_>, _statistics: &Params) -> Result<Option<Box<dyn Halved>>> {
        Ok(None)
    }

    fn width(&self) -> usize {
        self.widths[self.widths.len() - 1]
    }

    fn norm_layers(&self) -> Vec<String> {
        Vec::new()
    }

    fn modulated(&self) -> Vec<String> {
        (1..self.widths.len().min(2)).map(|_| "fc0.bias".to_owned()).collect()
    }

    fn multiply_adds(&self) -> u64 {
        self.widths.windows(2).map(|pair| (pair[0] * pair[1]) as u64).sum()
    }

    fn row_memory(&self) -> RowMemory {
        // Each layer's product, sum and rectified sum.
        let (widest, all) = (self.widths.iter().max().copied().unwrap_or(0), self.widths.iter().sum::<usize>());
        RowMemory { forward: 4 * widest as u64, kept: 3 * all as u64 }
    }
}
