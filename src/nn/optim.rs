//! Adam for the outer loop, its state a value.

use tch::{Kind, Tensor};

use super::{Params, Result};

/// Adam (Kingma & Ba 2015, arXiv:1412.6980, algorithm 1).
#[derive(Debug)]
pub struct Adam {
    /// Decay of the mean of gradients, β₁.
    pub beta1: f64,
    /// Decay of the mean of squared gradients, β₂.
    pub beta2: f64,
    /// Added to the root of the second moment, ε.
    pub eps: f64,
    /// Steps taken.
    pub step: u64,
    /// First moments, by parameter.
    pub m: Params,
    /// Second moments, by parameter.
    pub v: Params,
}

impl Adam {
    /// With the paper's β₁ = 0.9, β₂ = 0.999, ε = 1e-8 and moments of zero.
    pub fn new(params: &Params) -> Result<Self> {
        let zeros = || params.map(|_, tensor| Ok(tensor.f_detach()?.f_zeros_like()?));
        Ok(Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, step: 0, m: zeros()?, v: zeros()? })
    }

    /// New parameters after one step of size `lr` along `grads`, detached from their graph.
    pub fn step(&mut self, params: &Params, grads: &Params, lr: f64) -> Result<Params> {
        self.step_at(params, grads, |_| lr)
    }

    /// The same with a step size for each name.
    pub fn step_at(&mut self, params: &Params, grads: &Params, lr: impl Fn(&str) -> f64) -> Result<Params> {
        let _no_grad = tch::no_grad_guard();
        self.step += 1;
        let (beta1, beta2) = (self.beta1, self.beta2);
        self.m = self.m.zip_with(grads, |m, g| Ok((m * beta1).f_add(&(g * (1.0 - beta1)))?))?;
        self.v = self.v.zip_with(grads, |v, g| Ok((v * beta2).f_add(&(g * g * (1.0 - beta2)))?))?;
        let steps = i32::try_from(self.step).unwrap_or(i32::MAX);
        let (debias1, debias2) = (1.0 - beta1.powi(steps), 1.0 - beta2.powi(steps));
        let eps = self.eps;
        let direction = self.m.zip_with(&self.v, |m, v| {
            let root = (v / debias2).f_sqrt()?.f_add_scalar(eps)?;
            Ok((m / debias1).f_div(&root)?)
        })?;
        let steps = direction.map(|name, d| Ok(d * lr(name)))?;
        params.zip_with(&steps, |p, step| Ok(p.f_detach()?.f_sub(step)?))
    }
}

/// Scales gradients so that their joint norm is at most `bound`; the norm before.
pub fn clip(grads: &Params, bound: f64) -> Result<(Params, f64)> {
    let mut squares = 0.0;
    for tensor in grads.tensors() {
        squares += tensor.f_detach()?.f_square()?.f_sum(Kind::Double)?.f_double_value(&[])?;
    }
    let norm = squares.sqrt();
    let factor = if norm > bound { bound / norm } else { 1.0 };
    Ok((grads.map(|_, tensor: &Tensor| Ok(tensor.f_mul_scalar(factor)?))?, norm))
}
