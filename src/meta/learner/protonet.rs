//! Prototypical networks (Snell et al. 2017, arXiv:1703.05175): the nearest class mean, in squared Euclidean distance.
//!
//! With prototype c, `−‖z − c‖² = 2 cᵀz − ‖c‖² − ‖z‖²`, and the last term is the same for every class: the adapter is a
//! linear head with weight 2c and bias −‖c‖² (§2.4, eq. 8).

use rand_chacha::ChaCha8Rng;
use tch::{Kind as Dtype, Tensor};

use super::{Adapted, Learner, Net, Phase, closed_form, pad_classes, pad_scores};
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

    fn leave_one_out(&self, net: &Net, theta: &Params, support: &Support) -> Result<Option<Tensor>> {
        let (features, _) = net.support_features(theta, support, Phase::Serve)?;
        let one_hot = support.one_hot()?; // [T, S, N]
        let counts = counts(&one_hot)?; // [T, N]
        let prototypes = prototypes(&features, &one_hot)?; // [T, N, D]
        let distances = squared_distances(&features, &prototypes)?; // [T, S, N]
        // Without z, its own class mean moves away from it: ‖z − (n c − z) / (n − 1)‖² = (n / (n − 1))² ‖z − c‖².
        let shrunk = counts.f_sub_scalar(1.0)?.f_clamp_min(1.0)?;
        let factor = counts.f_div(&shrunk)?.f_square()?.f_unsqueeze(1)?; // [T, 1, N]
        let own = distances.f_mul(&factor)?.f_mul(&one_hot)?;
        let others = distances.f_mul(&one_hot.f_neg()?.f_add_scalar(1.0)?)?;
        let logits = own.f_add(&others)?.f_neg()?;
        Ok(Some(pad_scores(&logits, support)?))
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
    Ok(sums.f_div(&counts(shares)?.f_clamp_min(1.0)?.f_unsqueeze(-1)?)?)
}

fn counts(shares: &Tensor) -> Result<Tensor> {
    Ok(shares.f_sum_dim_intlist([1i64].as_slice(), false, Dtype::Float)?)
}

/// `‖z − c‖²`, `[T, S, N]`, by differences: the expanded form loses what small distances are made of.
fn squared_distances(features: &Tensor, prototypes: &Tensor) -> Result<Tensor> {
    let difference = features.f_unsqueeze(2)?.f_sub(&prototypes.f_unsqueeze(1)?)?; // [T, S, N, D]
    Ok(difference.f_square()?.f_sum_dim_intlist([-1i64].as_slice(), false, Dtype::Float)?)
}
