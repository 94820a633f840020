//! One outer step.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind as Dtype};

use super::config::OuterConfig;
use super::measure::{copies, in_order};
use super::{TrainConfig, TrainError};
use crate::meta::batch::{self, StackedTargets};
use crate::meta::task::{Split, TaskDistribution};
use crate::meta::{Episode, Model};
use crate::nn::grad::{Graph, grad};
use crate::nn::{Params, TensorError, loss, optim};

/// Share of a new batch's statistics in the running ones.
const MOMENTUM: f64 = 0.05;

/// From this many multiply-adds of one row on, tasks with parameters of their own are taught one by one, each by a thread,
/// instead of as one stack: grouped convolutions are slower than plain ones, and what a stack saves is the calls.
const APART_FROM: u64 = 100_000;

/// What one outer step measured.
pub(super) struct Measured {
    /// Mean query loss.
    pub(super) loss: f64,
    /// Mean query accuracy; classification only.
    pub(super) accuracy: Option<f64>,
}

/// What episodes teach θ.
struct Taught {
    measured: Measured,
    gradient: Params,
    batch_statistics: Vec<Params>,
}

/// Draws the meta-batch of `step`, moves θ once. Where tasks are taught apart, the number of threads changes nothing but the
/// time.
pub(super) fn step(
    model: &mut Model,
    adam: &mut optim::Adam,
    tasks: &dyn TaskDistribution,
    config: &TrainConfig,
    step: u64,
    threads: usize,
) -> Result<Measured, TrainError> {
    // A stream of its own for each step: what is drawn does not depend on what was drawn before.
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    rng.set_stream(step + 1);
    let spec = config.episode.spec();
    let episodes: Vec<_> = (0..config.outer.meta_batch).map(|_| tasks.sample(Split::Train, &spec, &mut rng)).collect();
    let progress = step as f64 / config.outer.steps as f64;

    let taught = if apart(model) {
        tch::set_num_threads(1); // of this thread's own sums, which would be split by threads
        let alone = |model: &mut Model, index: u64| {
            let place = usize::try_from(index).expect("a place in a vector");
            teach(model, &episodes[place..=place], progress)
        };
        mean(in_order(episodes.len() as u64, threads, &|_| (), copies(model)?, alone)?)?
    } else {
        teach(model, &episodes, progress)?
    };
    if !taught.measured.loss.is_finite() {
        return Err(TrainError::NonFinite { step });
    }
    let gradient = match config.outer.clip {
        Some(bound) => optim::clip(&taught.gradient, bound)?.0,
        None => taught.gradient,
    };
    let moved = adam.step(&model.trainable(), &gradient, config.outer.lr_at(step))?;
    let statistics = model.statistics();
    let running = taught.batch_statistics.iter().try_fold(statistics, |running, batch| averaged(&running, batch))?;
    model.theta = moved.overlaid(&running);
    Ok(taught.measured)
}

/// Whether each task of a meta-batch is worth a thread: on a processor, where it has features of its own that cost much.
/// Tasks that share a backbone go through it together, and share the statistics of their batch.
fn apart(model: &Model) -> bool {
    model.device == Device::Cpu
        && model.architecture.learner.adapts_features()
        && model.net.backbone.multiply_adds() >= APART_FROM
}

/// The mean query loss of `episodes`, and its gradient.
fn teach(model: &Model, episodes: &[Episode], progress: f64) -> Result<Taught, TensorError> {
    let (support, query) = batch::stack(episodes, &model.architecture, model.device)?;
    let leaves = model.trainable().leaves()?;
    let theta = leaves.overlaid(&model.statistics());
    let lesson = model.learner.lesson(&model.net, &theta, &support, &query, progress)?;
    let accuracy = match &query.targets {
        StackedTargets::Labels(labels) => {
            let accuracy = loss::accuracy(&lesson.outputs, labels, &query.mask)?;
            Some(accuracy.f_mean(Dtype::Float)?.f_double_value(&[])?)
        }
        StackedTargets::Values(_) => None,
    };
    let measured = Measured { loss: lesson.loss.f_double_value(&[])?, accuracy };
    let gradient = match lesson.gradient {
        Some(gradient) => gradient,
        None => grad(&lesson.loss, &leaves, Graph::Free)?,
    };
    Ok(Taught { measured, gradient, batch_statistics: lesson.batch_statistics })
}

/// The mean of what each task taught, summed in their order.
fn mean(each: Vec<Taught>) -> Result<Taught, TensorError> {
    let share = 1.0 / each.len() as f64;
    let (mut measured, mut total) = (Measured { loss: 0.0, accuracy: None }, None::<Params>);
    for taught in each {
        debug_assert!(taught.batch_statistics.iter().all(Params::is_empty), "what is taught apart shares no batch");
        measured.loss += share * taught.measured.loss;
        measured.accuracy = taught.measured.accuracy.map(|own| measured.accuracy.unwrap_or(0.0) + share * own);
        total = Some(match total {
            Some(total) => total.zip_with(&taught.gradient, |total, own| Ok(total.f_add(own)?))?,
            None => taught.gradient,
        });
    }
    let gradient = total.unwrap_or_default().map(|_, total| Ok(total.f_mul_scalar(share)?))?;
    Ok(Taught { measured, gradient, batch_statistics: Vec::new() })
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::domain::{BackboneConfig, GradOrder, HeadInit, Kind, LearnerConfig};
    use crate::meta::model::Architecture;
    use crate::meta::task::{self, EpisodeSpec, Sources, TaskConfig};

    #[test]
    fn tasks_that_are_taught_apart_teach_what_they_teach_as_a_stack() {
        let sources = Sources { data: Path::new(""), encoders: Path::new(""), tuning: None, progress: &|_, _| {} };
        let tasks = task::open(&TaskConfig::sinusoids(), &sources).unwrap();
        let learner = LearnerConfig::Maml {
            inner_steps: 2,
            inner_lr: 0.01,
            order: GradOrder::Second,
            head_init: HeadInit::Learned { way: 1 },
        };
        let backbone = BackboneConfig::Mlp { hidden: vec![8, 8] };
        let architecture = Architecture { input: tasks.input(), kind: Kind::Regression, backbone, learner };
        let model = Model::fresh(architecture, 1, Device::Cpu).unwrap();
        let spec = EpisodeSpec { way: 1..=1, shot: 4..=9, query: 5, unlabelled: 0 };
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let episodes: Vec<_> = (0..3).map(|_| tasks.sample(Split::Train, &spec, &mut rng)).collect();

        let stacked = teach(&model, &episodes, 0.5).unwrap();
        let each = episodes.chunks(1).map(|alone| teach(&model, alone, 0.5)).collect::<Result<_, _>>().unwrap();
        let apart = mean(each).unwrap();

        assert!((stacked.measured.loss - apart.measured.loss).abs() < 1e-5);
        for (name, gradient) in stacked.gradient.iter() {
            assert!(gradient.allclose(apart.gradient.get(name).unwrap(), 1e-4, 1e-5, false), "{name}");
        }
    }
}
