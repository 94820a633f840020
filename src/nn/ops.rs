//! Layers as pure functions of `(x, parameters)`, for shared parameters and for one set a task.

use tch::{Kind, Tensor};

use super::{Result, Scope, TensorError};

/// `x Wᵀ + b`.
///
/// * `x`: `[T, B, D]`.
/// * `weight`: `[O, D]` or `[T, O, D]`; `bias`: `[O]` or `[T, O]`.
/// * returns `[T, B, O]`.
pub fn linear(x: &Tensor, scope: &Scope<'_>) -> Result<Tensor> {
    let (weight, bias) = (scope.get("weight")?, scope.get("bias")?);
    let bias = if bias.dim() == 2 { bias.f_unsqueeze(1)? } else { bias.shallow_clone() }; // [T, 1, O] or [O]
    // The transpose of the last two dimensions serves both ranks.
    Ok(x.f_matmul(&weight.f_transpose(-2, -1)?)?.f_add(&bias)?)
}

/// 3×3 convolution with padding 1 and stride 1.
///
/// * `x`: `[T, B, C, H, W]`.
/// * `weight`: `[O, C, 3, 3]` or `[T, O, C, 3, 3]`; `bias`: `[O]` or `[T, O]`.
/// * returns `[T, B, O, H, W]`.
pub fn conv3x3(x: &Tensor, scope: &Scope<'_>) -> Result<Tensor> {
    convolve(x, scope.get("weight")?, scope.get("bias")?)
}

/// The same with parameters that have no names.
pub(super) fn convolve(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (tasks, rows, channels, height, width) = size5(x)?;
    if weight.dim() == 4 || tasks == 1 {
        let weight = if weight.dim() == 5 { weight.f_squeeze_dim(0)? } else { weight.shallow_clone() };
        let out = channels_last(&x.f_reshape([tasks * rows, channels, height, width])?)?.f_conv2d(
            &weight,
            Some(&bias.f_reshape([-1])?),
            [1, 1],
            [1, 1],
            [1, 1],
            1,
        )?;
        let outputs = weight.size()[0];
        return Ok(out.f_view([tasks, rows, outputs, height, width])?);
    }
    let outputs = weight.size()[1];
    let out = interleave(x)? // [B, T·C, H, W]
        .f_conv2d(
            &weight.f_reshape([tasks * outputs, channels, 3, 3])?,
            Some(&bias.f_reshape([-1])?),
            [1, 1],
            [1, 1],
            [1, 1],
            tasks,
        )?;
    deinterleave(&out, tasks)
}

/// 2×2 max-pooling with stride 2; an odd last row or column is dropped.
///
/// * `x`: `[T, B, C, H, W]`; returns `[T, B, C, H/2, W/2]`.
pub fn max_pool2(x: &Tensor) -> Result<Tensor> {
    let (tasks, rows, channels, height, width) = size5(x)?;
    let x = channels_last(&x.f_reshape([tasks * rows, channels, height, width])?)?;
    let pooled = x.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)?;
    Ok(pooled.f_view([tasks, rows, channels, height / 2, width / 2])?)
}

/// The same images with the channels of a pixel side by side in memory, the order in which libtorch's kernels for the
/// processor are fastest: pooling takes a twentieth of the time, a convolution of one channel a tenth.
fn channels_last(x: &Tensor) -> Result<Tensor> {
    let size = x.size();
    let [_, channels, height, width] = size[..] else { return Err(wrong_rank(x, "[B, C, H, W]")) };
    let strides = [height * width * channels, 1, width * channels, channels];
    if x.stride() == strides {
        return Ok(x.shallow_clone());
    }
    let ordered = x.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])?;
    // One channel lies the same in either order; only the strides say which one is meant.
    if channels == 1 { Ok(ordered.f_as_strided(&size, strides, None::<i64>)?) } else { Ok(ordered) }
}

/// `[T, B, C, H, W]` to `[B, T·C, H, W]`: each task's channels side by side, as grouped layers want them.
pub(super) fn interleave(x: &Tensor) -> Result<Tensor> {
    let (tasks, rows, channels, height, width) = size5(x)?;
    Ok(x.f_transpose(0, 1)?.f_reshape([rows, tasks * channels, height, width])?)
}

/// The way back from [`interleave`].
pub(super) fn deinterleave(x: &Tensor, tasks: i64) -> Result<Tensor> {
    let size = x.size();
    let [rows, channels, height, width] = size[..] else { return Err(wrong_rank(x, "[B, T·C, H, W]")) };
    Ok(x.f_view([rows, tasks, channels / tasks, height, width])?.f_transpose(0, 1)?)
}

/// Sizes of a stacked batch of images.
pub(super) fn size5(x: &Tensor) -> Result<(i64, i64, i64, i64, i64)> {
    let size = x.size();
    let [tasks, rows, channels, height, width] = size[..] else { return Err(wrong_rank(x, "[T, B, C, H, W]")) };
    Ok((tasks, rows, channels, height, width))
}

fn wrong_rank(x: &Tensor, expected: &'static str) -> TensorError {
    TensorError::Shape { what: "images", expected, given: x.size() }
}

/// Of length 1 along the last dimension; what is zero stays zero.
pub fn unit(x: &Tensor) -> Result<Tensor> {
    let squares = x.f_square()?.f_sum_dim_intlist([-1i64].as_slice(), true, Kind::Float)?;
    Ok(x.f_mul(&squares.f_clamp_min(1e-12)?.f_rsqrt()?)?)
}
