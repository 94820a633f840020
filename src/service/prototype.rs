//! Answers before there is an adapter, from a task's examples alone: while one is being made, a question is not turned away.

use super::nearest::{Direction, rows_of};
use super::predictions::{put_nearest, put_replies};
use super::{Predict, Predicted, Result, Service, ServiceError};
use crate::domain::{Fault, Kind, Outputs, Prototypes, Target, Task, Usage};
use crate::engine::Origin;

/// Answers by means are not kept: there is no version that feedback could be about.
pub(super) fn check_prototype(request: &Predict) -> Result<()> {
    let because = match (request.prototype, request.store, request.version) {
        (true, true, _) => "answers of prototypes are not kept for feedback; leave `store` out",
        (true, _, Some(_)) => "an adapter of that version answers, or nothing does; leave `version` out",
        _ => return Ok(()),
    };
    Err(Fault::Inapplicable { because }.at("/prototype").into())
}

impl Service {
    /// Predicts by the nearest mean of the features of a class's examples.
    pub(super) async fn predict_unadapted(&self, origin: Origin, task: &Task, request: Predict) -> Result<Predicted> {
        let base = self.named_base(&task.base_model, "/base_model")?;
        if task.kind != Kind::Classification {
            return Err(Fault::Inapplicable { because: "only classes have prototypes" }.at("/prototype").into());
        }
        let query = self.query(origin, base, request.query, ("/query", "")).await?;
        let rows = rows_of(base, &query, "/prototype")?.clone();
        let (support, directions) = self.directions_of_task(origin, task, base).await?;
        let labelled = || {
            support.iter().zip(&directions).filter_map(|(support, direction)| match &support.example.target {
                Some(Target::Label(label)) => Some((label, direction, support.example.weight)),
                _ => None,
            })
        };
        let has_examples = |label: &&String| labelled().any(|(own, ..)| own == *label);
        let labels: Vec<String> = task.labels.iter().filter(has_examples).cloned().collect();
        if labels.len() < 2 {
            return Err(Fault::TooFewLabels { given: labels.len() }.at("/prototype").into());
        }
        let class = |label: &String| labels.iter().position(|own| own == label);
        let examples: Vec<(Direction, usize, f32)> = labelled()
            .filter_map(|(label, direction, weight)| Some((Direction::clone(direction), class(label)?, weight)))
            .collect();
        let (asked, way) = (self.directions(origin, base, rows).await?, labels.len());
        // Each example is compared with each mean: for thousands of them no work for a thread that others wait on.
        let compare = move || {
            let examples: Vec<_> =
                examples.iter().map(|(direction, class, weight)| (&**direction, *class, *weight)).collect();
            let prototypes = Prototypes::of(&examples, way);
            let values = asked.iter().flat_map(|direction| prototypes.scores(direction)).collect();
            (values, prototypes.calibration().clone())
        };
        let compared = tokio::task::spawn_blocking(compare).await;
        let (values, calibration) = compared.map_err(|_| ServiceError::Lost)?;
        let outputs = Outputs { width: way, values };
        let mut predictions = self.answers(task.kind, &outputs, &labels, Some(&calibration), request.style);
        put_replies(&mut predictions, task);
        if let Some(count) = request.style.nearest {
            put_nearest(&mut predictions, Some(self.nearest_of_task(origin, task, base, &query, count).await?));
        }
        self.meter(origin.tenant, Usage { predictions: predictions.len() as u64, ..Usage::default() });
        metrics::counter!("imprint_prototype_predictions_total").increment(predictions.len() as u64);
        Ok(Predicted { version: None, base: base.clone(), predictions, is_remembered: false })
    }
}
