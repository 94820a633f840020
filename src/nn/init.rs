//! Initial values, drawn from a generator that is passed in: libtorch's own is global to the process.

use rand::{Rng, RngExt};
use tch::{Device, Tensor};

use super::{Params, Result, bridge};

/// Uniform in `±bound`.
pub fn uniform(rng: &mut impl Rng, shape: &[i64], bound: f32) -> Result<Tensor> {
    let count = shape.iter().product::<i64>();
    let values: Vec<f32> = (0..count).map(|_| rng.random_range(-bound..=bound)).collect();
    bridge::tensor(&values, shape, Device::Cpu)
}

/// The same number everywhere.
pub fn constant(shape: &[i64], value: f32) -> Result<Tensor> {
    let count = usize::try_from(shape.iter().product::<i64>()).unwrap_or_default();
    bridge::tensor(&vec![value; count], shape, Device::Cpu)
}

/// Weight `[O, I…]` and bias `[O]` of a layer before a `ReLU`: He et al. 2015 (arXiv:1502.01852, eq. 10), uniform.
pub fn relu_layer(rng: &mut impl Rng, params: &mut Params, name: &str, weight_shape: &[i64]) -> Result<()> {
    let fan_in = weight_shape[1..].iter().product::<i64>() as f32;
    params.insert(format!("{name}.weight"), uniform(rng, weight_shape, (6.0 / fan_in).sqrt())?);
    params.insert(format!("{name}.bias"), constant(&weight_shape[..1], 0.0)?);
    Ok(())
}
