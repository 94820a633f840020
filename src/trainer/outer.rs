//! One outer step.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::Kind as Dtype;

use super::config::OuterConfig;
use super::{TrainConfig, TrainError};
use crate::meta::Model;
use crate::meta::batch::{self, Query, StackedTargets, Support};
use crate::meta::task::{Split, TaskDistribution};
use crate::nn::grad::{Graph, grad};
use crate::nn::{Params, TensorError, loss, optim};

/// Share of a new batch's statistics in the running ones.
const MOMENTUM: f64 = 0.05;

/// What one outer step measured.
pub(super) struct Measured {
    /// Mean query loss.
    pub(super) loss: f64,
    /// Mean query accuracy; classification only.
    pub(super) accuracy: Option<f64>,
}

/// Draws the meta-batch of `step`, moves θ once.
pub(super) fn step(
    model: &mut Model,
    adam: &mut optim::Adam,
    tasks: &dyn TaskDistribution,
    config: &TrainConfig,
    step: u64,
) -> Result<Measured, TrainError> {
    // A stream of its own for each step: what is drawn does not depend on what was drawn before.
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    rng.set_stream(step + 1);
    let spec = config.episode.spec();
    let episodes: Vec<_> = (0..config.outer.meta_batch).map(|_| tasks.sample(Split::Train, &spec, &mut rng)).collect();
    let (support, query) = batch::stack(&episodes, &model.architecture.input.row_shape(), model.device)?;

    let (measured, moved) = move_theta(model, adam, config, step, &support, &query)?;
    if !measured.loss.is_finite() {
        return Err(TrainError::NonFinite { step });
    }
    model.theta = moved;
    Ok(measured)
}

/// θ after one step along the gradient of the mean query loss.
fn move_theta(
    model: &Model,
    adam: &mut optim::Adam,
    config: &TrainConfig,
    step: u64,
    support: &Support,
    query: &Query,
) -> Result<(Measured, Params), TensorError> {
    let statistics = model.statistics();
    let leaves = model.trainable().leaves()?;
    let theta = leaves.overlaid(&statistics);
    let progress = step as f64 / config.outer.steps as f64;
    let lesson = model.learner.lesson(&model.net, &theta, support, query, progress)?;
    let accuracy = match &query.targets {
        StackedTargets::Labels(labels) => {
            let accuracy = loss::accuracy(&lesson.outputs, labels, &query.mask)?;
            Some(accuracy.f_mean(Dtype::Float)?.f_double_value(&[])?)
        }
        StackedTargets::Values(_) => None,
    };
    let measured = Measured { loss: lesson.loss.f_double_value(&[])?, accuracy };

    let grads = match lesson.gradient {
        Some(gradient) => gradient,
        None => grad(&lesson.loss, &leaves, Graph::Free)?,
    };
    let grads = match config.outer.clip {
        Some(bound) => optim::clip(&grads, bound)?.0,
        None => grads,
    };
    let moved = adam.step(&leaves, &grads, config.outer.lr_at(step))?;
    let running = lesson.batch_statistics.iter().try_fold(statistics, |running, batch| averaged(&running, batch))?;
    Ok((measured, moved.overlaid(&running)))
}

/// Running statistics moved towards those of a batch, if it has any.
fn averaged(running: &Params, batch: &Params) -> Result<Params, TensorError> {
    if batch.is_empty() || running.is_empty() {
        return Ok(running.shallow_clone());
    }
    running.zip_with(&batch.detached()?, |old, new| Ok((old * (1.0 - MOMENTUM)).f_add(&(new * MOMENTUM))?))
}

/// The average of θ after `step` steps: young averages forget faster, so that θ's first value leaves no trace.
pub(super) fn average(
    config: &OuterConfig,
    average: &Params,
    theta: &Params,
    step: u64,
) -> Result<Params, TensorError> {
    let Some(share) = config.average else { return Ok(theta.shallow_clone()) };
    let share = share.min(step as f64 / (step as f64 + 10.0));
    average.zip_with(theta, |old, new| Ok(old.f_add(&((new - old) * (1.0 - share)))?))
}
