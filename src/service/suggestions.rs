//! Which inputs to label next: those that the adapter is least sure of, and that are least like those before them.
//!
//! Sureness is the margin between the two most probable labels (Scheffer, Decomain & Wrobel 2001); likeness the cosine of
//! features, where tasks share them. Each choice is the best after the ones before it, so that any number of the first is
//! a choice of its own.

use super::answering::Answers;
use super::inputs::check_count;
use super::prepared::Query;
use super::{Answer, AnswerStyle, Prediction, Result, Service};
use crate::domain::{Fault, Input, Kind, TaskId, TenantId};
use crate::engine::Origin;

/// Most suggestions of one request.
const MOST: usize = 100;

/// Inputs that nobody has labelled.
#[derive(Clone, Debug)]
pub struct Suggest {
    /// The inputs.
    pub query: Vec<Input>,
    /// The adapter's version; the active one by default.
    pub version: Option<u32>,
    /// Most suggestions.
    pub limit: usize,
}

/// An input that is worth labelling.
#[derive(Clone, Debug, PartialEq)]
pub struct Suggestion {
    /// Its place among the inputs.
    pub index: usize,
    /// How unsure the adapter is of it: 1 less the margin.
    pub unsureness: f64,
    /// How unlike those before it: 1 less the cosine to the most like one, 1 for the first.
    pub novelty: f64,
    /// What the adapter would say.
    pub label: String,
    /// With which probability.
    pub confidence: f64,
}

impl Service {
    /// Inputs in the order in which to label them, and the version that says so.
    pub async fn suggest(&self, tenant: TenantId, task: TaskId, request: Suggest) -> Result<(u32, Vec<Suggestion>)> {
        let Answers { task, adapter, .. } = self.answering(tenant, task, request.version).await?;
        if task.kind != Kind::Classification {
            return Err(Fault::Inapplicable { because: "only labels can be unsure" }.at("").into());
        }
        if request.limit == 0 {
            return Err(Fault::OutOfRange { given: 0, least: 1, most: MOST as i64 }.at("/limit").into());
        }
        check_count("suggestions", request.limit, MOST, "/limit")?;
        let base = self.base_of(&task, &adapter)?;
        let origin = Origin::interactive(tenant);
        let query = self.query(origin, base, request.query, ("/query", "")).await?;
        let directions = match &query {
            Query::Rows(rows) if base.manifest.has_features() => {
                Some(self.directions(origin, base, rows.clone()).await?)
            }
            _ => None,
        };
        let style = AnswerStyle { top_k: Some(2), ..AnswerStyle::default() };
        let predictions = self.predict_rows(origin, &task, &adapter, query, style).await?;
        let cosine = |one: usize, other: usize| {
            let Some(directions) = &directions else { return 0.0 };
            let pairs = directions[one].iter().zip(directions[other].iter());
            f64::from(pairs.map(|(one, other)| one * other).sum::<f32>())
        };
        let unsure: Vec<f64> = predictions.iter().map(unsureness).collect();
        let chosen = choose(&unsure, cosine, request.limit);
        let suggestion = |(index, novelty): (usize, f64)| {
            let Answer::Label { label, confidence, .. } = &predictions[index].answer else { return None };
            let (label, confidence) = (label.clone(), *confidence);
            Some(Suggestion { index, unsureness: unsure[index], novelty, label, confidence })
        };
        Ok((adapter.version, chosen.into_iter().filter_map(suggestion).collect()))
    }
}

fn unsureness(prediction: &Prediction) -> f64 {
    let Answer::Label { scores, .. } = &prediction.answer else { return 0.0 };
    let probability = |place: usize| scores.get(place).map_or(0.0, |(_, score)| *score);
    1.0 - (probability(0) - probability(1))
}

/// Places and novelties of the first `limit`, each the one of most unsureness times novelty; of equals the first.
fn choose(unsure: &[f64], cosine: impl Fn(usize, usize) -> f64, limit: usize) -> Vec<(usize, f64)> {
    let mut novelty = vec![1.0f64; unsure.len()];
    let mut left: Vec<usize> = (0..unsure.len()).collect();
    let mut chosen = Vec::new();
    while chosen.len() < limit && !left.is_empty() {
        let worth = |place: &usize| unsure[*place] * novelty[*place];
        let best = (0..left.len()).reduce(|best, at| if worth(&left[at]) > worth(&left[best]) { at } else { best });
        let place = left.remove(best.unwrap_or_default());
        chosen.push((place, novelty[place]));
        for &other in &left {
            novelty[other] = novelty[other].min(1.0 - cosine(place, other).max(0.0));
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_sure_comes_first_and_its_like_last() {
        // 0 and 1 are the same, 2 is another, 3 is known.
        let alike = |one: usize, other: usize| if one < 2 && other < 2 { 1.0 } else { 0.0 };

        let chosen = choose(&[0.8, 0.9, 0.5, 0.1], alike, 3);

        assert_eq!(chosen, [(1, 1.0), (2, 1.0), (3, 1.0)]);
        assert_eq!(choose(&[0.8, 0.9], alike, 9), [(1, 1.0), (0, 0.0)]);
        assert_eq!(choose(&[], alike, 9), []);
    }
}
