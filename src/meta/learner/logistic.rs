//! Logistic regression towards a prior: class means, the classes' own names among them, as far as the examples say, and
//! from there to whatever separates the classes best.
//!
//! Each class has a weight vector W, fitted to the support set by its most probable value under a Gaussian prior:
//!
//! ```text
//! W = argmin Σᵢ −log softmax(zᵢ Wᵀ)[yᵢ] + λ/2 ‖W − W₀‖²      W₀ₖ = g (Σ_{yᵢ = k} zᵢ + w γ nₖ) / ‖…‖
//! ```
//!
//! With one example of each class W hardly leaves W₀, which is a nearest class mean in cosine (Snell et al. 2017,
//! arXiv:1703.05175); with many it is plain logistic regression. The sum is convex, so a fixed number of accelerated
//! gradient steps (Nesterov 2004, §2.2.1, with constant momentum) finds it, and the outer loop differentiates through
//! them: λ, g, w are learned, as in R2-D2 (Bertinetto et al. 2019, arXiv:1805.08136, whose §3.3 has the same regression
//! without a prior).
//!
//! nₖ is the feature of the class's name, for tasks that tell it. It counts for w examples if names say what the examples
//! say: γ = σ(a (t − t₀)) with the mean over classes t of cos(nₖ, z̄ₖ) less its mean over the other classes'. Labels
//! that are only numbers have t near 0.

use rand_chacha::ChaCha8Rng;
use tch::{Kind as Dtype, Tensor};

use super::{Adapted, Learner, Net, Phase, pad_classes};
use crate::domain::Kind;
use crate::meta::batch::Support;
use crate::nn::{Params, Result, init};

pub(super) struct Logistic {
    pub(super) steps: u32,
}

impl Learner for Logistic {
    fn init(&self, _net: &Net, _backbone: &Params, _kind: Kind, _rng: &mut ChaCha8Rng) -> Result<Params> {
        let start = [
            ("head.log_scale", 10f32.ln()),
            ("head.log_lambda", 0.2f32.ln()),
            ("head.log_name", 0.0),
            ("head.name_slope", 20.0),
            ("head.name_floor", 0.1),
        ];
        start.into_iter().map(|(name, value)| Ok((name.to_owned(), init::constant(&[1], value)?))).collect()
    }

    fn adapt(&self, net: &Net, theta: &Params, support: &Support, _: Option<u32>, phase: Phase) -> Result<Adapted> {
        let (features, statistics) = net.support_features(theta, support, phase)?;
        let names = name_features(net, theta, &features, support, phase)?;
        let prior = prior(theta, &features, &names, support)?;
        let weight = self.fit(theta, &features, &prior, support)?;
        let bias = weight.f_sum_dim_intlist([-1i64].as_slice(), false, Dtype::Float)?.f_mul_scalar(0.0)?;
        let mut head = Params::new();
        head.insert("head.weight", weight);
        head.insert("head.bias", pad_classes(&bias, support)?);
        Ok(Adapted::head_only(net, &head, statistics))
    }
}

/// Features of the classes' names, `[T, N, D]`; zero where a task tells none, which count for nothing.
fn name_features(net: &Net, theta: &Params, features: &Tensor, support: &Support, phase: Phase) -> Result<Tensor> {
    let Some(names) = &support.names else {
        let (tasks, width) = (features.size()[0], features.size()[2]);
        return Ok(features.f_new_zeros([tasks, support.width(), width], (Dtype::Float, features.device()))?);
    };
    let (of_names, _) = net.query_features(theta, names, None, phase)?;
    let told = names.f_flatten(2, -1)?.f_abs()?.f_sum_dim_intlist([-1i64].as_slice(), true, Dtype::Float)?;
    Ok(of_names.f_mul(&told.f_gt(0.0)?.f_to_kind(Dtype::Float)?)?)
}

/// W₀, `[T, N, D]`; zero for classes that a task does not have.
fn prior(theta: &Params, features: &Tensor, names: &Tensor, support: &Support) -> Result<Tensor> {
    let sums = support.one_hot()?.f_transpose(1, 2)?.f_bmm(features)?; // [T, N, D]
    let count = theta.get("head.log_name")?.f_exp()?.f_mul(&trust(theta, &sums, names, support)?)?; // [T, 1, 1]
    let sums = sums.f_add(&names.f_mul(&count)?.f_mul(&support.class_mask()?.f_unsqueeze(-1)?)?)?;
    unit(&sums)?.f_mul(&theta.get("head.log_scale")?.f_exp()?).map_err(Into::into)
}

/// γ, `[T, 1, 1]`: how far a task's names say what its examples say.
fn trust(theta: &Params, sums: &Tensor, names: &Tensor, support: &Support) -> Result<Tensor> {
    let all = [1i64, 2].as_slice();
    let sum = |tensor: &Tensor| tensor.f_sum_dim_intlist(all, true, Dtype::Float);
    let mask = support.class_mask()?; // [T, N]
    let pairs = mask.f_unsqueeze(-1)?.f_mul(&mask.f_unsqueeze(1)?)?; // [T, N, N]
    let own = Tensor::f_eye(mask.size()[1], (Dtype::Float, mask.device()))?.f_mul(&pairs)?;
    let others = pairs.f_sub(&own)?;
    let cosines = unit(names)?.f_bmm(&unit(sums)?.f_transpose(1, 2)?)?; // [T, N, N]
    let mean = |which: &Tensor| -> Result<Tensor> { Ok(sum(&cosines.f_mul(which)?)?.f_div(&sum(which)?)?) };
    let margin = mean(&own)?.f_sub(&mean(&others)?)?;
    let slope = theta.get("head.name_slope")?;
    Ok(margin.f_sub(theta.get("head.name_floor")?)?.f_mul(slope)?.f_sigmoid()?)
}

/// Of length 1 along the last dimension; what is zero stays zero.
fn unit(x: &Tensor) -> Result<Tensor> {
    let squares = x.f_square()?.f_sum_dim_intlist([-1i64].as_slice(), true, Dtype::Float)?;
    Ok(x.f_mul(&squares.f_clamp_min(1e-12)?.f_rsqrt()?)?)
}

impl Logistic {
    /// W, `[T, N, D]`, from W₀ on.
    fn fit(&self, theta: &Params, features: &Tensor, prior: &Tensor, support: &Support) -> Result<Tensor> {
        let lambda = theta.get("head.log_lambda")?.f_exp()?.f_clamp_min(1e-3)?;
        let z = features.f_mul(&support.mask.f_unsqueeze(-1)?)?; // [T, S, D], padded rows zero
        let zt = z.f_transpose(1, 2)?;
        // The curvature is at most half the largest eigenvalue of ZᵀZ, which its Frobenius norm bounds. A constant: it
        // decides how fast the minimum is found, not where it is.
        let gram = if z.size()[1] <= z.size()[2] { z.f_bmm(&zt)? } else { zt.f_bmm(&z)? };
        let norm =
            gram.f_detach()?.f_square()?.f_sum_dim_intlist([1i64, 2].as_slice(), true, Dtype::Float)?.f_sqrt()?;
        let steepest = norm.f_mul_scalar(0.5)?.f_add(&lambda.f_detach()?)?; // [T, 1, 1]
        let root = lambda.f_detach()?.f_div(&steepest)?.f_sqrt()?;
        let momentum = root.f_neg()?.f_add_scalar(1.0)?.f_div(&root.f_add_scalar(1.0)?)?;
        let padding = support.class_padding()?.map(|padding| padding.f_unsqueeze(1)).transpose()?; // [T, 1, N]
        let targets = support.one_hot()?;
        let rows = support.mask.f_unsqueeze(-1)?;
        let (mut weight, mut ahead) = (prior.shallow_clone(), prior.shallow_clone());
        for _ in 0..self.steps {
            let logits = z.f_bmm(&ahead.f_transpose(1, 2)?)?; // [T, S, N]
            let logits = match &padding {
                Some(padding) => logits.f_add(padding)?,
                None => logits,
            };
            let errors = logits.f_softmax(-1, Dtype::Float)?.f_mul(&rows)?.f_sub(&targets)?;
            let pull = ahead.f_sub(prior)?.f_mul(&lambda)?;
            let slope = errors.f_transpose(1, 2)?.f_bmm(&z)?.f_add(&pull)?; // [T, N, D]
            let next = ahead.f_sub(&slope.f_div(&steepest)?)?;
            ahead = next.f_add(&next.f_sub(&weight)?.f_mul(&momentum)?)?;
            weight = next;
        }
        Ok(weight)
    }
}
