//! Evaluations: what labelled examples that are not kept say about a version.

use super::answering::Answers;
use super::inputs::check_count;
use super::predictions::numbers;
use super::prepared::Query;
use super::ranking::judge_order;
use super::targets::truth;
use super::{Answer, AnswerStyle, GivenExample, OrderJudged, Prediction, Result, Service};
use crate::domain::{Evaluation, Fault, Judged, Kind, TagReport, Target, TaskId, TenantId};
use crate::engine::Origin;

/// What labelled examples say about a version.
#[derive(Clone, Debug, PartialEq)]
pub enum Evaluated {
    /// About a classifier.
    Labels(Box<Evaluation>),
    /// About a tagger.
    Tags(Box<TagReport>),
    /// About an order of items.
    Order(OrderJudged),
    /// About a regression.
    Values {
        /// Examples.
        n: usize,
        /// Mean squared error.
        mean_squared_error: f64,
    },
}

impl Service {
    /// How well a version answers labelled examples, which are not kept.
    pub async fn evaluate(
        &self,
        tenant: TenantId,
        task: TaskId,
        version: Option<u32>,
        examples: Vec<GivenExample>,
    ) -> Result<(u32, Evaluated)> {
        let Answers { task, adapter, .. } = self.answering(tenant, task, version).await?;
        let base = self.base_of(&task, &adapter)?;
        let truths = examples
            .iter()
            .enumerate()
            .map(|(index, example)| truth(base, task.kind, example, &format!("/examples/{index}")))
            .collect::<Result<Vec<Target>, _>>()?;
        check_count("examples", truths.len(), base.manifest.limits.max_query, "/examples")?;
        if truths.is_empty() {
            return Err(Fault::TooFew { what: "examples", given: 0, least: 1 }.at("/examples").into());
        }
        let inputs = examples.into_iter().map(|example| example.input).collect();
        let origin = Origin::interactive(tenant);
        let query = self.query(origin, base, inputs, ("/examples", "/input")).await?;
        if let Query::Sentences(sentences) = query {
            let report = self.judge_tags(tenant, base, &adapter, sentences, &truths).await?;
            return Ok((adapter.version, Evaluated::Tags(Box::new(report))));
        }
        let style = AnswerStyle { abstain: true, ..AnswerStyle::default() };
        let predictions = self.predict_rows(origin, &task, &adapter, query, style).await?;
        let evaluated = match task.kind {
            Kind::Ranking => Evaluated::Order(judge_order(&truths, &numbers(&predictions))),
            _ => judged(&truths, predictions, adapter.labels),
        };
        Ok((adapter.version, evaluated))
    }
}

/// At least one truth, and as many predictions of the same kind.
fn judged(truths: &[Target], predictions: Vec<Prediction>, labels: Vec<String>) -> Evaluated {
    let (mut known, mut answers, mut errors) = (labels, Vec::new(), Vec::new());
    for (truth, Prediction { answer, .. }) in truths.iter().zip(predictions) {
        match (truth, answer) {
            (Target::Label(label), Answer::Label { label: predicted, confidence, abstained, .. }) => {
                if !known.contains(label) {
                    known.push(label.clone());
                }
                answers.push(Judged { label: label.clone(), predicted, confidence, abstained });
            }
            (Target::Value(truth), Answer::Value(value)) => errors.push(f64::from(value - truth).powi(2)),
            _ => {}
        }
    }
    match Evaluation::of(&answers, &known) {
        Some(evaluation) => Evaluated::Labels(Box::new(evaluation)),
        None => Evaluated::Values {
            n: errors.len(),
            mean_squared_error: errors.iter().sum::<f64>() / errors.len().max(1) as f64,
        },
    }
}
