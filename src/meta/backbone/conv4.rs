//! Four blocks of 3×3 convolution, normalisation, `ReLU` and 2×2 max-pooling: the field's standard for small images
//! (Vinyals et al. 2016, arXiv:1606.04080, §4.1; Snell et al. 2017, arXiv:1703.05175, §3.1).

use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor};

use super::{Backbone, Halved, RowMemory};
use crate::nn::norm::{self, Normalizer};
use crate::nn::{Params, Result, Scope, init, ops};

const BLOCKS: usize = 4;

pub(super) struct Conv4 {
    channels: usize,
    height: usize,
    width: usize,
    filters: usize,
}

impl Conv4 {
    pub(super) fn new(channels: usize, height: usize, width: usize, filters: usize) -> Self {
        Self { channels, height, width, filters }
    }
}

impl Backbone for Conv4 {
    fn init(&self, rng: &mut ChaCha8Rng) -> Result<Params> {
        let mut params = Params::new();
        let filters = self.filters as i64;
        for block in 0..BLOCKS {
            let inputs = if block == 0 { self.channels as i64 } else { filters };
            init::relu_layer(rng, &mut params, &format!("conv{block}"), &[filters, inputs, 3, 3])?;
            params.insert(format!("norm{block}.weight"), init::constant(&[filters], 1.0)?);
            params.insert(format!("norm{block}.bias"), init::constant(&[filters], 0.0)?);
        }
        Ok(params)
    }

    fn features(&self, params: &Scope<'_>, x: &Tensor, norm: &mut Normalizer<'_>) -> Result<Tensor> {
        let mut h = x.shallow_clone(); // [T, B, C, H, W]
        for block in 0..BLOCKS {
            let name = format!("norm{block}");
            h = norm.convolved(&name, &h, &params.scope(&format!("conv{block}")), &params.scope(&name))?;
            // ReLU and maximum commute, and after pooling there is a quarter to do.
            h = ops::max_pool2(&h)?.f_relu()?; // [T, B, filters, H / 2, W / 2]
        }
        Ok(h.f_flatten(2, -1)?) // [T, B, D]
    }

    fn halved(&self, params: &Scope<'_>, statistics: &Params) -> Result<Option<Box<dyn Halved>>> {
        let mut blocks = Vec::with_capacity(BLOCKS);
        for block in 0..BLOCKS {
            let layer = format!("norm{block}");
            let (conv, scope) = (params.scope(&format!("conv{block}")), params.scope(&layer));
            let Some((weight, bias)) = norm::fold(&layer, statistics, &conv, &scope)? else { return Ok(None) };
            blocks.push((weight.f_to_mkldnn(Kind::BFloat16)?, bias.f_to_mkldnn(Kind::BFloat16)?));
        }
        Ok(Some(Box::new(HalvedConv4 { blocks })))
    }

    fn width(&self) -> usize {
        self.filters * (self.height >> BLOCKS) * (self.width >> BLOCKS)
    }

    fn norm_layers(&self) -> Vec<String> {
        (0..BLOCKS).map(|block| format!("norm{block}")).collect()
    }

    fn modulated(&self) -> Vec<String> {
        vec!["norm2.weight".to_owned(), "norm2.bias".to_owned()]
    }

    fn multiply_adds(&self) -> u64 {
        (0..BLOCKS)
            .map(|block| {
                let inputs = if block == 0 { self.channels } else { self.filters };
                (9 * inputs * self.filters * (self.height >> block) * (self.width >> block)) as u64
            })
            .sum()
    }

    fn row_memory(&self) -> RowMemory {
        let area = |block: usize| (self.filters * (self.height >> block) * (self.width >> block)) as u64;
        let input = (self.channels * self.height * self.width) as u64;
        // Convolved, normalised, and one more where either is put into another order; back, their gradients.
        RowMemory {
            forward: 4 * area(0) + 2 * input,
            kept: (0..BLOCKS).map(|block| 4 * area(block)).sum::<u64>() + input,
        }
    }
}

/// Each block's weight and bias, normalisation folded in, as oneDNN's kernels have them.
struct HalvedConv4 {
    blocks: Vec<(Tensor, Tensor)>,
}

impl Halved for HalvedConv4 {
    /// All blocks in oneDNN's own order of numbers, which is put straight once, for the features.
    fn features(&self, x: &Tensor) -> Result<Tensor> {
        let mut h = x.f_to_mkldnn(Kind::BFloat16)?; // [B, C, H, W]
        for (weight, bias) in &self.blocks {
            let convolved = h.f_conv2d(weight, Some(bias), [1, 1], [1, 1], [1, 1], 1)?;
            h = convolved.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)?.f_relu_()?;
        }
        Ok(h.f_to_dense(Kind::Float, false)?.f_flatten(1, -1)?) // [B, D]
    }
}
