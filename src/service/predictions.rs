//! Predictions: with a stored adapter, or with one that is made for a single request.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::answering::{Answers, Found, not_adapted};
use super::inputs::Asked;
use super::nearest::check_nearest;
use super::prepared::{Prepared, Query};
use super::prototype::check_prototype;
use super::tasks::check_kind;
use super::{Given, Neighbour, Result, Service, ServiceError};
use crate::domain::{
    Adapter, BaseModel, Calibration, Fault, Input, Kind, Outputs, PredictionId, Quality, Recipe, Span, Task, TaskId,
    TenantId, Usage, argmax, duplicates, probabilities,
};
use crate::engine::Origin;

/// Most versions that are compared at a time.
const MAX_COMPARED: usize = 8;

/// A query to a task.
#[derive(Clone, Debug)]
pub struct Predict {
    /// What to predict.
    pub query: Vec<Input>,
    /// The adapter's version; the active one by default.
    pub version: Option<u32>,
    /// How to answer.
    pub style: AnswerStyle,
    /// Whether to keep the predictions for feedback.
    pub store: bool,
    /// Whether the means of the examples' features may answer while there is no adapter.
    pub prototype: bool,
    /// After this nobody waits for the answer.
    pub deadline: Option<Instant>,
}

/// How to answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnswerStyle {
    /// Most scores of each prediction; all by default.
    pub top_k: Option<usize>,
    /// Whether to abstain from answers that are not sure enough to be right in 95 % of cases, by the adapter's own
    /// estimate.
    pub abstain: bool,
    /// How many of the nearest examples to name with each answer.
    pub nearest: Option<usize>,
}

/// Answers of several versions to one query.
#[derive(Clone, Debug)]
pub struct Compared {
    /// One a version, in the order asked for.
    pub answers: Vec<Predicted>,
    /// Share of the query's inputs on which all versions say the same label; none for regression.
    pub agreement: Option<f64>,
}

/// Answers of a task.
#[derive(Clone, Debug)]
pub struct Predicted {
    /// The version that answered; none while there is no adapter, and the means of the examples' features answered.
    pub version: Option<u32>,
    /// The base model that it stands on.
    pub base: BaseModel,
    /// One a query input, in order.
    pub predictions: Vec<Prediction>,
    /// Whether the store is away, and the version is the one that it named before.
    pub is_remembered: bool,
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
    /// How to answer.
    pub style: AnswerStyle,
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
    /// What the task answers for the label, unless the adapter abstained.
    pub reply: Option<String>,
    /// The nearest examples, if they were asked for.
    pub nearest: Option<Vec<Neighbour>>,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A class.
    Label {
        /// The most probable label.
        label: String,
        /// Its probability.
        confidence: f64,
        /// Whether that is too little to answer, for one who would rather have no answer than a wrong one.
        abstained: bool,
        /// Labels and probabilities, most probable first.
        scores: Vec<(String, f64)>,
    },
    /// A number, or the score of an item.
    Value(f32),
    /// Stretches of a text.
    Spans {
        /// In order of place.
        spans: Vec<AnswerSpan>,
        /// A tag for each word, where the words were given.
        tags: Vec<String>,
    },
}

/// A stretch of a text that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnswerSpan {
    /// Where it is, and what.
    pub span: Span,
    /// Its text.
    pub text: String,
    /// The probability that exactly this is one.
    pub probability: f64,
}

impl Answer {
    /// The label, unless the adapter abstained.
    fn given(&self) -> Option<&str> {
        match self {
            Self::Label { label, abstained: false, .. } => Some(label),
            Self::Label { .. } | Self::Value(_) | Self::Spans { .. } => None,
        }
    }
}

/// What the task answers for each label.
pub(super) fn put_replies(predictions: &mut [Prediction], task: &Task) {
    for prediction in predictions {
        prediction.reply = prediction.answer.given().and_then(|label| task.answers.get(label)).cloned();
    }
}

pub(super) fn put_nearest(predictions: &mut [Prediction], nearest: Option<Vec<Vec<Neighbour>>>) {
    for (prediction, nearest) in predictions.iter_mut().zip(nearest.into_iter().flatten()) {
        prediction.nearest = Some(nearest);
    }
}

impl Service {
    /// Predicts with a task's adapter.
    #[tracing::instrument(skip_all, fields(task.id = %task))]
    pub async fn predict(&self, tenant: TenantId, task: TaskId, request: Predict) -> Result<Predicted> {
        check_style(request.style)?;
        check_prototype(&request)?;
        let origin = Origin { deadline: request.deadline, ..Origin::interactive(tenant) };
        let Answers { task, adapter, is_remembered } = match self.found_answers(tenant, task, request.version).await? {
            Found::Answers(answers) => *answers,
            Found::NotAdapted(task) if request.prototype => {
                return self.predict_unadapted(origin, &task, request).await;
            }
            Found::NotAdapted(_) => return Err(not_adapted()),
        };
        let kept = if request.store { request.query.clone() } else { Vec::new() };
        if request.store {
            self.take_room_for(tenant, kept.iter()).await?;
        }
        let base = self.base_of(&task, &adapter)?;
        let query = self.query(origin, base, request.query, ("/query", "")).await?;
        let nearest = match request.style.nearest {
            Some(count) => Some(self.nearest_of_task(origin, &task, base, &query, count).await?),
            None => None,
        };
        let mut predictions = self.predict_rows(origin, &task, &adapter, query, request.style).await?;
        put_replies(&mut predictions, &task);
        put_nearest(&mut predictions, nearest);
        if request.store {
            self.keep(tenant, task.id, adapter.version, kept, &predictions).await?;
        }
        self.show(tenant, &task, &predictions).await;
        Ok(Predicted { version: Some(adapter.version), base: base.clone(), predictions, is_remembered })
    }

    /// The same query to several versions.
    pub async fn compare(
        &self,
        tenant: TenantId,
        task: TaskId,
        versions: &[u32],
        query: Vec<Input>,
    ) -> Result<Compared> {
        let task = self.found_task(tenant, task).await?;
        if !(2..=MAX_COMPARED).contains(&versions.len()) {
            let given = i64::try_from(versions.len()).unwrap_or(i64::MAX);
            return Err(Fault::OutOfRange { given, least: 2, most: MAX_COMPARED as i64 }.at("/versions").into());
        }
        let (origin, style) = (Origin::interactive(tenant), AnswerStyle::default());
        let mut answers = Vec::with_capacity(versions.len());
        for &version in versions {
            let Answers { adapter, is_remembered, .. } = self.answering(tenant, task.id, Some(version)).await?;
            // Each base model sees inputs in its own way.
            let base = self.base_of(&task, &adapter)?.clone();
            let asked = self.query(origin, &base, query.clone(), ("/query", "")).await?;
            let predictions = self.predict_rows(origin, &task, &adapter, asked, style).await?;
            answers.push(Predicted { version: Some(adapter.version), base, predictions, is_remembered });
        }
        Ok(Compared { agreement: agreement(&answers), answers })
    }

    /// What an adapter says to a query, without replies and neighbours.
    pub(super) async fn predict_rows(
        &self,
        origin: Origin,
        task: &Task,
        adapter: &Adapter,
        query: Query,
        style: AnswerStyle,
    ) -> Result<Vec<Prediction>> {
        let base = self.base_of(task, adapter)?;
        let blob = self.load_adapter(origin.tenant, adapter).await?;
        let predictions = match query {
            Query::Sentences(sentences) => self.tag(origin, base, blob, &adapter.labels, sentences).await?,
            Query::Rows(rows) => {
                let outputs = self.engine.predict(origin, &base.manifest.name, blob, rows).await?;
                let calibration = adapter.quality.as_ref().and_then(|quality| quality.calibration.as_ref());
                self.answers(task.kind, &outputs, &adapter.labels, calibration, style)
            }
        };
        self.meter(origin.tenant, Usage { predictions: predictions.len() as u64, ..Usage::default() });
        Ok(predictions)
    }

    /// Adapts and predicts in one; nothing is stored.
    #[tracing::instrument(skip_all, fields(base_model = request.base_model))]
    pub async fn adapt_predict(&self, tenant: TenantId, request: AdaptPredict) -> Result<AdaptPredicted> {
        let started = Instant::now();
        let base = self.named_base(&request.base_model, "/base_model")?;
        let kind = check_kind(base, request.kind)?;
        check_style(request.style)?;
        self.check_recipe(base, &request.recipe, "/recipe")?;
        self.check_compute(tenant).await?;
        if request.support.examples.is_empty() {
            return Err(Fault::EmptySupport.at("/support").into());
        }
        let origin = Origin { deadline: request.deadline, ..Origin::interactive(tenant) };
        let asked = Asked { origin, pointer: "/support" };
        let checked = self.check_examples(base, kind, &[], true, request.support, asked).await?;
        let query = self.query(origin, base, request.query, ("/query", "")).await?;
        let nearest = match request.style.nearest {
            Some(count) => Some(self.nearest_given(origin, base, &checked, &query, count).await?),
            None => None,
        };
        let (support, labels) = self.prepared_once(origin, base, kind, checked).await?;
        let support_hash = support.hash().to_owned();
        let (mut predictions, quality) = match (support, query) {
            (Prepared::Rows(support), Query::Rows(query)) => {
                let (of_support, order) = (support.targets().clone(), support.order().to_vec());
                let twice = duplicates(&support, &labels);
                let name = &base.manifest.name;
                let (adapted, outputs) =
                    self.engine.adapt_predict(origin, name, support, request.recipe, query).await?;
                let judge = |held_out| {
                    let quality = Quality::of(&held_out, &of_support, &labels, &order)?;
                    Some(Quality { duplicates: twice, ..quality })
                };
                let quality = adapted.held_out.and_then(judge);
                let calibration = quality.as_ref().and_then(|quality| quality.calibration.as_ref());
                (self.answers(kind, &outputs, &labels, calibration, request.style), quality)
            }
            (support, Query::Sentences(sentences)) => {
                let (blob, quality) = self.adapt(origin, base, &support, request.recipe, &labels, |_| {}).await?;
                (self.tag(origin, base, blob, &labels, sentences).await?, quality)
            }
            // A base model takes either, in its support and in its queries.
            (Prepared::Sentences(_), Query::Rows(_)) => return Err(ServiceError::Lost),
        };
        put_nearest(&mut predictions, nearest);
        let compute_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let answered = predictions.len() as u64;
        self.meter(tenant, Usage { requests: 0, predictions: answered, adaptations: 1, compute_ms });
        Ok(AdaptPredicted { base: base.clone(), support_hash, predictions, quality, took: started.elapsed() })
    }

    pub(super) fn answers(
        &self,
        kind: Kind,
        outputs: &Outputs,
        labels: &[String],
        calibration: Option<&Calibration>,
        style: AnswerStyle,
    ) -> Vec<Prediction> {
        let answer = |row: &[f32]| match kind {
            Kind::Regression | Kind::Tagging | Kind::Ranking => Answer::Value(row[0]),
            Kind::Classification => classified(row, labels, calibration, style),
        };
        let prediction = |row: &[f32]| {
            let (id, answer) = (PredictionId::fresh(&*self.ids), answer(row));
            Prediction { id, answer, reply: None, nearest: None }
        };
        outputs.rows().map(prediction).collect()
    }
}

/// What is answered where answers are numbers.
pub(super) fn numbers(predictions: &[Prediction]) -> Vec<f32> {
    let number = |prediction: &Prediction| if let Answer::Value(value) = prediction.answer { value } else { f32::NAN };
    predictions.iter().map(number).collect()
}

/// Share of inputs to which all say the same label.
fn agreement(answers: &[Predicted]) -> Option<f64> {
    let label = |prediction: &Prediction| match &prediction.answer {
        Answer::Label { label, .. } => Some(label.clone()),
        Answer::Value(_) | Answer::Spans { .. } => None,
    };
    let labels = |predicted: &Predicted| predicted.predictions.iter().map(label).collect::<Option<Vec<String>>>();
    let all = answers.iter().map(labels).collect::<Option<Vec<_>>>()?;
    let (first, others) = all.split_first()?;
    let agreed = (0..first.len()).filter(|&row| others.iter().all(|other| other[row] == first[row])).count();
    Some(agreed as f64 / first.len() as f64)
}

pub(super) fn check_style(style: AnswerStyle) -> Result<()> {
    if style.top_k == Some(0) {
        return Err(Fault::OutOfRange { given: 0, least: 1, most: i64::from(u32::MAX) }.at("/top_k").into());
    }
    style.nearest.map_or(Ok(()), |count| Ok(check_nearest(count, "/nearest")?))
}

/// Probabilities of one row of logits, most probable first; of equals, in the order of the labels.
fn classified(logits: &[f32], labels: &[String], calibration: Option<&Calibration>, style: AnswerStyle) -> Answer {
    let best = argmax(logits);
    let shares = calibration.map_or_else(|| probabilities(logits, 1.0), |fitted| fitted.probabilities(logits));
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&one, &other| logits[other].total_cmp(&logits[one]));
    let scores: Vec<(String, f64)> = order
        .into_iter()
        .take(style.top_k.unwrap_or(usize::MAX))
        .map(|class| (labels[class].clone(), shares[class]))
        .collect();
    let confidence = shares[best];
    let abstained = style.abstain && calibration.is_some_and(|fitted| confidence < fitted.abstain_below);
    Answer::Label { label: labels[best].clone(), confidence, abstained, scores }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Vec<String> {
        ["a", "b", "c"].map(str::to_owned).to_vec()
    }

    #[test]
    fn probabilities_are_the_softmax_of_the_logits_and_survive_large_ones() {
        let Answer::Label { label, confidence, scores, .. } =
            classified(&[1000.0, 1000.0 + 2f32.ln(), -1000.0], &labels(), None, AnswerStyle::default())
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
        let style = AnswerStyle { top_k: Some(1), ..AnswerStyle::default() };
        let Answer::Label { scores, .. } = classified(&[0.0, 1.0, 2.0], &labels(), None, style) else {
            panic!("a class")
        };

        assert_eq!(scores.len(), 1);
        assert_eq!(scores[0].0, "c");
    }

    #[test]
    fn an_answer_below_the_fitted_line_is_withheld_from_one_who_asks_for_that() {
        let fitted = Calibration { temperature: 2.0, error: 0.0, abstain_below: 0.8, coverage: 0.5 };
        let answer = |abstain, logit| {
            let style = AnswerStyle { abstain, ..AnswerStyle::default() };
            match classified(&[logit, 0.0, -100.0], &labels(), Some(&fitted), style) {
                Answer::Label { confidence, abstained, .. } => (confidence, abstained),
                _ => panic!("a class"),
            }
        };

        let (confidence, abstained) = answer(true, 2.0); // σ(2/2) = 0.73
        assert!((confidence - 0.731_058).abs() < 1e-5 && abstained, "{confidence}");
        assert!(!answer(false, 2.0).1 && !answer(true, 4.0).1);
    }
}
