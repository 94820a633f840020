//! What one more example of each label brings, beside what the adapter said that it would.

use super::measure::Measurement;
use crate::domain::{ESTIMATE_FOLDS, Quality, Rows, SupportSet, Targets};
use crate::meta::eval::{self, EvalError};
use crate::meta::{Episode, Model};

/// One task's labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Gains {
    /// What an example more of each was expected to add to the accuracy.
    pub expected: Vec<f64>,
    /// What it added.
    pub came: Vec<f64>,
}

impl Gains {
    /// The label that the most was expected of.
    pub fn named(&self) -> usize {
        let best = self.expected.iter().enumerate().max_by(|(_, one), (_, other)| one.total_cmp(other));
        best.map_or(0, |(label, _)| label)
    }
}

impl Measurement<'_> {
    /// One for each episode that can be estimated, in order. The first query row of each class is the example more; the
    /// others judge.
    ///
    /// # Panics
    /// If a thread panics.
    pub fn gains(&self, model: &Model, threads: usize) -> Result<Vec<Gains>, EvalError> {
        let all = self.each(model, threads, &|_| {}, |model, index| self.gains_of(model, index))?;
        Ok(all.into_iter().flatten().collect())
    }

    fn gains_of(&self, model: &Model, index: u64) -> Result<Option<Gains>, EvalError> {
        let episode = self.episode(index);
        let Targets::Classes { labels, way } = &episode.query_targets else { return Ok(None) };
        let spare: Vec<Option<usize>> =
            (0..*way).map(|class| labels.iter().position(|&label| label as usize == class)).collect();
        let Some(spare) = spare.into_iter().collect::<Option<Vec<usize>>>() else { return Ok(None) };
        let set = eval::support(model, &episode)?;
        let Some(held_out) = model.held_out(&set, &self.recipe, ESTIMATE_FOLDS)? else { return Ok(None) };
        let names: Vec<String> = (0..*way).map(|class| class.to_string()).collect();
        let Some(quality) = Quality::of(&held_out, set.targets(), &names, set.order()) else { return Ok(None) };
        let rest: Vec<usize> = (0..labels.len()).filter(|row| !spare.contains(row)).collect();
        let judge = (
            episode.query.picked(&rest),
            Targets::Classes { labels: rest.iter().map(|&row| labels[row]).collect(), way: *way },
        );
        let before = self.accuracy(model, &set, &judge)?;
        let came = spare
            .iter()
            .map(|&row| Ok(self.accuracy(model, &eval::support(model, &with_row(&episode, row)?)?, &judge)? - before))
            .collect::<Result<Vec<f64>, EvalError>>()?;
        let expected = quality.per_label.iter().map(|label| label.expected_gain.unwrap_or_default()).collect();
        Ok(Some(Gains { expected, came }))
    }

    fn accuracy(&self, model: &Model, set: &SupportSet, (rows, targets): &(Rows, Targets)) -> Result<f64, EvalError> {
        let adapter = model.adapt(set, &self.recipe, self.phase)?;
        Ok(eval::score(&model.predict(&adapter, rows, self.phase)?, targets))
    }
}

/// The episode with one of its query rows among its examples.
fn with_row(episode: &Episode, row: usize) -> Result<Episode, EvalError> {
    let (Targets::Classes { labels, way }, Targets::Classes { labels: asked, .. }) =
        (&episode.support_targets, &episode.query_targets)
    else {
        return Ok(episode.clone());
    };
    let values = [episode.support.values(), episode.query.row(row)].concat();
    let labels = labels.iter().copied().chain([asked[row]]).collect();
    Ok(Episode {
        support: Rows::new(episode.support.width(), values)?,
        support_targets: Targets::Classes { labels, way: *way },
        ..episode.clone()
    })
}
