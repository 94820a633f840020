//! Ridge regression towards a head that θ knows: for classes that are the same in every task, as the ten digits are in
//! every hand and on every ground.
//!
//! With X = [Z 1] and W₀ the meta-learned head, `W = W₀ + Xᵀ (X Xᵀ + λ I)⁻¹ (Y − X W₀)`, the minimum of
//! `‖X W − Y‖² + λ ‖W − W₀‖²`: [`super::r2d2`] is the case W₀ = 0. Few examples leave W near W₀, many move it as far as they
//! say, and λ, learned with W₀, is the exchange rate. A mean at the posterior of Bayesian linear regression (Bishop 2006,
//! eq. 3.50, with W₀ for the prior's mean).

use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use super::inner::init_head;
use super::r2d2::{lambda, with_ones};
use super::{Adapted, Learner, Net, Phase, closed_form};
use crate::domain::{HeadInit, Kind};
use crate::meta::batch::Support;
use crate::meta::ridge;
use crate::nn::{Params, Result, init};

/// What scores are multiplied by at first: one-hot targets make them too flat for a softmax.
const SCALE: f32 = 10.0;

pub(super) struct KnownRidge {
    pub(super) way: usize,
}

impl Learner for KnownRidge {
    fn init(&self, net: &Net, _backbone: &Params, _kind: Kind, rng: &mut ChaCha8Rng) -> Result<Params> {
        let mut head = init_head(HeadInit::Learned { way: self.way }, net.backbone.width(), rng)?;
        head.insert("head.log_lambda", init::constant(&[1], 1.0)?);
        head.insert("head.log_scale", init::constant(&[1], SCALE.ln())?);
        Ok(head)
    }

    fn adapt(&self, net: &Net, theta: &Params, support: &Support, _: Option<u32>, phase: Phase) -> Result<Adapted> {
        let (lambda, known, scale) = (lambda(theta)?, known(theta)?, theta.get("head.log_scale")?.f_exp()?);
        closed_form::adapt(net, theta, support, phase, |features, targets, weights| {
            let roots = weights.f_sqrt()?; // a row times √w counts w times
            let x = with_ones(features, &roots)?; // [T, R, D + 1]
            let wanted = targets.f_mul(&roots.f_unsqueeze(-1)?)?;
            let moved = ridge::solve(&x, &wanted.f_sub(&x.f_matmul(&known)?)?, &lambda)?.weights; // [T, D + 1, N]
            let solution = moved.f_add(&known)?.f_mul(&scale)?;
            let width = features.size()[2];
            let mut head = Params::new();
            head.insert("head.weight", solution.f_narrow(1, 0, width)?.f_transpose(1, 2)?.f_contiguous()?);
            head.insert("head.bias", solution.f_select(1, width)?.f_contiguous()?);
            Ok(head)
        })
    }

    fn leave_one_out(&self, net: &Net, theta: &Params, support: &Support) -> Result<Option<Tensor>> {
        let (features, _) = net.support_features(theta, support, Phase::Serve)?;
        let (x, lambda) = (with_ones(&features, &support.mask)?, lambda(theta)?);
        let foreseen = x.f_matmul(&known(theta)?)?; // [T, S, N]
        let rest = support.one_hot()?.f_sub(&foreseen)?;
        let held_out = ridge::solve(&x, &rest, &lambda)?.leave_one_out(&x, &rest, &lambda)?;
        Ok(Some(held_out.f_add(&foreseen)?.f_mul(&theta.get("head.log_scale")?.f_exp()?)?))
    }
}

/// W₀, `[D + 1, N]`.
fn known(theta: &Params) -> Result<Tensor> {
    let (weight, bias) = (theta.get("head.weight")?, theta.get("head.bias")?); // [N, D], [N]
    Ok(Tensor::f_cat(&[weight, &bias.f_unsqueeze(1)?], 1)?.f_transpose(0, 1)?)
}
