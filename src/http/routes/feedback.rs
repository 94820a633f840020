//! What was right: evaluation on labelled examples, and feedback on predictions.

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::support::AddedBody;
use crate::domain::{Evaluation, LabelEvaluation, PredictionId, Span, TaskId, narrow};
use crate::http::AppState;
use crate::http::extract::{ApiJson, ApiPath, Caller, Maker};
use crate::http::object;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::tag_report::TagReportBody;
use crate::http::wire::{self, ExampleBody, SpanBody};
use crate::service::{Evaluated, Feedback, FeedbackTaken, OrderJudged};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(evaluate)).routes(routes!(take_feedback))
}

/// Labelled examples to be judged by.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EvaluateBody {
    /// The examples. They are not kept.
    #[serde(deserialize_with = "object::each")]
    #[schema(min_items = 1)]
    examples: Vec<ExampleBody>,
    /// The adapter's version; the active one by default.
    #[schema(minimum = 1)]
    version: Option<u32>,
}

/// What labelled examples say about a version.
#[derive(Debug, Default, Serialize, ToSchema)]
struct EvaluationBody {
    /// The version.
    version: u32,
    /// Examples.
    n: usize,
    /// Share that was answered right.
    #[serde(skip_serializing_if = "Option::is_none")]
    accuracy: Option<f64>,
    /// 95 % interval of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    accuracy_ci95: Option<[f64; 2]>,
    /// Mean over labels of their F1.
    #[serde(skip_serializing_if = "Option::is_none")]
    macro_f1: Option<f64>,
    /// How far, on average, confidence is from accuracy.
    #[serde(skip_serializing_if = "Option::is_none")]
    calibration_error: Option<f64>,
    /// Share that would be answered with `abstain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    coverage: Option<f64>,
    /// Share of those that was answered right.
    #[serde(skip_serializing_if = "Option::is_none")]
    precision_answered: Option<f64>,
    /// By label: the adapter's, then others that the examples have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    per_label: Vec<LabelEvaluationBody>,
    /// How often label `i` was called label `j`, in the order of `per_label`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    confusion: Vec<Vec<usize>>,
    /// Mean squared error, for regression.
    #[serde(skip_serializing_if = "Option::is_none")]
    mean_squared_error: Option<f64>,
    /// Normalised discounted cumulative gain of the first ten, for ranking: values above 0 are gains. Left out if nothing is
    /// liked.
    #[serde(skip_serializing_if = "Option::is_none")]
    ndcg_at_10: Option<f64>,
    /// Share of the pairs of different value that are in the right order, for ranking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pairs_in_order: Option<f64>,
    /// Precision, recall and F1, for tagging.
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<TagReportBody>,
}

/// What they say about one label.
#[derive(Debug, Serialize, ToSchema)]
struct LabelEvaluationBody {
    /// The label.
    label: String,
    /// Its examples.
    support: usize,
    /// Share of the answers of this label that were right; null if there were none.
    precision: Option<f64>,
    /// Share of its examples that were found; null if there were none.
    recall: Option<f64>,
    /// Harmonic mean of both.
    f1: f64,
}

impl From<LabelEvaluation> for LabelEvaluationBody {
    fn from(LabelEvaluation { label, support, precision, recall, f1 }: LabelEvaluation) -> Self {
        Self { label, support, precision, recall, f1 }
    }
}

impl EvaluationBody {
    fn new(version: u32, evaluated: Evaluated) -> Self {
        match evaluated {
            Evaluated::Labels(evaluation) => Self { version, ..Self::from(*evaluation) },
            Evaluated::Tags(report) => {
                Self { version, n: report.sentences, report: Some(TagReportBody::from(*report)), ..Self::default() }
            }
            Evaluated::Order(OrderJudged { n, ndcg, pairs_in_order }) => {
                Self { version, n, ndcg_at_10: ndcg, pairs_in_order, ..Self::default() }
            }
            Evaluated::Values { n, mean_squared_error } => {
                Self { version, n, mean_squared_error: Some(mean_squared_error), ..Self::default() }
            }
        }
    }
}

impl From<Evaluation> for EvaluationBody {
    fn from(evaluation: Evaluation) -> Self {
        Self {
            n: evaluation.n,
            accuracy: Some(evaluation.accuracy),
            accuracy_ci95: Some(evaluation.accuracy_ci95),
            macro_f1: Some(evaluation.macro_f1),
            calibration_error: Some(evaluation.calibration_error),
            coverage: Some(evaluation.coverage),
            precision_answered: evaluation.precision_answered,
            per_label: evaluation.per_label.into_iter().map(LabelEvaluationBody::from).collect(),
            confusion: evaluation.confusion,
            ..Self::default()
        }
    }
}

/// Judges a version by labelled examples. Nothing is stored.
#[utoipa::path(
    post, path = "/v1/tasks/{task}/evaluate", tag = "predict",
    params(("task" = String, Path, description = "The task's id")),
    request_body = EvaluateBody,
    responses((status = 200, body = EvaluationBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn evaluate(
    Maker(service): Maker,
    Caller(tenant): Caller,
    ApiPath(task): ApiPath<TaskId>,
    ApiJson(EvaluateBody { examples, version }): ApiJson<EvaluateBody>,
) -> Result<Json<EvaluationBody>, Problem> {
    let (version, evaluated) = service.evaluate(tenant, task, version, wire::given(examples)).await?;
    Ok(Json(EvaluationBody::new(version, evaluated)))
}

/// What would have been right.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FeedbackBody {
    /// Id of a prediction that was made with `store`.
    #[schema(value_type = String, example = "pred_0123456789abcdefghjkmnpqrs")]
    prediction_id: PredictionId,
    /// The right class, for classification.
    label: Option<String>,
    /// The right number, for regression; what was done with the item, for ranking.
    value: Option<f64>,
    /// The right spans, for tagging.
    spans: Option<Vec<SpanBody>>,
}

/// What came of feedback.
#[derive(Debug, Serialize, ToSchema)]
struct FeedbackTakenBody {
    /// Whether the prediction was right; null for a number.
    was_right: Option<bool>,
    /// What it did to the task's examples.
    support: AddedBody,
}

/// Adds what a stored prediction was asked, with what would have been right, to the task's examples.
#[utoipa::path(
    post, path = "/v1/tasks/{task}/feedback", tag = "support",
    params(("task" = String, Path, description = "The task's id")),
    request_body = FeedbackBody,
    responses((status = 200, body = FeedbackTakenBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn take_feedback(
    Maker(service): Maker,
    Caller(tenant): Caller,
    ApiPath(task): ApiPath<TaskId>,
    ApiJson(FeedbackBody { prediction_id, label, value, spans }): ApiJson<FeedbackBody>,
) -> Result<Json<FeedbackTakenBody>, Problem> {
    let spans = spans.map(|spans| spans.into_iter().map(Span::from).collect());
    let feedback = Feedback { prediction: prediction_id, label, value: value.map(narrow), spans };
    let FeedbackTaken { was_right, support } = service.take_feedback(tenant, task, feedback).await?;
    Ok(Json(FeedbackTakenBody { was_right, support: support.into() }))
}
