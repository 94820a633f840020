//! Logistic regression towards a prior: class means, the classes' own names among them, as far as the examples say, and
//! from there to whatever separates the classes best.
//!
//! Each class has a weight vector W, fitted to the support set by its most probable value under a Gaussian prior:
//!
//! ```text
//! W = argmin Σᵢ −cᵢ log softmax(zᵢ Wᵀ)[yᵢ] + λ/2 ‖W − W₀‖²      W₀ₖ = g (Σ_{yᵢ = k} cᵢ zᵢ + w γ nₖ) / ‖…‖
//! ```
//!
//! for rows that count cᵢ times. With one example of each class W hardly leaves W₀, which is a nearest class mean in cosine (Snell et al. 2017,
//! arXiv:1703.05175); with many it is plain logistic regression. The sum is convex, so a fixed number of accelerated
//! gradient steps (Nesterov 2004, §2.2.1, with constant momentum) finds it, and the outer loop differentiates through
//! them: λ, g, w are learned, as in R2-D2 (Bertinetto et al. 2019, arXiv:1805.08136, whose §3.3 has the same regression
//! without a prior).
//!
//! nₖ is the feature of the class's name, for tasks that tell it. It counts for w examples if names say what the examples
//! say: γ = σ(a (t − t₀)) with the mean over classes t of cos(nₖ, z̄ₖ) less its mean over the other classes'. Labels
//! that are only numbers have t near 0.

use std::ops::Range;

use rand_chacha::ChaCha8Rng;
use tch::{Kind as Dtype, Tensor};

use super::{Adapted, HeldOut, Learner, Net, Phase, pad_classes, pad_scores};
use crate::domain::Kind;
use crate::meta::batch::{StackedTargets, Support};
use crate::meta::folds::Folds;
use crate::nn::ops::unit;
use crate::nn::{Params, Result, TensorError, bridge, init};

/// Multiply-adds that the fits without rows may take: some hundredths of a second. Where that is not a fit for each row, a
/// fold holds one of each of several classes, which changes little for each of them.
const MOST_WORK: u64 = 1_000_000_000;
/// Fewest fits, each without a share of the rows.
const FEWEST_FOLDS: u64 = 10;
/// Bytes of the fits that are under way at once, if it is more than one.
const AT_ONCE: u64 = 32 << 20;

pub(super) struct Logistic {
    pub(super) steps: u32,
}

impl Learner for Logistic {
    fn init(&self, _net: &Net, _backbone: &Params, _kind: Kind, _rng: &mut ChaCha8Rng) -> Result<Params> {
        let start = [
            ("head.log_scale", 12f32.ln()),
            ("head.log_lambda", 0.03f32.ln()),
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

    /// From fits to the other rows, one for each fold.
    fn held_out(&self, net: &Net, theta: &Params, support: &Support) -> Result<Option<HeldOut>> {
        let StackedTargets::Labels(labels) = &support.targets else { return Ok(None) };
        let (features, _) = net.support_features(theta, support, Phase::Serve)?;
        let names = name_features(net, theta, &features, support, Phase::Serve)?;
        let (longest, widest) = (features.size()[1], support.width());
        let (mut all, mut fewest) = (Vec::new(), usize::MAX);
        for (task, &way) in (0i64..).zip(&support.outputs) {
            let rows = support.mask.f_get(task)?.f_sum(Dtype::Int64)?.f_int64_value(&[])?;
            let labels = Vec::<i64>::try_from(&labels.f_get(task)?.f_narrow(0, 0, rows)?)?;
            let features = features.f_narrow(0, task, 1)?.f_narrow(1, 0, rows)?;
            let names = names.f_narrow(0, task, 1)?.f_narrow(1, 0, way as i64)?;
            let weights = support.counts().f_narrow(0, task, 1)?.f_narrow(1, 0, rows)?;
            let known = Known { features, names, weights, labels };
            let (outputs, folds) = self.without_each(theta, &known)?; // [S, N] of the task's own
            fewest = fewest.min(folds);
            all.push(outputs.f_constant_pad_nd([0, widest - way as i64, 0, longest - rows])?);
        }
        Ok(Some(HeldOut { outputs: pad_scores(&Tensor::f_stack(&all, 0)?, support)?, folds: fewest }))
    }
}

/// What a fit has to know of one task.
struct Known {
    /// `[1, S, D]`.
    features: Tensor,
    /// `[1, N, D]`.
    names: Tensor,
    /// `[1, S]`.
    weights: Tensor,
    labels: Vec<i64>,
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
    let shares = support.one_hot()?.f_mul(&support.counts().f_unsqueeze(-1)?)?;
    let sums = shares.f_transpose(1, 2)?.f_bmm(features)?; // [T, N, D]
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

impl Logistic {
    /// W, `[T, N, D]`, from W₀ on.
    ///
    /// W − W₀ = Aᵀ Z for some A, so that with fewer rows than features A takes the steps, `A ← A − η (C (softmax − Y) + λ A)`,
    /// and W itself otherwise. Both are the same steps.
    fn fit(&self, theta: &Params, features: &Tensor, prior: &Tensor, support: &Support) -> Result<Tensor> {
        let lambda = theta.get("head.log_lambda")?.f_exp()?.f_clamp_min(1e-3)?;
        let z = features.f_mul(&support.mask.f_unsqueeze(-1)?)?; // [T, S, D], padded rows zero
        let zt = z.f_transpose(1, 2)?;
        let counts = &support.counts().f_unsqueeze(-1)?; // [T, S, 1]
        let is_dual = z.size()[1] <= z.size()[2];
        // The curvature is at most half the largest eigenvalue of ZᵀZ, which its Frobenius norm bounds. A constant: it
        // decides how fast the minimum is found, not where it is.
        let gram = if is_dual { z.f_bmm(&zt)? } else { zt.f_bmm(&z)? };
        // Of a row that counts twice as of two rows.
        let squares = if is_dual {
            gram.f_detach()?.f_square()?.f_mul(counts)?.f_mul(&counts.f_transpose(1, 2)?)?
        } else {
            zt.f_bmm(&z.f_mul(counts)?)?.f_detach()?.f_square()?
        };
        let norm = squares.f_sum_dim_intlist([1i64, 2].as_slice(), true, Dtype::Float)?.f_sqrt()?;
        let steepest = norm.f_mul_scalar(0.5)?.f_add(&lambda.f_detach()?)?; // [T, 1, 1]
        let root = lambda.f_detach()?.f_div(&steepest)?.f_sqrt()?;
        let momentum = root.f_neg()?.f_add_scalar(1.0)?.f_div(&root.f_add_scalar(1.0)?)?;
        let targets = support.one_hot()?.f_mul(counts)?;
        let from = z.f_bmm(&prior.f_transpose(1, 2)?)?; // [T, S, N]
        let from = match support.class_padding()? {
            Some(padding) => from.f_add(&padding.f_unsqueeze(1)?)?,
            None => from,
        };
        let errors =
            |logits: &Tensor| Ok::<_, TensorError>(logits.f_softmax(-1, Dtype::Float)?.f_mul(counts)?.f_sub(&targets)?);
        let zeros = if is_dual { targets.f_zeros_like()? } else { prior.f_zeros_like()? };
        let (mut moved, mut ahead) = (zeros.shallow_clone(), zeros); // A or W − W₀
        for _ in 0..self.steps {
            let slope = if is_dual {
                errors(&from.f_add(&gram.f_bmm(&ahead)?)?)?
            } else {
                errors(&from.f_add(&z.f_bmm(&ahead.f_transpose(1, 2)?)?)?)?.f_transpose(1, 2)?.f_bmm(&z)?
            };
            let next = ahead.f_sub(&slope.f_add(&ahead.f_mul(&lambda)?)?.f_div(&steepest)?)?;
            ahead = next.f_add(&next.f_sub(&moved)?.f_mul(&momentum)?)?;
            moved = next;
        }
        let moved = if is_dual { moved.f_transpose(1, 2)?.f_bmm(&z)? } else { moved };
        Ok(prior.f_add(&moved)?)
    }

    /// Outputs `[S, N]` for one task's rows, each from a fit without it and those that are held out with it; zero for the
    /// only row of a class. And how many folds there may have been.
    fn without_each(&self, theta: &Params, known: &Known) -> Result<(Tensor, usize)> {
        let (size, way) = (known.labels.len(), known.names.size()[1]);
        let (rows, width) = (size as u64, known.features.size()[2].unsigned_abs());
        let refits = Refits::of(self.steps, rows, width, way.unsigned_abs());
        let [fits, at_once] = [refits.fits, refits.at_once].map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        let nothing = known.features.f_new_zeros([size as i64, way], (Dtype::Float, known.features.device()))?;
        let Some(folds) = Folds::of(&known.labels, fits) else { return Ok((nothing, fits)) };
        let starts = (0..folds.len()).step_by(at_once);
        let mut some = starts.map(|start| start..folds.len().min(start + at_once));
        let outputs = some.try_fold(nothing, |outputs, some| {
            Ok::<_, TensorError>(outputs.f_add(&self.without(theta, known, &folds, some)?)?)
        })?;
        Ok((outputs, fits))
    }

    /// The same for the rows that some of the folds judge; zero for the others.
    fn without(&self, theta: &Params, known: &Known, folds: &Folds, some: Range<usize>) -> Result<Tensor> {
        let Known { features, names, weights, labels } = known;
        let (count, size, device) = (some.len() as i64, labels.len() as i64, features.device());
        let way = usize::try_from(names.size()[1]).unwrap_or_default();
        let labels = bridge::index_tensor(labels, &[1, size], device)?.f_expand([count, size], false)?;
        let kept = folds.kept(some.clone(), device)?; // [F, S]
        let kept = Support {
            x: features.f_expand([count, -1, -1], false)?,
            targets: StackedTargets::Labels(labels),
            weights: Some(weights.f_mul(&kept)?),
            mask: kept,
            is_padded: true,
            outputs: vec![way; some.len()],
            unlabelled: None,
            names: None,
        };
        let prior = prior(theta, &kept.x, &names.f_expand([count, -1, -1], false)?, &kept)?;
        let weight = self.fit(theta, &kept.x, &prior, &kept)?; // [F, N, D]
        let logits = kept.x.f_bmm(&weight.f_transpose(1, 2)?)?; // [F, S, N]
        let judged = folds.judged(some, device)?.f_unsqueeze(-1)?;
        Ok(logits.f_mul(&judged)?.f_sum_dim_intlist([0i64].as_slice(), false, Dtype::Float)?)
    }
}

/// What leaving rows out takes.
#[derive(Clone, Copy, Debug)]
pub(in crate::meta) struct Refits {
    /// Most fits without some of the rows: as many as rows, unless that would take long.
    fits: u64,
    /// Fits that are under way together.
    at_once: u64,
    /// Multiply-adds of one fit.
    work: u64,
    /// Bytes of one fit.
    bytes: u64,
}

impl Refits {
    /// For `rows` of `width` features in `way` classes, and a fit of so many steps.
    pub(in crate::meta) fn of(steps: u32, rows: u64, width: u64, way: u64) -> Self {
        let least = rows.min(width);
        let work = rows * width * (least + 2 * way) + u64::from(steps) * 2 * rows * least * way;
        let bytes = 4 * (3 * rows * width + 2 * least * least + 6 * rows * way + 6 * way * width);
        let fits = (MOST_WORK / work.max(1)).clamp(FEWEST_FOLDS, rows.max(FEWEST_FOLDS)).min(rows);
        Self { fits, at_once: (AT_ONCE / bytes.max(1)).clamp(1, fits.max(1)), work, bytes }
    }

    /// Multiply-adds of all of it, and its bytes.
    pub(in crate::meta) fn cost(self) -> (u64, u64) {
        (self.fits * self.work, self.at_once * self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_held_out_by_itself_as_long_as_that_does_not_take_long() {
        for (rows, way, least) in [(2, 2, 2), (30, 3, 30), (250, 25, FEWEST_FOLDS), (2_000, 50, FEWEST_FOLDS)] {
            let refits = Refits::of(40, rows, 384, way);

            assert!((least..=rows).contains(&refits.fits), "{refits:?}");
        }
    }

    #[test]
    fn many_rows_of_few_classes_are_left_out_in_bounded_time_and_memory() {
        for (rows, way) in [(368, 2), (2_000, 2), (2_000, 80)] {
            let refits = Refits::of(40, rows, 448, way);
            let (work, bytes) = refits.cost();

            assert!(work <= MOST_WORK.max(FEWEST_FOLDS * refits.work), "{refits:?}");
            assert!(bytes <= AT_ONCE.max(refits.bytes), "{refits:?}");
        }
    }
}
