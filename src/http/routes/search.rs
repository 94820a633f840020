//! Search: what a task has that is like a query.

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::{Input, Signal, Support, SupportId, Target, TaskId};
use crate::http::AppState;
use crate::http::extract::{ApiJson, ApiPath, Caller, Maker};
use crate::http::page::List;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::wire::InputDoc;
use crate::service::{Found, Hit, Search};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(search))
}

/// What to look for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchBody {
    /// What it should be like: an input, as for `predict`.
    #[schema(value_type = InputDoc)]
    query: Input,
    /// Only of this label.
    label: Option<String>,
    /// Most hits.
    #[serde(default = "default_limit")]
    #[schema(default = 5, minimum = 1, maximum = 20)]
    limit: usize,
}

const fn default_limit() -> usize {
    5
}

/// Something that is like the query.
#[derive(Debug, Default, Serialize, ToSchema)]
struct HitBody {
    /// `example` or `answer`.
    #[schema(pattern = "^(example|answer)$")]
    object: &'static str,
    /// Id of the example.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    id: Option<SupportId>,
    /// Your own name for the example.
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<String>,
    /// Text of the example, if its input is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Label of the example or of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// Number of the example.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f32>,
    /// The answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
    /// The cosine between its features and the query's: 1 for the same.
    similarity: f64,
}

impl From<Hit> for HitBody {
    fn from(Hit { found, similarity }: Hit) -> Self {
        match found {
            Found::Answer { label, answer } => {
                Self { object: "answer", label: Some(label), answer: Some(answer), similarity, ..Self::default() }
            }
            Found::Example(support) => {
                let Support { id, example, .. } = *support;
                let text = example.input.text().map(str::to_owned);
                let (label, value) = match example.target {
                    Some(Target::Label(label)) => (Some(label), None),
                    Some(Target::Value(value) | Target::Signal(Signal { value, .. })) => (None, Some(value)),
                    Some(Target::Spans(_)) | None => (None, None),
                };
                let (id, external_id) = (Some(id), example.external_id);
                Self { object: "example", id, external_id, text, label, value, similarity, ..Self::default() }
            }
        }
    }
}

/// Looks through a task's examples and answers for what is like a query, the most like it first.
#[utoipa::path(
    post, path = "/v1/tasks/{task}/search", tag = "predict",
    params(("task" = String, Path, description = "The task's id")),
    request_body = SearchBody,
    responses((status = 200, body = List<HitBody>), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn search(
    Maker(service): Maker,
    Caller(tenant): Caller,
    ApiPath(task): ApiPath<TaskId>,
    ApiJson(SearchBody { query, label, limit }): ApiJson<SearchBody>,
) -> Result<Json<List<HitBody>>, Problem> {
    let hits = service.search(tenant, task, Search { query, label, limit }).await?;
    Ok(Json(List::whole(hits.into_iter().map(HitBody::from).collect())))
}
