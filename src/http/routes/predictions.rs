//! Predictions.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::{Input, Kind, TaskId};
use crate::http::AppState;
use crate::http::extract::{ApiJson, ApiPath, Caller, Deadline, Maker};
use crate::http::object;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::quality::QualityBody;
use crate::http::wire::{self, BaseRef, ExampleBody, InputDoc, PredictionBody, RecipeBody};
use crate::service::{AdaptPredict, AdaptPredicted, AnswerStyle, Compared, Given, Predict, Predicted};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(predict)).routes(routes!(adapt_predict)).routes(routes!(compare))
}

/// An answer of a task, by the version that was active when the database last said so if that is away.
pub(super) struct Answered<T> {
    pub body: T,
    pub is_remembered: bool,
}

impl<T: Serialize> IntoResponse for Answered<T> {
    fn into_response(self) -> Response {
        let degraded = self.is_remembered.then_some([("x-degraded", "database")]);
        (degraded, Json(self.body)).into_response()
    }
}

/// What to predict.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PredictBody {
    /// Inputs.
    #[schema(value_type = Vec<InputDoc>, min_items = 1)]
    query: Vec<Input>,
    /// The adapter's version; the active one by default.
    #[schema(minimum = 1)]
    version: Option<u32>,
    /// Most scores of each prediction; all by default.
    #[schema(minimum = 1)]
    top_k: Option<usize>,
    /// Whether to mark answers that are not sure enough to be right in 95 % of cases, by the adapter's own estimate.
    #[serde(default)]
    abstain: bool,
    /// How many of the task's nearest examples to name with each prediction.
    #[schema(minimum = 1, maximum = 20)]
    nearest: Option<usize>,
    /// Whether to keep the predictions, so that `feedback` can name them.
    #[serde(default)]
    store: bool,
    /// While the task has no adapter: whether the means of its examples' features may answer, in place of 409
    /// `not_adapted`. Classification alone.
    #[serde(default)]
    prototype: bool,
}

/// Answers of a task.
#[derive(Debug, Serialize, ToSchema)]
struct PredictedBody {
    /// The task.
    #[schema(value_type = String)]
    task: TaskId,
    /// Who answered: an `adapter`, or, while there is none, a `prototype` of each class.
    #[schema(value_type = String, example = "adapter")]
    served_by: &'static str,
    /// The version that answered; null for prototypes.
    version: Option<u32>,
    /// The base model that it stands on.
    base_model: BaseRef,
    /// One a query input, in order.
    predictions: Vec<PredictionBody>,
}

impl PredictedBody {
    fn new(task: TaskId, Predicted { version, base, predictions, .. }: Predicted) -> Self {
        let served_by = if version.is_some() { "adapter" } else { "prototype" };
        Self { task, served_by, version, base_model: BaseRef::from(&base), predictions: wire::predictions(predictions) }
    }
}

/// Predicts with a task's adapter.
#[utoipa::path(
    post, path = "/v1/tasks/{task}/predict", tag = "predict",
    params(
        ("task" = String, Path, description = "The task's id"),
        ("X-Request-Timeout-Ms" = Option<u32>, Header, minimum = 1, description = "After so long the answer is of no use: 504")
    ),
    request_body = PredictBody,
    responses((status = 200, body = PredictedBody, headers(
            ("X-Degraded" = Option<String>, description = "`database`: it is away, and the version is the one that was active when it was last asked")
        )), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn predict(
    Maker(service): Maker,
    Caller(tenant): Caller,
    Deadline(deadline): Deadline,
    ApiPath(task): ApiPath<TaskId>,
    ApiJson(PredictBody { query, version, top_k, abstain, nearest, store, prototype }): ApiJson<PredictBody>,
) -> Result<Answered<PredictedBody>, Problem> {
    let style = AnswerStyle { top_k, abstain, nearest };
    let request = Predict { query, version, style, store, prototype, deadline };
    let predicted = service.predict(tenant, task, request).await?;
    Ok(Answered { is_remembered: predicted.is_remembered, body: PredictedBody::new(task, predicted) })
}

/// A support set and a query in one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AdaptPredictBody {
    /// The base model's name.
    #[schema(example = "omniglot")]
    base_model: String,
    /// What is asked; the base model's first kind by default.
    #[schema(value_type = Option<String>, example = "classification")]
    kind: Option<Kind>,
    /// What to adapt to.
    #[serde(deserialize_with = "object::each")]
    support: Vec<ExampleBody>,
    /// Inputs that nobody has labelled, for base models that learn from such, too (`takes_unlabelled`).
    #[schema(value_type = Vec<InputDoc>)]
    #[serde(default)]
    unlabelled: Vec<Input>,
    /// What to predict.
    #[schema(value_type = Vec<InputDoc>, min_items = 1)]
    query: Vec<Input>,
    /// How to adapt.
    #[serde(default, deserialize_with = "object::one")]
    recipe: RecipeBody,
    /// Most scores of each prediction; all by default.
    #[schema(minimum = 1)]
    top_k: Option<usize>,
    /// Whether to mark answers that are not sure enough to be right in 95 % of cases, by the adapter's own estimate.
    #[serde(default)]
    abstain: bool,
    /// How many of the nearest examples to name with each prediction.
    #[schema(minimum = 1, maximum = 20)]
    nearest: Option<usize>,
}

/// Answers to a support set and a query.
#[derive(Debug, Serialize, ToSchema)]
struct AdaptPredictedBody {
    /// The base model that answered.
    base_model: BaseRef,
    /// Hash of the support set, whatever its order.
    support_hash: String,
    /// One a query input, in order.
    predictions: Vec<PredictionBody>,
    /// The adapter's estimate of itself; null if no label has two examples, or the learner has none in closed form.
    quality: Option<QualityBody>,
    /// From the request's checks to the answer, in milliseconds.
    took_ms: f64,
}

/// Adapts and predicts in one call; nothing is stored.
#[utoipa::path(
    post, path = "/v1/adapt-predict", tag = "predict",
    params(("X-Request-Timeout-Ms" = Option<u32>, Header, minimum = 1, description = "After so long the answer is of no use: 504")),
    request_body(content = AdaptPredictBody, example = json!({
        "base_model": "sinusoid",
        "support": [{"input": [0.5], "value": 1.2}, {"input": [1.5], "value": 2.4}, {"input": [-2.0], "value": -2.3}],
        "query": [[0.0], [1.0]]
    })),
    responses((status = 200, body = AdaptPredictedBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn adapt_predict(
    Maker(service): Maker,
    Caller(tenant): Caller,
    Deadline(deadline): Deadline,
    ApiJson(body): ApiJson<AdaptPredictBody>,
) -> Result<Json<AdaptPredictedBody>, Problem> {
    let AdaptPredictBody { base_model, kind, support, unlabelled, query, recipe, top_k, abstain, nearest } = body;
    let style = AnswerStyle { top_k, abstain, nearest };
    let support = Given { examples: wire::given(support), unlabelled };
    let request = AdaptPredict { base_model, kind, support, query, recipe: recipe.into(), style, deadline };
    Ok(Json(service.adapt_predict(tenant, request).await?.into()))
}

impl From<AdaptPredicted> for AdaptPredictedBody {
    fn from(predicted: AdaptPredicted) -> Self {
        Self {
            base_model: BaseRef::from(&predicted.base),
            support_hash: predicted.support_hash,
            predictions: wire::predictions(predicted.predictions),
            quality: predicted.quality.map(QualityBody::from),
            took_ms: predicted.took.as_secs_f64() * 1e3,
        }
    }
}

/// A query to several versions.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CompareBody {
    /// The versions, 2 to 8.
    #[schema(min_items = 2, max_items = 8)]
    versions: Vec<u32>,
    /// Inputs.
    #[schema(value_type = Vec<InputDoc>, min_items = 1)]
    query: Vec<Input>,
}

/// Answers of several versions.
#[derive(Debug, Serialize, ToSchema)]
struct ComparedBody {
    /// One a version, in the order asked for.
    versions: Vec<PredictedBody>,
    /// Share of the query's inputs on which all versions say the same label; null for regression.
    agreement: Option<f64>,
}

/// Asks several versions the same.
#[utoipa::path(
    post, path = "/v1/tasks/{task}/compare", tag = "predict",
    params(("task" = String, Path, description = "The task's id")),
    request_body = CompareBody,
    responses((status = 200, body = ComparedBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn compare(
    Maker(service): Maker,
    Caller(tenant): Caller,
    ApiPath(task): ApiPath<TaskId>,
    ApiJson(CompareBody { versions, query }): ApiJson<CompareBody>,
) -> Result<Json<ComparedBody>, Problem> {
    let Compared { answers, agreement } = service.compare(tenant, task, &versions, query).await?;
    let versions = answers.into_iter().map(|answer| PredictedBody::new(task, answer)).collect();
    Ok(Json(ComparedBody { versions, agreement }))
}
