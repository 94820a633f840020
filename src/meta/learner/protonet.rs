//! Prototypical networks (Snell et al. 2017, arXiv:1703.05175): the nearest class mean, in squared Euclidean distance.
//!
//! With prototype c, `−‖z − c‖² = 2 cᵀz − ‖c‖² − ‖z‖²`, and the last term is the same for every class: the adapter is a
//! linear head with weight 2c and bias −‖c‖² (§2.4, eq. 8).

use rand_chacha::ChaCha8Rng;
use tch::{Kind as Dtype, Tensor};

use super::{Adapted, HeldOut, Learner, MOST_FOLDS, Net, Phase, closed_form, pad_classes, pad_scores};
use crate::domain::Kind;
use crate::meta::batch::Support;
use crate::nn::{Params, Result};

pub(super) struct Protonet;

impl Learner for Protonet {
    fn init(&self, _net: &Net, _backbone: &Params, _kind: Kind, _rng: &mut ChaCha8Rng) -> Result<Params> {
        Ok(Params::new())
    }

    fn adapt(&self, net: &Net, theta: &Params, support: &Support, _: Option<u32>, phase: Phase) -> Result<Adapted> {
        closed_form::adapt(net, theta, support, phase, |features, targets, weights| {
            let (weight, bias) = prototype_head(features, &targets.f_mul(&weights.f_unsqueeze(-1)?)?)?;
            let mut head = Params::new();
            head.insert("head.weight", weight);
            head.insert("head.bias", pad_classes(&bias, support)?);
            Ok(head)
        })
    }

    fn held_out(&self, net: &Net, theta: &Params, support: &Support) -> Result<Option<HeldOut>> {
        let (features, _) = net.support_features(theta, support, Phase::Serve)?;
        let (one_hot, weights) = (support.one_hot()?, support.counts()); // [T, S, N], [T, S]
        let shares = one_hot.f_mul(&weights.f_unsqueeze(-1)?)?;
        let distances = squared_distances(&features, &prototypes(&features, &shares)?)?; // [T, S, N]
        // Without z alone, its own class mean moves away from it: with w of the weight W of the class,
        // ‖z − (W c − w z) / (W − w)‖² = (W / (W − w))² ‖z − c‖².
        let whole = one_hot.f_mul(&counts(&shares)?.f_unsqueeze(1)?)?; // [T, S, N]
        let left = whole.f_sub(&shares)?;
        let is_left = left.f_gt(0.0)?;
        let factor = whole.f_div(&left)?.f_square()?.f_where_self(&is_left, &one_hot.f_ones_like()?)?;
        let alone = distances.f_mul(&factor)?.f_neg()?;
        let mut all = Vec::new();
        for (task, folds) in (0i64..).zip(&support.folds(MOST_FOLDS)?) {
            let alone = alone.f_get(task)?;
            let Some(folds) = folds else {
                all.push(alone);
                continue;
            };
            let (features, shares) = (features.f_get(task)?, shares.f_get(task)?); // [S, D], [S, N]
            let kept = folds.kept(0..folds.len(), features.device())?; // [F, rows of the task]
            let (rows, count) = (kept.size()[1], kept.size()[0]);
            let kept = kept.f_unsqueeze(-1)?.f_mul(&shares.f_narrow(0, 0, rows)?)?; // [F, S, N]
            let own = features.f_narrow(0, 0, rows)?.f_unsqueeze(0)?.f_expand([count, -1, -1], false)?;
            let prototypes = prototypes(&own, &kept)?; // [F, N, D]
            let places = folds.places(features.device())?;
            let asked = features.f_index(&[Some(&places.rows)])?; // [F, M, D]
            all.push(places.put(&alone, &squared_distances(&asked, &prototypes)?.f_neg()?)?);
        }
        Ok(Some(HeldOut { outputs: pad_scores(&Tensor::f_stack(&all, 0)?, support)?, folds: MOST_FOLDS }))
    }
}

/// Weight `[T, N, D]` and bias `[T, N]` of the head that compares with class means of `features` `[T, S, D]`.
///
/// `shares`: `[T, S, N]`, how much of each row counts for each class.
pub(super) fn prototype_head(features: &Tensor, shares: &Tensor) -> Result<(Tensor, Tensor)> {
    let prototypes = prototypes(features, shares)?; // [T, N, D]
    let norms = prototypes.f_square()?.f_sum_dim_intlist([-1i64].as_slice(), false, Dtype::Float)?; // [T, N]
    Ok((prototypes.f_mul_scalar(2.0)?, norms.f_neg()?))
}

/// Mean feature of each class, `[T, N, D]` (eq. 1).
fn prototypes(features: &Tensor, shares: &Tensor) -> Result<Tensor> {
    let sums = shares.f_transpose(1, 2)?.f_bmm(features)?; // [T, N, D]
    Ok(sums.f_div(&counts(shares)?.f_clamp_min(f64::from(f32::MIN_POSITIVE))?.f_unsqueeze(-1)?)?)
}

fn counts(shares: &Tensor) -> Result<Tensor> {
    Ok(shares.f_sum_dim_intlist([1i64].as_slice(), false, Dtype::Float)?)
}

/// `‖z − c‖²`, `[T, S, N]`, by differences: the expanded form loses what small distances are made of.
fn squared_distances(features: &Tensor, prototypes: &Tensor) -> Result<Tensor> {
    const BY_DIFFERENCES: i64 = 2;
    Ok(Tensor::f_cdist(features, prototypes, 2.0, BY_DIFFERENCES)?.f_square()?)
}
