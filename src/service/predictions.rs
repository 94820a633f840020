//! Predictions: with a stored adapter, or with one that is made for a single request.

use std::time::{Duration, Instant};

use super::examples::assemble;
use super::tasks::check_kind;
use super::{Given, Result, Service, ServiceError};
use crate::domain::{
    BaseModel, Example, Fault, Input, Kind, Outputs, PredictionId, Quality, Recipe, Target, TaskId, TenantId, argmax,
};
use crate::engine::Origin;

/// A query to a task.
#[derive(Clone, Debug)]
pub struct Predict {
    /// What to predict.
    pub query: Vec<Input>,
    /// The adapter's version; the active one by default.
    pub version: Option<u32>,
    /// Most scores of each prediction; all by default.
    pub top_k: Option<usize>,
    /// After this nobody waits for the answer.
    pub deadline: Option<Instant>,
}

/// Answers of a task.
#[derive(Clone, Debug)]
pub struct Predicted {
    /// The version that answered.
    pub version: u32,
    /// The base model that it stands on.
    pub base: BaseModel,
    /// One a query input, in order.
    pub predictions: Vec<Prediction>,
}

/// A support set and a query in one.
#[derive(Clone, Debug)]
pub struct AdaptPredict {
    /// The base model.
    pub base_model: String,
    /// What is asked; the base model's first kind by default.
    pub kind: Option<Kind>,
    /// What to adapt to.
    pub support: Given,
    /// What to predict.
    pub query: Vec<Input>,
    /// How to adapt.
    pub recipe: Recipe,
    /// Most scores of each prediction; all by default.
    pub top_k: Option<usize>,
    /// After this nobody waits for the answer.
    pub deadline: Option<Instant>,
}

/// Answers to a support set and a query.
#[derive(Clone, Debug)]
pub struct AdaptPredicted {
    /// The base model that answered.
    pub base: BaseModel,
    /// Hash of the support set.
    pub support_hash: String,
    /// One a query input, in order.
    pub predictions: Vec<Prediction>,
    /// The adapter's estimate of itself.
    pub quality: Option<Quality>,
    /// From the request's checks to the answer, the queue included.
    pub took: Duration,
}

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Its id.
    pub id: PredictionId,
    /// The answer.
    pub answer: Answer,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A class.
    Label {
        /// The most probable label.
        label: String,
        /// Its probability.
        confidence: f64,
        /// Labels and probabilities, most probable first.
        scores: Vec<(String, f64)>,
    },
    /// A number.
    Value(f32),
}

impl Service {
    /// Predicts with a task's adapter.
    pub async fn predict(&self, tenant: TenantId, task: TaskId, request: Predict) -> Result<Predicted> {
        let task = self.found_task(tenant, task).await?;
        let base = self.named_base(&task.base_model, "/base_model")?;
        check_top_k(request.top_k)?;
        let found = self.store.find_adapter(tenant, task.id, request.version).await?;
        let adapter = found.ok_or_else(|| match request.version {
            Some(_) => ServiceError::NotFound("adapter"),
            None => ServiceError::Conflict {
                code: "not_adapted",
                detail: "this task has no adapter yet; POST its adaptations first".to_owned(),
            },
        })?;
        if adapter.base_sha256 != base.sha256 {
            return Err(ServiceError::Conflict {
                code: "base_model_changed",
                detail: "the base model has changed since this adapter was made; adapt the task again".to_owned(),
            });
        }
        let query = self.query(base, request.query).await?;
        let blob = self.load_adapter(tenant, &adapter).await?;
        let origin = Origin { deadline: request.deadline, ..Origin::interactive(tenant) };
        let outputs = self.engine.predict(origin, &base.manifest.name, blob, query).await?;
        let predictions = self.answers(task.kind, &outputs, &adapter.labels, request.top_k);
        Ok(Predicted { version: adapter.version, base: base.clone(), predictions })
    }

    /// Adapts and predicts in one; nothing is stored.
    pub async fn adapt_predict(&self, tenant: TenantId, request: AdaptPredict) -> Result<AdaptPredicted> {
        let started = Instant::now();
        let base = self.named_base(&request.base_model, "/base_model")?;
        let kind = check_kind(base, request.kind)?;
        check_top_k(request.top_k)?;
        self.check_recipe(base, &request.recipe, "/recipe")?;
        if request.support.examples.is_empty() {
            return Err(Fault::EmptySupport.at("/support").into());
        }
        let checked = self.check_examples(base, kind, &[], true, request.support, "/support").await?;
        let query = self.query(base, request.query).await?;
        let targets: Vec<Option<Target>> = checked.examples.into_iter().map(|Example { target, .. }| target).collect();
        let (support, labels) =
            assemble(base, kind, &checked.new_labels, &checked.rows, &targets).map_err(|fault| fault.at("/support"))?;
        let (hash, of_support) = (support.hash().to_owned(), support.targets().clone());
        let origin = Origin { deadline: request.deadline, ..Origin::interactive(tenant) };
        let base_name = &base.manifest.name;
        let (adapted, outputs) = self.engine.adapt_predict(origin, base_name, support, request.recipe, query).await?;
        let quality =
            adapted.leave_one_out.and_then(|held_out| Quality::from_leave_one_out(&held_out, &of_support, &labels));
        Ok(AdaptPredicted {
            base: base.clone(),
            support_hash: hash,
            predictions: self.answers(kind, &outputs, &labels, request.top_k),
            quality,
            took: started.elapsed(),
        })
    }

    fn answers(&self, kind: Kind, outputs: &Outputs, labels: &[String], top_k: Option<usize>) -> Vec<Prediction> {
        let answer = |row: &[f32]| match kind {
            Kind::Regression => Answer::Value(row[0]),
            Kind::Classification => classified(row, labels, top_k),
        };
        outputs.rows().map(|row| Prediction { id: PredictionId::fresh(&*self.ids), answer: answer(row) }).collect()
    }
}

fn check_top_k(top_k: Option<usize>) -> Result<()> {
    match top_k {
        Some(0) => Err(Fault::OutOfRange { given: 0, least: 1, most: i64::from(u32::MAX) }.at("/top_k").into()),
        _ => Ok(()),
    }
}

/// Probabilities of one row of logits, most probable first; of equals, in the order of the labels.
fn classified(logits: &[f32], labels: &[String], top_k: Option<usize>) -> Answer {
    let best = argmax(logits);
    let exponentials: Vec<f64> = logits.iter().map(|&logit| f64::from(logit - logits[best]).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&one, &other| logits[other].total_cmp(&logits[one]));
    let scores: Vec<(String, f64)> = order
        .into_iter()
        .take(top_k.unwrap_or(usize::MAX))
        .map(|class| (labels[class].clone(), exponentials[class] / sum))
        .collect();
    Answer::Label { label: labels[best].clone(), confidence: exponentials[best] / sum, scores }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Vec<String> {
        ["a", "b", "c"].map(str::to_owned).to_vec()
    }

    #[test]
    fn probabilities_are_the_softmax_of_the_logits_and_survive_large_ones() {
        let Answer::Label { label, confidence, scores } =
            classified(&[1000.0, 1000.0 + 2f32.ln(), -1000.0], &labels(), None)
        else {
            panic!("a class")
        };

        assert_eq!(label, "b");
        assert!((confidence - 2.0 / 3.0).abs() < 1e-4); // ln 2 is rounded at 1000
        assert_eq!(scores.iter().map(|(label, _)| label.as_str()).collect::<Vec<_>>(), ["b", "a", "c"]);
        assert!((scores.iter().map(|(_, score)| score).sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn top_k_keeps_the_most_probable() {
        let Answer::Label { scores, .. } = classified(&[0.0, 1.0, 2.0], &labels(), Some(1)) else { panic!("a class") };

        assert_eq!(scores.len(), 1);
        assert_eq!(scores[0].0, "c");
    }
}
