//! Whether adapters' estimates of themselves are honest: each beside the accuracy on rows that the adapter has not seen.

use super::measure::Measurement;
use crate::domain::{ESTIMATE_FOLDS, LabelQuality, Quality, Targets};
use crate::meta::Model;
use crate::meta::eval::{self, EvalError};

/// One task's estimate, and what came true.
#[derive(Clone, Debug, PartialEq)]
pub struct Honesty {
    /// Examples that the estimate rests on.
    pub n: usize,
    /// The accuracy that the adapter expects.
    pub estimate: f64,
    /// Its 95 % interval.
    pub interval: [f64; 2],
    /// By label.
    pub per_label: Vec<LabelQuality>,
    /// The accuracy on the query rows.
    pub accuracy: f64,
    /// How many those are.
    pub queries: usize,
}

impl Honesty {
    /// Whether the interval holds the accuracy. Of q queries that were all answered right, nobody knows more than that the
    /// accuracy is above 0.05^(1/q), at 95 %: there the interval has to reach that.
    pub fn covers(&self) -> bool {
        let [low, high] = self.interval;
        if self.accuracy == 1.0 {
            return high >= 0.05f64.powf(1.0 / self.queries as f64);
        }
        (low..=high).contains(&self.accuracy)
    }
}

impl Measurement<'_> {
    /// One for each episode that can be estimated, in order; none for learners without leave-one-out scores.
    ///
    /// # Panics
    /// If a thread panics.
    pub fn honesty(&self, model: &Model, threads: usize) -> Result<Vec<Honesty>, EvalError> {
        let all = self.each(model, threads, &|_| {}, |model, index| self.one(model, index))?;
        Ok(all.into_iter().flatten().collect())
    }

    fn one(&self, model: &Model, index: u64) -> Result<Option<Honesty>, EvalError> {
        let episode = self.episode(index);
        let set = eval::support(model, &episode)?;
        let Some(held_out) = model.held_out(&set, &self.recipe, ESTIMATE_FOLDS)? else { return Ok(None) };
        let names: Vec<String> = (0..set.targets().outputs()).map(|class| class.to_string()).collect();
        let quality = Quality::of(&held_out, set.targets(), &names, set.order());
        let Some(Quality { n, accuracy: Some(estimate), accuracy_ci95: Some(interval), per_label, .. }) = quality
        else {
            return Ok(None);
        };
        let adapter = model.adapt(&set, &self.recipe, self.phase)?;
        let outputs = model.predict(&adapter, &episode.query, self.phase)?;
        let queries = match &episode.query_targets {
            Targets::Classes { labels, .. } => labels.len(),
            Targets::Values(_) | Targets::Signals { .. } => return Ok(None),
        };
        let accuracy = eval::score(&outputs, &episode.query_targets);
        Ok(Some(Honesty { n, estimate, interval, per_label, accuracy, queries }))
    }
}
