//! How a task's loss falls from step to step: by the learner's own inner loop, or by a plain optimizer from the same θ.

use super::inner::Inner;
use super::{Adapted, Phase, predict};
use crate::domain::GradOrder;
use crate::meta::batch::{self, Query};
use crate::meta::{Episode, Model};
use crate::nn::{Params, Result, TensorError, optim};

/// Who takes the inner steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Steps {
    /// The learner.
    Own,
    /// `θ_{k+1} = θ_k − α ∇L_S(θ_k)` on every parameter, α given.
    Sgd(f64),
    /// Adam on every parameter, its moments from zero, its step size given.
    Adam(f64),
}

/// Query loss after 0, 1, …, `steps` inner steps on an episode's support set: cross-entropy of classes, squared error of
/// numbers.
///
/// # Errors
/// [`TensorError::MissingParam`] if the learner takes no gradient steps on the whole network.
pub fn descent(model: &Model, episode: &Episode, by: Steps, steps: u32) -> Result<Vec<f64>> {
    let (support, query) = batch::stack(std::slice::from_ref(episode), &model.architecture, model.device)?;
    let (net, theta) = (&model.net, &model.theta);
    let inner = Inner { net, theta, support: &support, phase: Phase::Serve, order: GradOrder::First };
    match by {
        Steps::Own => (0..=steps)
            .map(|step| judged(model, &query, &model.learner.adapt(net, theta, &support, Some(step), Phase::Serve)?))
            .collect(),
        Steps::Sgd(lr) => {
            let step = |fast: &Params, gradient: &Params| {
                fast.zip_with(gradient, |p, g| Ok(p.f_detach()?.f_sub(&g.f_mul_scalar(lr)?)?))
            };
            plain(model, inner, &query, steps, step)
        }
        Steps::Adam(lr) => {
            let mut adam = None;
            let step = |fast: &Params, gradient: &Params| {
                let adam = match &mut adam {
                    Some(adam) => adam,
                    None => adam.insert(optim::Adam::new(fast)?),
                };
                adam.step(fast, gradient, lr)
            };
            plain(model, inner, &query, steps, step)
        }
    }
}

/// Losses before and after each of the steps that `step` takes.
fn plain(
    model: &Model,
    inner: Inner<'_>,
    query: &Query,
    steps: u32,
    mut step: impl FnMut(&Params, &Params) -> Result<Params>,
) -> Result<Vec<f64>> {
    let head_init = model.architecture.learner.head_init();
    let head_init = head_init.ok_or_else(|| TensorError::MissingParam("head.weight".to_owned()))?;
    let mut fast = inner.spread(head_init)?;
    let mut losses = vec![judged(model, query, &inner.finish(&fast)?)?];
    for _ in 0..steps {
        fast = inner.fresh(step(&fast, &inner.gradient(&fast)?)?)?;
        losses.push(judged(model, query, &inner.finish(&fast)?)?);
    }
    Ok(losses)
}

fn judged(model: &Model, query: &Query, adapted: &Adapted) -> Result<f64> {
    let (outputs, _) = predict(&model.net, &model.theta, &adapted.tensors, &query.x, query.padding(), Phase::Serve)?;
    Ok(query.targets.loss(&outputs, &query.mask)?.f_double_value(&[0])?)
}
