//! R2-D2 (Bertinetto et al. 2019, arXiv:1805.08136): ridge regression on the features, its λ, scale α and offset β
//! meta-learned.
//!
//! With X = [Z 1], `W = Xᵀ (X Xᵀ + λ I)⁻¹ Y` and outputs `α X W + β` (eq. 4–7). α and β are folded into the head that
//! the adapter keeps.

use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use super::{Adapted, HeldOut, Learner, MOST_FOLDS, Net, Phase, closed_form, pad_classes, pad_scores};
use crate::domain::Kind;
use crate::meta::batch::Support;
use crate::meta::ridge;
use crate::nn::{Params, Result, init};

pub(super) struct R2d2;

impl Learner for R2d2 {
    fn init(&self, _net: &Net, _backbone: &Params, kind: Kind, _rng: &mut ChaCha8Rng) -> Result<Params> {
        // One-hot targets make scores near 0 and 1, too flat for a softmax; numbers are predicted as they are.
        let scale: f32 = match kind {
            Kind::Classification => 10.0,
            Kind::Regression | Kind::Tagging | Kind::Ranking => 1.0,
        };
        let mut head = Params::new();
        head.insert("head.log_lambda", init::constant(&[1], 1.0)?);
        head.insert("head.log_scale", init::constant(&[1], scale.ln())?);
        head.insert("head.offset", init::constant(&[1], 0.0)?);
        Ok(head)
    }

    fn adapt(&self, net: &Net, theta: &Params, support: &Support, _: Option<u32>, phase: Phase) -> Result<Adapted> {
        let lambda = lambda(theta)?;
        closed_form::adapt(net, theta, support, phase, |features, targets, weights| {
            let roots = weights.f_sqrt()?; // a row times √w counts w times
            let targets = targets.f_mul(&roots.f_unsqueeze(-1)?)?;
            let solution = ridge::solve(&with_ones(features, &roots)?, &targets, &lambda)?.weights; // [T, D + 1, N]
            let width = features.size()[2];
            let weight = scaled(&solution.f_narrow(1, 0, width)?.f_transpose(1, 2)?, theta)?; // [T, N, D]
            let bias = scaled(&solution.f_select(1, width)?, theta)?.f_add(theta.get("head.offset")?)?; // [T, N]
            let mut head = Params::new();
            head.insert("head.weight", weight.f_contiguous()?);
            head.insert("head.bias", pad_classes(&bias, support)?);
            Ok(head)
        })
    }

    fn held_out(&self, net: &Net, theta: &Params, support: &Support) -> Result<Option<HeldOut>> {
        let (features, _) = net.support_features(theta, support, Phase::Serve)?;
        let roots = support.counts().f_sqrt()?;
        let y = support.one_hot()?.f_mul(&roots.f_unsqueeze(-1)?)?;
        let (x, lambda, folds) = (with_ones(&features, &roots)?, lambda(theta)?, support.folds(MOST_FOLDS)?);
        let held_out = ridge::solve(&x, &y, &lambda)?.held_out(&x, &y, &lambda, &folds)?; // [T, S, N]
        let outputs = scaled(&unweighted(held_out, support, &roots)?, theta)?.f_add(theta.get("head.offset")?)?;
        Ok(Some(HeldOut { outputs: pad_scores(&outputs, support)?, folds: MOST_FOLDS }))
    }
}

/// `[Z 1]`, `[T, S, D + 1]`, each row times its own number of `factors` `[T, S]`: 0 for padding.
pub(super) fn with_ones(features: &Tensor, factors: &Tensor) -> Result<Tensor> {
    let factors = factors.f_unsqueeze(-1)?; // [T, S, 1]
    Ok(Tensor::f_cat(&[features.f_mul(&factors)?, factors], -1)?)
}

/// What rows times `roots` were given, as rows that count once are; a division only where some row does not.
pub(super) fn unweighted(outputs: Tensor, support: &Support, roots: &Tensor) -> Result<Tensor> {
    if support.weights.is_none() {
        return Ok(outputs);
    }
    Ok(outputs.f_div(&roots.f_clamp_min(f64::from(f32::MIN_POSITIVE))?.f_unsqueeze(-1)?)?)
}

pub(super) fn lambda(theta: &Params) -> Result<Tensor> {
    Ok(theta.get("head.log_lambda")?.f_exp()?.f_clamp_min(1e-4)?)
}

fn scaled(outputs: &Tensor, theta: &Params) -> Result<Tensor> {
    Ok(outputs.f_mul(&theta.get("head.log_scale")?.f_exp()?)?)
}
