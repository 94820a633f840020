//! A preference: what one person would choose, from a few signals. Ridge regression towards a meta-learned preference.
//!
//! Most people are like most people, so a person's weights are what everybody's are, w₀, and what the signals say of the
//! difference:
//!
//! ```text
//! w = w₀ + Xᵀ (X Xᵀ + λ C⁻¹)⁻¹ (y − X w₀)          y = slope · value + offset
//! ```
//!
//! the mean of a Gaussian posterior with prior N(w₀, λ⁻¹) (Bishop 2006, eq. 3.50–3.51), where row i counts cᵢ times. Since
//! prior and features are learned across people, this is what meta-learned user preference estimators do by gradient
//! steps on their last layers (`MeLU`, Lee et al. 2019, arXiv:1908.00413), in closed form.
//!
//! θ learns from the order: the candidates that a person chose are to be the most probable of all candidates under the
//! softmax of their scores. With choices alone there is nothing that anybody disliked; what nobody chose is in w₀, in the
//! features, and in `offset`.

use rand_chacha::ChaCha8Rng;
use tch::{Kind as Dtype, Tensor};

use super::{Adapted, HeldOut, Learner, Lesson, Net, Phase, predict};
use crate::domain::Kind;
use crate::meta::batch::{Query, StackedTargets, Support};
use crate::meta::ridge;
use crate::nn::{Params, Result, init, loss};

pub(super) struct PriorRidge;

/// A task's regression: `[T, S, D]`, what is left of the targets `[T, S, 1]`, both times √c, and λ.
struct System {
    x: Tensor,
    rest: Tensor,
    lambda: Tensor,
}

impl Learner for PriorRidge {
    fn init(&self, net: &Net, _backbone: &Params, _kind: Kind, _rng: &mut ChaCha8Rng) -> Result<Params> {
        let known = net.backbone.width() - net.backbone.own_width();
        let mut head = Params::new();
        head.insert("head.prior", init::constant(&[known as i64], 0.0)?);
        for (name, value) in [("log_lambda", 0.0), ("log_scale", 2.0), ("slope", 1.0), ("offset", 0.0)] {
            head.insert(format!("head.{name}"), init::constant(&[1], value)?);
        }
        Ok(head)
    }

    fn adapt(&self, net: &Net, theta: &Params, support: &Support, _: Option<u32>, phase: Phase) -> Result<Adapted> {
        let (features, statistics) = net.support_features(theta, support, phase)?; // [T, S, D]
        let usual = usual(theta, &features)?;
        let System { x, rest, lambda } = system(theta, support, &features, &usual)?;
        let moved = ridge::solve(&x, &rest, &lambda)?.weights.f_transpose(1, 2)?; // [T, 1, D]
        let weight = moved.f_add(&usual)?.f_mul(&scale(theta)?)?;
        let mut head = Params::new();
        head.insert("head.bias", weight.f_select(-1, 0)?.f_zeros_like()?);
        head.insert("head.weight", weight.f_contiguous()?);
        Ok(Adapted::head_only(net, &head, statistics))
    }

    fn held_out(&self, net: &Net, theta: &Params, support: &Support) -> Result<Option<HeldOut>> {
        let (features, _) = net.support_features(theta, support, Phase::Serve)?;
        let usual = usual(theta, &features)?;
        let System { x, rest, lambda } = system(theta, support, &features, &usual)?;
        let held_out = ridge::solve(&x, &rest, &lambda)?.held_out(&x, &rest, &lambda, &support.folds(0)?)?; // [T, S, 1]
        let roots = support.counts().f_sqrt()?.f_clamp_min(f64::from(f32::MIN_POSITIVE))?.f_unsqueeze(-1)?;
        let usual = features.f_matmul(&usual)?.f_unsqueeze(-1)?;
        let outputs = held_out.f_div(&roots)?.f_add(&usual)?.f_mul(&scale(theta)?)?;
        Ok(Some(HeldOut { outputs, folds: usize::MAX }))
    }

    fn lesson(&self, net: &Net, theta: &Params, support: &Support, query: &Query, _progress: f64) -> Result<Lesson> {
        let adapted = self.adapt(net, theta, support, None, Phase::Train)?;
        let (outputs, statistics) = predict(net, theta, &adapted.tensors, &query.x, query.padding(), Phase::Train)?;
        let loss = match &query.targets {
            StackedTargets::Values(gains) => loss::choice(&outputs, gains, &query.mask)?.f_mean(Dtype::Float)?,
            StackedTargets::Labels(_) => query.targets.loss(&outputs, &query.mask)?.f_mean(Dtype::Float)?,
        };
        Ok(Lesson { loss, outputs, batch_statistics: vec![adapted.batch_statistics, statistics], gradient: None })
    }
}

/// w₀, `[D]`, for these features.
fn usual(theta: &Params, features: &Tensor) -> Result<Tensor> {
    let prior = theta.get("head.prior")?;
    Ok(prior.f_constant_pad_nd([0, features.size()[2] - prior.size()[0]])?)
}

fn system(theta: &Params, support: &Support, features: &Tensor, usual: &Tensor) -> Result<System> {
    let roots = support.counts().f_sqrt()?.f_unsqueeze(-1)?; // [T, S, 1]
    let targets = support.one_hot()?.f_mul(theta.get("head.slope")?)?.f_add(theta.get("head.offset")?)?;
    let usual = features.f_matmul(usual)?.f_unsqueeze(-1)?;
    Ok(System {
        x: features.f_mul(&roots)?,
        rest: targets.f_sub(&usual)?.f_mul(&roots)?,
        lambda: theta.get("head.log_lambda")?.f_exp()?.f_clamp_min(1e-4)?,
    })
}

fn scale(theta: &Params) -> Result<Tensor> {
    Ok(theta.get("head.log_scale")?.f_exp()?)
}
