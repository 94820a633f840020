//! Ridge regression towards a head that θ knows: for classes that are the same in many tasks, as the ten digits are in every
//! hand and on every ground. A task says by names which of its classes these are, in whatever order and beside whatever
//! others, which start from nothing.
//!
//! With X = [Z 1] and W₀ the meta-learned columns of the task's classes, zero for those that θ does not know, `W = W₀ + Xᵀ (X Xᵀ + λ I)⁻¹ (Y − X W₀)`, the minimum of
//! `‖X W − Y‖² + λ ‖W − W₀‖²`: [`super::r2d2`] is the case W₀ = 0. Few examples leave W near W₀, many move it as far as they
//! say, and λ, learned with W₀, is the exchange rate. A mean at the posterior of Bayesian linear regression (Bishop 2006,
//! eq. 3.50, with W₀ for the prior's mean).

use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use super::inner::init_head;
use super::r2d2::{lambda, unweighted, with_ones};
use super::{Adapted, HeldOut, Learner, MOST_FOLDS, Net, Phase, closed_form, pad_classes, pad_scores};
use crate::domain::{HeadInit, Kind};
use crate::meta::batch::Support;
use crate::meta::ridge;
use crate::nn::{Params, Result, init};

/// What scores are multiplied by at first: one-hot targets make them too flat for a softmax.
const SCALE: f32 = 10.0;

pub(super) struct KnownRidge {
    /// How many θ knows.
    pub(super) classes: usize,
}

impl Learner for KnownRidge {
    fn init(&self, net: &Net, _backbone: &Params, _kind: Kind, rng: &mut ChaCha8Rng) -> Result<Params> {
        let mut head = init_head(HeadInit::Learned { way: self.classes }, net.backbone.width(), rng)?;
        head.insert("head.log_lambda", init::constant(&[1], 1.0)?);
        head.insert("head.log_scale", init::constant(&[1], SCALE.ln())?);
        Ok(head)
    }

    fn adapt(&self, net: &Net, theta: &Params, support: &Support, _: Option<u32>, phase: Phase) -> Result<Adapted> {
        let (lambda, known, scale) = (lambda(theta)?, known(theta, support)?, theta.get("head.log_scale")?.f_exp()?);
        closed_form::adapt(net, theta, support, phase, |features, targets, weights| {
            let roots = weights.f_sqrt()?; // a row times √w counts w times
            let x = with_ones(features, &roots)?; // [T, R, D + 1]
            let wanted = targets.f_mul(&roots.f_unsqueeze(-1)?)?;
            let moved = ridge::solve(&x, &wanted.f_sub(&x.f_matmul(&known)?)?, &lambda)?.weights; // [T, D + 1, N]
            let solution = moved.f_add(&known)?.f_mul(&scale)?;
            let width = features.size()[2];
            let mut head = Params::new();
            head.insert("head.weight", solution.f_narrow(1, 0, width)?.f_transpose(1, 2)?.f_contiguous()?);
            head.insert("head.bias", pad_classes(&solution.f_select(1, width)?.f_contiguous()?, support)?);
            Ok(head)
        })
    }

    fn held_out(&self, net: &Net, theta: &Params, support: &Support) -> Result<Option<HeldOut>> {
        let (features, _) = net.support_features(theta, support, Phase::Serve)?;
        let roots = support.counts().f_sqrt()?;
        let (x, lambda, folds) = (with_ones(&features, &roots)?, lambda(theta)?, support.folds(MOST_FOLDS)?);
        let foreseen = x.f_matmul(&known(theta, support)?)?; // [T, S, N]
        let rest = support.one_hot()?.f_mul(&roots.f_unsqueeze(-1)?)?.f_sub(&foreseen)?;
        let held_out = ridge::solve(&x, &rest, &lambda)?.held_out(&x, &rest, &lambda, &folds)?.f_add(&foreseen)?;
        let outputs = unweighted(held_out, support, &roots)?.f_mul(&theta.get("head.log_scale")?.f_exp()?)?;
        Ok(Some(HeldOut { outputs: pad_scores(&outputs, support)?, folds: MOST_FOLDS }))
    }
}

/// W₀, `[T, D + 1, N]`.
fn known(theta: &Params, support: &Support) -> Result<Tensor> {
    let (weight, bias) = (theta.get("head.weight")?, theta.get("head.bias")?); // [K, D], [K]
    let all = Tensor::f_cat(&[weight, &bias.f_unsqueeze(1)?], 1)?; // [K, D + 1]
    let which = match &support.names {
        Some(names) => names.shallow_clone(), // [T, N, K]
        None => all.f_new_zeros([support.tasks(), support.width(), all.size()[0]], (all.kind(), all.device()))?,
    };
    Ok(which.f_matmul(&all)?.f_transpose(1, 2)?)
}
