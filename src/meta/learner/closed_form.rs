//! What learners share whose head is the solution of an equation: features, the solution, and self-training.
//!
//! Self-training uses rows that nobody has labelled: the head that the labelled rows give says what each of them may be,
//! and the head is solved for once more with those answers as soft labels, some times over. For class means this is the
//! soft k-means of Ren et al. 2018 (arXiv:1803.00676, §3.1.1), which refines them once.

use tch::{Kind as Dtype, Tensor};

use super::{Adapted, Net, Phase};
use crate::domain::Norm;
use crate::meta::batch::Support;
use crate::nn::{Params, Result, ops};

/// How often the head is solved for with the unlabelled rows.
const ROUNDS: usize = 3;

/// Adapts by `solve(features [T, R, D], targets [T, R, N], weights [T, R])`, which returns a head; padded rows have
/// weight 0.
pub(super) fn adapt(
    net: &Net,
    theta: &Params,
    support: &Support,
    phase: Phase,
    solve: impl Fn(&Tensor, &Tensor, &Tensor) -> Result<Params>,
) -> Result<Adapted> {
    let (features, statistics) = net.support_features(theta, support, phase)?;
    let targets = support.one_hot()?;
    let mut head = solve(&features, &targets, support.counts())?;
    if let Some(unlabelled) = &support.unlabelled {
        let params = match net.norm {
            Norm::Support => theta.overlaid(&statistics),
            Norm::Running => theta.shallow_clone(),
        };
        let (others, _) = net.query_features(&params, &unlabelled.x, Some(&unlabelled.mask), phase)?;
        let all = Tensor::f_cat(&[&features, &others], 1)?;
        for _ in 0..ROUNDS {
            let soft = ops::linear(&others, &head.scope("head"))?.f_softmax(-1, Dtype::Float)?; // [T, U, N]
            let targets = Tensor::f_cat(&[&targets, &soft], 1)?;
            head = solve(&all, &targets, &Tensor::f_cat(&[support.counts(), &unlabelled.mask], 1)?)?;
        }
    }
    Ok(Adapted::head_only(net, &head, statistics))
}
