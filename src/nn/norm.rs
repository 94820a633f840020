//! Normalisation by channel, with statistics from somewhere other than the query batch.

use tch::{Kind, Tensor};

use super::ops::{self, deinterleave, interleave, size5};
use super::{Params, Result, Scope};

/// Added to variances, as in PyTorch.
const EPS: f64 = 1e-5;

/// Where [`Normalizer::apply`] takes mean and variance from.
pub enum Statistics<'a> {
    /// From all rows of all tasks together: meta-training of shared backbones. `mask` as below.
    Batch {
        /// Which rows count; all without it.
        mask: Option<&'a Tensor>,
    },
    /// From each task's own rows. `mask` `[T, B]` says how often each counts: 0 for padding.
    PerTask {
        /// Which rows count; all without it.
        mask: Option<&'a Tensor>,
        /// Whether they are wanted afterwards, differentiable. The fused kernel is taken when they are not.
        keep: bool,
    },
    /// As given: `<layer>.mean` and `<layer>.var`, `[C]` or `[T, C]`.
    Fixed(&'a Params),
}

/// Carries statistics through a forward pass: gives them to each layer and remembers those that were computed.
pub struct Normalizer<'a> {
    statistics: Statistics<'a>,
    computed: Params,
}

impl<'a> Normalizer<'a> {
    /// For one forward pass.
    pub fn new(statistics: Statistics<'a>) -> Self {
        Self { statistics, computed: Params::new() }
    }

    /// The statistics that the pass computed: `<layer>.mean`, `<layer>.var`.
    pub fn into_computed(self) -> Params {
        self.computed
    }

    /// 3×3 convolution, then [`Normalizer::apply`]; in one, where the statistics are given and the same for all tasks:
    /// `γ (w ∗ x + b − μ) / √(σ² + ε) + β` is a convolution, too.
    ///
    /// * `x`: `[T, B, C, H, W]`; `conv`: as [`ops::conv3x3`] takes it; returns `[T, B, O, H, W]`.
    pub fn convolved(&mut self, layer: &str, x: &Tensor, conv: &Scope<'_>, scope: &Scope<'_>) -> Result<Tensor> {
        if let Statistics::Fixed(given) = &self.statistics
            && let Some((weight, bias)) = fold(layer, given, conv, scope)?
        {
            return ops::convolve(x, &weight, &bias);
        }
        self.apply(layer, &ops::conv3x3(x, conv)?, scope)
    }

    /// `γ (x − μ) / √(σ² + ε) + β` by channel.
    ///
    /// * `x`: `[T, B, C, H, W]`; `weight` γ and `bias` β: `[C]` or `[T, C]`; returns `[T, B, C, H, W]`.
    pub fn apply(&mut self, layer: &str, x: &Tensor, scope: &Scope<'_>) -> Result<Tensor> {
        let (weight, bias) = (scope.get("weight")?, scope.get("bias")?);
        let (tasks, rows, channels, height, width) = size5(x)?;
        match &self.statistics {
            Statistics::Fixed(given) => {
                let (mean, var) = (given.get(&format!("{layer}.mean"))?, given.get(&format!("{layer}.var"))?);
                scaled(x, mean, var, weight, bias)
            }
            Statistics::Batch { mask: None } => {
                let folded = x.f_reshape([tasks * rows, channels, height, width])?;
                let (out, mean, var) = batch_norm(&folded, weight, bias)?;
                self.remember(layer, mean, var);
                Ok(out.f_view([tasks, rows, channels, height, width])?)
            }
            Statistics::Batch { mask: Some(mask) } => {
                let folded = x.f_reshape([1, tasks * rows, channels, height, width])?;
                let (mean, var) = task_statistics(&folded, Some(&mask.f_reshape([1, tasks * rows])?))?;
                let (mean, var) = (mean.f_squeeze_dim(0)?, var.f_squeeze_dim(0)?);
                let out = scaled(x, &mean, &var, weight, bias)?;
                self.remember(layer, mean, var);
                Ok(out)
            }
            Statistics::PerTask { mask: None, keep: false } => {
                let each = |tensor: &Tensor| tensor.f_expand([tasks, channels], false)?.f_reshape([-1]);
                let (out, ..) = batch_norm(&interleave(x)?, &each(weight)?, &each(bias)?)?;
                deinterleave(&out, tasks)
            }
            Statistics::PerTask { mask, .. } => {
                let (mean, var) = task_statistics(x, *mask)?;
                let out = scaled(x, &mean, &var, weight, bias)?;
                self.remember(layer, mean, var);
                Ok(out)
            }
        }
    }

    fn remember(&mut self, layer: &str, mean: Tensor, var: Tensor) {
        self.computed.insert(format!("{layer}.mean"), mean);
        self.computed.insert(format!("{layer}.var"), var);
    }
}

/// Weight `[O, C, 3, 3]` and bias `[O]` of the convolution that a convolution with normalisation by given statistics is:
/// `γ (w ∗ x + b − μ) / √(σ² + ε) + β`. `None` if it is not the same for all tasks.
pub fn fold(layer: &str, given: &Params, conv: &Scope<'_>, scope: &Scope<'_>) -> Result<Option<(Tensor, Tensor)>> {
    let (mean, var) = (given.get(&format!("{layer}.mean"))?, given.get(&format!("{layer}.var"))?);
    let (scale, shift) = folded(mean, var, scope.get("weight")?, scope.get("bias")?)?;
    let weight = conv.get("weight")?;
    if scale.dim() != 1 || weight.dim() != 4 {
        return Ok(None);
    }
    let weight = weight.f_mul(&scale.f_view([-1, 1, 1, 1])?)?;
    Ok(Some((weight, conv.get("bias")?.f_mul(&scale)?.f_add(&shift)?)))
}

/// libtorch's fused kernel over `[B, C, H, W]`: output, mean and (biased) variance.
fn batch_norm(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<(Tensor, Tensor, Tensor)> {
    let none = None::<&Tensor>;
    let (out, mean, inverse_std) = x.f_native_batch_norm(Some(weight), Some(bias), none, none, true, 0.0, EPS)?;
    let var = inverse_std.f_detach()?.f_pow_tensor_scalar(-2)?.f_sub_scalar(EPS)?.f_clamp_min(0.0)?;
    Ok((out, mean, var))
}

/// Mean and (biased) variance `[T, C]` over the rows that count, differentiable in `x`.
fn task_statistics(x: &Tensor, mask: Option<&Tensor>) -> Result<(Tensor, Tensor)> {
    let (tasks, rows, channels, height, width) = size5(x)?;
    let over = [1i64, 3, 4].as_slice();
    let sum = |tensor: &Tensor| tensor.f_sum_dim_intlist(over, true, Kind::Float); // [T, 1, C, 1, 1]
    let (mean, squares, count) = if let Some(mask) = mask {
        let mask = mask.f_view([tasks, rows, 1, 1, 1])?;
        let count = sum(&mask)?.f_mul_scalar((height * width) as f64)?;
        let mean = sum(&x.f_mul(&mask)?)?.f_div(&count)?;
        let centred = x.f_sub(&mean)?;
        (mean, sum(&centred.f_mul(&centred)?.f_mul(&mask)?)?, count)
    } else {
        let count = Tensor::from((rows * height * width) as f32).f_to_device(x.device())?;
        let mean = sum(x)?.f_div(&count)?;
        let centred = x.f_sub(&mean)?;
        (mean, sum(&centred.f_mul(&centred)?)?, count)
    };
    Ok((mean.f_view([tasks, channels])?, squares.f_div(&count)?.f_view([tasks, channels])?))
}

/// Given statistics and parameters as one scale and one shift, `[C]` or `[T, C]`.
fn folded(mean: &Tensor, var: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<(Tensor, Tensor)> {
    let scale = weight.f_mul(&var.f_add_scalar(EPS)?.f_rsqrt()?)?;
    let shift = bias.f_sub(&mean.f_mul(&scale)?)?;
    Ok((scale, shift))
}

/// Normalises with given statistics.
fn scaled(x: &Tensor, mean: &Tensor, var: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (scale, shift) = folded(mean, var, weight, bias)?;
    let channels = x.size()[2];
    let spread = |tensor: Tensor| -> Result<Tensor> { Ok(tensor.f_reshape([-1, 1, channels, 1, 1])?) };
    Ok(x.f_mul(&spread(scale)?)?.f_add(&spread(shift)?)?)
}
