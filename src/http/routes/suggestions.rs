//! Suggestions: what to label next.

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::{Input, TaskId};
use crate::http::AppState;
use crate::http::extract::{ApiJson, ApiPath, Caller, Maker};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::wire::InputDoc;
use crate::service::{Suggest, Suggestion};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(suggest))
}

/// Inputs that nobody has labelled.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SuggestBody {
    /// The inputs.
    #[schema(value_type = Vec<InputDoc>, min_items = 1)]
    query: Vec<Input>,
    /// The adapter's version; the active one by default.
    #[schema(minimum = 1)]
    version: Option<u32>,
    /// Most suggestions.
    #[serde(default = "default_limit")]
    #[schema(default = 10, minimum = 1, maximum = 100)]
    limit: usize,
}

const fn default_limit() -> usize {
    10
}

/// An input that is worth labelling.
#[derive(Debug, Serialize, ToSchema)]
struct SuggestionBody {
    /// Its place in `query`, from 0.
    index: usize,
    /// How unsure the adapter is of it: 1 less the margin between the two most probable labels.
    unsureness: f64,
    /// How unlike those before it: 1 less the cosine to the most like one; 1 where features are each task's own.
    novelty: f64,
    /// What the adapter would say.
    label: String,
    /// With which probability.
    confidence: f64,
}

impl From<Suggestion> for SuggestionBody {
    fn from(Suggestion { index, unsureness, novelty, label, confidence }: Suggestion) -> Self {
        Self { index, unsureness, novelty, label, confidence }
    }
}

/// What to label next.
#[derive(Debug, Serialize, ToSchema)]
struct SuggestedBody {
    /// The task.
    #[schema(value_type = String)]
    task: TaskId,
    /// The version that was asked.
    version: u32,
    /// In the order in which to label them.
    suggestions: Vec<SuggestionBody>,
}

/// Which of these inputs to label next: those that the adapter is least sure of, unlike each other.
#[utoipa::path(
    post, path = "/v1/tasks/{task}/suggestions", tag = "support",
    params(("task" = String, Path, description = "The task's id")),
    request_body = SuggestBody,
    responses((status = 200, body = SuggestedBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn suggest(
    Maker(service): Maker,
    Caller(tenant): Caller,
    ApiPath(task): ApiPath<TaskId>,
    ApiJson(SuggestBody { query, version, limit }): ApiJson<SuggestBody>,
) -> Result<Json<SuggestedBody>, Problem> {
    let (version, found) = service.suggest(tenant, task, Suggest { query, version, limit }).await?;
    Ok(Json(SuggestedBody { task, version, suggestions: found.into_iter().map(SuggestionBody::from).collect() }))
}
