//! How good a base model is: the mean over episodes and its 95 % interval.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::task::{EpisodeSpec, Split, TaskDistribution};
use super::{Episode, Model, Phase};
use crate::domain::{Fault, Outputs, Recipe, SupportSet, Targets, argmax, is_hit, ndcg};
use crate::nn::TensorError;

/// A mean and half the width of its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The mean over episodes.
    pub mean: f64,
    /// 1.96 standard errors.
    pub ci95: f64,
    /// How many episodes.
    pub episodes: usize,
}

impl Estimate {
    /// From one figure an episode.
    pub fn of(figures: &[f64]) -> Self {
        let n = figures.len() as f64;
        let mean = figures.iter().sum::<f64>() / n;
        let variance = figures.iter().map(|figure| (figure - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
        Self { mean, ci95: 1.96 * (variance / n).sqrt(), episodes: figures.len() }
    }
}

/// Why an episode could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// The episode is no valid support set.
    #[error("the episode's support set: {0}")]
    Support(#[from] Fault),
    /// A tensor computation failed.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// Episode `index` of the stream that `seed` names: the same on every machine, whatever came before it. Where episodes are
/// the data's own, the one of that number.
pub fn episode(tasks: &dyn TaskDistribution, split: Split, spec: &EpisodeSpec, seed: u64, index: u64) -> Episode {
    if let Some(episode) = tasks.nth(split, spec, index) {
        return episode;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(index);
    tasks.sample(split, spec, &mut rng)
}

/// An episode's support set, with all of it that the learner takes.
pub fn support(model: &Model, episode: &Episode) -> Result<SupportSet, Fault> {
    let mut support = SupportSet::new(&episode.support, &episode.support_targets)?;
    if let Some(rows) = &episode.unlabelled {
        support = support.with_unlabelled(rows)?;
    }
    if let Some(rows) = episode.names.as_ref().and_then(|names| model.architecture.names(names)) {
        support = support.with_names(&rows)?;
    }
    Ok(support)
}

/// Adapts to an episode's support set and judges by its query set, through the very functions that serve.
pub fn judge(model: &Model, episode: &Episode, recipe: &Recipe, phase: Phase) -> Result<f64, EvalError> {
    Ok(score(&answers(model, episode, recipe, phase)?, &episode.query_targets))
}

/// What is answered to an episode's query set after its support set.
pub fn answers(model: &Model, episode: &Episode, recipe: &Recipe, phase: Phase) -> Result<Outputs, EvalError> {
    let adapter = model.adapt(&support(model, episode)?, recipe, phase)?;
    Ok(model.predict(&adapter, &episode.query, phase)?)
}

/// Whether anything of worth is among the first ten of an order of items; none for other targets.
pub fn hit(outputs: &Outputs, targets: &Targets) -> Option<f64> {
    let Targets::Signals { values, .. } = targets else { return None };
    Some(f64::from(u8::from(is_hit(&scores(outputs), values))))
}

/// Scores of items.
fn scores(outputs: &Outputs) -> Vec<f32> {
    outputs.rows().map(|row| row[0]).collect()
}

/// Accuracy for classes, mean squared error for numbers, NDCG of the first ten for an order of items, 0 if none of them is
/// worth anything.
pub fn score(outputs: &Outputs, targets: &Targets) -> f64 {
    match targets {
        Targets::Classes { labels, .. } => {
            let hits = outputs.rows().zip(labels).filter(|(row, label)| argmax(row) == **label as usize).count();
            hits as f64 / labels.len() as f64
        }
        Targets::Values(values) => {
            let errors = outputs.rows().zip(values).map(|(row, value)| f64::from(row[0] - value).powi(2));
            errors.sum::<f64>() / values.len() as f64
        }
        Targets::Signals { values, .. } => ndcg(&scores(outputs), values).unwrap_or(0.0),
    }
}
