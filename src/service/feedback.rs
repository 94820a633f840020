//! Feedback: what would have been right, about predictions that were kept.

use super::{Answer, Given, GivenExample, Page, Prediction, Result, Service, ServiceError, SupportAdded};
use crate::domain::{Input, PredictionId, Span, StoredPrediction, Target, TaskId, TenantId};

/// What would have been right.
#[derive(Clone, Debug)]
pub struct Feedback {
    /// The prediction.
    pub prediction: PredictionId,
    /// The right class, for classification.
    pub label: Option<String>,
    /// The right number, for regression; what was done with the item, for ranking.
    pub value: Option<f32>,
    /// The right spans, for tagging.
    pub spans: Option<Vec<Span>>,
}

/// What came of feedback.
#[derive(Clone, Debug)]
pub struct FeedbackTaken {
    /// Whether the prediction was right; none for a number.
    pub was_right: Option<bool>,
    /// What it did to the task's examples.
    pub support: SupportAdded,
}

impl Service {
    /// Adds what a kept prediction was asked, with what would have been right, to the task's examples.
    pub async fn take_feedback(&self, tenant: TenantId, task: TaskId, feedback: Feedback) -> Result<FeedbackTaken> {
        self.found_task(tenant, task).await?;
        let stored = self.store.find_prediction(tenant, task, feedback.prediction).await?;
        let StoredPrediction { input, answer, .. } = stored.ok_or(ServiceError::NotFound("prediction"))?;
        let Feedback { label, value, spans, .. } = feedback;
        let was_right = match (&answer, &label, &spans) {
            (Target::Label(answered), Some(label), None) => Some(answered == label),
            (Target::Spans(answered), None, Some(spans)) => {
                Some(answered.len() == spans.len() && spans.iter().all(|span| answered.contains(span)))
            }
            _ => None,
        };
        let example = GivenExample { label, value, spans, ..GivenExample::of(input) };
        let given = Given { examples: vec![example], unlabelled: Vec::new() };
        Ok(FeedbackTaken { was_right, support: self.add_support(tenant, task, given).await? })
    }

    /// Predictions of a task that are kept, newest first.
    pub async fn list_predictions(
        &self,
        tenant: TenantId,
        task: TaskId,
        page: Page<PredictionId>,
    ) -> Result<Vec<StoredPrediction>> {
        Ok(self.store.list_predictions(tenant, task, page).await?)
    }

    /// Keeps predictions for feedback.
    pub(super) async fn keep(
        &self,
        tenant: TenantId,
        task: TaskId,
        version: u32,
        query: Vec<Input>,
        predictions: &[Prediction],
    ) -> Result<()> {
        let now = self.clock.now();
        let kept: Vec<StoredPrediction> = query
            .into_iter()
            .zip(predictions)
            .map(|(input, prediction)| StoredPrediction {
                id: prediction.id,
                version,
                input,
                answer: match &prediction.answer {
                    Answer::Label { label, .. } => Target::Label(label.clone()),
                    Answer::Value(value) => Target::Value(*value),
                    Answer::Spans { spans, .. } => {
                        Target::Spans(spans.iter().map(|found| found.span.clone()).collect())
                    }
                },
                created_at: now,
            })
            .collect();
        let most = self.config.max_stored_predictions;
        let is_kept = self.store.store_predictions(tenant, task, &kept, most).await?;
        if is_kept { Ok(()) } else { Err(ServiceError::NotFound("task")) }
    }
}
